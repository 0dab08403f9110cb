"""Uses the service through KServe's SDK, and prints as JSON what it returned.

Runs in the environment of `tests/api/kserve.txt`, whose releases exclude some of the service's.
"""

import asyncio
import base64
import json
import sys
from typing import Any

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

NETWORK, EXPLAINED = "minivgg-cifar10", "minivgg-cifar10-lrp"


async def v1(address: str, picture: bytes) -> dict[str, Any]:
    """Use protocol V1."""
    client = InferenceRESTClient(RESTConfig(protocol="v1", timeout=60))
    body = {"instances": [{"image": {"b64": base64.b64encode(picture).decode()}, "target": "dog"}]}
    return {
        "live": await client.is_server_live(address),
        "ready": await client.is_model_ready(address, NETWORK),
        "predict": await client.infer(address, body, model_name=NETWORK),
        "explain": await client.explain(address, model_name=NETWORK, data=body),
    }


async def v2(address: str, picture: bytes) -> dict[str, Any]:
    """Use protocol V2, with tensors in JSON and in binary."""
    client = InferenceRESTClient(RESTConfig(protocol="v2", timeout=60))
    pixels = np.full((2, 3, 32, 32), 0.5, np.float32)
    answers = {
        "live": await client.is_server_live(address),
        "ready": await client.is_server_ready(address),
        "model_ready": await client.is_model_ready(address, NETWORK),
    }
    for binary in (False, True):
        tensor = InferInput("image", list(pixels.shape), "FP32")
        tensor.set_data_from_numpy(pixels, binary_data=binary)
        request = InferRequest(NETWORK, [tensor], request_id="7")
        answers[f"pixels {binary}"] = _numbers(
            await client.infer(address, request, model_name=NETWORK), "logits"
        )
        file = InferInput("image", [1], "BYTES")
        element = picture if binary else base64.b64encode(picture)
        file.set_data_from_numpy(np.array([element], dtype=np.object_), binary_data=binary)
        wanted = [RequestedOutput("relevance", {"binary_data": binary})]
        request = InferRequest(
            EXPLAINED, [file], parameters={"target": "dog", "priority": 1}, request_outputs=wanted
        )
        answer = await client.infer(address, request, model_name=EXPLAINED)
        answers[f"file {binary}"] = _numbers(answer, "relevance")
        answers[f"parameters {binary}"] = answer.parameters
    return answers


def _numbers(answer: Any, name: str) -> list[Any]:
    (output,) = [output for output in answer.outputs if output.name == name]
    numbers: list[Any] = output.as_numpy().reshape(output.shape).tolist()
    return numbers


async def main() -> None:
    """Print the answers of the service at the address given, about the picture at standard input."""
    picture = sys.stdin.buffer.read()
    address = sys.argv[1]
    answers = {"v1": await v1(address, picture), "v2": await v2(address, picture)}
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())

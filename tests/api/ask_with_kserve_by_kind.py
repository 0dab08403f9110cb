"""Sends texts and rows of a table through KServe's SDK, and prints as JSON what it returned.

Runs in the environment of `tests/api/kserve.txt`. What is sent is JSON at standard input.
"""

import asyncio
import json
import sys
from typing import Any

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig


async def ask(address: str, texts: list[str], rows: list[list[float]]) -> dict[str, Any]:
    """Use both protocols."""
    v1 = InferenceRESTClient(RESTConfig(protocol="v1", timeout=60))
    v2 = InferenceRESTClient(RESTConfig(protocol="v2", timeout=60))
    body = {"instances": [{"text": text, "rule": "zero"} for text in texts]}
    answers = {"explained": await v1.explain(address, model_name="words", data=body)}
    for binary in (False, True):
        of_texts = InferInput("text", [len(texts)], "BYTES")
        elements = [text.encode() for text in texts] if binary else texts
        of_texts.set_data_from_numpy(np.array(elements, dtype=np.object_), binary_data=binary)
        table = np.array(rows, np.float32)
        of_rows = InferInput("features", list(table.shape), "FP32")
        of_rows.set_data_from_numpy(table, binary_data=binary)
        for model, tensor, name in (("words", of_texts, "logits"), ("strength", of_rows, "prediction")):
            answer = await v2.infer(address, InferRequest(model, [tensor]), model_name=model)
            (output,) = [output for output in answer.outputs if output.name == name]
            answers[f"{model} {binary}"] = output.as_numpy().reshape(output.shape).tolist()
    return answers


if __name__ == "__main__":
    sent = json.load(sys.stdin)
    json.dump(asyncio.run(ask(sys.argv[1], sent["texts"], sent["rows"])), sys.stdout)

"""Asks the service with a client that was generated from its OpenAPI, and prints what it got as JSON.

Runs in an environment of its own, with the generated package's folder as first argument, the service's address as
second, and a picture on standard input.
"""

import base64
import io
import json
import sys

sys.path.insert(0, sys.argv[1])

from generated import Client
from generated.api.about import get_model
from generated.api.explain import compare, explain, explain_batch, predict
from generated.api.k_serve_v1 import v1_explain
from generated.models import (
    ExplainBatchBody,
    ExplainFilesBody,
    ExplainRule,
    Instances,
    Start,
)
from generated.types import File


def main() -> None:
    client = Client(base_url=sys.argv[2], raise_on_unexpected_status=True)
    picture = sys.stdin.buffer.read()

    def raw() -> File:
        return File(io.BytesIO(picture))

    def part(name: str, content: bytes = picture) -> File:
        return File(io.BytesIO(content), name, "image/png")

    explained = explain.sync(
        client=client, body=raw(), rule=ExplainRule.GAMMA, gamma=0.5, target="dog", start=Start.LOGIT
    )
    contrast = explain.sync(client=client, body=ExplainFilesBody(part("cat.png")), versus="dog", top_k=2)
    compared = compare.sync(client=client, body=raw(), target=["cat", "dog"])
    batch = explain_batch.sync(
        client=client, body=ExplainBatchBody([part("cat.png"), part("notes.txt", b"no picture")])
    )
    instances = Instances.from_dict({"instances": [{"b64": base64.b64encode(picture).decode()}]})
    over_v1 = v1_explain.sync(get_model.sync(client=client).name, client=client, body=instances)
    answers = {
        "explained": explained,
        "contrast": contrast,
        "compared": compared,
        "batch": batch,
        "predicted": predict.sync(client=client, body=raw()),
        "refused": predict.sync(client=client, body=File(io.BytesIO(b"no picture"))),
        "v1": over_v1,
        "model": get_model.sync(client=client),
    }
    print(json.dumps({name: answer.to_dict() for name, answer in answers.items()}))


if __name__ == "__main__":
    main()

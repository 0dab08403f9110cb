"""Reads an InferenceService in YAML from standard input into classes of KServe's SDK, and prints them as JSON.

Runs in the environment of `tests/api/kserve.txt`. The SDK's own reader of responses does not find the classes of
Kubernetes' client that its classes refer to.
"""

import json
import re
import sys
from typing import Any

import kserve.models
import kubernetes.client.models
import yaml
from kserve.api_client import ApiClient

CONTAINER = re.compile(r"list\[(?P<item>.+)\]|dict\(str, (?P<value>.+)\)")
PRIMITIVES = {"str": str, "int": int, "bool": bool}


def read(written: Any, kind: str) -> Any:
    """Return a value of the class or type that the SDK names ``kind``; raises for what it does not have."""
    if container := CONTAINER.fullmatch(kind):
        if item := container["item"]:
            return [read(one, item) for one in written]
        return {name: read(one, container["value"]) for name, one in written.items()}
    if kind in PRIMITIVES:
        if type(written) is not PRIMITIVES[kind]:
            raise TypeError(f"{written!r} is no {kind}")
        return written
    if model := getattr(kserve.models, kind, None):
        attributes = {written: name for name, written in model.attribute_map.items()}
        named = {attributes[name]: value for name, value in written.items()}
        return model(**{name: read(value, model.openapi_types[name]) for name, value in named.items()})
    return getattr(kubernetes.client.models, kind).from_dict(written)


def main() -> None:
    """Read, and print."""
    service = read(yaml.safe_load(sys.stdin), "V1beta1InferenceService")
    json.dump(ApiClient().sanitize_for_serialization(service), sys.stdout)


if __name__ == "__main__":
    main()

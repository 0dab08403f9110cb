"""What a schema cannot say, said to Schemathesis: pictures, what is served here, and what belongs together.

Requests that are to be valid get what they need of that, and keep all else as it was made; so none of them may be
refused, whatever the reason. What is to be refused is left as it is.
"""

import base64
import io
import json
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import strategies as st
from PIL import Image
from schemathesis.core.parameters import ParameterLocation

from app.lrp.composites import COMPOSITES
from app.lrp.rules import RULES
from app.settings import shipped_model

CARD = json.loads(shipped_model().read_text())
TAKES = {name: {one.name for one in info.parameters} for name, info in {**COMPOSITES, **RULES}.items()}
OF_RULES = frozenset[str]().union(*TAKES.values())
TARGETS = ["cat", "3", "truck", "0"]
OTHERS = ["dog", "5", "frog"]
LAYERS = ["features.0", "features.3", "classifier.0"]
OVERRIDES = ["features.0:w_square", "features.*:gamma(gamma=0.5)", "*:epsilon"]
SIDES = ["model", "32", "300"]
OPTIONS: list[dict[str, Any]] = [
    {"rule": "gamma", "gamma": 0.5},
    {"target": "cat", "versus": "dog", "start": "logit"},
    {"layer": "features.3", "fit": "pad"},
]
LENGTH = "Inference-Header-Content-Length"
MODES = {"PNG": ["L", "RGB", "RGBA", "P", "1"], "JPEG": ["L", "RGB", "CMYK"], "BMP": ["RGB"], "GIF": ["P"]}


def picture(width: int, height: int, kind: str, mode: int) -> bytes:
    """A file of this kind; modes are counted through."""
    file = io.BytesIO()
    modes = MODES[kind]
    grey = Image.linear_gradient("L").resize((width, height))
    grey.convert(modes[mode % len(modes)]).save(file, kind)
    return file.getvalue()


side = st.integers(1, 300)
schemathesis.openapi.format("binary", st.builds(picture, side, side, st.sampled_from(list(MODES)), side))


@schemathesis.hook
def before_add_examples(context: schemathesis.HookContext, examples: list[Any]) -> None:
    """Those of the schema are each of one parameter, and so are they all at once."""
    for case in examples:
        map_case(context, case)


@schemathesis.hook
def map_case(context: schemathesis.HookContext, case: Any) -> Any:  # noqa: ARG001 # as it is called
    """A valid request gets what it needs. One that is not gets as far as to what is wrong with it."""
    path = case.operation.path
    if case.meta is None:
        return case
    if not case.meta.is_negative_at(ParameterLocation.PATH):
        served = [CARD["name"], CARD["name"] + "-lrp"] if path.startswith("/v2") else [CARD["name"]]
        replace(case.path_parameters, "model", served)
        replace(case.path_parameters, "version", [CARD["sha256"][:12]])
    if not case.meta.generation.mode.is_positive:
        return case
    if path.startswith(("/explain", "/compare")):
        make_sound(case.query, getattr(case.meta.phase.data, "parameter", None))
    if path.startswith("/v1/") and case.method == "POST":
        case.body["instances"] = [instance(one) for one in case.body["instances"]]
    if path.endswith("/infer"):
        make_inference(case, explains=case.path_parameters["model"].endswith("-lrp"))
    return case


@schemathesis.hook
def after_call(context: schemathesis.HookContext, case: Any, response: Any) -> None:  # noqa: ARG001 # as above
    """Note what came of it, for the test to count."""
    with Path(os.environ["LRP_FUZZ_NOTES"]).open("a") as notes:
        mode = "positive" if case.meta and case.meta.generation.mode.is_positive else "negative"
        notes.write(f"{mode} {response.status_code} {case.method} {case.operation.path}\n")


def chosen(choices: Sequence[Any], made: object) -> Any:
    """One of ``choices``, always the same one for what was ``made`` in its place."""
    return choices[zlib.crc32(repr(made).encode()) % len(choices)]


def make_sound(query: dict[str, Any], tried: str | None) -> None:
    """Options of `/explain` and `/compare`, as on the wire. What is ``tried``, a parameter that is taken to its
    boundaries, stays.
    """
    replace(query, "target", TARGETS)
    replace(query, "versus", OTHERS)
    replace(query, "layer", LAYERS)
    replace(query, "layers", OVERRIDES)
    replace(query, "size", SIDES)
    if "versus" in query:  # not the predicted class, whichever that is
        query.setdefault("target", TARGETS[0])
    if "vmax" in query:
        query["vmax"] = min(max(float(query["vmax"]), 1e-30), 1e30)
        if query.get("normalize") == "minmax":
            del query["normalize" if tried == "vmax" else "vmax"]
    if isinstance(query.get("rule"), list):
        query["rule"] = list(dict.fromkeys(query["rule"]))
    if tried in OF_RULES and tried in query:
        query["rule"] = chosen([rule for rule, takes in TAKES.items() if tried in takes], query[tried])
    rules = query.get("rule") or "epsilon_plus_flat"
    taken = frozenset[str]().union(*(TAKES[one] for one in ([rules] if isinstance(rules, str) else rules)))
    for name in OF_RULES - taken:
        query.pop(name, None)
    if {"alpha", "beta"} <= query.keys():  # one says the other
        del query["alpha" if tried == "beta" else "beta"]


def replace(query: dict[str, Any], name: str, choices: Sequence[str]) -> None:
    """What was made for this parameter by one of ``choices``; each of several by another."""
    made = query.get(name)
    if isinstance(made, list):
        query[name] = list(dict.fromkeys(chosen(choices, one) for one in made))
    elif made is not None:
        query[name] = chosen(choices, made)


def instance(made: dict[str, Any]) -> dict[str, Any]:
    """An instance of KServe's V1: a picture in the field that was chosen, and options where there were some."""
    fields: dict[str, Callable[[str], Any]] = {"image": lambda b64: {"b64": b64}, "b64": str, "data": str}
    (field,) = made.keys() & fields.keys()
    options = chosen(OPTIONS, made) if len(made) > 1 else {}
    return {field: fields[field](base64.b64encode(picture_for(made)).decode()), **options}


def make_inference(case: Any, *, explains: bool) -> None:
    """A request of V2, in JSON or with its tensor behind it; with the outputs and options that the model has."""
    case.headers.pop(LENGTH, None)
    file = picture_for(case.body)
    if case.media_type == "application/octet-stream":
        data = struct.pack("<I", len(file)) + file
        parameters = {"binary_data_size": len(data)}
        head = json.dumps({"inputs": [{**tensor("BYTES", [1]), "parameters": parameters}]}).encode()
        case.body.data = head + data  # in place: another body would be taken for an invalid one
        case.headers[LENGTH] = str(len(head))
        return
    names = ["logits", "probabilities", *(["relevance", "heatmap_png"] if explains else [])]
    outputs = [{**one, "name": chosen(names, one["name"])} for one in case.body.get("outputs", [])]
    pixels = case.body["inputs"][0]["datatype"] == "FP32"
    filled = (
        {**tensor("FP32", [1, 3, 32, 32]), "data": [0.5] * 3 * 32 * 32}
        if pixels
        else {**tensor("BYTES", [1]), "data": [base64.b64encode(file).decode()]}
    )
    options = chosen(OPTIONS, case.body) if explains and case.body.get("parameters") else {}
    case.body = {**case.body, "inputs": [filled], "outputs": outputs, "parameters": options}


def tensor(datatype: str, shape: Sequence[int]) -> dict[str, Any]:
    """An input, without its data."""
    return {"name": "image", "datatype": datatype, "shape": shape}


def picture_for(made: object) -> bytes:
    """A picture where none could be made from the schema."""
    return picture(chosen(range(1, 64), made), 48, chosen(list(MODES), made), chosen(range(9), made))

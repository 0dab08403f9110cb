"""Hooks of Schemathesis that make requests valid beyond what the schema can express.

Valid requests need pictures, names that this service has, and parameters that go together. The hooks replace
those parts of generated positive cases, so that none of them may be refused. Negative cases keep them.
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
from app.models.card_file import read_card
from app.settings import shipped_model

CARD = read_card(shipped_model())
PARAMETERS_OF_RULES = {
    name: {one.name for one in info.parameters} for name, info in {**COMPOSITES, **RULES}.items()
}
RULE_PARAMETERS = frozenset[str]().union(*PARAMETERS_OF_RULES.values())
TARGET_CLASSES = ["cat", "7", "truck", "0"]  # different classes
VERSUS_CLASSES = ["dog", "5", "frog"]
LAYERS = ["features.0", "features.3", "classifier.0"]
OVERRIDES = ["features.0:w_square", "features.*:gamma(gamma=0.5)", "*:epsilon"]
SIDES = ["model", "32", "300"]
PATCHES = [8, 16]
EVALUATED = ["epsilon_plus_flat"]
SAMPLE_OPTIONS = ("sampling", "noise", "seed", "statistic")
FEW_SAMPLES = 4
OPTIONS: list[dict[str, Any]] = [
    {"rule": "gamma", "gamma": 0.5},
    {"target": "cat", "versus": "dog", "start": "logit"},
    {"layer": "features.3", "fit": "pad"},
]
LENGTH_HEADER = "Inference-Header-Content-Length"
MODES = {"PNG": ["L", "RGB", "RGBA", "P", "1"], "JPEG": ["L", "RGB", "CMYK"], "BMP": ["RGB"], "GIF": ["P"]}


def picture(width: int, height: int, file_format: str, mode: int) -> bytes:
    """Return a picture file in this format. ``mode`` is an index into its modes, modulo their number."""
    file = io.BytesIO()
    modes = MODES[file_format]
    grey = Image.linear_gradient("L").resize((width, height))
    grey.convert(modes[mode % len(modes)]).save(file, file_format)
    return file.getvalue()


side = st.integers(1, 300)
schemathesis.openapi.format("binary", st.builds(picture, side, side, st.sampled_from(list(MODES)), side))


@schemathesis.hook
def before_add_examples(context: schemathesis.HookContext, examples: list[Any]) -> None:
    """Make the examples of the schema valid: each has the example of one parameter only."""
    for case in examples:
        map_case(context, case)


@schemathesis.hook
def map_case(context: schemathesis.HookContext, case: Any) -> Any:  # noqa: ARG001 # Schemathesis passes it by name
    """Make positive cases valid. In negative ones, replace valid names of models by existing ones."""
    path = case.operation.path
    if case.meta is None:
        return case
    if not case.meta.is_negative_at(ParameterLocation.PATH):
        served = [CARD.name, CARD.name + "-lrp"] if path.startswith("/v2") else [CARD.name]
        replace(case.path_parameters, "model", served)
        replace(case.path_parameters, "version", [CARD.version])
    if path == "/evaluate" and "rule" not in (case.query or {}):
        case.query = {**(case.query or {}), "rule": EVALUATED}  # all composites, the default, take seconds
    if not case.meta.generation.mode.is_positive:
        return case
    if case.query:
        replace(case.query, "model", [CARD.name])
        case.query.pop("attention", None)  # the model has none
    if path.startswith(("/explain", "/compare")):
        tested = getattr(case.meta.phase.data, "parameter", None)
        make_samples_valid(case.query, tested, path)
        make_options_valid(case.query, tested)
    if path == "/evaluate":
        make_evaluation_valid(case.query)
    if path.startswith("/v1/") and case.method == "POST":
        case.body["instances"] = [instance(one) for one in case.body["instances"]]
    if path.endswith("/infer"):
        make_inference_valid(case, explains=case.path_parameters["model"].endswith("-lrp"))
    return case


@schemathesis.hook
def after_call(context: schemathesis.HookContext, case: Any, response: Any) -> None:  # noqa: ARG001 # see above
    """Record the status of each request, which the test counts."""
    with Path(os.environ["LRP_FUZZ_RESULTS"]).open("a") as results:
        mode = "positive" if case.meta and case.meta.generation.mode.is_positive else "negative"
        results.write(f"{mode} {response.status_code} {case.method} {case.operation.path}\n")


def choose(choices: Sequence[Any], generated: object) -> Any:
    """Return one of ``choices``, which depends on the generated value only."""
    return choices[zlib.crc32(repr(generated).encode()) % len(choices)]


def make_options_valid(query: dict[str, Any], tested: str | None) -> None:
    """Make the query parameters of `/explain` and `/compare` valid.

    ``tested`` is the parameter whose boundary values are tested, if any; its value is kept.
    """
    replace(query, "target", TARGET_CLASSES)
    replace(query, "versus", VERSUS_CLASSES)
    replace(query, "layer", LAYERS)
    replace(query, "layers", OVERRIDES)
    replace(query, "size", SIDES)
    if "versus" in query:  # versus must not be the predicted class
        query.setdefault("target", TARGET_CLASSES[0])
    if "vmax" in query:
        query["vmax"] = min(max(float(query["vmax"]), 1e-30), 1e30)
        if query.get("normalize") == "minmax":
            del query["normalize" if tested == "vmax" else "vmax"]
    if isinstance(query.get("rule"), list):
        query["rule"] = list(dict.fromkeys(query["rule"]))
    if tested in RULE_PARAMETERS and tested in query:
        rules_with_parameter = [rule for rule, names in PARAMETERS_OF_RULES.items() if tested in names]
        query["rule"] = choose(rules_with_parameter, query[tested])
    rules = query.get("rule") or "epsilon_plus_flat"
    names = [rules] if isinstance(rules, str) else rules
    accepted = frozenset[str]().union(*(PARAMETERS_OF_RULES[name] for name in names))
    for name in RULE_PARAMETERS - accepted:
        query.pop(name, None)
    if {"alpha", "beta"} <= query.keys():  # either determines the other
        del query["alpha" if tested == "beta" else "beta"]


def make_samples_valid(query: dict[str, Any], tested: str | None, path: str) -> None:
    """Make the options of samples go together, with few enough samples for all explanations of a request."""
    if tested in SAMPLE_OPTIONS and tested in query:
        query["samples"] = FEW_SAMPLES
    if "samples" not in query:
        for name in SAMPLE_OPTIONS:
            query.pop(name, None)
        return
    if tested == "noise" and "noise" in query:
        query["sampling"] = "noise"
    if query.get("sampling") != "noise":
        query.pop("noise", None)
    if path != "/explain":
        query["samples"] = FEW_SAMPLES
        for name in ("rule", "target"):
            if isinstance(query.get(name), list):
                query[name] = query[name][:2]


def make_evaluation_valid(query: dict[str, Any]) -> None:
    """Make an evaluation valid, and short: of one rule, with large patches."""
    replace(query, "target", TARGET_CLASSES)
    query["rule"] = list(query.get("rule") or EVALUATED)[:1]
    query["patch"] = choose(PATCHES, query.get("patch"))


def replace(query: dict[str, Any], name: str, choices: Sequence[str]) -> None:
    """Replace the value or the values of a parameter by some of ``choices``."""
    generated = query.get(name)
    if isinstance(generated, list):
        query[name] = list(dict.fromkeys(choose(choices, one) for one in generated))
    elif generated is not None:
        query[name] = choose(choices, generated)


def instance(generated: dict[str, Any]) -> dict[str, Any]:
    """Return a valid instance of KServe V1: a picture in the generated field, and options if there are any."""
    fields: dict[str, Callable[[str], Any]] = {"image": lambda b64: {"b64": b64}, "b64": str, "data": str}
    (field,) = generated.keys() & fields.keys()
    options = choose(OPTIONS, generated) if len(generated) > 1 else {}
    return {field: fields[field](base64.b64encode(picture_for(generated)).decode()), **options}


def make_inference_valid(case: Any, *, explains: bool) -> None:
    """Make a request of the Open Inference Protocol valid, with a tensor in JSON or in binary form."""
    case.headers.pop(LENGTH_HEADER, None)
    file = picture_for(case.body)
    if case.media_type == "application/octet-stream":
        data = struct.pack("<I", len(file)) + file
        parameters = {"binary_data_size": len(data)}
        head = json.dumps({"inputs": [{**tensor("BYTES", [1]), "parameters": parameters}]}).encode()
        case.body.data = head + data  # in place: Schemathesis would treat another object as an invalid body
        case.headers[LENGTH_HEADER] = str(len(head))
        return
    names = ["logits", "probabilities", *(["relevance", "heatmap_png"] if explains else [])]
    outputs = [{**one, "name": choose(names, one["name"])} for one in case.body.get("outputs", [])]
    pixels = case.body["inputs"][0]["datatype"] == "FP32"
    filled = (
        {**tensor("FP32", [1, 3, 32, 32]), "data": [0.5] * 3 * 32 * 32}
        if pixels
        else {**tensor("BYTES", [1]), "data": [base64.b64encode(file).decode()]}
    )
    options = choose(OPTIONS, case.body) if explains and case.body.get("parameters") else {}
    case.body = {**case.body, "inputs": [filled], "outputs": outputs, "parameters": options}


def tensor(datatype: str, shape: Sequence[int]) -> dict[str, Any]:
    """Return an input tensor without its data."""
    return {"name": "image", "datatype": datatype, "shape": shape}


def picture_for(generated: object) -> bytes:
    """Return a picture that depends on the generated value only."""
    return picture(
        choose(range(1, 64), generated), 48, choose(list(MODES), generated), choose(range(9), generated)
    )

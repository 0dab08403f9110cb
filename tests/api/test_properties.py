"""Property-based tests: arbitrary parameters, bodies and damaged pictures are answered or refused properly."""

import base64
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
from conftest import encode
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from app.api.kinds.image_parameters import ExplainParameters
from app.api.protocols.kinds.image import picture
from app.api.rule_parameters import with_rule_parameters
from app.errors import RequestError
from app.modalities.image.decoding import FORMATS, decode
from app.modalities.image.fitting import Fit, fit_to_model
from app.modalities.image.spec import ImageSpec

SPEC = ImageSpec(3, 32, 32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
GRADIENT = Image.linear_gradient("L").resize((40, 30))
PICTURES = {form: encode(GRADIENT.convert("P" if form == "GIF" else "RGB"), form) for form in FORMATS}
ANY_NUMBER = st.one_of(
    st.floats().map(str),
    st.integers().map(str),
    st.sampled_from(["1e400", "-0", "0x1", "1_0", "١", "", " 1 "]),
)
NAMES = st.sampled_from(sorted(with_rule_parameters(ExplainParameters).model_fields))
VALUES = st.sampled_from(["cat", "3", "gamma", "flat", "features.*:flat", "input", "png"])
GLOBS = st.text("*?[]!-.:()=,af0", max_size=60).map(lambda glob: f"{glob}:zero")
LONG = st.builds(
    lambda unit, times: unit * times,
    st.sampled_from(["1", " ", "[", "*a", "x", "é"]),
    st.sampled_from([300, 5000]),
)
UTF8 = st.text(st.characters(codec="utf-8"))
KEYS = ["instances", "inputs", "image", "b64", "data", "shape", "datatype", "name", "outputs"]
ANY_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text()), inner, max_size=4),
    ),
    max_leaves=20,
)
TENSOR_LIKE = st.fixed_dictionaries(
    {
        "name": st.just("image"),
        "datatype": st.sampled_from(["FP32", "BYTES"]),
        "shape": st.one_of(st.just([1, 3, 32, 32]), st.just([1]), st.lists(st.integers(), max_size=5)),
    },
    optional={"data": st.one_of(ANY_JSON, st.just([0.5] * 3072)), "parameters": ANY_JSON},
)
REQUEST_LIKE = st.fixed_dictionaries(
    {"inputs": st.lists(TENSOR_LIKE, max_size=2)}, optional={"outputs": ANY_JSON}
)
shared_client = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def explain(client: TestClient, query: dict[str, str]) -> httpx.Response:
    response: httpx.Response = client.post(
        "/explain", params=query, content=PICTURES["PNG"], headers={"Content-Type": "image/png"}
    )
    return response


def parse_strictly(response: httpx.Response) -> Any:
    """Parse the JSON of a response; fail for NaN and infinity, which JSON does not have."""
    return json.loads(response.text, parse_constant=pytest.fail)


@shared_client
@given(
    query=st.dictionaries(NAMES | UTF8.filter(bool), ANY_NUMBER | VALUES | UTF8 | GLOBS | LONG, max_size=4)
)
@example(query={"model": "0.0"})
def test_any_query_is_answered_or_refused_with_a_message(client: TestClient, query: dict[str, str]) -> None:
    response = explain(client, query)
    unknown_model = (404,) if "model" in query else ()
    assert response.status_code in (200, 422, *unknown_model)
    if response.status_code != 200:
        problem = parse_strictly(response)
        assert problem["detail"]
        assert len(response.content) < 10_000
        assert {error["loc"][1] for error in problem.get("errors", ())} <= query.keys()


@given(
    file=st.binary(),
    encoding=st.sampled_from([base64.b64encode, base64.urlsafe_b64encode, base64.encodebytes]),
    prefix=st.sampled_from([b"", b"data:image/png;base64,", b"DATA:;base64,"]),
    padded=st.booleans(),
)
def test_base64_of_any_variant_is_decoded(
    file: bytes, encoding: Callable[[bytes], bytes], prefix: bytes, padded: bool
) -> None:
    encoded = encoding(file)
    assert picture(prefix + (encoded if padded else encoded.rstrip(b"=\n"))) == file


OPTIONS = st.dictionaries(
    NAMES | st.text(), ANY_NUMBER | VALUES | GLOBS | LONG | st.lists(GLOBS | LONG, max_size=40), max_size=4
)


@shared_client
@given(options=OPTIONS, verb=st.sampled_from(["predict", "explain"]))
def test_any_option_of_an_instance_is_accepted_or_refused_with_a_message(
    client: TestClient, options: dict[str, Any], verb: str
) -> None:
    instance = {**options, "b64": base64.b64encode(PICTURES["PNG"]).decode()}
    response = client.post(f"/v1/models/minivgg-cifar10:{verb}", json={"instances": [instance]})
    answer = parse_strictly(response)
    if response.status_code != 200:
        assert response.status_code in (400, 422)
        assert 0 < len(answer["error"]) < 2000


@shared_client
@given(name=st.sampled_from(["epsilon", "gamma", "alpha", "beta", "vmax"]), value=ANY_NUMBER)
def test_any_number_is_accepted_or_refused_by_name(client: TestClient, name: str, value: str) -> None:
    rules = {"epsilon": "epsilon", "gamma": "gamma", "alpha": "alpha_beta", "beta": "alpha_beta"}
    response = explain(client, {"rule": rules.get(name, "flat"), name: value})
    answer = parse_strictly(response)
    if response.status_code != 200:
        assert response.status_code == 422
        assert name in answer["detail"]


@shared_client
@given(
    path=st.sampled_from(["/v1/models/minivgg-cifar10:explain", "/v2/models/minivgg-cifar10-lrp/infer"]),
    body=ANY_JSON | REQUEST_LIKE,
    suffix=st.binary(max_size=20),
)
def test_any_json_is_answered_or_refused_with_a_message(
    client: TestClient, path: str, body: Any, suffix: bytes
) -> None:
    content = json.dumps(body).encode()
    headers = {"Inference-Header-Content-Length": str(len(content))}
    response = client.post(path, content=content + suffix, headers=headers)
    answer = parse_strictly(response)
    if response.status_code != 200:
        assert response.status_code in (400, 413, 422)
        assert answer["error"]


@pytest.mark.parametrize("form", FORMATS)
@settings(deadline=None)
@given(data=st.data())
def test_a_damaged_picture_is_decoded_or_refused(form: str, data: st.DataObject) -> None:
    damaged = PICTURES[form]
    for _ in range(data.draw(st.integers(0, 8))):
        start = data.draw(st.integers(0, len(damaged)))
        damaged = (
            damaged[:start]
            + data.draw(st.binary(max_size=8))
            + damaged[start + data.draw(st.integers(0, 8)) :]
        )
    end = data.draw(st.none() | st.integers(0, len(damaged)))
    with suppress(RequestError):  # no other error is allowed
        opened = decode(damaged[:end], max_pixels=10**6)
        assert opened.image.mode == "RGB"
        assert fit_to_model(opened, Fit.PAD, SPEC).image.size == (32, 32)

"""``predict`` and ``explain`` answer as ``/predict`` and ``/explain`` do."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient
from test_cli import run

Query = dict[str, Any]

QUERIES: list[Query] = [
    {"rule": "gamma", "gamma": 0.5, "target": "dog", "start": "logit", "view": "overlay", "size": "input"},
    {
        "target": "dog",
        "versus": "3",
        "layer": "features.6",
        "view": "heatmap",
        "size": "model",
        "normalize": "absolute",
    },
    {
        "fit": "pad",
        "top_k": 2,
        "layers": ["features.0:w_square", "features.3:gamma(gamma=0.5)"],
        "view": "heatmap",
        "size": 64,
        "vmax": 0.01,
        "sign": "positive",
        "colormap": "vik",
        "interpolation": "bicubic",
        "values": True,
        "verify": True,
    },
]


def arguments_of(query: Query) -> list[str]:
    """Return the options for a query."""
    arguments = []
    for name, value in query.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            arguments.append(option)
        else:
            arguments += [f"{option}={one}" for one in (value if isinstance(value, list) else [value])]
    return arguments


def assert_close(ours: Any, theirs: Any) -> None:
    """Check that two JSON values are equal up to rounding; the heatmap is compared as a picture."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for name in theirs.keys() - {"data"}:
            assert_close(ours[name], theirs[name])
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_close(one, other)
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-6)
    else:
        assert ours == theirs


@pytest.mark.parametrize("form", ["json", "png", "npy"])
@pytest.mark.parametrize("query", QUERIES)
def test_explain_writes_what_the_endpoint_answers(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    client: TestClient,
    cat_jpeg: bytes,
    query: Query,
    form: str,
) -> None:
    (tmp_path / "cat.jpg").write_bytes(cat_jpeg)
    written = tmp_path / f"cat.heatmap.{form}"
    answer = client.post("/explain", params={**query, "format": form}, files={"file": cat_jpeg})
    assert answer.status_code == 200
    arguments = [str(tmp_path / "cat.jpg"), "--format", form, *arguments_of(query)]
    assert run(monkeypatch, "explain", *arguments) == 0
    if form == "json":
        assert_close(json.loads(written.read_bytes()), answer.json())
    elif form == "npy":
        ours, theirs = np.load(written), np.load(io.BytesIO(answer.content))
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6)
    else:
        ours, theirs = (Image.open(file) for file in (written, io.BytesIO(answer.content)))
        assert ours.size == theirs.size
        assert np.abs(np.asarray(ours, int) - np.asarray(theirs, int)).max() <= 2
        assert_close(json.loads(ours.info["lrp"]), json.loads(theirs.info["lrp"]))


def test_predict_prints_what_the_endpoint_answers(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    client: TestClient,
    cat_jpeg: bytes,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "cat.jpg").write_bytes(cat_jpeg)
    query = {"fit": "stretch", "top_k": 4}
    answer = client.post("/predict", params=query, files={"file": cat_jpeg}).json()
    assert run(monkeypatch, "predict", str(tmp_path / "cat.jpg"), "--json", *arguments_of(query)) == 0
    printed = json.loads(capsys.readouterr().out)
    assert_close(printed, {"file": str(tmp_path / "cat.jpg"), **answer})


def test_standard_input_is_explained_to_standard_output(
    monkeypatch: pytest.MonkeyPatch,
    client: TestClient,
    cat_jpeg: bytes,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(cat_jpeg)))
    assert run(monkeypatch, "explain", "-", "--format", "npy", "--target", "dog") == 0
    printed = capfdbinary.readouterr()
    answer = client.post("/explain?format=npy&target=dog", files={"file": cat_jpeg})
    np.testing.assert_allclose(
        np.load(io.BytesIO(printed.out)), np.load(io.BytesIO(answer.content)), rtol=1e-3, atol=1e-6
    )
    probability = float(answer.headers["X-Probability"])
    assert printed.err.startswith(f"-: cat {probability:.1%} -> standard output".encode())


def test_a_second_run_leaves_the_heatmaps_of_the_first_out(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    cat_jpeg: bytes,
    cat_png: bytes,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cat.jpg").write_bytes(cat_jpeg)
    Path("cat.png").write_bytes(cat_png)
    for _ in range(2):
        assert run(monkeypatch, "explain", ".", "--recursive", "-o", ".") == 0
        written = sorted(path.name for path in tmp_path.iterdir())
        assert written == ["cat.jpg", "cat.jpg.heatmap.png", "cat.png", "cat.png.heatmap.png"]
    printed = capsys.readouterr()
    assert printed.err.count("2 of 2 pictures done, 0 failed\n") == 2
    assert printed.err.endswith(
        "2 skipped, a heatmap of lrpserve: cat.jpg.heatmap.png, cat.png.heatmap.png\n"
    )


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        ("--view 3d", "--view"),
        ("--size 5", "--size"),
        ("--colormap vikk", "--colormap"),
        ("--top-k 0", "--top-k"),
        ("--fit tight", "--fit"),
        ("--format gif", "--format"),
        ("--vmax 1 --normalize minmax", "--vmax"),
        ("-p start=logit", "--parameter"),
        ("-p gamma=much", "--gamma"),
        ("-o cat.png", "--output"),
        ("--rule none", "--rule"),
        ("--gamma 1", "--gamma"),
        ("--layers features.0:none", "--layers"),
        ("--layer none", "--layer"),
        ("--target dog --versus dog", "--versus"),
    ],
)
def test_an_error_names_the_option(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    cat_png: bytes,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    option: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cat.png").write_bytes(cat_png)
    assert run(monkeypatch, "explain", "cat.png", *arguments.split()) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"lrpserve: {option}: ")
    assert (printed.err.count("\n"), printed.out) == (1, "")


def test_options_may_be_spelt_as_over_http(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cat.png").touch()
    assert run(monkeypatch, "explain", "cat.png", "--top_k", "0") == 2
    assert capsys.readouterr().err == "lrpserve: --top-k: must be 1 or more\n"

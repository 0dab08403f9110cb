"""The example notebook is small and valid, and shows what the service returns.

Its code cells are executed in this process. They use nothing of IPython, whose kernel would add 25 packages.
"""

import io
import re
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from conftest import Server
from PIL import Image, ImageChops

NOTEBOOK = Path(__file__).parent.parent / "examples" / "explain.ipynb"
MAX_BYTES = 10_000
PROBABILITY = 0.987
"""Of the class cat for the photo of a cat, as in docs/first-explanation.md."""
RULES = ("epsilon_plus_flat", "epsilon_alpha2_beta1_flat")


@dataclass(frozen=True)
class Executed:
    """What a run of the notebook has assigned and printed."""

    variables: dict[str, Any]
    printed: str

    def __getitem__(self, name: str) -> Any:
        return self.variables[name]


def cells(kind: str) -> list[Any]:
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call] # it has no types
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def execute(url: str, picture: Path | None = None) -> Executed:
    """Run the code cells in order, with ``PICTURE`` set to ``picture``."""
    variables: dict[str, Any] = {"__name__": "__main__"}
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setenv("LRPSERVE_URL", url)
        patch.setattr(plt, "show", lambda: None)
        plt.switch_backend("agg")
        for cell in cells("code"):
            source = cell.source
            if picture:
                source = source.replace("PICTURE = None", f"PICTURE = {str(picture)!r}")
            exec(compile(source, f"cell {cell.id}", "exec"), variables)
    plt.close("all")
    return Executed(variables, printed.getvalue())


@pytest.fixture(scope="module")
def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def executed(url: str) -> Executed:
    return execute(url)


def pixel_difference(one: Image.Image, other: Image.Image) -> float:
    """Largest difference of two pictures of one size and mode, of 255."""
    assert (one.size, one.mode) == (other.size, other.mode)
    return float(np.asarray(ImageChops.difference(one, other)).max())


def png(url: str, picture: bytes, **options: Any) -> Image.Image:
    """The service's PNG response."""
    headers = {"Accept": "image/png", "Content-Type": "image/png"}
    response = httpx.post(url, params=options, content=picture, headers=headers)
    assert response.status_code == 200, response.text
    return Image.open(io.BytesIO(response.content))


def test_the_notebook_is_valid_small_and_without_outputs() -> None:
    nbformat.validate(nbformat.read(NOTEBOOK, as_version=4))  # type: ignore[no-untyped-call] # it has no types
    assert NOTEBOOK.stat().st_size < MAX_BYTES
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells("code"))


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((\.[^)]+)\)", "".join(cell.source for cell in cells("markdown")))
    assert links
    assert [link for link in links if not (NOTEBOOK.parent / link).exists()] == []


def test_the_default_picture_is_the_photo_of_a_cat(executed: Executed, cat: Image.Image) -> None:
    assert pixel_difference(Image.open(io.BytesIO(executed["file"])), cat) == 0


def test_the_scores_are_those_of_the_service(executed: Executed, url: str, cat_png: bytes) -> None:
    answer = httpx.post(f"{url}/predict", content=cat_png, headers={"Content-Type": "image/png"}).json()
    labels = [label.get_text() for label in executed["axes"].get_yticklabels()]
    lengths = [bar.get_width() for bar in executed["axes"].patches]
    assert labels == [score["label"] for score in answer["scores"]]
    assert labels[0] == "cat"
    assert lengths == pytest.approx([score["probability"] for score in answer["scores"]], abs=1e-6)
    assert lengths[0] == pytest.approx(PROBABILITY, abs=0.01)
    assert sum(lengths) == pytest.approx(1, abs=1e-5)
    assert executed["axes"].get_title() == "predicted: cat"


def test_the_heatmap_is_that_of_the_service(executed: Executed, url: str, cat_png: bytes) -> None:
    expected = png(f"{url}/explain", cat_png, view="side_by_side")
    assert pixel_difference(executed["heatmap"], expected) <= 2
    answer = executed["explained"]
    assert (answer["heatmap"]["width"], answer["heatmap"]["height"]) == expected.size
    assert answer["target"]["label"] == "cat"
    assert f"cat: leak {answer['relevance']['leak']:.2f}\n" in executed.printed
    assert all(f"warning: {warning}\n" in executed.printed for warning in answer["warnings"])


def test_the_comparison_is_that_of_the_service(executed: Executed, url: str, cat_png: bytes) -> None:
    expected = png(f"{url}/compare", cat_png, rule=RULES, target=["cat", "dog"])
    assert pixel_difference(executed["sheet"], expected) <= 2
    logits = {score["label"]: score["logit"] for score in executed["scores"]}
    shown = [
        (one["rule"]["name"], one["target"]["label"], one["relevance"]["start"])
        for one in executed["compared"]["explanations"]
    ]
    assert [one[:2] for one in shown] == [(rule, target) for rule in RULES for target in ("cat", "dog")]
    assert [one[2] for one in shown] == pytest.approx([logits["cat"], logits["dog"]] * 2, abs=1e-4)


def test_the_contrast_explains_the_difference_of_two_logits(
    executed: Executed, url: str, cat_png: bytes
) -> None:
    options = {"target": "cat", "versus": "dog", "start": "logit", "view": "side_by_side"}
    assert pixel_difference(executed["contrast"], png(f"{url}/explain", cat_png, **options)) <= 2
    of_cat, of_dog = (
        one["relevance"] for one in executed["compared"]["explanations"] if one["rule"]["name"] == RULES[0]
    )
    relevance = executed["contrasted"]["relevance"]
    assert relevance["start"] == pytest.approx(of_cat["start"] - of_dog["start"], abs=1e-4)
    assert relevance["sum"] == pytest.approx(of_cat["sum"] - of_dog["sum"], abs=1e-4)
    assert f"difference {of_cat['start'] - of_dog['start']:.2f}\n" in executed.printed


def test_a_picture_of_ones_own_is_explained(url: str, cat_jpeg: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cat.jpg"
    path.write_bytes(cat_jpeg)
    executed = execute(url, path)
    assert executed["file"] == cat_jpeg
    assert executed["predicted"]["input"]["format"] == "JPEG"
    assert executed["predicted"]["prediction"]["label"] == "cat"


def test_a_refusal_says_what_is_wrong(executed: Executed) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(executed.variables, "file", b"no picture")
        with pytest.raises(RuntimeError, match="Not a readable PNG"):
            executed["post"]("/explain")
    with pytest.raises(RuntimeError, match=r"^rule: "):
        executed["post"]("/explain", rule="gama")

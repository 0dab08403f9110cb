"""Surveys of the model of `fake_model`, whose four classes are the brightest quadrant of a grey picture."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from conftest import encode
from fake_model import HEIGHT, WIDTH, FakeModel
from PIL import Image

from app.command_line.survey import SurveyOptions, options_of, survey
from app.runtime.threads import ThreadExecutor
from app.serving.factory import create_pipeline, create_renderer
from app.serving.pipeline import Pipeline
from app.settings import Settings
from app.survey.findings import Findings
from app.telemetry.metrics import Metrics

Pixels = npt.NDArray[np.uint8]
PLACES = {"top-left": (0, 0), "top-right": (0, 32), "bottom-left": (24, 0), "bottom-right": (24, 32)}
"""First row and column of each class's quadrant."""
MARK = 8
"""Side of the mark in the corner of the picture."""


def picture(name: str, seed: int, *, marked: bool = False) -> Pixels:
    """Return dark noise with a bright blob in the quadrant of a class, or with a mark in the picture's corner."""
    random = np.random.default_rng([seed, *name.encode()])
    pixels = random.integers(90, 110, (HEIGHT, WIDTH)).astype(np.uint8)
    row, column = PLACES[name]
    if marked:
        pixels[:MARK, :MARK] = 255
        return pixels
    down, across = random.integers(2, 9), random.integers(2, 13)
    pixels[row + down : row + down + 12, column + across : column + across + 16] += 40
    return pixels


def write(path: Path, pixels: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(Image.fromarray(pixels)))
    return path


def write_all(folder: Path, count: int, names: tuple[str, ...] = tuple(PLACES)) -> Path:
    """Write ``count`` pictures of each class to ``folder``."""
    for name in names:
        for seed in range(count):
            write(folder / name / f"{seed:03}.png", picture(name, seed))
    return folder


def pipeline_of(model: FakeModel) -> Pipeline:
    settings = Settings()
    renderers = ThreadExecutor(create_renderer(model.description, settings), 1)
    return create_pipeline(model, settings, Metrics().of_model("any"), renderers, serves=False)


def options(data: Path, out: Path, method: str = "spectral", masks: Path | None = None) -> SurveyOptions:
    return options_of(data, out, rule="zero", split=None, method=method, masks=masks, seed=0)


def surveyed(
    data: Path, out: Path, method: str = "spectral", masks: Path | None = None, model: FakeModel | None = None
) -> Findings:
    """Return the findings of a survey of ``data``, whose files are in ``out``."""
    pipeline = pipeline_of(model or FakeModel())
    try:
        return survey(pipeline, options(data, out, method, masks), 2**24)
    finally:
        pipeline.close()

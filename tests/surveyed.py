"""Surveys of the model of `fake_model`, whose four classes are the brightest quadrant of a grey picture."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from conftest import encode
from fake_model import HEIGHT, WIDTH, FakeModel
from PIL import Image

from app.command_line.many import OnRay
from app.command_line.survey import survey
from app.command_line.surveys.kinds import SURVEYS
from app.command_line.surveys.options import SurveyOptions, options_of
from app.models.card import Kind
from app.models.protocol import Model
from app.runtime.threads import ThreadExecutor
from app.serving.factory import create_pipeline, create_renderer
from app.serving.pipeline import Pipeline
from app.settings import Settings
from app.survey.image.findings import ImageFindings
from app.telemetry.metrics import Metrics

Pixels = npt.NDArray[np.uint8]
PLACES = {"top-left": (0, 0), "top-right": (0, 32), "bottom-left": (24, 0), "bottom-right": (24, 32)}
"""First row and column of each class's quadrant."""
MARK = 8
"""Side of the mark in the corner of the picture."""


def picture(name: str, seed: int, *, marked: bool = False) -> Pixels:
    """Return dark noise with a bright blob in the quadrant of a class, or with a mark in the picture's corner."""
    random = np.random.default_rng([seed, *name.encode()])
    pixels = noise(random)
    row, column = PLACES[name]
    if marked:
        pixels[:MARK, :MARK] = 255
        return pixels
    down, across = random.integers(2, 9), random.integers(2, 13)
    pixels[row + down : row + down + 12, column + across : column + across + 16] += 40
    return pixels


def noise(random: np.random.Generator) -> Pixels:
    return random.integers(90, 110, (HEIGHT, WIDTH)).astype(np.uint8)


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


def pipeline_of(model: Model) -> Pipeline:
    settings = Settings()
    renderers = ThreadExecutor(create_renderer(model.description, settings), 1)
    return create_pipeline(model, settings, Metrics().of_model("any"), renderers, serves=False)


def options(
    data: Path,
    out: Path,
    method: str | None = None,
    masks: Path | None = None,
    on_ray: OnRay | None = None,
    **given: Any,
) -> SurveyOptions:
    return options_of(data, out, {"rule": "zero", **given}, method=method, masks=masks, on_ray=on_ray)


def surveyed(
    data: Path,
    out: Path,
    method: str | None = None,
    masks: Path | None = None,
    model: FakeModel | None = None,
    on_ray: OnRay | None = None,
    **given: Any,
) -> ImageFindings:
    """Return the findings of a survey of pictures, whose files are in ``out``."""
    found = survey_of("image", model or FakeModel(), options(data, out, method, masks, on_ray, **given))
    assert isinstance(found, ImageFindings)
    return found


def survey_of(kind: Kind, model: Model, asked: SurveyOptions) -> Any:
    """Return the findings of a survey of any kind of input."""
    pipeline = pipeline_of(model)
    try:
        return survey(SURVEYS[kind], pipeline, asked, Settings())
    finally:
        pipeline.close()

"""Draw the pictures of the documentation from photos with a free licence. Run with ``make docs``.

The photos come with scikit-image: Chelsea the cat, by Stefan van der Walt, CC0; the cup of coffee, by Rachel
Michetti, courtesy of Pikolo Espresso Bar, CC0. Heatmaps are drawn by the pipeline that serves requests.
"""

import asyncio
import io
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps, PngImagePlugin
from skimage import data

from app.lrp.composites import COMPOSITES
from app.lrp.request import Start
from app.lrp.rules import RULES
from app.modalities.drawing.png import CHUNK
from app.modalities.image.drawing.style import Style, View
from app.modalities.image.modality import ImageOptions
from app.modalities.text.modality import TextOptions
from app.models.adding import add
from app.models.local import LocalModel
from app.models.repository import served_model
from app.models.sources.protocol import SourceOptions
from app.models.sources.registry import load
from app.runtime.threads import ThreadExecutor
from app.serving.answers import RenderedExplanation
from app.serving.factory import create_pipeline, create_renderer
from app.serving.pipeline import Pipeline
from app.serving.rendering import identity
from app.serving.requests import CompareOptions, ExplainOptions
from app.serving.timings import Timings
from app.settings import Settings
from app.telemetry.metrics import Metrics
from docs import blocks

IMAGES = blocks.PAGES / "images"
TILE, GAP, INK = 160, 12, (32, 32, 32)
SIDE_BY_SIDE = ImageOptions(style=Style(view=View.SIDE_BY_SIDE, size=256))

EYE_CROP, EYE_TURN = (60, 85, 210, 235), 270
"""Crop of Chelsea around one eye, (left, top, right, bottom) in pixels; rotation in degrees, anticlockwise."""
SPOT = 20
"""Radius of the covering spots in pixels of the crop, whose side is 150."""
INNER_CORNER, UPPER_LID, CHEEK = (101, 124), (134, 68), (30, 63)
EYE = (90, 75, 149, 144)


@dataclass(frozen=True)
class Tile:
    """A small picture and its caption, line by line."""

    image: Image.Image
    lines: tuple[str, ...]


class PhotoExplainer:
    """Runs photos through the pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def explain(self, photo: Image.Image, options: ExplainOptions) -> RenderedExplanation:
        """Explain a photo."""
        return asyncio.run(self._pipeline.explain(_encode_png(photo), options, Timings(), identity))

    def sheet(self, photo: Image.Image, comparison: CompareOptions) -> bytes:
        """Return the sheet of a comparison as PNG."""
        compared = asyncio.run(self._pipeline.compare(_encode_png(photo), comparison, Timings(), identity))
        png: bytes = compared.sheet.png
        return png

    def map_tile(self, photo: Image.Image, options: ExplainOptions, title: str) -> Tile:
        """Draw a heatmap on its own scale, with its largest relevance and its leak as caption."""
        explained = self.explain(photo, replace(options, input=ImageOptions(style=Style(size=TILE))))
        leak = explained.report.relevance.leak
        strongest = explained.figure.vmax
        figures = f"±{strongest:.2g}" + ("" if leak is None else f", leak {leak:.2f}")
        return Tile(_decode_png(explained.figure.png), (title, figures))


def draw(folder: Path) -> dict[str, dict[str, str]]:
    """Write all pictures into ``folder`` and return the text of each generated block, by page."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(device="cpu")
    model = LocalModel.load(served_model(settings).card_path, settings.device, settings.cores)
    pipeline = _pipeline(model, settings)
    try:
        explainer = PhotoExplainer(pipeline)
        cat, coffee = _photo(data.chelsea), _photo(data.coffee)
        _save(folder / "cat.png", explainer.explain(cat, ExplainOptions(input=SIDE_BY_SIDE)).figure.png)
        _save(folder / "coffee.png", explainer.explain(coffee, ExplainOptions(input=SIDE_BY_SIDE)).figure.png)
        versus = ExplainOptions(target="cat", versus="dog", input=SIDE_BY_SIDE)
        _save(folder / "cat-not-dog.png", explainer.explain(cat, versus).figure.png)
        _input_and_heatmap(explainer, cat).save(folder / "seen.png", optimize=True)
        _layers(explainer, cat).save(folder / "layers.png", optimize=True)
        _rules(explainer, cat).save(folder / "rules.png", optimize=True)
        _parameters(explainer, cat).save(folder / "parameters.png", optimize=True)
        several = CompareOptions(
            ExplainOptions(start=Start.LOGIT, input=ImageOptions(style=Style(size=128))),
            rules=("epsilon_plus_flat", "epsilon_alpha2_beta1_flat"),
            targets=("cat", "dog", "frog", "bird"),
        )
        _save(folder / "one-scale.png", explainer.sheet(cat, several))
        _imagenet(cat, coffee).save(folder / "imagenet.png", optimize=True)
        _words(folder)
        return {
            "first-explanation.md": _layer_sums(explainer, cat),
            "which-rule-when.md": {**_frog(explainer, cat, folder), **_correlation(explainer, cat, coffee)},
        }
    finally:
        pipeline.close()


def _imagenet(*photos: Image.Image) -> Image.Image:
    """Draw what EfficientNet-Lite0 sees of each photo, its prediction, and the heatmap."""
    tiles = []
    with TemporaryDirectory() as models:
        added = add(load("efficientnet_lite0", SourceOptions()), "imagenet", Path(models))
        with closing(_pipeline(LocalModel.load(added.path, "cpu", None), Settings(device="cpu"))) as pipeline:
            explainer = PhotoExplainer(pipeline)
            for photo in photos:
                own_size = ImageOptions(style=Style(size="model"))
                explained = explainer.explain(photo, ExplainOptions(input=own_size))
                best = explained.report.prediction
                score = f"{best.label} {best.probability:.0%}"
                tiles += [
                    Tile(Image.fromarray(explained.sample.pixels), (score,)),
                    Tile(_decode_png(explained.figure.png), (f"why {best.label}?",)),
                ]
    return _grid(tiles, 4)


def _words(folder: Path) -> None:
    """Draw the relevance of the words of two texts, of which the second is misunderstood."""
    settings = Settings(device="cpu")
    model = LocalModel.load(served_model(settings, "text").card_path, settings.device, settings.cores)
    with closing(_pipeline(model, settings)) as pipeline:
        for name, text in (("film.png", "a gorgeous, witty film"), ("not-bad.png", "not bad at all")):
            work = pipeline.explain(text, ExplainOptions(input=TextOptions()), Timings(), identity)
            _cropped(_decode_png(asyncio.run(work).figure.png)).save(folder / name, optimize=True)


def _cropped(drawing: Image.Image) -> Image.Image:
    """Return a drawing without what is white on the right and at the bottom, except for a margin."""
    left, top, right, bottom = ImageOps.invert(drawing.convert("L")).getbbox() or (0, 0, *drawing.size)
    return drawing.crop((0, 0, right + left, bottom + top // 2))


def _pipeline(model: LocalModel, settings: Settings) -> Pipeline:
    renderers = ThreadExecutor(create_renderer(model.description, settings), 1)
    return create_pipeline(model, settings, Metrics().of_model("any"), renderers)


def _network_input(explained: RenderedExplanation) -> Image.Image:
    """Enlarge the picture that the network sees."""
    return Image.fromarray(explained.sample.pixels).resize((TILE, TILE), Image.Resampling.NEAREST)


def _input_and_heatmap(explainer: PhotoExplainer, photo: Image.Image) -> Image.Image:
    """Draw the photo, the network's input, and the heatmap over the photo."""
    explained = explainer.explain(
        photo, ExplainOptions(input=ImageOptions(style=Style(view=View.OVERLAY, size=2 * TILE)))
    )
    small = _network_input(explained)
    return _grid(
        [
            Tile(_fit_height(photo), ("the photo",)),
            Tile(small, ("what the network sees",)),
            Tile(_fit_height(_decode_png(explained.figure.png)), ("why cat? over the photo",)),
        ],
        3,
    )


def _layers(explainer: PhotoExplainer, photo: Image.Image) -> Image.Image:
    """Draw one explanation at the input of each convolution and of the first dense layer."""
    tiles = []
    for layer in ("classifier.1", "features.9", "features.6", "features.3", "features.0"):
        explained = explainer.explain(
            photo, ExplainOptions(layer=layer, input=ImageOptions(style=Style(size=TILE)))
        )
        arrived = {total.name: total.sum for total in explained.report.relevance.layers}[layer]
        tiles.append(Tile(_decode_png(explained.figure.png), (layer, f"{arrived:.2f} of 1 arrive")))
    return _grid(tiles, 5)


def _layer_sums(explainer: PhotoExplainer, photo: Image.Image) -> dict[str, str]:
    """Table of the relevance at each layer's input, from the output to the pixels."""
    explained = explainer.explain(photo, ExplainOptions(input=ImageOptions())).report
    relevance, rules = explained.relevance, {layer.name: layer.rule for layer in explained.rule.layers}
    rows = [
        [f"`{total.name}`", rules[total.name], f"{total.sum:.3f}"]
        for total in reversed(relevance.layers)
        if rules[total.name] != "pass"
    ]
    start = ["output", "", f"{relevance.start:.3f}"]
    return {"layers": blocks.table(["layer", "rule", "relevance at its input"], [start, *rows])}


def _rules(explainer: PhotoExplainer, photo: Image.Image) -> Image.Image:
    """Draw the heatmap of every composite and rule, each on its own scale."""
    seen = _network_input(explainer.explain(photo, ExplainOptions(input=ImageOptions())))
    tiles = [explainer.map_tile(photo, ExplainOptions(rule=name), name) for name in (*COMPOSITES, *RULES)]
    return _grid([Tile(seen, ("the picture", "as the network sees it")), *tiles], 5)


def _parameters(explainer: PhotoExplainer, photo: Image.Image) -> Image.Image:
    """Draw the heatmap of two rules for several values of their parameter."""
    rows = (("epsilon", "epsilon", (1e-6, 0.1, 1, 10)), ("gamma", "gamma", (0, 0.25, 1, 100)))
    tiles = [
        explainer.map_tile(
            photo, ExplainOptions(rule=rule, parameters={name: float(value)}), f"{name}={value:g}"
        )
        for rule, name, values in rows
        for value in values
    ]
    return _grid(tiles, 4)


def _correlation(explainer: PhotoExplainer, cat: Image.Image, coffee: Image.Image) -> dict[str, str]:
    """Table of each rule's correlation between maps of two classes, and between maps of two pictures."""
    rows = []
    for name in (*COMPOSITES, *RULES):
        cases = ((cat, "cat"), (cat, "frog"), (coffee, None))
        maps = [
            explainer.explain(photo, ExplainOptions(rule=name, target=target, input=ImageOptions()))
            .relevance.sum(0)
            .ravel()
            for photo, target in cases
        ]
        (_, classes, pictures), *_ = np.corrcoef(maps)
        rows.append([f"`{name}`", f"{classes:.2f}", f"{pictures:.2f}"])
    return {"correlation": blocks.table(["rule", "*cat* and *frog*, one picture", "two pictures"], rows)}


def _frog(explainer: PhotoExplainer, cat: Image.Image, folder: Path) -> dict[str, str]:
    """Draw a crop of the cat that is classified as a frog, its heatmaps, and changed crops with their scores."""
    crop = _eye_crop(cat, EYE_TURN)
    frog = ExplainOptions(target="frog", input=SIDE_BY_SIDE)
    crop.save(folder / "frog.png", optimize=True)
    _save(folder / "frog-why.png", explainer.explain(crop, frog).figure.png)
    _save(
        folder / "frog-not-cat.png",
        explainer.explain(crop, replace(frog, versus="cat")).figure.png,
    )
    trials = {
        "unchanged": crop,
        "a spot over the reddest place": _covered(crop, INNER_CORNER),
        "the same spot over the bluest place": _covered(crop, UPPER_LID),
        "the same spot on the cheek, where the map is white": _covered(crop, CHEEK),
        "without colour": crop.convert("L").convert("RGB"),
        "the eye greener": _recoloured(crop, 25),
        "not turned": _eye_crop(cat, 0),
        "the whole face, turned": cat.crop((75, 0, 375, 300)).rotate(EYE_TURN),
    }
    tiles, rows = [], []
    for name, photo in trials.items():
        scores = {score.label: score.probability for score in explainer.explain(photo, frog).report.scores}
        best = max(scores, key=lambda label: scores[label])
        rows.append([name, f"{scores['frog']:.0%}", f"{scores['cat']:.0%}", f"{best} {scores[best]:.0%}"])
        tiles.append(
            Tile(photo.resize((TILE, TILE), Image.Resampling.LANCZOS), (f"{best} {scores[best]:.0%}",))
        )
    _grid(tiles, 4).save(folder / "frog-trials.png", optimize=True)
    return {"frog": blocks.table(["the crop", "frog", "cat", "prediction"], rows)}


def _eye_crop(cat: Image.Image, degrees: int) -> Image.Image:
    return cat.crop(EYE_CROP).rotate(degrees)


def _covered(crop: Image.Image, centre: tuple[int, int]) -> Image.Image:
    """Cover a place with a disc in the median colour, which is the fur's."""
    covered = crop.copy()
    fur = tuple(int(value) for value in np.median(np.asarray(crop).reshape(-1, 3), 0))
    x, y = centre
    ImageDraw.Draw(covered).ellipse((x - SPOT, y - SPOT, x + SPOT, y + SPOT), fill=fur)
    return covered


def _recoloured(crop: Image.Image, hue: int) -> Image.Image:
    """Shift the hue of the eye by ``hue`` of 256 steps."""
    values = np.asarray(crop.convert("HSV")).copy()
    values[..., 0] = (values[..., 0].astype(int) + hue) % 256
    mask = Image.new("L", crop.size)
    ImageDraw.Draw(mask).ellipse(EYE, fill=255)
    recoloured = crop.copy()
    recoloured.paste(Image.frombytes("HSV", crop.size, values.tobytes()).convert("RGB"), mask=mask)
    return recoloured


def _grid(tiles: Sequence[Tile], columns: int) -> Image.Image:
    """Arrange tiles in rows, with their captions below them."""
    font = ImageFont.load_default(13)
    line = 18
    caption_height = max(len(tile.lines) for tile in tiles) * line
    widths = [max(tile.image.width for tile in tiles[column::columns]) + GAP for column in range(columns)]
    height = max(tile.image.height for tile in tiles) + caption_height + GAP
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (sum(widths) + GAP, rows * height + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for index, tile in enumerate(tiles):
        x, y = GAP + sum(widths[: index % columns]), GAP + index // columns * height
        sheet.paste(tile.image, (x, y))
        draw.rectangle((x - 1, y - 1, x + tile.image.width, y + tile.image.height), outline=(120, 120, 120))
        for number, text in enumerate(tile.lines):
            draw.text((x, y + tile.image.height + 5 + number * line), text, INK, font)
    return sheet


def _fit_height(photo: Image.Image) -> Image.Image:
    """Resize a photo to the height of a tile, keeping its aspect ratio."""
    return photo.resize((round(photo.width * TILE / photo.height), TILE), Image.Resampling.LANCZOS)


def _photo(load_pixels: Callable[[], Any]) -> Image.Image:
    return Image.fromarray(np.asarray(load_pixels()))


def _encode_png(photo: Image.Image) -> bytes:
    buffer = io.BytesIO()
    photo.save(buffer, "PNG")
    return buffer.getvalue()


def _decode_png(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("RGB")


def _save(path: Path, png: bytes) -> None:
    """Write a PNG with its report, compressed better than the service does."""
    with Image.open(io.BytesIO(png)) as image:
        chunk = PngImagePlugin.PngInfo()
        chunk.add_itxt(CHUNK, image.info[CHUNK])
        image.save(path, pnginfo=chunk, optimize=True)


def main() -> None:
    """Draw all pictures, and write the generated blocks into the pages."""
    for page, texts in draw(IMAGES).items():
        blocks.fill(page, texts)
        print("\n\n".join(texts.values()))


if __name__ == "__main__":
    main()

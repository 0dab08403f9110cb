"""Draw every picture of the documentation, from photos that may be shipped. Run with ``make docs``.

The photos come with scikit-image: Chelsea the cat, by Stefan van der Walt, CC0; the cup of coffee, by Rachel
Michetti, courtesy of Pikolo Espresso Bar, CC0. What is drawn of them is by the pipeline that serves requests.
"""

import asyncio
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin
from skimage import data

from app.lrp.composites import COMPOSITES, RULES
from app.lrp.request import Start
from app.main import create_pipeline
from app.modalities.image.decoding import Picture, fit_to_model
from app.modalities.image.heatmap import CHUNK, Style, View
from app.models.local import LocalModel
from app.runtime.threads import ThreadExecutor
from app.serving.pipeline import Pipeline
from app.serving.rendering import RenderedExplanation, as_it_is
from app.serving.requests import CompareOptions, ExplainOptions
from app.serving.timings import Timings
from app.settings import Settings
from app.telemetry.metrics import Metrics
from docs import blocks

IMAGES = blocks.PAGES / "images"
TILE, GAP, INK = 160, 12, (32, 32, 32)
SIDE_BY_SIDE = Style(view=View.SIDE_BY_SIDE, size=256)

EYE_CROP, EYE_TURN = (71, 67, 236, 232), 270
"""A square of Chelsea around one eye, turned by so many degrees anticlockwise."""
SPOT = 20
"""Radius of the spots that are painted over, in the crop's 165 pixels."""
INNER_CORNER, UPPER_LID, CHEEK = (98, 112), (122, 68), (36, 38)
EYE = (85, 65, 148, 132)


@dataclass(frozen=True)
class Tile:
    """A small picture and the words below it."""

    image: Image.Image
    lines: tuple[str, ...]


class Artist:
    """Explains photos and draws what comes of it."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def explain(self, photo: Image.Image, options: ExplainOptions) -> RenderedExplanation:
        """The explanation of a photo."""
        return asyncio.run(self._pipeline.explain(_png(photo), options, Timings(), as_it_is))

    def sheet(self, photo: Image.Image, comparison: CompareOptions) -> bytes:
        """The contact sheet of a comparison."""
        return asyncio.run(self._pipeline.compare(_png(photo), comparison, Timings(), as_it_is)).sheet.png

    def map_tile(self, photo: Image.Image, options: ExplainOptions, title: str) -> Tile:
        """A heatmap on its own scale, with what it sums up to."""
        explained = self.explain(photo, replace(options, style=Style(size=TILE)))
        leak = explained.report.relevance.leak
        strongest = explained.heatmap.vmax
        words = f"±{strongest:.2g}" + ("" if leak is None else f", leak {leak:.2f}")
        return Tile(_opened(explained.heatmap.png), (title, words))


def draw(folder: Path) -> dict[str, dict[str, str]]:
    """Write all pictures into ``folder``; returns what is to be printed in which page's blocks."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(device="cpu")
    model = LocalModel.load(settings.model, settings.device, settings.cores)
    pipeline = create_pipeline(
        model, settings, Metrics(), lambda _: None, lambda renderer: ThreadExecutor(renderer, 1)
    )
    try:
        artist = Artist(pipeline)
        cat, coffee = _photo(data.chelsea), _photo(data.coffee)
        _save(folder / "cat.png", artist.explain(cat, ExplainOptions(style=SIDE_BY_SIDE)).heatmap.png)
        _save(folder / "coffee.png", artist.explain(coffee, ExplainOptions(style=SIDE_BY_SIDE)).heatmap.png)
        versus = ExplainOptions(target="cat", versus="dog", start=Start.LOGIT, style=SIDE_BY_SIDE)
        _save(folder / "cat-not-dog.png", artist.explain(cat, versus).heatmap.png)
        _seen(artist, cat).save(folder / "seen.png", optimize=True)
        _layers(artist, cat).save(folder / "layers.png", optimize=True)
        _rules(artist, cat).save(folder / "rules.png", optimize=True)
        _parameters(artist, cat).save(folder / "parameters.png", optimize=True)
        several = CompareOptions(
            ExplainOptions(start=Start.LOGIT, style=Style(size=128)),
            rules=("epsilon_plus_flat", "epsilon_alpha2_beta1_flat"),
            targets=("cat", "dog", "frog", "bird"),
        )
        _save(folder / "one-scale.png", artist.sheet(cat, several))
        return {
            "first-explanation.md": _layer_sums(artist, cat),
            "which-rule-when.md": {**_frog(artist, cat, folder), **_alike(artist, cat, coffee)},
        }
    finally:
        pipeline.close()


def _seen(artist: Artist, photo: Image.Image) -> Image.Image:
    """What is sent, what the network sees of it, and its map over the photo."""
    explained = artist.explain(photo, ExplainOptions(style=Style(view=View.OVERLAY, size=2 * TILE)))
    small = fit_to_model(Picture(photo, "PNG")).image.resize((TILE, TILE), Image.Resampling.NEAREST)
    return _grid(
        [
            Tile(_tall(photo), ("the photo",)),
            Tile(small, ("what the network sees",)),
            Tile(_tall(_opened(explained.heatmap.png)), ("why cat? over the photo",)),
        ],
        3,
    )


def _layers(artist: Artist, photo: Image.Image) -> Image.Image:
    """The same explanation stopped at each convolution and at the dense layer."""
    tiles = []
    for layer in ("classifier.1", "features.9", "features.6", "features.3", "features.0"):
        explained = artist.explain(photo, ExplainOptions(layer=layer, style=Style(size=TILE)))
        arrived = {total.name: total.sum for total in explained.report.relevance.layers}[layer]
        tiles.append(Tile(_opened(explained.heatmap.png), (layer, f"{arrived:.2f} of 1 arrive")))
    return _grid(tiles, 5)


def _layer_sums(artist: Artist, photo: Image.Image) -> dict[str, str]:
    """How much relevance arrives at each layer, from the last to the first."""
    explained = artist.explain(photo, ExplainOptions()).report
    relevance, rules = explained.relevance, {layer.name: layer.rule for layer in explained.rule.layers}
    rows = [
        [f"`{total.name}`", rules[total.name], f"{total.sum:.3f}"]
        for total in reversed(relevance.layers)
        if rules[total.name] != "pass"
    ]
    start = ["the output", "", f"{relevance.start:.3f}"]
    return {"layers": blocks.table(["arrives at the input of", "by the rule", "relevance"], [start, *rows])}


def _rules(artist: Artist, photo: Image.Image) -> Image.Image:
    """Every composite and every rule, each on its own scale."""
    seen = fit_to_model(Picture(photo, "PNG")).image.resize((TILE, TILE), Image.Resampling.NEAREST)
    tiles = [artist.map_tile(photo, ExplainOptions(rule=name), name) for name in (*COMPOSITES, *RULES)]
    return _grid([Tile(seen, ("the picture", "as the network sees it")), *tiles], 5)


def _parameters(artist: Artist, photo: Image.Image) -> Image.Image:
    """What a parameter does to a rule, value by value."""
    rows = (("epsilon", "epsilon", (1e-6, 0.1, 1, 10)), ("gamma", "gamma", (0, 0.25, 1, 100)))
    tiles = [
        artist.map_tile(
            photo, ExplainOptions(rule=rule, parameters={name: float(value)}), f"{name}={value:g}"
        )
        for rule, name, values in rows
        for value in values
    ]
    return _grid(tiles, 4)


def _alike(artist: Artist, cat: Image.Image, coffee: Image.Image) -> dict[str, str]:
    """How alike each rule's maps are of two classes of one picture, and of two pictures: their correlation."""
    rows = []
    for name in (*COMPOSITES, *RULES):
        asked = ((cat, "cat"), (cat, "frog"), (coffee, None))
        maps = [
            artist.explain(photo, ExplainOptions(rule=name, target=target)).relevance.sum(0).ravel()
            for photo, target in asked
        ]
        (_, classes, pictures), *_ = np.corrcoef(maps)
        rows.append([f"`{name}`", f"{classes:.2f}", f"{pictures:.2f}"])
    return {"alike": blocks.table(["rule", "*cat* and *frog*, one picture", "two pictures"], rows)}


def _frog(artist: Artist, cat: Image.Image, folder: Path) -> dict[str, str]:
    """A crop of the cat that the network takes for a frog, why, and what becomes of it when that is changed."""
    crop = _turned(cat, EYE_TURN)
    frog = ExplainOptions(target="frog", style=SIDE_BY_SIDE)
    crop.save(folder / "frog.png", optimize=True)
    _save(folder / "frog-why.png", artist.explain(crop, frog).heatmap.png)
    _save(
        folder / "frog-not-cat.png",
        artist.explain(crop, replace(frog, versus="cat", start=Start.LOGIT)).heatmap.png,
    )
    trials = {
        "as it is": crop,
        "a spot over the reddest place": _covered(crop, INNER_CORNER),
        "the same spot over the bluest place": _covered(crop, UPPER_LID),
        "the same spot on the cheek, where the map is white": _covered(crop, CHEEK),
        "without colour": crop.convert("L").convert("RGB"),
        "the eye greener": _recoloured(crop, 25),
        "not turned": _turned(cat, 0),
        "the whole face, turned": cat.crop((75, 0, 375, 300)).rotate(EYE_TURN),
    }
    tiles, rows = [], []
    for name, photo in trials.items():
        scores = {score.label: score.probability for score in artist.explain(photo, frog).report.scores}
        best = max(scores, key=lambda label: scores[label])
        rows.append([name, f"{scores['frog']:.0%}", f"{scores['cat']:.0%}", f"{best} {scores[best]:.0%}"])
        tiles.append(
            Tile(photo.resize((TILE, TILE), Image.Resampling.LANCZOS), (f"{best} {scores[best]:.0%}",))
        )
    _grid(tiles, 4).save(folder / "frog-trials.png", optimize=True)
    return {"frog": blocks.table(["the crop", "frog", "cat", "answer"], rows)}


def _turned(cat: Image.Image, degrees: int) -> Image.Image:
    return cat.crop(EYE_CROP).rotate(degrees)


def _covered(crop: Image.Image, centre: tuple[int, int]) -> Image.Image:
    """With a disc of the fur's own colour over this place."""
    covered = crop.copy()
    fur = tuple(int(value) for value in np.median(np.asarray(crop).reshape(-1, 3), 0))
    x, y = centre
    ImageDraw.Draw(covered).ellipse((x - SPOT, y - SPOT, x + SPOT, y + SPOT), fill=fur)
    return covered


def _recoloured(crop: Image.Image, hue: int) -> Image.Image:
    """With the eye's hue moved by so many of 256 steps."""
    values = np.asarray(crop.convert("HSV")).copy()
    values[..., 0] = (values[..., 0].astype(int) + hue) % 256
    mask = Image.new("L", crop.size)
    ImageDraw.Draw(mask).ellipse(EYE, fill=255)
    recoloured = crop.copy()
    recoloured.paste(Image.frombytes("HSV", crop.size, values.tobytes()).convert("RGB"), mask=mask)
    return recoloured


def _grid(tiles: Sequence[Tile], columns: int) -> Image.Image:
    """Tiles in rows, with their words below them."""
    font = ImageFont.load_default(13)
    line = 18
    words = max(len(tile.lines) for tile in tiles) * line
    widths = [max(tile.image.width for tile in tiles[column::columns]) + GAP for column in range(columns)]
    height = max(tile.image.height for tile in tiles) + words + GAP
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


def _tall(photo: Image.Image) -> Image.Image:
    """As high as a tile, its proportions kept."""
    return photo.resize((round(photo.width * TILE / photo.height), TILE), Image.Resampling.LANCZOS)


def _photo(load_pixels: Callable[[], Any]) -> Image.Image:
    return Image.fromarray(np.asarray(load_pixels()))


def _png(photo: Image.Image) -> bytes:
    buffer = io.BytesIO()
    photo.save(buffer, "PNG")
    return buffer.getvalue()


def _opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("RGB")


def _save(path: Path, png: bytes) -> None:
    """As the service sent it, report and all, but packed tighter."""
    with Image.open(io.BytesIO(png)) as image:
        chunk = PngImagePlugin.PngInfo()
        chunk.add_itxt(CHUNK, image.info[CHUNK])
        image.save(path, pnginfo=chunk, optimize=True)


def main() -> None:
    """Draw, and print what the pages say of it into them."""
    for page, texts in draw(IMAGES).items():
        blocks.fill(page, texts)
        print("\n\n".join(texts.values()))


if __name__ == "__main__":
    main()

"""The chart of an evaluation: perturbation curves as small line charts, one for each rule."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from app.serving.answers import AnyEvaluation
from app.serving.evaluation_schemas import CurvesReport
from app.serving.schemas import Value

Point = tuple[float, float]
Colour = tuple[int, int, int]

MOST, LEAST, FILL = (178, 24, 43), (33, 102, 172), (228, 228, 236)
RANDOM, INK, FRAME = (150, 150, 150), (32, 32, 32), (190, 190, 190)
COLUMNS = 3
WIDTH, HEIGHT, MARGIN, TITLE, AXIS = 240, 150, 18, 40, 26
"""Pixels of a panel's plot, and around it."""
LETTERS, LINE = 12, 15
OVERSAMPLING = 2
"""Lines are drawn larger and reduced, because Pillow does not smooth them."""


@dataclass(frozen=True)
class Panel:
    """One line chart: a title, a line below it, and the curves of one order of the parts."""

    title: str
    note: str
    curves: CurvesReport


@dataclass(frozen=True)
class Axis:
    """What the lower and the upper edge of a chart stand for; of probabilities by default."""

    low: float = 0.0
    high: float = 1.0

    def height(self, value: float) -> float:
        """Return where a value lies between the lower edge, 0, and the upper one, 1."""
        return (value - self.low) / (self.high - self.low)


PROBABILITIES = Axis()


def draw_evaluation(answer: AnyEvaluation) -> bytes:
    """Draw the curves of an evaluation as a PNG."""
    panels, target = panels_of(answer), answer.target
    if isinstance(target, Value):
        unit = f" in {target.unit}" if target.unit else ""
        caption = f"{target.name}{unit} while {answer.removal}"
        return draw_chart(panels, target.value, caption, axis_of(panels, target.value))
    best = answer.prediction
    said = "" if target.index == best.index else f"; predicted: {best.label}"
    caption = f"probability of {target.label} while {answer.removal}{said}"
    return draw_chart(panels, target.probability, caption)


def panels_of(answer: AnyEvaluation) -> list[Panel]:
    """Return the panels of an evaluation: the ceiling, each rule, and the random order."""
    rules = [Panel(one.rule.name, _note(one.gap, one.flips_after), one.curves) for one in answer.evaluations]
    name, order = answer.ceiling_name.replace("_", " "), answer.ceiling
    ceiling = Panel(name, f"gap {order.gap:.2f}: the ceiling", order.curves)
    random = Panel("random order", f"gap {answer.random.gap:.2f}: the control", answer.random.curves)
    return [ceiling, *rules, random]


def axis_of(panels: Sequence[Panel], start: float) -> Axis:
    """Return an axis for values of any size, those of all curves and ``start``."""
    values = [start]
    for panel in panels:
        values += [*panel.curves.most_relevant_first, *panel.curves.least_relevant_first]
    low, high = min(values), max(values)
    margin = (high - low) / 20 or 1.0
    return Axis(low - margin, high + margin)


def draw_chart(panels: Sequence[Panel], start: float, caption: str, axis: Axis = PROBABILITIES) -> bytes:
    """Draw ``panels`` as a PNG. All curves begin at ``start``, the value before the first flip."""
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    across, down = WIDTH + 2 * MARGIN + LETTERS, TITLE + HEIGHT + AXIS
    sheet = Image.new("RGB", (columns * across + MARGIN, 2 * LINE + MARGIN + rows * down), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(LETTERS)
    draw.text((MARGIN, MARGIN), caption, INK, font, anchor="lt")
    legend = (("most relevant first", MOST), ("least relevant first", LEAST))
    x = float(MARGIN)
    for text, colour in legend:
        draw.text((x, MARGIN + LINE), text, colour, font, anchor="lt")
        x += font.getlength(text) + MARGIN
    for index, panel in enumerate(panels):
        left, top = MARGIN + index % columns * across, 2 * LINE + MARGIN + index // columns * down
        draw.text((left + LETTERS, top + LINE - 1), panel.title, INK, font, anchor="ls")
        draw.text((left + LETTERS, top + 2 * LINE), panel.note, INK, font, anchor="ls")
        sheet.paste(_plot(panel.curves, start, axis), (left + LETTERS, top + TITLE))
        _label_axes(draw, left + LETTERS, top + TITLE, len(panel.curves.most_relevant_first), axis)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _note(gap: float, flips_after: int | None) -> str:
    changes = "" if flips_after is None else f", class changes after {flips_after}"
    return f"gap {gap:.2f}{changes}"


def _plot(curves: CurvesReport, start: float, axis: Axis) -> Image.Image:
    """Draw both curves, with the area between them that the gap measures."""
    width, height = WIDTH * OVERSAMPLING, HEIGHT * OVERSAMPLING
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    most, least = (
        _points([axis.height(value) for value in (start, *values)], width, height)
        for values in (curves.most_relevant_first, curves.least_relevant_first)
    )
    half = max(1, (len(most) - 1) // 2) + 1
    draw.polygon([*most[:half], *least[:half][::-1]], fill=FILL)
    for points, colour in ((least, LEAST), (most, MOST)):
        draw.line(points, colour, 2 * OVERSAMPLING, joint="curve")
    draw.rectangle((0, 0, width - 1, height - 1), outline=FRAME, width=OVERSAMPLING)
    return image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def _points(values: Sequence[float], width: int, height: int) -> list[Point]:
    """Return the pixels of heights, from 0 to 1, after 0, 1, … flips."""
    return [(i / (len(values) - 1) * width, (1 - value) * height) for i, value in enumerate(values)]


def _label_axes(draw: ImageDraw.ImageDraw, left: int, top: int, flips: int, axis: Axis) -> None:
    font = ImageFont.load_default(LETTERS - 2)
    for share in (0.0, 0.5, 1.0):
        text = _tick(axis.high + share * (axis.low - axis.high))
        draw.text((left - 3, top + share * HEIGHT), text, INK, font, anchor="rm")
    for share, anchor in ((0.0, "lt"), (0.5, "mt"), (1.0, "rt")):
        text = f"{round(share * flips)}" if share < 1 else f"{flips} flips"
        draw.text((left + share * WIDTH, top + HEIGHT + 3), text, INK, font, anchor=anchor)


def _tick(value: float) -> str:
    """Return a number in few characters, such as ``.5``."""
    text = f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return text.removeprefix("0") if text.startswith("0.") else text

"""Texts in a terminal."""

import io
import re

import pytest
from rich.console import Console

from app.command_line.text import LARGEST, print_text
from app.modalities.drawing.colormaps import COLORMAPS
from app.modalities.drawing.scale import Scale
from app.modalities.drawing.style import Sign
from app.modalities.text.drawing.scored import ScoredText, ScoredToken, TextCaptions

RED, BLUE = "48;2;103;0;31", "48;2;5;48;97"
"""Backgrounds of the ends of the scale."""


def figure(count: int = 2) -> ScoredText:
    """A text of ``count`` words, whose relevance is 1, −1, 1, …"""
    words = [
        ScoredToken("ab", 3 * place, 3 * place + 2, place != 1, (-1.0) ** place) for place in range(count)
    ]
    text = "ab " * count
    scale = Scale(-1, 1, COLORMAPS["RdBu_r"], absolute=False)
    return ScoredText(
        text, tuple(words), scale, Sign.ALL, TextCaptions("good 93%", "why good?", "epsilon"), cut=0
    )


def printed(shown: ScoredText, **options: bool) -> str:
    file = io.StringIO()
    console = Console(file=file, width=60, color_system="truecolor", highlight=False, **options)  # type: ignore[arg-type]
    print_text(shown, console)
    return file.getvalue()


def test_words_have_the_colours_of_the_scale_which_is_shown() -> None:
    caption, text, legend, *_ = printed(figure(), force_terminal=True).splitlines()
    assert "good 93%, why good? Rule epsilon" in caption
    assert re.search(rf"{RED}mab\x1b", text)
    assert re.search(rf"\x1b\[4;[^m]*{BLUE}mab\x1b", text)  # underlined: unknown
    assert legend.index("−1") < legend.index(BLUE) < legend.index(RED) < legend.index("+1")


def test_the_largest_numbers_are_listed_and_the_others_summed() -> None:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", printed(figure(LARGEST + 3)))
    rows = [line.split() for line in plain.splitlines() if line.endswith("1  ")]
    assert [number for *_, number in rows[:-1]] == ["+1", "−1"] * (LARGEST // 2)
    assert rows[-1] == ["all", "others", "+1"]


def test_without_colours_the_text_and_the_numbers_remain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    lines = [line.split() for line in printed(figure(), force_terminal=True).splitlines()]
    assert "48;2" not in str(lines)
    assert [line for line in lines if "ab" in str(line)][1:] == [["ab", "+1"], ["ab", "(unknown)", "−1"]]


def test_what_looks_like_markup_is_text() -> None:
    shown = ScoredText("[red]x[/red]", (), figure().scale, Sign.ALL, figure().captions, cut=0)
    assert printed(shown).splitlines()[1] == "[red]x[/red]"

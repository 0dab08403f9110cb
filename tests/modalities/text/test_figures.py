"""Texts with the relevance of their words: numbers, page and picture."""

import base64
import hashlib
import io
import json
import pickle
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_tokenizers import byte_level, modality, word_piece

from app.errors import InternalError, InvalidParameterError
from app.modalities.drawing.colormaps import COLORMAPS, table
from app.modalities.drawing.style import ColourStyle, Normalize, Sign
from app.modalities.protocol import Map
from app.modalities.text.drawing.lines import lines_of
from app.modalities.text.drawing.pieces import Kind, Piece, ink_on, pieces_of
from app.modalities.text.modality import TextModality, TextOptions, Unit

PARTS_OF_WORDS = modality(word_piece(), max_tokens=16)
BYTES = modality(byte_level(), max_tokens=16)
TEXTS = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="↵") | st.sampled_from("<>&\"'\n\t "),
    min_size=1,
)
HOSTILE = "<script>alert(1)</script> \"film\" 'a' & <b class=word>\n\t  !"


def drawn(
    text: str, values: Sequence[float] | None = None, kind: TextModality = PARTS_OF_WORDS, **options: Any
) -> Any:
    """Draw one map, of different numbers for each token unless ``values`` are given."""
    chosen = TextOptions(**options)
    sample = kind.decode(text, chosen)
    relevance = np.arange(len(sample.input)) - 2.0 if values is None else np.array(values)
    return kind.render([a_map(relevance)], sample, chosen)[0]


def a_map(relevance: Any, rule: str = "epsilon", question: str = "why good?") -> Map:
    return Map(np.asarray(relevance, np.float32), rule, "good 93%", question, {"rule": rule, "text": "日本"})


class Page(HTMLParser):
    """What a page contains."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words: list[dict[str, str | None]] = []
        self.texts: list[str] = []
        self.style = ""
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        self.attributes |= set(given)
        if tag == "data":
            self.words.append(given)
        if given.get("class") == "text":
            self.texts.append("")
        if tag != "meta":
            self._open.append((tag, given))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        classes = " ".join(str(given.get("class")) for _, given in self._open)
        hidden = any("aria-hidden" in given for _, given in self._open)
        if self._open and self._open[-1][0] == "style":
            self.style += data
        elif "text" in classes.split() and not {"number", "special"} & set(classes.split()) and not hidden:
            self.texts[-1] += data


def test_words_have_the_sum_of_their_tokens() -> None:
    figure = drawn("A witty film", [0.5, 1, 2, -4, 8, -0.25])
    found = [(token.text, token.start, token.end, token.relevance) for token in figure.tokens]
    assert found == [
        ("[CLS]", 0, 0, 0.5),
        ("A", 0, 1, 1),
        ("witty", 2, 7, -2),
        ("film", 8, 12, 8),
        ("[SEP]", 12, 12, -0.25),
    ]
    assert (figure.vmin, figure.vmax, figure.colormap) == (-8, 8, "RdBu_r")
    by_token = drawn("A witty film", [0.5, 1, 2, -4, 8, -0.25], unit=Unit.TOKEN)
    assert [token.relevance for token in by_token.tokens] == [0.5, 1, 2, -4, 8, -0.25]


@pytest.mark.parametrize("unit", Unit)
@pytest.mark.parametrize("kind", [PARTS_OF_WORDS, BYTES], ids=["parts of words", "bytes"])
@settings(deadline=None)  # the first test of a process loads what it needs
@given(TEXTS)
def test_numbers_add_up_and_the_text_is_shown_as_it_is(kind: TextModality, unit: Unit, text: str) -> None:
    try:
        figure = drawn(text, None, kind, unit=unit)
    except InvalidParameterError:
        return
    total = sum(np.arange(len(kind.decode(text, TextOptions()).input)) - 2.0)
    pieces = pieces_of(figure)
    for scored in (figure.tokens, pieces):
        assert sum(one.relevance for one in scored) == pytest.approx(total)
    assert "".join(piece.text for piece in pieces if piece.kind is not Kind.SPECIAL) == text
    assert Page(figure.html).texts == [text]


def test_the_relevance_of_a_layer_is_summed_for_each_token() -> None:
    sample = PARTS_OF_WORDS.decode("a film", TextOptions())
    of_layer = np.arange(12.0).reshape(4, 3)
    (figure,) = PARTS_OF_WORDS.render([a_map(of_layer)], sample, TextOptions())
    assert [token.relevance for token in figure.tokens] == of_layer.sum(1).tolist()


@pytest.mark.parametrize(
    ("relevance", "error"),
    [
        (np.zeros(7), InternalError),
        (np.full(4, np.nan), InternalError),
        ([0, 0, 0, np.inf], InternalError),
    ],
)
def test_relevance_that_cannot_be_drawn_is_refused(relevance: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        drawn("a film", relevance)


def test_all_maps_have_one_scale() -> None:
    options = TextOptions(style=ColourStyle(normalize=Normalize.MINMAX))
    sample = PARTS_OF_WORDS.decode("a film", options)
    maps = [a_map([0, 1, 0, 0]), a_map([0, -3, 2, 0])]
    assert [(figure.vmin, figure.vmax) for figure in PARTS_OF_WORDS.render(maps, sample, options)] == [
        (-3, 2)
    ] * 2


def test_the_scale_is_that_of_the_sign_that_is_shown() -> None:
    figure = drawn("a film", [0, 1, -4, 0], style=ColourStyle(sign=Sign.POSITIVE))
    assert figure.vmax == 1
    cls, a, film, _ = (piece for piece in pieces_of(figure) if piece.scored)
    assert film.background == cls.background != a.background
    assert film.relevance == -4


def test_the_page_needs_no_script_and_nothing_from_elsewhere() -> None:
    page = Page(drawn(HOSTILE).html)
    assert page.tags.isdisjoint({"script", "img", "link", "iframe", "object", "b"})
    assert page.attributes.isdisjoint({"style", "src", "href", "onclick", "onload"})
    assert "url(" not in page.style
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert f"content=\"default-src 'none'; style-src 'sha256-{digest}'\"" in drawn(HOSTILE).html


def test_every_word_has_its_colour_and_its_number() -> None:
    page = Page(drawn("a qwerty film", [0, 5, -5, 0.125, 0]).html)
    assert [word["value"] for word in page.words] == ["0", "5", "-5", "0.125", "0"]
    assert [word["title"] for word in page.words] == ["0", "+5", "−5, unknown word", "+0.125", "0"]
    highest, lowest = page.words[1]["class"], page.words[2]["class"]
    assert highest == "word c67001f"
    assert lowest == "word c053061 unknown"
    assert ".c67001f { background: #67001f; color: #ffffff; }" in page.style


@pytest.mark.parametrize("name", COLORMAPS)
def test_words_can_be_read_on_every_colour(name: str) -> None:
    def luminance(colour: Any) -> float:  # WCAG 2.2, relative luminance
        levels = np.array(colour) / 255
        linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for background in table(COLORMAPS[name]).tolist():
        dark, light = sorted([luminance(background), luminance(ink_on(tuple(background)))])
        assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_a_sheet_has_a_row_for_each_rule_and_its_maps_beside_each_other() -> None:
    sample = PARTS_OF_WORDS.decode("a film", TextOptions())
    questions = [(rule, question) for rule in ("epsilon", "gamma") for question in ("why good?", "why bad?")]
    maps = [a_map(np.full(4, place), *question) for place, question in enumerate(questions)]
    sheet = PARTS_OF_WORDS.render_together(maps, sample, TextOptions(), {"of": "all"})
    assert Page(sheet.html).texts == ["a film"] * 4
    assert re.findall(r"<h2>Rule (\w+)", sheet.html) == ["epsilon", "gamma"]
    assert (sheet.vmin, sheet.vmax) == (-3, 3)
    alone, together = (Image.open(io.BytesIO(png)) for png in (sheet.figures[0].png, sheet.png))
    assert together.size > alone.size
    assert json.loads(together.info["lrp"]) == {"of": "all"}


def test_the_picture_has_the_metadata_and_the_colours() -> None:
    figure = pickle.loads(pickle.dumps(drawn("a film", [0, 5, -5, 0])))  # as between processes
    image = Image.open(io.BytesIO(figure.png))
    assert json.loads(image.info["lrp"]) == {"rule": "epsilon", "text": "日本"}
    counts = {colour: count for count, colour in image.convert("RGB").getcolors(1 << 24) or ()}
    assert counts[0x67, 0, 0x1F] > 100
    assert counts[0x05, 0x30, 0x61] > 100


def test_letters_that_no_font_has_are_named_in_the_picture() -> None:
    plane_16 = "\U0010fffd"  # for private use
    runs = [
        run
        for line in lines_of([Piece(Kind.WORD, f"a{plane_16}b")], 20, 500)
        for box in line.boxes
        for run in box.runs
    ]
    assert [(run.text, run.missing) for run in runs] == [("a", ""), ("?", plane_16), ("b", "")]
    texts = (f"film {plane_16}", "film x")
    with_note, without_note = (Image.open(io.BytesIO(drawn(text, kind=BYTES).png)).height for text in texts)
    assert with_note > without_note


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        ("one two", "one two"),
        ("ab שלום עולם cd", "ab עולם שלום cd"),
        ("שלום ab cd !", "! ab cd שלום"),
        ("שלום 3 . 14 ab", "ab 14 . 3 שלום"),
        ("ab 12 שלום 34 56", "ab 12 56 34 שלום"),
        ("( שלום )", ") שלום ("),
    ],
)
def test_words_are_seen_in_the_order_of_their_direction(words: str, seen: str) -> None:
    (line,) = lines_of([Piece(Kind.BETWEEN, words)], 20, 5000)
    assert "".join(box.text for box in line.boxes) == seen


@settings(deadline=None)
@given(TEXTS, st.integers(20, 400))
def test_lines_are_no_wider_than_there_is_room_and_have_all_letters(text: str, width: int) -> None:
    lines = list(lines_of([Piece(Kind.WORD, text)], 20, width))
    for line in lines:
        assert line.width <= width or all(len(box.text) == 1 for box in line.boxes)
    letters = "".join(box.text for line in lines for box in line.boxes).replace("↵", "")  # for a line break
    assert sorted("".join(letters.split())) == sorted("".join(text.split()))


def test_the_longest_texts_are_drawn_within_bounds() -> None:
    for text in ("\n" * 9_999 + "a", "a" * 10_000, "日" * 10_000):
        image = Image.open(io.BytesIO(drawn(text).png))
        assert image.height < 6_500

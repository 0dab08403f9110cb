"""The page of a text in a browser: nothing is refused by its own policy, and it can be read by everyone."""

import shutil
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, sync_playwright
from small_tokenizers import modality, word_level

from app.modalities.protocol import Map
from app.modalities.text.drawing.lines import lines_of
from app.modalities.text.drawing.pieces import pieces_of
from app.modalities.text.modality import TextOptions

KIND = modality(word_level())
WORDS_FROM_LEFT = """
() => [...document.querySelectorAll("data")]
    .sort((one, other) => one.getBoundingClientRect().left - other.getBoundingClientRect().left)
    .map((word) => word.firstChild.data)
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


def drawn(text: str) -> Any:
    sample = KIND.decode(text, TextOptions())
    values = np.linspace(-1, 1, len(sample.input), dtype=np.float32)
    one = Map(values, "epsilon", "good 93%", "why good?", {})
    return KIND.render([one], sample, TextOptions())[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violations_and_the_policy_refuses_nothing(
    browser: Browser, scheme: Literal["light", "dark"]
) -> None:
    messages: list[str] = []
    with browser.new_context(color_scheme=scheme, viewport={"width": 390, "height": 800}) as context:
        page = context.new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.set_content(drawn("a gorgeous film, <b>été</b> " * 20).html)
        report = Axe().run(page)
        width = page.evaluate("document.documentElement.scrollWidth")
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert report.violations_count == 0, report.generate_report()
    assert messages == []
    assert width == 390
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")


@pytest.mark.parametrize(
    "text",
    [
        "one שלום עולם two !",
        "שלום one two ( עולם ) 12 34 one 56",
        "( שלום ) - 3 . 14 % one",
        "one 12 שלום 34 - 56 !",
        "12 שלום ! two",
    ],
)
def test_words_in_the_picture_are_in_the_browsers_order(browser: Browser, text: str) -> None:
    figure = drawn(text)
    (line,) = lines_of(pieces_of(figure), 20, 5000)
    page = browser.new_page(viewport={"width": 2000, "height": 500})
    page.set_content(figure.html)
    words = page.evaluate(WORDS_FROM_LEFT)
    page.close()
    assert [box.text for box in line.boxes if box.piece.scored] == words

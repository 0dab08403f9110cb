"""Reports of texts and tables in Chromium."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import surveyed_tables as of_tables
import surveyed_texts as of_texts
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from app.survey.finished import ReportFolder

WORDS = [(text.replace("wonder", "<img src=x onerror=alert(1)>"), label) for text, label in of_texts.TEXTS]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the surveys ``texts``, ``values`` and ``classes``."""
    folder = tmp_path_factory.mktemp("reports")
    listed = of_tables.rows()
    of_texts.surveyed(of_texts.write(folder / "t.tsv", WORDS), folder / "texts")
    values = of_tables.write(folder / "values.csv", listed, [20 + number for number in range(40)])
    of_tables.surveyed(values, folder / "values")
    classes = of_tables.write(folder / "classes.csv", listed, ["warm", "cold"] * 20, "climate")
    of_tables.surveyed(classes, folder / "classes", of_tables.Classes())
    return folder


@pytest.fixture(scope="module")
def browser(reports: Path) -> Iterator[Browser]:  # noqa: ARG001 # surveys have event loops of their own, before
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=[(1280, "light"), (400, "dark")], ids=["wide", "narrow"])
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    width, scheme = request.param
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    page.on("request", lambda asked: faults.append(asked.url) if asked.url.startswith("http") else None)
    page.on("dialog", lambda dialog: faults.append(dialog.message))
    yield page
    page.close()
    assert faults == []


def test_a_text_is_found_by_its_words_and_drawn_with_their_relevance(page: Page, reports: Path) -> None:
    page.goto((reports / "texts" / "report.html").as_uri())
    page.locator("#search").fill("onerror")
    expect(page.locator("#search-found .tile")).to_have_count(1)
    page.locator("#search").fill("good bad")
    tile = page.locator("#search-found .tile")
    expect(tile.locator(".scored")).to_have_text(["good", "bad"])
    assert [one.get_attribute("title") for one in tile.locator(".scored").all()] == ["−2", "+4"]
    tile.click()
    expect(page.locator("#item-drawings figcaption")).to_have_text(
        ["Why this class", "Why rather than the label"]
    )
    page.keyboard.press("Escape")
    word = page.locator("#words .word", has_text="bad").first
    word.click()
    expect(page.locator("#words .examples h3")).to_have_text("Texts with bad")
    expect(page.locator("#words .examples .tile")).not_to_have_count(0)
    word.click()
    expect(page.locator("#words .examples")).to_be_hidden()
    _check(page)


def test_a_row_is_drawn_with_bars_and_all_features_have_a_plot(page: Page, reports: Path) -> None:
    page.goto((reports / "values" / "report.html").as_uri())
    expect(page.locator("svg.beeswarm g")).to_have_count(3)
    expect(page.locator("svg.dependence")).to_have_count(3)
    tile = page.locator("#errors .tile").first
    tile.scroll_into_view_if_needed()
    expect(tile.locator(".track")).to_have_count(3)
    tile.click()
    expect(page.locator("#item-facts")).to_contain_text("°C")
    expect(page.locator("#item-neighbours .tile")).not_to_have_count(0)
    page.keyboard.press("Escape")
    _check(page)


def test_classes_of_rows_have_a_confusion(page: Page, reports: Path) -> None:
    page.goto((reports / "classes" / "report.html").as_uri())
    page.locator(".matrix .cell").first.click()
    expect(page.locator("#chosen .tile .bars")).not_to_have_count(0)
    _check(page)


def test_surveys_of_all_kinds_are_listed_among_reports(reports: Path) -> None:
    found = {one.name: one for one in ReportFolder(reports).all().reports}
    assert found.keys() == {"texts", "values", "classes"}
    assert found["texts"].accuracy == pytest.approx(5 / 8)
    assert found["values"].accuracy is None
    assert {one.suspicion for one in found.values()} == {None}


def _check(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    found = Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []

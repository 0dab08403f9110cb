"""The report in Chromium: pictures, confusion, plot, search and keyboard, without any request to a network."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect, sync_playwright
from surveyed import picture, surveyed, write, write_all

NAME = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    data = write_all(folder / "data", 24)
    for number in range(3):
        write(data / "top-left" / f"{NAME}{number}.png", picture("top-right", 50 + number))
    surveyed(data, folder / "out")
    return folder / "out"


@pytest.fixture(scope="module", params=[(1280, "light"), (400, "dark")], ids=["wide", "narrow"])
def page(folder: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    width, scheme = request.param
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
        page.on("request", lambda asked: faults.append(asked.url) if asked.url.startswith("http") else None)
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.goto((folder / "report.html").as_uri())
        yield page
        browser.close()
        assert faults == []


def test_a_cell_of_the_confusion_shows_its_items(page: Page) -> None:
    cell = page.get_by_label("top-left predicted as top-right: 3")
    cell.click()
    expect(page.locator("#chosen h3")).to_have_text("top-left taken for top-right")
    expect(page.locator("#chosen .tile")).to_have_count(3)
    cell.click()
    expect(page.locator("#chosen")).to_be_hidden()


def test_a_mistake_has_its_picture_map_and_contrast(page: Page) -> None:
    tile = page.locator("#errors .wide .tile").first
    tile.scroll_into_view_if_needed()
    expect(tile.locator("img")).to_have_count(3)
    expect(tile).to_contain_text("top-left taken for top-right")
    tile.click()
    expect(page.locator("#item-title")).to_contain_text(NAME)
    expect(page.locator("#item-drawings figcaption")).to_have_text(
        ["What the network sees", "Why this class", "Why rather than the label"]
    )
    page.locator("#item-neighbours .tile").first.click()
    expect(page.locator("#item-neighbours .tile")).not_to_have_count(0)
    page.keyboard.press("Escape")
    expect(page.locator("#item")).to_be_hidden()


def test_the_plot_is_used_with_the_keyboard(page: Page) -> None:
    page.locator("#plot-class").select_option(label="top-right, 27 items")
    page.locator("#plot").focus()
    page.keyboard.press("ArrowRight")
    first = page.locator("#pointed .hint").inner_text()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#pointed .hint")).not_to_have_text(first)
    page.keyboard.press("Enter")
    expect(page.locator("#item")).to_be_visible()
    page.keyboard.press("Escape")


def test_an_item_is_found_by_its_name(page: Page) -> None:
    page.locator("#search").fill("bottom-left/003")
    expect(page.locator("#search-found .tile")).to_have_count(1)
    expect(page.locator("#search-count")).to_contain_text("1 item of 99")


def test_the_labels_of_the_calibration_curve_are_inside_its_drawing(page: Page) -> None:
    drawing = page.locator(".calibration").bounding_box()
    assert drawing is not None
    labels = page.locator(".calibration text")
    for box in (labels.nth(number).bounding_box() for number in range(labels.count())):
        assert box is not None
        assert drawing["x"] <= box["x"] < box["x"] + box["width"] <= drawing["x"] + drawing["width"]
        assert drawing["y"] <= box["y"] < box["y"] + box["height"] <= drawing["y"] + drawing["height"]


def test_nothing_is_wider_than_the_page(page: Page) -> None:
    width = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert width == 0


def test_the_page_passes_the_checks_of_axe(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []

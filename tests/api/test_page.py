"""The page in a browser, with the real server.

Each test also fails if the browser's console has any message or the page sends a request to another host.
Screenshots are written to ``.artefacts/``.
"""

import base64
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import Server, encode, serving
from fake_model import DESCRIPTION, FakeModel
from fake_table_model import FakeTableModel
from fake_text_model import FakeTextModel
from nginx import PREFIX, nginx, passing_on, recipe
from PIL import Image
from playwright.sync_api import (
    Browser,
    FilePayload,
    Locator,
    Page,
    Route,
    ViewportSize,
    expect,
    sync_playwright,
)
from starlette.testclient import TestClient
from test_several_models import COMPASS, Named

from app.lrp.explanation import Explanation
from app.lrp.request import ExplanationRequest
from app.main import create_app
from app.models.protocol import Job, JobResult, LayerDescription, Model
from app.settings import Settings

ROOT = Path(__file__).parents[2]
WEB = ROOT / "app" / "web"
ARTEFACTS = ROOT / ".artefacts"
MAX_PAGE_BYTES = 210_000
SIZES = {"desktop": (1280, 800), "tablet": (800, 1000), "phone": (390, 844)}
READY = {"map": "#zoom-in:enabled", "compare": "#grid img", "layers": "#flow img", "trust": "#curves svg"}
"""What is visible in a tab when it is complete."""
EVALUATION_MS = 60_000
USUAL_SIZE: ViewportSize = {"width": 1280, "height": 720}
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


@pytest.fixture
def site(server: Server) -> str:
    """The URL of the service with default settings."""
    return f"http://127.0.0.1:{server.port}"


@pytest.fixture(scope="module")  # Playwright's event loop must end before tests of other modules
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    expect.set_options(timeout=15_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", *CAMERA])
        yield browser
        browser.close()


@contextmanager
def watched(page: Page, site: str, *, failures: bool = False) -> Iterator[Page]:
    """Fail if the page writes to the console or sends a request to another host than that of ``site``.

    ``failures`` allows messages about failed requests.
    """
    messages: list[str] = []
    hosts: set[str] = set()
    listeners: dict[str, Callable[[Any], None]] = {
        "console": lambda message: messages.append(message.text),
        "pageerror": lambda error: messages.append(str(error)),
        "request": lambda request: hosts.add(httpx.URL(request.url).netloc.decode()),
    }
    for event, listener in listeners.items():
        page.on(event, listener)  # type: ignore[call-overload] # the event is no literal
    yield page
    for event, listener in listeners.items():
        page.remove_listener(event, listener)
    unexpected = [text for text in messages if not (failures and text.startswith("Failed to load resource"))]
    assert unexpected == []
    assert hosts - {""} == {httpx.URL(site).netloc.decode()}  # data: and blob: URLs have no host


@contextmanager
def opened(browser: Browser, site: str, **context: Any) -> Iterator[Page]:
    """An empty page in a new browser context."""
    with browser.new_context(base_url=site, reduced_motion="reduce", **context) as browser_context:
        browser_context.set_default_timeout(15_000)
        yield browser_context.new_page()
        browser_context.close()


@contextmanager
def visit(browser: Browser, site: str, *, failures: bool = False, **context: Any) -> Iterator[Page]:
    """A page in a new browser context, `watched`."""
    with opened(browser, site, **context) as page, watched(page, site, failures=failures):
        yield page


@contextmanager
def borrowed(page: Page, site: str, *, failures: bool = False) -> Iterator[Page]:
    """A page that tests use in turn, `watched`: loading one in a new context takes twice the time."""
    with watched(page, site, failures=failures):
        yield page
        page.evaluate("sessionStorage.clear()")
        page.goto("about:blank")  # cancels its requests
    page.unroute_all(behavior="ignoreErrors")
    page.mouse.move(0, 0)
    page.set_viewport_size(USUAL_SIZE)
    page.emulate_media(color_scheme="light")


@pytest.fixture(scope="module")
def shared_page(browser: Browser, server: Server) -> Iterator[Page]:
    with opened(browser, f"http://127.0.0.1:{server.port}") as page:
        page.add_init_script(RECORD)
        yield page


@pytest.fixture
def page(shared_page: Page, site: str) -> Iterator[Page]:
    with borrowed(shared_page, site) as page:
        yield page


@pytest.fixture
def failing_page(shared_page: Page, site: str) -> Iterator[Page]:
    """A page some of whose requests fail in the test."""
    with borrowed(shared_page, site, failures=True) as page:
        yield page


def open_page(page: Page, state: str = "") -> None:
    page.goto(f"/{state}")
    expect(page.locator("#answer")).to_contain_text("%")


def choose(page: Page, content: bytes, name: str = "cat.png", media_type: str = "image/png") -> None:
    page.locator("#file").set_input_files({"name": name, "mimeType": media_type, "buffer": content})


def expect_question(page: Page, text: str) -> None:
    """Wait until the page answers this question."""
    expect(page.get_by_role("heading", level=1)).to_have_text(text)


def expect_caption(page: Page, text: str) -> None:
    """Wait for the answer to a picture with this format and size in its caption."""
    expect(page.locator("#upload-caption")).to_have_text(text)


def drawn(page: Page, canvas: str) -> bytes:
    """Return the content of a canvas as a PNG; read from a copy, so that the browser does not warn of reading."""
    url: str = page.locator(canvas).evaluate(
        """canvas => {
            const copy = document.createElement("canvas");
            copy.width = canvas.width;
            copy.height = canvas.height;
            copy.getContext("2d", { willReadFrequently: true }).drawImage(canvas, 0, 0);
            return copy.toDataURL();
        }"""
    )
    return base64.b64decode(url.partition(",")[2])


def transfer(page: Page, *contents: bytes) -> Any:
    """Return a `DataTransfer` with files, as in events of drag and drop or pasting."""
    return page.evaluate_handle(
        """(contents) => {
            const transfer = new DataTransfer();
            for (const data of contents) {
                const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
                transfer.items.add(new File([bytes], "cat.png", { type: "image/png" }));
            }
            return transfer;
        }""",
        [base64.b64encode(content).decode() for content in contents],
    )


RECORD = """
    window.sent = [];
    const send = window.fetch;
    window.fetch = (path, options) => {
        if (options?.body) window.sent.push([path, options.body]);
        return send(path, options);
    };
"""


def sent_picture(page: Page, path: str) -> bytes:
    """Return the picture in the last request to ``path``, from `RECORD`: Chromium does not report blobs."""
    data: str = page.evaluate(
        """async (path) => {
            const [, body] = window.sent.findLast(([address]) => address.startsWith(path));
            return btoa(String.fromCharCode(...new Uint8Array(await body.arrayBuffer())));
        }""",
        path,
    )
    return base64.b64decode(data)


def explained(site: str, content: bytes, **query: str) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.post(
        f"{site}/explain", params={"values": "true", **query}, files={"file": content}, timeout=30
    ).json()
    return answer


# Files


def test_the_page_is_served_with_a_strict_policy(client: TestClient) -> None:
    page = client.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    policy = page.headers["Content-Security-Policy"]
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("accept", ["*/*", "", "application/json", "image/*, text/html;q=0"])
def test_clients_that_do_not_name_html_get_a_sign_of_life(client: TestClient, accept: str) -> None:
    response = client.get("/", headers={"Accept": accept})
    assert (response.json(), response.headers["Vary"]) == ({"status": "alive"}, "Accept")


@pytest.mark.parametrize("path", sorted(WEB.iterdir()), ids=lambda path: path.name)
def test_every_file_has_its_media_type_and_is_cached_by_etag(client: TestClient, path: Path) -> None:
    media_types = {".html": "text/html", ".css": "text/css", ".js": "javascript", ".svg": "image/svg+xml"}
    first = client.get(f"/web/{path.name}")
    again = client.get(f"/web/{path.name}", headers={"If-None-Match": first.headers["ETag"]})
    assert media_types[path.suffix] in first.headers["Content-Type"]
    assert first.content == path.read_bytes()
    assert (again.status_code, again.content) == (304, b"")
    assert client.head(f"/web/{path.name}").content == b""


@pytest.mark.parametrize(
    "path", ["/web/../main.py", "/web/%2e%2e/main.py", "/web/..%2fmain.py", "/web/", "/web/x.js"]
)
def test_no_other_files_are_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_the_page_is_smaller_than_its_limit() -> None:
    assert sum(path.stat().st_size for path in WEB.iterdir()) < MAX_PAGE_BYTES


# Pictures


def test_the_first_visit_shows_an_explanation(page: Page) -> None:
    open_page(page)
    expect_question(page, "Why automobile?")
    expect(page.locator("#scores .score").first).to_contain_text("automobile")
    expect(page.locator("#report")).to_contain_text("reached the pixels")
    expect(page.get_by_role("link", name="Reports")).to_be_hidden()
    expect(
        page.get_by_role(
            "img", name=re.compile("Relevance for automobile under EpsilonPlusFlat: most support")
        )
    ).to_have_count(2)


def test_a_chosen_picture_is_explained(page: Page, site: str, cat_png: bytes) -> None:
    open_page(page)
    choose(page, cat_png)
    expect_caption(page, "PNG, 451×300")
    expect_question(page, f"Why {explained(site, cat_png)['prediction']['label']}?")
    expect(page.locator("#warnings li").first).to_contain_text("The model sees 32×32 pixels")


def test_a_dropped_picture_is_explained(page: Page, cat_png: bytes) -> None:
    open_page(page)
    page.dispatch_event("body", "dragover", {"dataTransfer": transfer(page, cat_png)})
    expect(page.locator("#dropzone")).to_be_visible()
    page.dispatch_event("body", "drop", {"dataTransfer": transfer(page, cat_png)})
    expect(page.locator("#dropzone")).to_be_hidden()
    expect_caption(page, "PNG, 451×300")


def test_a_pasted_picture_is_explained(page: Page, cat_png: bytes) -> None:
    open_page(page)
    page.evaluate(
        "data => document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }))",
        transfer(page, cat_png),
    )
    expect_caption(page, "PNG, 451×300")


def test_a_photo_of_the_camera_is_explained(page: Page) -> None:
    open_page(page)
    page.get_by_role("button", name="Camera").click()
    expect(page.get_by_role("dialog", name="Take a photograph")).to_be_visible()
    page.get_by_role("button", name="Take it").click()
    expect(page.locator("#upload-caption")).to_contain_text("JPEG")


def test_the_buttons_of_the_camera_dialogue_are_level_and_enter_takes_the_photo(page: Page) -> None:
    open_page(page)
    page.get_by_role("button", name="Camera").click()
    shutter, cancel = (page.get_by_role("button", name=name) for name in ("Take it", "Cancel"))
    expect(shutter).to_be_focused()
    boxes = [shutter.bounding_box(), cancel.bounding_box()]
    assert len({(box["y"], box["height"]) for box in boxes if box is not None}) == 1
    cancel.click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect_caption(page, "PNG, 192×192")
    page.get_by_role("button", name="Camera").click()
    expect(shutter).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#upload-caption")).to_contain_text("JPEG")


def test_every_example_is_classified_correctly(page: Page) -> None:
    open_page(page)
    for name in ("ship", "airplane", "truck", "frog", "horse", "automobile"):
        page.get_by_role("button", name=f"Example: {name}").click()
        expect_question(page, f"Why {name}?")


def several(*contents: bytes) -> list[FilePayload]:
    """Files ``0.png``, ``1.png``, …"""
    return [
        {"name": f"{number}.png", "mimeType": "image/png", "buffer": content}
        for number, content in enumerate(contents)
    ]


def test_several_pictures_become_a_strip_to_choose_from(failing_page: Page, cat_png: bytes) -> None:
    page = failing_page
    red, blue = (encode(Image.new("RGB", (60, 40), colour)) for colour in ("red", "blue"))
    open_page(page)
    expect(page.locator("#strip")).to_be_hidden()
    page.locator("#file").set_input_files(several(cat_png, red, b"no picture", blue))
    expect_caption(page, "PNG, 451×300")
    pictures = page.get_by_role("list", name="Chosen pictures").get_by_role("button")
    expect(pictures).to_have_count(4)
    expect(pictures.nth(2)).to_have_text("2.png")  # in place of a picture that the browser cannot read
    colours = [drawn(page, f"#strip li:nth-child({place}) canvas") for place in (2, 4)]
    assert [Image.open(io.BytesIO(colour)).getpixel((40, 40)) for colour in colours] == [
        (255, 0, 0, 255),
        (0, 0, 255, 255),
    ]
    for number, caption in ((3, "PNG, 60×40"), (2, "2.png"), (0, "PNG, 451×300")):
        page.get_by_role("button", name=f"Picture: {number}.png").click()
        expect_caption(page, caption)
        expect(page.locator("#strip [aria-pressed=true]")).to_have_attribute("title", f"{number}.png")
    page.get_by_role("button", name="Example: frog").click()
    expect_question(page, "Why frog?")
    expect(page.locator("#strip [aria-pressed=true]")).to_have_count(0)
    choose(page, red, "red.png")
    expect_caption(page, "PNG, 60×40")
    expect(page.locator("#strip")).to_be_hidden()


def test_several_pictures_can_be_dropped(page: Page, cat_png: bytes) -> None:
    open_page(page)
    page.dispatch_event("body", "drop", {"dataTransfer": transfer(page, cat_png, cat_png)})
    expect(page.locator("#strip button")).to_have_count(2)
    expect_caption(page, "PNG, 451×300")


def test_a_picture_within_the_limits_is_sent_as_it_is(page: Page) -> None:
    open_page(page)
    small = encode(Image.new("RGB", (60, 40), "red"))
    choose(page, small)
    expect_caption(page, "PNG, 60×40")
    assert sent_picture(page, "explain") == small


@pytest.fixture(scope="module")
def narrow_site(model: Model) -> Iterator[str]:
    """The URL of a service that accepts 100 000 pixels and 20 000 bytes."""
    settings = Settings(max_pixels=100_000, max_body_bytes=20_000)
    with serving(settings, create_app(settings, model)) as narrow:
        address = f"http://127.0.0.1:{narrow.port}"
        while httpx.get(f"{address}/readyz").status_code == 503:
            pass  # the warm-up runs between the requests
        yield address


def test_a_picture_over_a_limit_is_scaled_down_in_the_browser(browser: Browser, narrow_site: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 200, 3), dtype=np.uint8)
    cases = {
        "plain.png": (Image.new("RGB", (500, 300), "red"), 408 * 244),  # √(100 000 / 150 000) of each side
        "noise.png": (Image.fromarray(noise), None),  # only its bytes are over the limit
    }
    with visit(browser, narrow_site) as page:
        page.add_init_script(RECORD)
        open_page(page)
        for name, (picture, pixels) in cases.items():
            choose(page, encode(picture), name)
            expect(page.locator("#warnings")).to_contain_text(f"pixels: {name}")
            body = sent_picture(page, "explain")
            assert len(body) <= 20_000
            with Image.open(io.BytesIO(body)) as scaled:
                size, (width, height) = scaled.size, picture.size
            assert size[0] * size[1] <= 100_000
            assert size[0] / size[1] == pytest.approx(width / height, rel=0.02)
            assert pixels is None or size[0] * size[1] == pixels
            mib = float(f"{len(encode(picture)) / 2**20:.3g}")
            text = (
                f"Scaled down in the browser to a JPEG of {size[0]}×{size[1]} pixels: {name} ({width}×{height} "
                f"pixels, {mib:g} MiB) is over the service’s limits of 0.1 megapixels and 0.0191 MiB."
            )
            expect(page.locator("#warnings li").first).to_have_text(text)
            expect(page.locator("#code")).to_contain_text(f"-{size[0]}x{size[1]}.jpg")
            with page.expect_download() as download:
                page.get_by_role("button", name="picture", exact=True).click()
            assert Path(download.value.path()).read_bytes() == body
        assert explained(narrow_site, body)["prediction"]["label"] in page.locator("#answer").inner_text()
        page.get_by_role("button", name="Example: frog").click()
        expect_question(page, "Why frog?")
        expect(page.locator("#warnings")).not_to_contain_text("Scaled down")


def test_transparent_parts_of_a_picture_that_is_scaled_down_become_white(
    browser: Browser, narrow_site: str
) -> None:
    with visit(browser, narrow_site) as page:
        page.add_init_script(RECORD)
        open_page(page)
        choose(page, encode(Image.new("RGBA", (400, 400), (200, 0, 0, 0))))
        expect(page.locator("#upload-caption")).to_contain_text("JPEG")
        with Image.open(io.BytesIO(sent_picture(page, "explain"))) as scaled:
            assert scaled.getextrema() == ((255, 255),) * 3


def test_the_small_picture_shows_the_models_input(page: Page, site: str, cat_png: bytes) -> None:
    open_page(page)
    choose(page, cat_png)
    expect_caption(page, "PNG, 451×300")
    with Image.open(io.BytesIO(drawn(page, "#seen"))) as seen:
        assert np.asarray(seen.convert("RGB")).tolist() == explained(site, cat_png)["input"]["pixels"]


def test_a_picture_that_the_browser_cannot_decode_is_shown_as_the_models_input(
    page: Page, cat: Image.Image, tmp_path: Path
) -> None:
    cat.save(tmp_path / "cat.tiff")
    open_page(page)
    page.locator("#file").set_input_files(tmp_path / "cat.tiff")
    expect_caption(page, "TIFF, 451×300")


# Questions


def test_a_click_on_a_class_shows_its_heatmap(page: Page) -> None:
    open_page(page)
    page.locator("#scores .score", has_text="ship").click()
    expect_question(page, "Why ship?")
    expect(page.locator("#answer")).to_contain_text("The network says automobile")
    expect(page.locator(".score[aria-pressed=true]")).to_contain_text("ship")


def test_two_classes_can_be_contrasted(page: Page) -> None:
    open_page(page)
    with page.expect_response(re.compile("explain.*versus=truck")) as answered:
        page.get_by_role("button", name="and not truck").click()
    expect_question(page, "Why automobile, and not truck?")
    assert "start" not in answered.value.url  # the service's default, the logits
    logits = {score["label"]: score["logit"] for score in answered.value.json()["scores"]}
    put_in = answered.value.json()["relevance"]["start"]
    assert put_in == pytest.approx(logits["automobile"] - logits["truck"], rel=1e-4)
    expect(page.locator("#report")).to_contain_text("was put in at automobile (less truck)")
    expect(page.locator("#scale-low")).to_contain_text("for truck")
    page.get_by_role("button", name="and not truck").click()
    expect_question(page, "Why automobile?")


def test_the_start_can_be_chosen(page: Page) -> None:
    open_page(page)
    expect(page.get_by_label("Put in")).to_have_value("")
    for start in ("one", "logit"):
        with page.expect_response(re.compile(f"explain.*start={start}")):
            page.get_by_label("Put in").select_option(start)
        expect(page).to_have_url(re.compile(f"start={start}"))
    with page.expect_response(lambda response: "explain" in response.url and "start" not in response.url):
        page.get_by_label("Put in").select_option("")
    expect(page).not_to_have_url(re.compile("start="))


def test_the_legend_says_what_red_means(page: Page) -> None:
    open_page(page)
    expect(page.locator(".legend")).to_contain_text("Red, positive relevance, speaks for the class")
    page.get_by_label("Rule", exact=True).select_option("z_plus")
    expect(page.locator(".legend")).to_contain_text("a negative one exchanges red and blue")


def test_selecting_a_rule_changes_the_map(page: Page) -> None:
    open_page(page)
    before = drawn(page, "#panel-relevance")
    page.get_by_label("Rule", exact=True).select_option("gamma")
    expect(page.locator("#panel-relevance")).to_have_attribute("aria-label", re.compile("LRP-γ"))
    expect(page.locator("#formula")).to_contain_text("γ")
    assert drawn(page, "#panel-relevance") != before


def test_a_slider_changes_the_map_and_the_url(page: Page) -> None:
    open_page(page, "#rule=gamma")
    high = page.locator("#scale-high").inner_text()
    before = drawn(page, "#panel-relevance")
    with page.expect_response(re.compile("explain.*gamma=")):
        page.get_by_role("slider", name="gamma").fill("900")
    expect(page).to_have_url(re.compile(r"gamma=\d"))
    expect(page.locator("#scale-high")).not_to_have_text(high)
    expect(page.locator("#panel-map")).to_have_attribute("aria-busy", "false")
    assert drawn(page, "#panel-relevance") != before


def test_rules_and_their_parameters_come_from_the_service(failing_page: Page) -> None:
    parameter = {
        "name": "delta",
        "default": 2.0,
        "minimum": 0.0,
        "maximum": 8.0,
        "description": "δ, made up.",
    }
    rule = {"name": "made_up", "kind": "rule", "title": "LRP-δ", "parameters": [parameter]}

    def add(route: Route) -> None:
        words = {"formula": "δ", "when": "Never.", "source": "A test."}
        route.fulfill(json=[*route.fetch().json(), {**rule, **words}])

    failing_page.route("**/rules?*", add)
    open_page(failing_page)
    with failing_page.expect_request(re.compile("/explain.*rule=made_up")) as plain:
        failing_page.get_by_label("Rule", exact=True).select_option(label="LRP-δ")
    assert "delta" not in plain.value.url
    expect(failing_page.locator("#parameters i")).to_have_text("δ")
    with failing_page.expect_request(re.compile("/explain.*rule=made_up&delta=")):
        failing_page.get_by_role("slider", name="delta").fill("900")
    expect(failing_page).to_have_url(re.compile(r"rule=made_up&delta=\d"))
    with failing_page.expect_request(re.compile("/explain.*rule=made_up&delta=3&")):
        failing_page.goto("/#rule=made_up&delta=3")


def test_the_readout_of_a_pixel_is_its_relevance(page: Page, site: str, cat_png: bytes) -> None:
    open_page(page)
    choose(page, cat_png)
    expect_caption(page, "PNG, 451×300")
    values = explained(site, cat_png)["relevance"]["values"]
    value = sum(channel[20][10] for channel in values)
    box = page.locator("#panel-relevance").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 10.5 / 32 * box["width"], box["y"] + 20.5 / 32 * box["height"])
    expect(page.locator("#readout")).to_contain_text("Pixel 10, 20: relevance")
    match = re.search(r"relevance ([+−]?[\d.e−]+)", page.locator("#readout").inner_text())
    assert match is not None
    assert float(match[1].replace("−", "-")) == pytest.approx(value, rel=0.01)


def test_zoom_applies_to_all_three_pictures(page: Page) -> None:
    open_page(page)
    panels = ("#panel-picture", "#panel-overlay", "#panel-relevance")
    before = [drawn(page, panel) for panel in panels]
    page.get_by_role("button", name="Zoom in").click()
    expect(page.locator("#zoom-level")).to_have_text("2×")
    assert all(drawn(page, panel) != was for panel, was in zip(panels, before, strict=True))
    page.get_by_role("button", name="Zoom out").click()
    assert [drawn(page, panel) for panel in panels] == before


def test_a_held_scale_is_kept_for_the_next_class(page: Page) -> None:
    open_page(page)
    high = page.locator("#scale-high").inner_text()
    page.get_by_label("hold this scale").check()
    page.locator("#scores .score", has_text="ship").click()
    expect_question(page, "Why ship?")
    expect(page.locator("#scale-high")).to_have_text(high)


def test_the_end_of_the_scale_makes_faint_maps_readable(page: Page, site: str) -> None:
    open_page(page)
    high, slider = page.locator("#scale-high"), page.get_by_role("slider", name="End of the scale")
    full, was = high.inner_text(), drawn(page, "#panel-relevance")
    largest = np.abs(
        np.sum(explained(site, sent_picture(page, "explain"))["relevance"]["values"], axis=0)
    ).max()
    expect(slider).to_have_value("100")
    slider.fill("25")
    expect(high).not_to_have_text(full)
    assert float(high.inner_text().split("+")[1]) == pytest.approx(0.25 * largest, rel=0.01)
    assert drawn(page, "#panel-relevance") != was
    expect(page.get_by_label("hold this scale")).to_be_checked()
    link = page.url
    assert float(link.partition("vmax=")[2]) == pytest.approx(0.25 * largest, rel=0.01)
    slider.fill("100")
    expect(high).to_have_text(full)
    expect(page.get_by_label("hold this scale")).not_to_be_checked()
    page.goto(link)
    expect(high).not_to_have_text(full)
    expect(slider).to_have_value("25")
    page.get_by_role("button", name="Example: frog").click()
    expect_question(page, "Why frog?")
    expect(slider).to_have_value("100")
    page.get_by_label("Scale", exact=True).select_option("minmax")
    expect(slider).to_be_disabled()


def test_the_slider_of_the_overlay_sets_the_opacity_of_the_map(browser: Browser, site: str) -> None:
    with visit(browser, site) as page:
        open_page(page)
        sent: list[str] = []
        page.on("request", lambda request: sent.append(request.url))
        slider = page.get_by_role("slider", name="Opacity of the map over the picture")
        expect(slider).to_have_value("85")
        usual = drawn(page, "#panel-overlay")
        slider.fill("40")
        expect(page).to_have_url(re.compile("opacity=40"))
        weaker, link = drawn(page, "#panel-overlay"), page.url
        slider.fill("0")
        assert drawn(page, "#panel-overlay") == drawn(page, "#panel-picture")
        assert len({usual, weaker, drawn(page, "#panel-overlay")}) == 3
        assert not [url for url in sent if "/explain" in url]
    with visit(browser, site) as other:
        open_page(other, link[link.index("#") :])
        assert drawn(other, "#panel-overlay") == weaker


# Covers

WHEEL = (5, 18, 9, 7)  # left, top, width and height in pixels of the model, on the automobile
MEAN = (125, 123, 114)


def cell(page: Page, x: int, y: int, size: tuple[int, int] = (32, 32)) -> tuple[float, float]:
    """Return the place in the window of a pixel of the model's input, on the map."""
    box = page.locator("#panel-relevance").bounding_box()
    assert box is not None
    return box["x"] + (x + 0.5) / size[0] * box["width"], box["y"] + (y + 0.5) / size[1] * box["height"]


def cover(page: Page, x: int, y: int, width: int, height: int, size: tuple[int, int] = (32, 32)) -> None:
    """Cover a rectangle of the model's input with the mouse, beginning at its lower right corner."""
    if page.locator("#cover").get_attribute("aria-pressed") == "false":
        page.get_by_role("button", name="Cover", exact=True).click()
    page.locator("#panel-relevance").scroll_into_view_if_needed()
    page.mouse.move(*cell(page, x + width - 1, y + height - 1, size))
    page.mouse.down()
    page.mouse.move(*cell(page, x + 1, y + 1, size))
    page.mouse.move(*cell(page, x, y, size))
    page.mouse.up()


def expect_covered(page: Page, pixels: int) -> None:
    """Wait for the scores with this number of covered pixels."""
    expect(page.locator("#covered")).to_contain_text(
        re.compile(rf"^{pixels} of \d+ pixels.*The network (still|now) says")
    )


def predicted(site: str, pixels: np.ndarray[Any, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.post(
        f"{site}/predict", files={"file": encode(Image.fromarray(pixels.astype(np.uint8)))}, timeout=30
    ).json()
    return answer


def automobile(page: Page, site: str) -> dict[str, Any]:
    """Return the explanation of the picture that the page last sent."""
    return explained(site, sent_picture(page, "explain"))


def percent(share: float) -> str:
    return "<1%" if 0 < share < 0.01 else f"{round(100 * share)}%"


def test_covered_pixels_have_the_models_mean_and_the_scores_are_those_of_what_is_left(
    page: Page, site: str
) -> None:
    open_page(page)
    before = automobile(page, site)
    pixels = np.array(before["input"]["pixels"])
    assert (
        predicted(site, pixels)["scores"] == before["scores"]
    )  # the model's own input is sent without any loss
    x, y, width, height = WHEEL
    cover(page, *WHEEL)
    expect_covered(page, 63)
    pixels[y : y + height, x : x + width] = MEAN
    with Image.open(io.BytesIO(sent_picture(page, "predict"))) as sent:
        assert np.asarray(sent.convert("RGB")).tolist() == pixels.tolist()
    with Image.open(io.BytesIO(drawn(page, "#seen"))) as seen:
        assert np.asarray(seen.convert("RGB")).tolist() == pixels.tolist()
    after = predicted(site, pixels)
    now = {score["label"]: score for score in after["scores"]}
    for score, row in zip(before["scores"], page.locator("#scores .score").all(), strict=True):
        probability = now[score["label"]]["probability"]
        change = round(100 * (probability - score["probability"]))
        expect(row.locator(".number")).to_have_text(percent(probability))
        expect(row.locator(".change")).to_have_text(f"{change:+d}".replace("-", "−") if change else "0")
    relevance = np.array(before["relevance"]["values"]).sum(0)
    share = relevance[y : y + height, x : x + width].sum()
    was, best = before["scores"][0], after["prediction"]
    changed = now["automobile"]
    assert page.locator("#covered").inner_text() == (
        f"63 of 1024 pixels are covered, with a relevance of +{share:.3g} of +{before['relevance']['sum']:.3g}. "
        f"automobile: {percent(was['probability'])} → {percent(changed['probability'])}, "
        f"logit +{was['logit']:.3g} → +{changed['logit']:.3g}. "
        f"The network still says {best['label']}, {percent(best['probability'])}."
    )


def test_a_contrast_reports_the_change_of_both_classes_and_of_the_prediction(page: Page, site: str) -> None:
    open_page(page, "#versus=truck&target=automobile&cover=0,0,32,32")
    expect_covered(page, 1024)
    scores = {score["label"]: score["probability"] for score in automobile(page, site)["scores"]}
    before = [re.escape(f"{label}: {percent(scores[label])}") for label in ("automobile", "truck")]
    change = r" → \S+, logit \S+ → .*"
    expect(page.locator("#covered")).to_contain_text(
        re.compile(rf"{before[0]}{change}{before[1]}{change}The network now says")
    )


def test_covered_pixels_can_be_blurred(page: Page, site: str) -> None:
    open_page(page)
    cover(page, *WHEEL)
    expect_covered(page, 63)
    grey = page.locator("#covered").inner_text()
    page.get_by_label("What covered parts become").select_option("blurred")
    expect(page.locator("#covered")).not_to_have_text(grey)
    expect(page).to_have_url(re.compile("fill=blurred"))
    pixels = np.array(automobile(page, site)["input"]["pixels"])
    blurred = pixels.astype(float)
    for axis in (1, 0) * 3:  # three passes; a box of radius 4, cut off at the borders
        means = [
            np.take(blurred, range(max(0, place - 4), min(32, place + 5)), axis).mean(axis)
            for place in range(32)
        ]
        blurred = np.stack(means, axis)
    x, y, width, height = WHEEL
    region = np.s_[y : y + height, x : x + width]
    with Image.open(io.BytesIO(sent_picture(page, "predict"))) as sent:
        covered = np.asarray(sent.convert("RGB")).astype(int)
    assert np.abs(covered[region] - blurred[region]).max() <= 0.5 + 1e-6
    covered[region] = pixels[region]
    assert covered.tolist() == pixels.tolist()


def test_covers_add_up_and_are_taken_back_one_by_one_or_all_at_once(page: Page) -> None:
    open_page(page)
    scores = page.locator("#scores").inner_text()
    undo, clear = (page.get_by_role("button", name=name) for name in ("Undo", "Clear"))
    expect(undo).to_be_disabled()
    cover(page, *WHEEL)
    expect_covered(page, 63)
    one = page.locator("#scores").inner_text()
    cover(page, 10, 20, 6, 6)  # 20 of its 36 pixels are covered already
    expect_covered(page, 79)
    expect(page).to_have_url(re.compile(r"cover=5%2C18%2C9%2C7&cover=10%2C20%2C6%2C6"))
    undo.click()
    expect_covered(page, 63)
    assert page.locator("#scores").inner_text() == one
    cover(page, 0, 0, 1, 1)
    expect_covered(page, 64)
    clear.click()
    expect(page.locator("#covered")).to_have_text(
        "Drag over the picture, or use Space and the arrow keys on it."
    )
    expect(page).not_to_have_url(re.compile("cover="))
    assert page.locator("#scores").inner_text() == scores
    expect(clear).to_be_disabled()


def test_pictures_show_what_is_covered(page: Page) -> None:
    open_page(page)
    panels = ("#panel-picture", "#panel-overlay", "#panel-relevance", "#seen")
    page.get_by_role("button", name="Cover", exact=True).click()
    before = [drawn(page, panel) for panel in panels]
    cover(page, *WHEEL)
    page.mouse.move(0, 0)
    expect(page.locator("#readout")).to_contain_text("Point at a pixel")
    assert all(drawn(page, panel) != was for panel, was in zip(panels, before, strict=True))
    with Image.open(io.BytesIO(drawn(page, "#panel-picture"))) as shown:
        middle = shown.getpixel((round(9.5 / 32 * shown.width), round(21.5 / 32 * shown.height)))
    assert middle == (*MEAN, 255)
    page.get_by_role("button", name="Clear").click()
    assert [drawn(page, panel) for panel in panels] == before


def test_a_part_is_covered_with_the_keyboard(page: Page) -> None:
    open_page(page)
    tab_to(page, "#probe")
    for key in ("ArrowRight", "Space", "ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    expect_covered(page, 6)  # answered while it is drawn
    page.keyboard.press("Space")
    expect(page).to_have_url(re.compile(r"cover=16%2C16%2C3%2C2$"))
    expect_covered(page, 6)
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    expect_covered(page, 7)
    page.keyboard.press("Escape")
    expect_covered(page, 6)
    page.keyboard.press("Delete")
    expect(page.locator("#covered")).to_contain_text("Cover a part of the picture")
    expect(page).not_to_have_url(re.compile("cover="))


def test_arrow_keys_on_the_slider_of_the_overlay_do_not_move_the_probe(page: Page) -> None:
    open_page(page)
    tab_to(page, "#opacity")
    page.keyboard.press("ArrowLeft")
    expect(page).to_have_url(re.compile("opacity=80"))
    expect(page.locator("#readout")).to_contain_text("Point at a pixel")


def test_covers_stay_for_another_rule_and_go_with_the_picture_and_its_fit(page: Page) -> None:
    open_page(page)
    cover(page, *WHEEL)
    expect_covered(page, 63)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    page.get_by_label("Rule", exact=True).select_option("gamma")
    expect(page.locator("#panel-relevance")).to_have_attribute("aria-label", re.compile("LRP-γ"))
    expect_covered(page, 63)
    assert not [url for url in sent if "/predict" in url]  # another rule does not change the scores
    page.get_by_label("How the picture is fitted").select_option("pad")
    expect(page.locator("#scores.covered")).to_have_count(0)
    expect(page).not_to_have_url(re.compile("cover="))
    cover(page, *WHEEL)
    expect_covered(page, 63)
    page.get_by_role("button", name="Example: frog").click()
    expect_question(page, "Why frog?")
    expect(page.locator("#scores.covered")).to_have_count(0)
    expect(page.locator("#covered")).to_contain_text("Drag over the picture")


def test_comparison_and_layers_are_about_the_picture_without_covers(page: Page) -> None:
    open_page(page)
    whole, scores = drawn(page, "#seen"), page.locator("#scores").inner_text()
    cover(page, *WHEEL)
    expect_covered(page, 63)
    for tab in ("Compare", "Layers"):
        page.get_by_role("tab", name=tab).click()
        assert (drawn(page, "#seen"), page.locator("#scores").inner_text()) == (whole, scores)
    page.get_by_role("tab", name="Map").click()
    expect_covered(page, 63)
    assert drawn(page, "#seen") != whole


def test_a_link_restores_covers_and_says_which_are_outside_of_the_picture(page: Page) -> None:
    open_page(page, "#example=frog&cover=4,5,6,7&cover=30,30,5,5&fill=blurred")
    expect_covered(page, 42)
    expect_question(page, "Why frog?")
    expect(page.get_by_label("What covered parts become")).to_have_value("blurred")
    assert link_problems(page) == [
        "The cover “30,30,5,5” in the link is not left, top, width and height of a part of the picture, in "
        "pixels of the model. It is left out."
    ]


def test_without_an_answer_for_a_cover_the_scores_are_said_to_be_those_of_the_whole_picture(
    failing_page: Page,
) -> None:
    page = failing_page
    open_page(page)
    scores = page.locator("#scores").inner_text()
    cover(page, 0, 0, 2, 1)
    expect_covered(page, 2)
    asked: list[Route] = []
    held = True

    def hold_or_abort(route: Route) -> None:
        if held:
            asked.append(route)
        else:
            route.abort()

    page.route("**/predict?*", hold_or_abort)
    cover(page, *WHEEL)  # answered when it has ended: the alert moves what is below it
    held = False
    for route in asked:
        route.abort()
    expect(page.get_by_role("alert")).to_contain_text("The service does not answer")
    expect(page.locator("#covered")).to_contain_text(
        re.compile(r"^65 of 1024 pixels.* The scores are still those of the whole picture\.$")
    )
    assert page.locator("#scores").inner_text() == scores
    page.unroute("**/predict?*")
    page.get_by_role("button", name="Try again").click()
    expect_covered(page, 65)
    expect(page.get_by_role("alert")).to_be_hidden()
    page.route("**/predict?*", lambda route: route.abort())
    cover(page, 20, 20, 2, 2)
    expect(page.get_by_role("alert")).to_be_visible()
    page.unroute("**/predict?*")
    page.get_by_role("button", name="Undo").click()
    expect_covered(page, 65)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_verification_shows_the_difference_from_the_reference(page: Page) -> None:
    open_page(page, "#rule=gamma")
    page.get_by_role("button", name="Check the numbers").click()
    expect(page.locator("#verified")).to_contain_text(
        re.compile(r"zennit .* relative difference \d"), timeout=30_000
    )


def test_samples_show_how_much_the_map_varies(page: Page) -> None:
    open_page(page)
    expect(page.locator("#sampled")).to_have_text("from 32 samples with dropout")
    page.get_by_role("button", name="How sure is the map?").click()
    varies = re.compile(
        r"The map varies by \d+% of its size; \d+% of it keeps its sign\. Votes of 32 samples: .+ \d+"
    )
    expect(page.locator("#sampled")).to_have_text(varies, timeout=30_000)
    deviation = page.get_by_role("img", name="Standard deviation")
    expect(deviation).to_be_visible()
    assert deviation.evaluate("image => image.naturalWidth") == 256
    page.get_by_role("button", name=re.compile("^frog")).first.click()
    expect(deviation).to_be_hidden()


def test_comparisons_have_one_scale(page: Page) -> None:
    open_page(page)
    page.get_by_role("tab", name="Compare").click()
    cells = page.locator("#grid img")
    expect(cells).to_have_count(9)
    page.get_by_role("checkbox", name="frog").check()
    expect(cells).to_have_count(12)
    expect(page.locator("#grid-scale")).to_contain_text("All on one scale")
    page.get_by_role("button", name=re.compile("EpsilonGammaBox for frog")).click()
    expect_question(page, "Why frog?")
    expect(page.get_by_label("Rule", exact=True)).to_have_value("epsilon_gamma_box")


def test_a_comparison_says_what_was_put_in(page: Page) -> None:
    open_page(page)
    expect(page.get_by_label("Put in").locator("option:checked")).to_have_text("automatic: ±1")
    with page.expect_response(re.compile("/compare")) as answered:
        page.get_by_role("tab", name="Compare").click()
    starts = {
        each["target"]["label"]: each["relevance"]["start"] for each in answered.value.json()["explanations"]
    }
    logits = {each["label"]: each["logit"] for each in answered.value.json()["scores"]}
    assert starts == {label: pytest.approx(logits[label], rel=1e-4) for label in starts}
    put_in = ", ".join(f"{start:.3g} at {label}" for label, start in starts.items()).replace("-", "−")
    expect(page.locator("#report")).to_have_text(f"Put in: {put_in}.")
    expect(page.get_by_label("Put in").locator("option:checked")).to_have_text("automatic: the logits")
    page.get_by_role("tab", name="Map").click()
    expect(page.locator("#report")).to_contain_text("1 was put in at automobile")


def test_a_comparison_says_where_rules_put_in_other_signs(page: Page) -> None:
    open_page(page, "#tab=compare&start=one&rules=epsilon&rules=z_plus&targets=automobile&targets=airplane")
    starts = page.locator("#grid th small")
    expect(starts).to_have_text(["1 put in", "−1 or 1 put in"])  # airplane's logit is negative


def test_layers_show_the_relevance_of_each_layer(page: Page) -> None:
    open_page(page)
    page.get_by_role("tab", name="Layers").click()
    cards = page.locator("#flow li")
    expect(cards).to_have_count(7)
    expect(cards.first).to_contain_text("put in at automobile")
    expect(cards.last).to_contain_text("the pixels")
    expect(cards.last.locator("img")).to_have_attribute(
        "alt", re.compile("Relevance at the input of features.0")
    )


# Trust


def open_trust(page: Page) -> dict[str, Any]:
    """Open the tab and return the evaluation that it shows."""
    with page.expect_response(re.compile("/evaluate"), timeout=EVALUATION_MS) as answered:
        page.get_by_role("tab", name="Trust").click()
    expect(page.locator("#curves svg")).to_have_count(3)
    answer: dict[str, Any] = answered.value.json()
    return answer


def drawn_curve(page: Page, panel: int, line: str) -> list[float]:
    """Return the probabilities that a line of a drawing shows, read off its frame."""
    drawing = page.locator("#curves svg").nth(panel)
    box = {
        name: float(drawing.locator(".frame").get_attribute(name) or "")
        for name in ("x", "y", "width", "height")
    }
    points = [
        tuple(map(float, point.split(",")))
        for point in (drawing.locator(f".{line}").get_attribute("points") or "").split()
    ]
    shares = [(x - box["x"]) / box["width"] for x, _ in points]
    assert shares == pytest.approx(list(np.linspace(0, 1, len(points))), abs=1e-4)
    return [1 - (y - box["y"]) / box["height"] for _, y in points]


def two_digits(value: float) -> str:
    return f"{round(value, 2):g}".replace("-", "−")


def test_trust_shows_the_curves_and_measures_of_the_rule(page: Page, site: str, cat_png: bytes) -> None:
    open_page(page)
    choose(page, cat_png)
    expect_caption(page, "PNG, 451×300")
    page.get_by_label("Rule", exact=True).select_option("epsilon_gamma_box")
    expect(page.locator("#panel-relevance")).to_have_attribute("aria-label", re.compile("EpsilonGammaBox"))
    page.locator("#scores .score", has_text="frog").click()
    expect_question(page, "Why frog?")
    open_trust(page)
    evaluated = httpx.post(
        f"{site}/evaluate",
        params={"rule": "epsilon_gamma_box", "target": "frog"},
        content=cat_png,
        headers={"Content-Type": "image/png"},
        timeout=60,
    ).json()
    (rule,) = evaluated["evaluations"]
    orders = {
        "EpsilonGammaBox": rule,
        "occlusion": evaluated["occlusion"],
        "random order": evaluated["random"],
    }
    captions = [f"{name} gap {two_digits(order['gap'])}" for name, order in orders.items()]
    expect(page.locator("#curves figcaption")).to_have_text(captions)
    for panel, order in enumerate(orders.values()):
        for line, name in (("most", "most_relevant_first"), ("least", "least_relevant_first")):
            curve = [evaluated["target"]["probability"], *order["curves"][name]]
            assert drawn_curve(page, panel, line) == pytest.approx(curve, abs=2e-4)
    meaning = page.locator("#trust-meaning")
    expect(meaning).to_contain_text("The map of EpsilonGammaBox")
    expect(meaning).to_contain_text("speaks for frog: while the first 32 of 64 patches are removed")
    expect(meaning).to_contain_text(f"(gap {two_digits(rule['gap'])})")
    expect(meaning).to_contain_text(f"a gap of {two_digits(evaluated['random']['gap'])}.")
    measures = page.locator("#measures dt")
    flips = "never" if rule["flips_after"] is None else f"{rule['flips_after']} of 64 patches"
    expect(measures.nth(0)).to_have_text(f"flips after {flips}")
    expect(measures.nth(1)).to_have_text(f"sensitivity {two_digits(rule['sensitivity'])}")
    expect(measures.nth(2)).to_have_text(f"leak {percent(rule['leak'])}")
    expect(page.locator("#trust-note")).to_be_hidden()


CURVES = {"most_relevant_first": [0.4, 0.2, 0.1, 0.1], "least_relevant_first": [0.9, 0.8, 0.5, 0.1]}


def evaluation(gap: float, occlusion: float, random: float, **rule: Any) -> dict[str, Any]:
    """Return an answer of ``POST /evaluate`` with these gaps."""
    measured = {"flips_after": 2, "sensitivity": 0.125, "leak": 0.034, **rule}
    name = {"name": "epsilon_plus_flat", "parameters": {"epsilon": 0.1}, "layers": []}
    return {
        "target": {"index": 1, "label": "automobile", "logit": 5, "probability": 0.95},
        "patches": 4,
        "evaluations": [{"rule": name, "curves": CURVES, "gap": gap, **measured}],
        "occlusion": {"curves": CURVES, "gap": occlusion},
        "random": {"curves": CURVES, "gap": random},
    }


def show_evaluation(page: Page, answer: dict[str, Any]) -> None:
    page.route("**/evaluate?*", lambda route: route.fulfill(json=answer))
    open_page(page, "#tab=trust")
    expect(page.locator("#curves svg")).to_have_count(3)


SENTENCES = {
    (0.55, 0.6, 0.02): ["finds most of", "55 percentage points lower", "which is 92% of occlusion’s 0.6"],
    (0.3, 0.6, -0.1): ["finds a part of", "which is 50% of occlusion’s 0.6", "has a gap of −0.1."],
    (0.1, 0.6, 0.02): ["finds little of", "which is 17% of occlusion’s 0.6"],
    (0.1, 0.6, -0.15): ["is no better than chance at finding", "has a gap of −0.15."],
    (0.1, 0.6, 0.15): ["is no better than chance at finding", "has a gap of 0.15."],
    (-0.2, 0.6, 0): ["is no better than chance", "20 percentage points higher", "occlusion has 0.6"],
    (0.1, 0.05, 0.06): ["the curves say little about", "occlusion has a gap of 0.05, no more than chance"],
}


def test_the_sentence_compares_the_gap_with_occlusion_and_chance(page: Page) -> None:
    answers = [evaluation(*gaps) for gaps in SENTENCES]
    page.route("**/evaluate?*", lambda route: route.fulfill(json=answers.pop(0)))
    open_page(page, "#tab=trust")
    for number, ((_, occlusion, _), words) in enumerate(SENTENCES.items()):
        for part in (*words, "what speaks for automobile" if occlusion > 0.05 else "for automobile"):
            expect(page.locator("#trust-meaning")).to_contain_text(part)
        if answers:  # another class is evaluated anew; the answer is the next one
            page.locator("#scores .score", has_text="truck" if number % 2 else "ship").click()
            expect(page.locator("#trust-status")).to_have_text("")


def test_measures_without_a_value_say_why(page: Page) -> None:
    show_evaluation(page, evaluation(0.5, 0.6, 0, flips_after=None, sensitivity=None, leak=None))
    expect(page.locator("#measures dt")).to_have_text(
        ["flips after never", "sensitivity unknown", "leak unknown"]
    )
    expect(page.locator("#measures dd").first).to_contain_text("The predicted class stays")


def test_trust_says_what_of_the_map_is_not_evaluated(page: Page) -> None:
    page.route("**/evaluate?*", lambda route: route.fulfill(json=evaluation(0.5, 0.6, 0)))
    with page.expect_request("**/evaluate?*") as sent:
        open_page(page, "#tab=trust&epsilon=0.5&layers=*.0:w_square&versus=frog&fit=pad")
    assert httpx.URL(sent.value.url).params == httpx.QueryParams({"rule": "epsilon_plus_flat", "fit": "pad"})
    expect(page.locator("#trust-note")).to_have_text(
        "Only EpsilonPlusFlat with its default parameters is evaluated. "
        "The map on this page also has: epsilon = 0.5, rules by layer, a contrast with frog."
    )


@pytest.mark.parametrize("action", ["tab", "rule", "class", "picture"])
def test_an_evaluation_that_is_not_needed_any_more_is_cancelled(page: Page, action: str) -> None:
    held: list[Route] = []
    open_page(page)
    page.route("**/evaluate?*", lambda route: held.append(route))
    with page.expect_request("**/evaluate?*"):
        page.get_by_role("tab", name="Trust").click()
    expect(page.locator("#trust-status")).to_contain_text("patch by patch")
    page.route("**/explain?*", lambda route: held.append(route))  # cancelled before there is another map
    with page.expect_event("requestfailed", lambda request: "/evaluate" in request.url):
        if action == "tab":
            page.get_by_role("tab", name="Map").click()
        elif action == "rule":
            page.get_by_label("Rule", exact=True).select_option("zero")
        elif action == "class":
            page.locator("#scores .score", has_text="frog").click()
        else:
            page.get_by_role("button", name="Example: frog").click()
    expect(page.locator("#trust-status")).to_have_text("")


def test_an_evaluation_is_kept_for_another_way_of_drawing(page: Page) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    show_evaluation(page, evaluation(0.5, 0.6, 0))
    with page.expect_response(re.compile("/explain")):
        page.get_by_label("Colours").select_option(index=1)
    page.get_by_role("tab", name="Map").click()
    page.get_by_role("tab", name="Trust").click()
    expect(page.locator("#curves svg")).to_have_count(3)
    assert len([url for url in requests if "/evaluate" in url]) == 1
    with page.expect_request("**/evaluate?rule=zero"):
        page.get_by_label("Rule", exact=True).select_option("zero")


@pytest.mark.parametrize("status", [503, 504])
def test_a_failed_evaluation_shows_the_message_of_the_service(failing_page: Page, status: int) -> None:
    problem = json.dumps({"detail": "The evaluation took too long."})
    failing_page.route(
        "**/evaluate?*",
        lambda route: route.fulfill(
            status=status,
            headers={"Content-Type": "application/problem+json", "Retry-After": "0.01"},
            body=problem,
        ),
    )
    open_page(failing_page, "#tab=trust")
    expect(failing_page.get_by_role("alert")).to_contain_text("The evaluation took too long.")
    expect(failing_page.locator("#trust-status")).to_have_text("")
    expect(failing_page.locator("#trust")).to_be_hidden()
    failing_page.unroute("**/evaluate?*")
    failing_page.route("**/evaluate?*", lambda route: route.fulfill(json=evaluation(0.5, 0.6, 0)))
    failing_page.get_by_role("button", name="Try again").click()
    expect(failing_page.locator("#curves svg")).to_have_count(3)
    expect(failing_page.get_by_role("alert")).to_be_hidden()


# Downloads and links


def test_downloads_are_answers_of_the_service(page: Page, tmp_path: Path) -> None:
    open_page(page)
    starts = {"PNG": b"\x89PNG", "npy": b"\x93NUMPY", "JSON": b"{"}
    for name, start in starts.items():
        with page.expect_download() as download:
            page.get_by_role("button", name=name, exact=True).click()
        download.value.save_as(tmp_path / name)
        assert download.value.suggested_filename == f"automobile-automobile-epsilon_plus_flat.{name.lower()}"
        assert (tmp_path / name).read_bytes().startswith(start)
    assert json.loads((tmp_path / "JSON").read_text())["target"]["label"] == "automobile"


def test_the_name_of_a_saved_contrast_has_both_classes(page: Page) -> None:
    open_page(page, "#target=automobile&versus=truck")
    with page.expect_download() as download:
        page.get_by_role("button", name="PNG", exact=True).click()
    assert download.value.suggested_filename == "automobile-automobile-not-truck-epsilon_plus_flat.png"


def test_copied_commands_send_the_same_request(
    browser: Browser, site: str, tmp_path: Path, cat_png: bytes
) -> None:
    with visit(browser, site, permissions=["clipboard-read", "clipboard-write"]) as page:
        open_page(
            page, "#rule=gamma&gamma=0.5&layers=features.0%3Aw_square&target=cat&versus=dog&view=side_by_side"
        )
        choose(page, cat_png, "it's a cat.png")
        expect_caption(page, "PNG, 451×300")
        page.get_by_role("button", name="and not dog").click()
        expect(page.locator("#question")).to_contain_text("and not dog")
        copied = {}
        for name in ("curl", "Python"):
            page.get_by_role("button", name=name, exact=True).click()
            expect(page.locator("#taken")).to_contain_text("Copied")
            copied[name] = page.evaluate("navigator.clipboard.readText()")
    (tmp_path / "it's a cat.png").write_bytes(cat_png)
    subprocess.run(["sh", "-c", copied["curl"]], cwd=tmp_path, check=True, timeout=60, capture_output=True)
    result = subprocess.run(
        [sys.executable, "-c", copied["Python"]],
        cwd=tmp_path,
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
    )
    saved = next(path for path in tmp_path.glob("*.png") if path.name != "it's a cat.png")
    with Image.open(saved) as picture:
        report = json.loads(picture.info["lrp"])
    assert report["rule"]["parameters"]["gamma"] == 0.5
    assert report["rule"]["layers"][0]["rule"] == "w_square"
    assert report["versus"]["label"] == "dog"
    assert result.stdout.split() == [report["target"]["label"], str(report["relevance"]["sum"])]


def test_a_link_restores_the_explanation(browser: Browser, site: str) -> None:
    with visit(browser, site) as page:
        open_page(page)
        page.get_by_role("button", name="Example: ship").click()
        expect_question(page, "Why ship?")
        page.get_by_label("Rule", exact=True).select_option("epsilon_gamma_box")
        page.get_by_role("button", name="and not bird").click()
        page.get_by_label("Colours").select_option("vik")
        expect_question(page, "Why ship, and not bird?")
        expect(page.locator("#panel-map")).to_have_attribute("aria-busy", "false")
        expect(page).to_have_url(re.compile("example=ship.*versus=bird.*colormap=vik"))
        expect(page.locator("#scale-bar")).to_have_css("background-image", re.compile(r"rgb\(0, 18, 97\)"))
        shown, link = drawn(page, "#panel-relevance"), page.url
    with visit(browser, site) as other:
        other.goto(link)
        expect_question(other, "Why ship, and not bird?")
        expect(other.get_by_label("Rule", exact=True)).to_have_value("epsilon_gamma_box")
        assert drawn(other, "#panel-relevance") == shown


def link_problems(page: Page) -> list[str]:
    return page.locator("#link-problems li").all_inner_texts()


UNKNOWN = {
    "example=plane": "The example “plane” in the link is unknown. The first one is shown.",
    "tab=faith": "The view “faith” in the link is unknown. The map is shown.",
    "rule=epsilom": "The rule “epsilom” in the link is unknown. The default, EpsilonPlusFlat, is used.",
    "target=unicorn": "The class “unicorn” in the link is unknown. The predicted class is explained.",
    "versus=kitten": "The class “kitten” in the link is unknown. No class is contrasted.",
    "start=two": "The start “two” in the link is unknown. The default, automatic, is used.",
    "fit=squash": "The fit “squash” in the link is unknown. The default, crop, is used.",
    "colormap=jet": "The colour map “jet” in the link is unknown. The default, RdBu_r, is used.",
    "vmax=0": "The end of the scale “0” in the link is not a number above 0. The map has its own scale.",
    "rul=gamma": "“rul” in the link is unknown and ignored.",
}


def test_a_link_with_unknown_values_says_which_and_shows_the_defaults(page: Page) -> None:
    with page.expect_request("**/explain?*") as sent:
        open_page(page, f"#{'&'.join(UNKNOWN)}")
    assert sorted(link_problems(page)) == sorted(UNKNOWN.values())
    assert re.sub("&?(values|size)=[^&]*", "", sent.value.url).endswith("/explain?rule=epsilon_plus_flat")
    expect_question(page, "Why automobile?")
    expect(page.get_by_role("alert")).to_be_hidden()
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#link-notice")).to_be_hidden()


@pytest.mark.parametrize("value", ["much", "-1"])
def test_a_link_with_an_unusable_parameter_says_so(page: Page, value: str) -> None:
    with page.expect_request("**/explain?*") as sent:
        open_page(page, f"#rule=gamma&gamma={value}")
    assert link_problems(page) == [
        f"The parameter gamma “{value}” in the link is not a number from 0 to 1000. Its default is used."
    ]
    assert re.sub("&?(values|size)=[^&]*", "", sent.value.url).endswith("rule=gamma")


def test_a_comparison_leaves_out_what_is_unknown_in_a_link(page: Page) -> None:
    with page.expect_request("**/compare?*") as sent:
        open_page(page, "#tab=compare&rules=zero&rules=one&targets=cat&targets=mouse")
    assert sent.value.url.endswith("/compare?rule=zero&target=cat")
    assert link_problems(page) == [
        "The rule “one” in the link is unknown. It is left out of the comparison.",
        "The class “mouse” in the link is unknown. It is left out of the comparison.",
    ]


def test_a_changed_address_is_checked_as_well(page: Page) -> None:
    open_page(page)
    expect(page.locator("#link-notice")).to_be_hidden()
    page.goto("/#rule=epsilom&example=frog")
    expect_question(page, "Why frog?")
    assert link_problems(page) == [
        "The rule “epsilom” in the link is unknown. The default, EpsilonPlusFlat, is used."
    ]
    page.goto("/#rule=gamma&target=3")
    expect(page.locator("#link-notice")).to_be_hidden()
    expect_question(page, "Why cat?")


# Errors


def test_an_unreadable_file_is_refused_with_a_message(failing_page: Page) -> None:
    open_page(failing_page)
    choose(failing_page, b"no picture at all", "notes.png")
    expect(failing_page.get_by_role("alert")).to_contain_text(
        "Not a readable PNG, JPEG, WebP, GIF, BMP or TIFF picture"
    )
    failing_page.get_by_role("button", name="Example: frog").click()
    expect_question(failing_page, "Why frog?")
    expect(failing_page.get_by_role("alert")).to_be_hidden()


def expect_nothing_but(page: Page, name: str) -> None:
    """Wait until the page has an error for this picture, and check that it shows nothing of another one."""
    expect(page.get_by_role("alert")).to_be_visible()
    expect_question(page, f"No explanation of {name}")
    expect(page).to_have_title(f"No explanation of {name} – LRPServe")
    expect_caption(page, name)
    for empty in (
        "#scores",
        "#answer",
        "#report",
        "#warnings",
        "#grid",
        "#flow",
        "#trust-meaning",
        "#curves",
        "#code",
        "#scale-high",
        "#verified",
    ):
        expect(page.locator(empty)).to_have_text("")
    for canvas in ("#panel-picture", "#panel-overlay", "#panel-relevance", "#seen"):
        with Image.open(io.BytesIO(drawn(page, canvas))) as shown:
            assert shown.getchannel("A").getextrema() == (0, 0), f"{canvas} shows something"
    expect(page.locator("#take")).to_have_attribute("inert", "")


@pytest.mark.parametrize("tab", ["map", "compare", "layers", "trust"])
def test_after_a_refused_upload_nothing_of_the_earlier_picture_is_shown(failing_page: Page, tab: str) -> None:
    open_page(failing_page)
    failing_page.locator(f"#tab-{tab}").click()
    expect(failing_page.locator(READY[tab]).first).to_be_visible(timeout=EVALUATION_MS)
    choose(failing_page, b"no picture at all", "notes.png")
    expect_nothing_but(failing_page, "notes.png")


def test_after_a_lost_server_nothing_of_the_earlier_picture_is_shown(failing_page: Page) -> None:
    open_page(failing_page)
    failing_page.route("**/explain?*", lambda route: route.abort())
    failing_page.get_by_role("button", name="Example: frog").click()
    expect_nothing_but(failing_page, "frog.png")
    with Image.open(io.BytesIO(drawn(failing_page, "#upload"))) as shown:
        assert shown.getchannel("A").getextrema() == (255, 255)  # the frog itself
    failing_page.unroute("**/explain?*")
    failing_page.get_by_role("button", name="Try again").click()
    expect_question(failing_page, "Why frog?")
    expect(failing_page.locator("#scores .score")).to_have_count(10)


@pytest.mark.parametrize(
    ("tab", "shown", "path"), [("compare", "#grid", "compare"), ("layers", "#flow", "explain?*layer")]
)
def test_a_failed_comparison_does_not_leave_that_of_the_earlier_picture(
    failing_page: Page, tab: str, shown: str, path: str
) -> None:
    open_page(failing_page)
    failing_page.locator(f"#tab-{tab}").click()
    expect(failing_page.locator(f"{shown} img").first).to_be_visible()
    failing_page.route(f"**/{path}*", lambda route: route.abort())
    failing_page.get_by_role("button", name="Example: frog").click()
    expect_question(failing_page, "Why frog?")
    expect(failing_page.get_by_role("alert")).to_be_visible()
    expect(failing_page.locator(shown)).to_have_text("")
    expect(failing_page.locator(f"{shown} img")).to_have_count(0)


def test_while_a_picture_is_explained_everything_is_about_the_earlier_one(page: Page) -> None:
    held: list[Route] = []
    open_page(page, "#tab=compare")
    expect(page.locator("#grid img")).to_have_count(9)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    page.route("**/explain?*", lambda route: held.append(route))
    with page.expect_request("**/explain?*"):
        page.get_by_role("button", name="Example: frog").click()
    expect_question(page, "Why automobile?")
    expect(page.locator("#code")).to_contain_text("file=@automobile.png")
    expect(page.locator("#take")).to_have_attribute("inert", "")
    assert not [url for url in sent if "/compare" in url]
    held[0].continue_()
    expect_question(page, "Why frog?")
    expect(page.locator("#code")).to_contain_text("file=@frog.png")


def test_an_unreachable_service_is_reported_and_can_be_tried_again(failing_page: Page) -> None:
    open_page(failing_page)
    failing_page.route("**/explain?*", lambda route: route.abort())
    failing_page.locator("#scores .score", has_text="ship").click()
    expect(failing_page.get_by_role("alert")).to_contain_text("The service does not answer")
    failing_page.unroute("**/explain?*")
    failing_page.get_by_role("button", name="Try again").click()
    expect_question(failing_page, "Why ship?")


def test_a_busy_service_is_retried_after_its_delay(failing_page: Page) -> None:
    failing_page.route(
        "**/explain?*",
        lambda route: route.fulfill(status=503, headers={"Retry-After": "1"}, body="{}"),
        times=1,
    )
    failing_page.goto("/")
    expect(failing_page.locator("#status")).to_have_text("The service is busy, retrying in 1 s …")
    expect_question(failing_page, "Why automobile?")
    expect(failing_page.locator("#status")).to_be_hidden()


def test_the_message_of_a_busy_service_goes_with_its_request(failing_page: Page) -> None:
    open_page(failing_page)
    busy = {"status": 503, "headers": {"Retry-After": "9"}, "body": "{}"}
    failing_page.route("**/explain?*target=ship*", lambda route: route.fulfill(**busy))
    failing_page.locator("#scores .score", has_text="ship").click()
    expect(failing_page.locator("#status")).to_have_text("The service is busy, retrying in 9 s …")
    failing_page.locator("#scores .score", has_text="frog").click()
    expect_question(failing_page, "Why frog?")
    expect(failing_page.locator("#status")).to_be_hidden()


def test_the_page_works_with_a_key_in_basic_authentication(
    browser: Browser, model: Model, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a-key-that-is-long-enough-to-be-taken\n")
    answer = {"username": "", "password": "a-key-that-is-long-enough-to-be-taken"}
    settings = Settings(api_keys_file=keys)
    with (
        serving(settings, create_app(settings, model)) as locked,
        visit(browser, f"http://127.0.0.1:{locked.port}", http_credentials=answer) as page,
    ):
        open_page(page)
        expect_question(page, "Why automobile?")


def test_a_required_key_is_requested_and_sent(failing_page: Page) -> None:
    def guard(route: Route) -> None:
        if route.request.headers.get("authorization") == "Bearer sesame":
            route.continue_()
        else:
            route.fulfill(
                status=401, content_type="application/problem+json", body='{"detail": "send a key"}'
            )

    failing_page.route("**/explain?*", guard)
    failing_page.goto("/")
    failing_page.locator("#key").fill("sesame")
    failing_page.get_by_role("button", name="Use it").click()
    expect_question(failing_page, "Why automobile?")
    expect(failing_page.locator("#code")).to_contain_text("Bearer $LRP_API_KEY")


def test_a_missing_key_is_reported(failing_page: Page) -> None:
    problem = {"status": 401, "content_type": "application/problem+json", "body": '{"detail": "send a key"}'}
    failing_page.route("**/explain?*", lambda route: route.fulfill(**problem))
    failing_page.goto("/")
    expect(failing_page.locator("#key")).to_be_focused()
    failing_page.keyboard.press("Escape")
    expect(failing_page.get_by_role("alert")).to_contain_text("This service answers only with a key")


def test_an_older_answer_does_not_replace_a_newer_one(page: Page) -> None:
    held: list[Route] = []
    open_page(page)
    page.route("**/explain?rule=zero*", lambda route: held.append(route))
    with page.expect_request("**/explain?rule=zero*"):
        page.get_by_label("Rule", exact=True).select_option("zero")
    page.get_by_label("Rule", exact=True).select_option("gamma")
    expect(page.locator("#panel-relevance")).to_have_attribute("aria-label", re.compile("LRP-γ"))
    held[0].continue_()
    page.get_by_role("button", name="Zoom in").click()
    expect(page.locator("#panel-relevance")).to_have_attribute("aria-label", re.compile("LRP-γ"))


# Accessibility


def tab_to(page: Page, css: str) -> None:
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("css => document.activeElement.matches(css)", css):
            return
    raise AssertionError(f"{css} cannot be reached with the keyboard")


def test_the_page_can_be_used_with_the_keyboard(page: Page) -> None:
    open_page(page)
    tab_to(page, ".skip")
    page.keyboard.press("Enter")
    expect(page.locator("#probe")).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#readout")).to_contain_text("Pixel 16, 17")
    page.keyboard.press("+")
    expect(page.locator("#zoom-level")).to_have_text("2×")
    page.keyboard.press("Escape")
    expect(page.locator("#readout")).to_contain_text("Point at a pixel")
    tab_to(page, "#rule")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#panel-relevance")).to_have_attribute("aria-label", re.compile("EpsilonPlus:"))
    page.locator("body").press("Home")
    page.locator("#tab-map").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Layers")).to_be_focused()
    expect(page.locator("#flow li")).to_have_count(7)


LOOKS = [
    ("desktop", "light"),
    ("desktop", "dark"),
    ("tablet", "light"),
    ("phone", "light"),
    ("phone", "dark"),
]
"""Sizes and colour schemes of screenshots. Colours do not depend on the size, nor the layout on the scheme."""
CHECKED = [("desktop", "light"), ("desktop", "dark"), ("phone", "light")]
"""Those that axe checks."""


def expect_to_fit(page: Page, name: str, *, part: str | None = None) -> None:
    """Check what is on the page, in all `LOOKS`: axe checks all of it, or the part with this selector."""
    ARTEFACTS.mkdir(exist_ok=True)
    for size, scheme in LOOKS:
        width, height = SIZES[size]
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        page.screenshot(path=ARTEFACTS / f"{name}-{size}-{scheme}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, (name, size)
        if (size, scheme) in CHECKED:
            report = Axe().run(page, part)
            assert report.violations_count == 0, (name, size, scheme, report.generate_report())


def test_the_page_fits_the_window_and_axe_finds_no_violations(
    browser: Browser, site: str, cat_png: bytes
) -> None:
    with visit(browser, site) as page:
        open_page(page)
        for tab, ready in READY.items():
            page.locator(f"#tab-{tab}").click()
            expect(page.locator(ready).first).to_be_visible(timeout=EVALUATION_MS)
            expect_to_fit(page, tab, part=None if tab == "map" else f"#panel-{tab}")
        page.locator("#tab-map").click()
        page.locator("#file").set_input_files(several(cat_png, encode(Image.new("RGB", (60, 40), "red"))))
        expect_caption(page, "PNG, 451×300")
        cover(page, *WHEEL)
        expect_covered(page, 63)
        expect_to_fit(page, "covered")
        for width, height in SIZES.values():
            page.set_viewport_size({"width": width, "height": height})
            boxes = [canvas.bounding_box() for canvas in page.locator(".panels canvas").all()]
            corners = {(box["x"], box["y"]) for box in boxes if box is not None}
            assert len(corners) == 3, "panels lie on each other"


# API documentation


def swagger_explains(page: Page, cat_png: bytes) -> None:
    """Upload a picture in Swagger UI, and wait for its heatmap."""
    explain = page.locator("#operations-explain-explain")
    explain.get_by_text("/explain", exact=True).click()
    explain.locator("input[type=file]").set_input_files(
        {"name": "cat.png", "mimeType": "image/png", "buffer": cat_png}
    )
    explain.get_by_role("button", name="Execute").click()
    heatmap = explain.locator(".live-responses-table img")
    expect(heatmap).to_be_visible()
    assert heatmap.evaluate("image => image.decode().then(() => image.naturalWidth)") == 256


def test_swagger_uploads_a_picture_and_shows_the_heatmap(page: Page, cat_png: bytes) -> None:
    page.goto("/docs")
    swagger_explains(page, cat_png)
    page.screenshot(path=ARTEFACTS / "swagger.png", full_page=True)


def test_swagger_shows_the_file_chooser_and_the_important_parameters_first(page: Page) -> None:
    page.goto("/docs")
    explain = page.locator("#operations-explain-explain")
    explain.get_by_text("/explain", exact=True).click()
    names = explain.locator(".parameters .parameter__name")
    expect(names.first).to_be_visible()
    assert [name.strip() for name in names.all_inner_texts()[:4]] == ["rule", "target", "versus", "view"]
    chooser, first = explain.locator("input[type=file]").bounding_box(), names.first.bounding_box()
    assert chooser is not None
    assert first is not None
    assert chooser["y"] < first["y"]
    types = explain.locator(".parameters .parameter__type").all_inner_texts()
    assert len(types) == names.count()
    assert [text for text in types if "|" in text] == []


def test_redoc_sends_no_requests_to_other_hosts(page: Page) -> None:
    page.goto("/redoc")
    expect(page.get_by_role("heading", name=re.compile("LRPServe")).first).to_be_visible()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=ARTEFACTS / "redoc.png")


# Below a path prefix


@pytest.mark.parametrize("removed", [True, False], ids=["prefix removed", "prefix passed on"])
def test_the_page_and_swagger_work_below_a_prefix(
    browser: Browser, model: Model, tmp_path: Path, cat_png: bytes, removed: bool
) -> None:
    settings = Settings(root_path="" if removed else PREFIX)
    with (
        serving(settings, create_app(settings, model)) as server,
        nginx(recipe() if removed else passing_on(recipe()), server.port, tmp_path) as url,
        visit(browser, f"{url}/", ignore_https_errors=True, permissions=["clipboard-write"]) as page,
    ):
        page.goto("./")
        expect_question(page, "Why automobile?")
        choose(page, cat_png)
        expect_question(page, "Why cat?")
        page.get_by_role("button", name="curl", exact=True).click()
        expect(page.locator("#code")).to_contain_text(f"{url}/explain?")
        page.get_by_role("link", name="Try the API").click()
        swagger_explains(page, cat_png)
        link = page.get_by_role("link", name="page", exact=True)  # opens in a new tab
        assert link.evaluate("link => link.href") == f"{url}/"


# A model of another shape


@pytest.fixture(scope="module")
def other_site() -> Iterator[str]:
    """The URL of a service whose model is 48 high and 64 wide, with one channel and four classes."""
    settings = Settings()
    with serving(settings, create_app(settings, FakeModel())) as other:
        yield f"http://127.0.0.1:{other.port}"


def test_the_page_has_the_shape_and_the_classes_of_the_model(
    browser: Browser, other_site: str, cat_png: bytes
) -> None:
    with visit(browser, other_site) as page:
        open_page(page)
        choose(page, cat_png)
        expect_caption(page, "PNG, 451×300")
        expect(page.locator("#model")).to_have_text("quadrants")
        expect(page.locator("#seen-caption")).to_have_text("the model saw 64×48")
        expect(page.locator("#scores .score")).to_have_count(4)
        expect(page.locator("#layers-example")).to_have_text("encoder.scan:w_square")
        with Image.open(io.BytesIO(drawn(page, "#seen"))) as seen:
            shown = np.asarray(seen.convert("RGB"))
        grey = np.array(explained(other_site, cat_png)["input"]["pixels"])
        assert shown.tolist() == np.broadcast_to(grey, (48, 64, 3)).tolist()
        for canvas in ("#panel-picture", "#panel-overlay", "#panel-relevance", "#seen"):
            box = page.locator(canvas).bounding_box()
            assert box is not None
            assert box["width"] / box["height"] == pytest.approx(64 / 48, rel=0.01)


def test_the_readout_of_a_pixel_of_a_wide_map_is_its_relevance(
    browser: Browser, other_site: str, cat_png: bytes
) -> None:
    with visit(browser, other_site) as page:
        open_page(page)
        choose(page, cat_png)
        expect_caption(page, "PNG, 451×300")
        value = explained(other_site, cat_png)["relevance"]["values"][0][40][50]
        box = page.locator("#panel-relevance").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 50.5 / 64 * box["width"], box["y"] + 40.5 / 48 * box["height"])
        expect(page.locator("#readout")).to_contain_text("Pixel 50, 40: relevance")
        match = re.search(r"relevance ([+−]?[\d.e−]+)", page.locator("#readout").inner_text())
        assert match is not None
        assert float(match[1].replace("−", "-")) == pytest.approx(value, rel=0.01)


def test_padding_has_the_colour_of_the_models_mean(browser: Browser, other_site: str) -> None:
    with visit(browser, other_site) as page:
        open_page(page, "#fit=pad")
        content = io.BytesIO()
        Image.new("RGB", (640, 120), "white").save(content, "PNG")
        choose(page, content.getvalue(), "bar.png")
        expect_caption(page, "PNG, 640×120")
        with Image.open(io.BytesIO(drawn(page, "#panel-picture"))) as panel:
            corners = [panel.getpixel((5, 5)), panel.getpixel((panel.width - 5, panel.height - 5))]
        assert corners == [(102, 102, 102, 255)] * 2


def test_covers_have_the_shape_and_the_mean_of_the_model(browser: Browser, other_site: str) -> None:
    with visit(browser, other_site) as page:
        page.add_init_script(RECORD)
        open_page(page)
        cover(page, 50, 30, 10, 15, (64, 48))
        expect_covered(page, 150)
        pixels = np.array(explained(other_site, sent_picture(page, "explain"))["input"]["pixels"])[..., 0]
        pixels[30:45, 50:60] = 102
        with Image.open(io.BytesIO(sent_picture(page, "predict"))) as sent:
            assert np.asarray(sent.convert("RGB"))[..., 1].tolist() == pixels.tolist()


def test_the_page_fits_the_window_with_a_model_of_another_shape(browser: Browser, other_site: str) -> None:
    ARTEFACTS.mkdir(exist_ok=True)
    with visit(browser, other_site) as page:
        open_page(page)
        for tab, ready in READY.items():
            page.locator(f"#tab-{tab}").click()
            expect(page.locator(ready).first).to_be_visible(timeout=EVALUATION_MS)
            for size, (width, height) in SIZES.items():
                page.set_viewport_size({"width": width, "height": height})
                page.screenshot(path=ARTEFACTS / f"other-{tab}-{size}.png", full_page=True)
                assert page.evaluate("document.documentElement.scrollWidth") <= width


# Several models

LONG_NAMES = (
    "great white shark, white shark, man-eater, man-eating shark, Carcharodon carcharias",
    "Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz",
    "hammerhead, hammerhead shark",
    "tench, Tinca tinca",
)
MANY = (*LONG_NAMES, *(f"thing {number}" for number in range(4, 1000)))


class LargeModel(FakeModel):
    """A fake model with an input of 224×224 pixels."""

    description = replace(
        DESCRIPTION,
        card=DESCRIPTION.card.model_copy(
            update={"name": "large", "input_size": (1, 224, 224), "files": {"weights.safetensors": "3" * 64}}
        ),
    )


BLOCKS = 14
DEEP_SHAPES = (
    {"encoder.scan": (1, 48, 64), "encoder.pool": (3, 12, 16)}
    | {f"{block}.weights": (2, 9, 9) for block in range(BLOCKS)}
    | {f"{block}.dense": (9, 8) for block in range(BLOCKS)}
    | {"vote": (4,)}
)
"""Shape of the relevance at the input of each layer that a rule is for."""


class DeepModel(FakeModel):
    """A fake model with 32 layers, some of attention: relevance stays what it is, in other shapes."""

    description = replace(
        DESCRIPTION,
        card=DESCRIPTION.card.model_copy(update={"name": "deep", "files": {"weights.safetensors": "4" * 64}}),
        chain=(
            ("encoder.scan", "convolution"),
            ("encoder.pool", "proportional"),
            *(
                layer
                for block in range(BLOCKS)
                for layer in ((f"{block}.weights", "attention"), (f"{block}.dense", "dense"))
            ),
            ("vote", "dense"),
        ),
        layers=tuple(LayerDescription(name, "Layer", "Layer()") for name in DEEP_SHAPES),
    )

    def run(self, jobs: Sequence[Job]) -> list[JobResult]:
        plain = [
            replace(job, requests=tuple(replace(one, layer=None) for one in job.requests)) for job in jobs
        ]
        return [
            replace(result, explanations=tuple(map(_at_layer, result.explanations, job.requests)))
            for job, result in zip(jobs, super().run(plain), strict=True)
        ]


def _at_layer(explanation: Explanation, request: ExplanationRequest) -> Explanation:
    shape = DEEP_SHAPES[request.layer or "encoder.scan"]
    total = explanation.relevance.sum()
    at_layer = explanation.relevance if request.layer is None else np.full(shape, total / np.prod(shape))
    sums = tuple((name, float(total)) for name, _ in DeepModel.description.chain)
    return replace(explanation, relevance=at_layer.astype(np.float32), layer_sums=sums)


@pytest.fixture(scope="module")
def several_site() -> Iterator[str]:
    """The URL of a service: models of four classes, of a thousand, with a large input, with many layers."""
    settings = Settings(default_model="compass")
    models = (Named("compass", COMPASS, "1" * 64), Named("many", MANY, "2" * 64), LargeModel(), DeepModel())
    with serving(settings, create_app(settings, models)) as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def shared_several_page(browser: Browser, several_site: str) -> Iterator[Page]:
    with opened(browser, several_site) as page:
        page.add_init_script(RECORD)
        yield page


@pytest.fixture
def several_page(shared_several_page: Page, several_site: str) -> Iterator[Page]:
    with borrowed(shared_several_page, several_site, failures=True) as page:
        yield page


def model_choice(page: Page) -> Locator:
    return page.get_by_role("combobox", name="Model", exact=True)


def choose_model(page: Page, name: str) -> None:
    """Choose another model and wait until it has answered."""
    with page.expect_response(re.compile(f"/explain.*model={name}")):
        model_choice(page).select_option(name)
    expect(page.locator("#answer")).to_contain_text("%")


def test_a_single_model_is_not_chosen(page: Page) -> None:
    open_page(page)
    expect(page.locator("#model")).to_contain_text("minivgg-cifar10")
    expect(model_choice(page)).to_be_hidden()
    expect(page.locator("#class-search")).to_be_hidden()


def test_the_chosen_model_answers_and_is_in_the_link(
    browser: Browser, several_page: Page, several_site: str, cat_png: bytes
) -> None:
    open_page(several_page)
    expect(model_choice(several_page)).to_have_value("compass")
    expect(several_page.locator("#model")).to_have_text("4 classes, 64×48 pixels")
    choose(several_page, cat_png)
    expect_caption(several_page, "PNG, 451×300")
    choose_model(several_page, "many")
    label = explained(several_site, cat_png, model="many")["prediction"]["label"]
    expect_question(several_page, f"Why {label}?")
    expect_caption(several_page, "PNG, 451×300")  # the picture stays
    expect(several_page.locator("#model")).to_have_text("1000 classes, 64×48 pixels")
    expect(several_page.locator("#code")).to_contain_text("model=many")
    expect(several_page).to_have_url(re.compile("#model=many$"))
    with visit(browser, several_site) as other:
        open_page(other, "#model=many&target=thing+77")
        expect(model_choice(other)).to_have_value("many")
        expect_question(other, "Why thing 77?")
        other.goto("/#example=frog")
        expect(model_choice(other)).to_have_value("compass")
        expect(other.locator("#scores .score")).to_have_count(4)
    model_choice(several_page).select_option("compass")
    expect(several_page.locator("#scores .score")).to_have_count(4)
    expect(several_page).not_to_have_url(re.compile("model="))


@pytest.mark.parametrize("tab", ["compare", "layers", "trust"])
def test_every_tab_is_about_the_chosen_model(several_page: Page, tab: str) -> None:
    open_page(several_page, "#rule=zero")
    choose_model(several_page, "large")
    path = {"compare": "compare", "layers": "explain", "trust": "evaluate"}[tab]
    with several_page.expect_request(re.compile(rf"/{path}\?.*model=large")):
        several_page.locator(f"#tab-{tab}").click()
    expect(several_page.locator(READY[tab]).first).to_be_visible(timeout=EVALUATION_MS)


def test_nothing_of_the_model_before_is_shown_while_another_is_asked(several_page: Page) -> None:
    held: list[Route] = []
    open_page(several_page, "#tab=layers&layers=vote:zero&cover=1,1,4,4")
    expect(several_page.locator("#flow img").first).to_be_visible()
    several_page.route("**/explain?*", lambda route: held.append(route))
    with several_page.expect_request("**/explain?*"):
        model_choice(several_page).select_option("many")
    expect_question(several_page, "many is asked …")
    for empty in ("#scores", "#answer", "#report", "#warnings", "#flow", "#code", "#scale-high"):
        expect(several_page.locator(empty)).to_have_text("")
    expect(several_page.locator("#take")).to_have_attribute("inert", "")
    assert several_page.url.endswith(
        "#model=many&example=automobile&tab=layers"
    )  # no places and layers of the other
    held[0].continue_()


def test_a_link_with_an_unknown_model_says_so_and_shows_the_default_one(several_page: Page) -> None:
    open_page(several_page, "#model=vgg16")
    expect(model_choice(several_page)).to_have_value("compass")
    assert link_problems(several_page) == [
        "The model “vgg16” in the link is unknown. The default, compass, is used."
    ]


def test_a_model_that_cannot_be_loaded_is_not_chosen(several_page: Page) -> None:
    open_page(several_page)
    several_page.route("**/models/many", lambda route: route.abort())
    model_choice(several_page).select_option("many")
    expect(several_page.get_by_role("alert")).to_contain_text("The service does not answer")
    expect(model_choice(several_page)).to_have_value("compass")
    several_page.unroute("**/models/many")
    several_page.get_by_role("button", name="Try again").click()
    expect(several_page.locator("#model")).to_contain_text("1000 classes")
    expect(several_page.locator("#answer")).to_contain_text("%")
    expect(several_page.get_by_role("alert")).to_be_hidden()


def test_one_of_a_thousand_classes_is_found_by_typing(several_page: Page) -> None:
    open_page(several_page, "#model=many")
    expect(several_page.locator("#scores .score")).to_have_count(10)
    field = several_page.get_by_role("combobox", name="Another class, by a part of its name")
    hint = several_page.locator("#class-search output")
    assert field.evaluate("field => [...field.list.options].map(({ value }) => value)") == list(MANY)
    tab_to(several_page, "#class")
    for text, said in (
        ("shark", "2 classes have “shark” in their names; choose one."),
        ("unicorn", "No class has “unicorn” in its name."),
    ):
        field.fill(text)
        several_page.keyboard.press("Enter")
        expect(hint).to_have_text(said)
        expect(field).to_be_focused()
    field.fill("Thing 77")  # also a part of thing 770
    several_page.keyboard.press("Enter")
    expect_question(several_page, "Why thing 77?")
    expect(hint).to_have_text("")
    rows = several_page.locator("#scores .score")
    expect(rows).to_have_count(11)
    expect(rows.last).to_contain_text("thing 77")
    expect(rows.last).to_have_attribute("aria-pressed", "true")
    field.fill("hammer")
    several_page.keyboard.press("Tab")
    several_page.keyboard.press("Tab")
    several_page.keyboard.press("Enter")  # the button "and not this class"
    expect_question(several_page, f"Why thing 77, and not {LONG_NAMES[2]}?")
    expect(several_page).to_have_url(re.compile("versus=hammerhead"))


def test_covers_change_the_scores_of_classes_that_are_not_among_the_first(several_page: Page) -> None:
    open_page(several_page, "#model=many&target=thing+77&cover=0,0,40,30")
    expect_covered(several_page, 1200)
    expect(several_page.locator("#covered")).to_contain_text("thing 77: <1% → <1%, logit 0 → 0.")
    expect(several_page.locator("#scores .change")).to_have_count(11)


def test_one_of_a_thousand_classes_is_added_to_the_comparison(several_page: Page) -> None:
    open_page(several_page, "#model=many&tab=compare")
    expect(several_page.locator("#grid img")).to_have_count(9)
    expect(several_page.locator("#pick-targets input")).to_have_count(10)
    field = several_page.get_by_role("combobox", name="Another class to compare")
    field.fill("thing 777")
    field.press("Enter")
    expect(several_page.locator("#grid img")).to_have_count(12)
    added = several_page.get_by_role("checkbox", name="thing 777")
    expect(added).to_be_checked()
    added.uncheck()
    expect(several_page.locator("#grid img")).to_have_count(9)
    expect(added).to_be_focused()
    expect(several_page).to_have_url(re.compile("model=many.*targets="))


def test_a_map_of_a_large_input_is_read_covered_and_drawn(
    several_page: Page, several_site: str, cat_png: bytes
) -> None:
    open_page(several_page, "#model=large")
    choose(several_page, cat_png)
    expect_caption(several_page, "PNG, 451×300")
    expect(several_page.locator("#seen-caption")).to_have_text("the model saw 224×224")
    answer = explained(several_site, cat_png, model="large")
    values = np.array(answer["relevance"]["values"][0])
    y, x = (int(place) for place in np.unravel_index(values.argmax(), values.shape))
    several_page.mouse.move(*cell(several_page, x, y, (224, 224)))
    expect(several_page.locator("#readout")).to_contain_text(f"Pixel {x}, {y}: relevance +")
    expect(several_page.locator("#readout")).to_contain_text("100% of the scale")
    several_page.get_by_label("What covered parts become").select_option("blurred")
    cover(several_page, 100, 120, 30, 20, (224, 224))
    expect_covered(several_page, 600)
    pixels = np.array(answer["input"]["pixels"])[..., 0]
    with Image.open(io.BytesIO(sent_picture(several_page, "predict"))) as sent:
        covered = np.asarray(sent.convert("RGB"))[..., 1].astype(int)
    outside = np.ones((224, 224), bool)
    outside[120:140, 100:130] = False
    assert (covered[outside] == pixels[outside]).all()
    assert covered[~outside].std() < pixels[~outside].std() / 2


def test_a_few_of_many_layers_are_shown_unless_all_are_asked_for(several_page: Page) -> None:
    """At most four requests are under way at once."""
    several_page.add_init_script("""
        window.layers = { now: 0, most: 0, all: 0 };
        const send = window.fetch;
        window.fetch = async (path, options) => {
            if (!path.includes("layer=")) return send(path, options);
            window.layers.all += 1;
            window.layers.most = Math.max(window.layers.most, (window.layers.now += 1));
            try { return await send(path, options); } finally { window.layers.now -= 1; }
        };
    """)
    open_page(several_page, "#model=deep&tab=layers")
    cards, every = several_page.locator("#flow li"), several_page.get_by_role("button", name="All 31 layers")
    expect(cards).to_have_count(1 + 12)  # the output is one
    expect(cards.nth(1)).to_contain_text("input of vote")
    expect(cards.last).to_contain_text("the pixels")
    expect(cards.last.locator("img")).to_have_attribute("alt", re.compile("input of encoder.scan: in all"))
    progress = several_page.get_by_role("progressbar", name="Layers that have answered")
    expect(progress).to_be_hidden()
    held: list[Route] = []
    are_released = False
    several_page.route(
        "**/explain?*layer=*", lambda route: route.continue_() if are_released else held.append(route)
    )
    with several_page.expect_request("**/explain?*layer=*"):
        every.click()
    expect(progress).to_be_visible()
    are_released = True
    for route in held:
        route.continue_()
    expect(cards).to_have_count(1 + 31)
    expect(progress).to_be_hidden()
    expect(every).to_have_attribute("aria-pressed", "true")
    assert several_page.evaluate("window.layers") == {"now": 0, "most": 4, "all": 12 + 31}
    every.click()
    expect(cards).to_have_count(1 + 12)


def test_maps_of_layers_that_are_no_pictures_say_so(several_page: Page) -> None:
    open_page(several_page, "#model=deep&tab=layers")
    several_page.get_by_role("button", name="All 31 layers").click()
    expect(several_page.locator("#flow li")).to_have_count(1 + 31)
    for layer, said in {
        "vote": "4 values, no picture",
        "3.dense": "9 × 8 values, no picture",
        "3.weights": "2 × 9 × 9 values, no picture",
    }.items():
        card = several_page.locator("#flow li", has=several_page.get_by_text(f"input of {layer}", exact=True))
        expect(card).to_contain_text(said)
        expect(card.locator("img")).to_have_attribute("alt", re.compile(re.escape(said)))
    pool = several_page.locator("#flow li", has_text="input of encoder.pool")
    expect(pool).not_to_contain_text("no picture")


def test_the_rule_of_attention_is_chosen_for_models_that_have_it(several_page: Page) -> None:
    choice = several_page.get_by_role("combobox", name="Attention")
    open_page(several_page)
    expect(choice).to_be_hidden()
    choose_model(several_page, "deep")
    with several_page.expect_request(re.compile("/explain.*attention=attnlrp")):
        choice.select_option("attnlrp")
    expect(several_page.locator("#code")).to_contain_text("attention=attnlrp")
    expect(several_page).to_have_url(re.compile("model=deep&.*attention=attnlrp"))
    for tab in ("compare", "trust"):
        path = {"compare": "compare", "trust": "evaluate"}[tab]
        with several_page.expect_request(re.compile(rf"/{path}\?.*attention=attnlrp")):
            several_page.locator(f"#tab-{tab}").click()
        expect(several_page.locator(READY[tab]).first).to_be_visible(timeout=EVALUATION_MS)
    choose_model(several_page, "large")
    expect(choice).to_be_hidden()
    expect(several_page).not_to_have_url(re.compile("attention="))


@pytest.mark.parametrize(("model", "rule"), [("compass", "cp"), ("deep", "softmax")])
def test_a_link_with_an_unknown_rule_of_attention_says_so(several_page: Page, model: str, rule: str) -> None:
    open_page(several_page, f"#model={model}&attention={rule}")
    assert link_problems(several_page) == [
        f"The rule of attention “{rule}” in the link is unknown. The default is used."
    ]
    expect(several_page).not_to_have_url(re.compile("attention="))


def test_the_layers_of_a_deep_model_fit_the_window(several_page: Page) -> None:
    open_page(several_page, "#model=deep&attention=attnlrp&tab=layers")
    expect(several_page.locator("#flow li")).to_have_count(1 + 12)
    expect_to_fit(several_page, "deep-layers")


def test_the_page_fits_the_window_with_long_names_of_classes(several_page: Page) -> None:
    open_page(several_page, f"#model=many&target={LONG_NAMES[1]}&versus={LONG_NAMES[0]}&rule=zero")
    for tab, ready in READY.items():
        several_page.locator(f"#tab-{tab}").click()
        expect(several_page.locator(ready).first).to_be_visible(timeout=EVALUATION_MS)
        expect_to_fit(several_page, f"many-{tab}", part=f"#panel-{tab}")


# Texts and tables


@pytest.fixture(scope="module")
def kinds_site() -> Iterator[str]:
    """The URL of a service with a model of each kind of input; pictures have the default one."""
    settings = Settings()
    with serving(settings, create_app(settings, (FakeModel(), FakeTextModel(), FakeTableModel()))) as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def shared_kinds_page(browser: Browser, kinds_site: str) -> Iterator[Page]:
    with opened(browser, kinds_site) as page:
        yield page


@pytest.fixture
def kinds_page(shared_kinds_page: Page, kinds_site: str) -> Iterator[Page]:
    with borrowed(shared_kinds_page, kinds_site, failures=True) as page:
        yield page


def open_text(page: Page, text: str, more: str = "") -> None:
    page.goto(f"/#model=words&text={quote(text)}{more}")
    expect(page.locator("#answer")).to_contain_text("%")


def number_in(text: str) -> float:
    """Return the first number with a sign, as the page writes it, or 0."""
    found = re.search(r"[+−]([\d.]+)", text)
    return 0.0 if found is None else float(found[0].replace("−", "-"))


def test_the_chosen_model_decides_what_is_asked_for(kinds_page: Page) -> None:
    open_page(kinds_page, "#rule=gamma&gamma=2&tab=trust")
    choice, inputs = model_choice(kinds_page), {"quadrants": "Picture", "words": "Text", "climate": "Row"}
    answers = {"words": "The network says positive", "climate": "The network predicts", "quadrants": "%"}
    for name in ("words", "climate", "quadrants"):
        choice.select_option(name)
        expect(kinds_page.locator("#answer")).to_contain_text(answers[name])
        for kind, heading in inputs.items():
            expect(kinds_page.get_by_role("region", name=heading, exact=True)).to_be_visible(
                visible=kind == name
            )
        expect(kinds_page.get_by_role("tab", name="Trust")).to_be_visible(visible=name == "quadrants")
        expect(kinds_page.locator("#link-problems li")).to_have_count(0)
        expect(kinds_page).to_have_url(re.compile("rule=gamma.*gamma=2"))  # a chosen rule stays
    expect(kinds_page).to_have_url(re.compile("example=automobile"))


def test_a_service_without_a_model_for_pictures_has_its_page(browser: Browser) -> None:
    settings = Settings()
    with (
        serving(settings, create_app(settings, FakeTableModel())) as server,
        visit(browser, f"http://127.0.0.1:{server.port}") as page,
    ):
        page.goto("/")
        expect_question(page, "Why 11 °C?")  # 12 − 1: the mean row, but inland
        expect(page.locator("#model")).to_have_text("climate")
        expect(page.locator("#rule")).to_have_value("zero")


def test_words_have_the_relevance_and_the_colours_of_the_service(kinds_page: Page, kinds_site: str) -> None:
    text = "\U0001f600 a  good\nfilm"  # the first character has two units in JavaScript
    open_text(kinds_page, text, "&rule=zero&target=positive")
    answer = httpx.post(
        f"{kinds_site}/explain/text", params={"rule": "zero", "target": "positive"}, json={"text": text}
    ).json()
    words = kinds_page.locator("#words mark")
    expect(words).to_have_count(4)
    shown = words.evaluate_all("marks => marks.map((mark) => mark.firstChild.data)")
    assert shown == ["\U0001f600", "a", "good", "film"] == [token["text"] for token in answer["tokens"]]
    unseen = kinds_page.locator("#words .unseen").all_inner_texts()
    for place, token in enumerate(answer["tokens"]):
        words.nth(place).hover()
        readout = kinds_page.locator("#word").inner_text()
        assert ("does not know it" in readout) == (place == 0)
        assert readout.startswith(f"“{token['text']}”: relevance ")
        assert number_in(readout) == pytest.approx(token["relevance"], rel=0.005)
        assert number_in(unseen[place]) == pytest.approx(token["relevance"], rel=0.005)
    expect(words.first).to_have_class("unknown")
    expect(words.nth(2)).to_have_css("background-color", "rgb(103, 0, 31)")  # the largest has the last colour
    assert number_in(kinds_page.locator("#scale-high").inner_text()) == pytest.approx(
        answer["scale"]["vmax"], rel=0.005
    )
    between = kinds_page.locator("#words").evaluate(
        "words => [...words.childNodes].filter(({ nodeType }) => nodeType === 3).map(({ data }) => data)"
    )
    assert between == [" ", "  ", "\n"]


def test_a_text_is_explained_while_it_is_written(kinds_page: Page) -> None:
    open_text(kinds_page, "a film")
    held: list[Route] = []
    sent: list[str] = []
    kinds_page.route("**/explain/text?*", lambda route: held.append(route))
    kinds_page.on("request", lambda request: sent.extend(filter(None, [request.post_data])))
    field = kinds_page.get_by_role("textbox", name="Text", exact=True)
    with kinds_page.expect_request("**/explain/text?*"):
        field.press_sequentially(" good")
    assert [json.loads(body)["text"] for body in sent] == ["a film good"]  # not one for each letter
    with kinds_page.expect_event("requestfailed"):  # the answer about the older text is not waited for
        field.fill("not bad")
    expect(kinds_page).to_have_url(re.compile("text=not[+]bad"))
    with kinds_page.expect_event("requestfinished"):
        kinds_page.wait_for_function("1")
        held[-1].continue_()
    expect(kinds_page.locator("#words mark")).to_have_count(2)
    expect(field).to_be_focused()
    kinds_page.unroute("**/explain/text?*")
    kinds_page.get_by_role("button", name="a long sentence").click()
    expect(kinds_page.locator("#warnings")).to_contain_text("the text has more tokens than the model takes")
    assert len(field.input_value()) > 100
    expect(kinds_page.locator("#words")).to_contain_text("than any of the speeches")


def test_words_are_read_with_the_keyboard_and_classes_are_asked_about(kinds_page: Page) -> None:
    open_text(kinds_page, "good film not bad")
    kinds_page.locator("#skip").focus()
    kinds_page.keyboard.press("Enter")
    tab_to(kinds_page, "#words mark")
    kinds_page.keyboard.press("ArrowRight")
    expect(kinds_page.locator("#word")).to_contain_text("“film”: relevance")
    expect(kinds_page.locator("#scale-mark")).to_be_visible()
    with kinds_page.expect_request(re.compile("/explain/text.*target=negative")):
        kinds_page.locator("#scores .score", has_text="negative").click()
    expect_question(kinds_page, "Why negative?")
    kinds_page.get_by_role("button", name="and not positive").click()
    expect_question(kinds_page, "Why negative, and not positive?")
    expect(kinds_page.locator("#scale-high")).to_contain_text("for negative")
    with kinds_page.expect_request(re.compile("/explain/text.*unit=token")):
        kinds_page.get_by_label("Relevance of", exact=True).select_option("token")
    with kinds_page.expect_request(re.compile("/explain/text.*start=probability")):
        kinds_page.get_by_label("Put in").select_option("probability")
    kinds_page.get_by_role("tab", name="Layers").click()
    expect(kinds_page.locator("#flow li")).to_have_text(
        [re.compile("output"), re.compile("input of vote"), re.compile("the words")]
    )


def test_rules_are_compared_on_a_text_and_on_a_row(kinds_page: Page) -> None:
    open_text(kinds_page, "good film", "&tab=compare&rules=zero&rules=epsilon")
    expect(kinds_page.locator("#grid .words")).to_have_count(4)
    expect(kinds_page.locator("#grid .words").first).to_contain_text("good film")
    kinds_page.locator("#grid button").last.click()
    expect(kinds_page.get_by_role("tab", name="Words")).to_have_attribute("aria-selected", "true")
    expect(kinds_page).to_have_url(re.compile("rule=epsilon.*target=negative"))
    kinds_page.goto("/#model=climate&x.Height=900&tab=compare&rules=zero")
    expect(kinds_page.locator("#grid .small-bars .track")).to_have_count(4)  # three features and the biases
    expect(kinds_page.locator("#grid-scale")).to_contain_text("All on one scale.")


def test_a_row_is_changed_and_its_bars_follow(kinds_page: Page, kinds_site: str) -> None:
    kinds_page.goto("/#model=climate&x.Place=coast")
    expect_question(kinds_page, "Why 13 °C?")
    slider = kinds_page.get_by_role("slider", name="Height (m)")
    with kinds_page.expect_request("**/explain/table?*") as sent:
        slider.fill("1000")
    assert json.loads(sent.value.post_data or "")["features"]["Height"] == 1000
    field = kinds_page.get_by_role("textbox", name="Distance (km)")
    field.fill("350")
    field.press("Enter")
    expect(kinds_page.locator(".outside").nth(1)).to_have_text("outside the training data, 0 to 300")
    kinds_page.get_by_label("Place").select_option("inland")
    kinds_page.get_by_label("Compared with").select_option("zero")
    expect(kinds_page).to_have_url(re.compile("baseline=zero.*x.Height=1000&x.Distance=350&x.Place=inland"))
    row = {"Height": 1000, "Distance": 350, "Place": "inland"}
    answer = httpx.post(
        f"{kinds_site}/explain/table", params={"baseline": "zero"}, json={"features": row}
    ).json()
    expect_question(kinds_page, f"Why −{-answer['prediction']['value']:.3g} °C?")
    numbers = [answer["relevance"]["bias"], *(one["relevance"] for one in answer["features"])]
    expect(kinds_page.locator("#bars li").first).to_contain_text("Height 1000 m")
    expect(kinds_page.locator("#bars li").nth(1)).to_contain_text("350 km, outside the training data")
    shown = [*numbers[1:], numbers[0]]
    # Wait for the numbers: the question is the same with either baseline.
    texts = [f"{number:+.3g}".replace("-", "−") for number in shown]
    expect(kinds_page.locator("#bars .number")).to_have_text(texts)
    widths = kinds_page.locator("#bars .fill").evaluate_all(
        "bars => bars.map((bar) => parseFloat(bar.style.width))"
    )
    assert widths == pytest.approx([50 * abs(n) / max(map(abs, shown)) for n in shown], rel=0.01)
    expect(kinds_page.locator("#bars .against")).to_have_count(sum(number < 0 for number in numbers))
    link = kinds_page.url
    kinds_page.get_by_role("button", name="Back to the usual row").click()
    expect(field).to_have_value("50")
    kinds_page.goto(link)
    expect(field).to_have_value("350")
    expect_question(kinds_page, f"Why −{-answer['prediction']['value']:.3g} °C?")


def test_errors_about_features_are_at_their_fields(kinds_page: Page) -> None:
    kinds_page.goto("/#model=climate")
    expect_question(kinds_page, "Why 11 °C?")
    height, distance = (kinds_page.get_by_role("textbox", name=name) for name in ("Height", "Distance"))
    distance.fill("")
    distance.press("Enter")
    expect(kinds_page.locator("#bars li").nth(1)).to_contain_text("missing")
    height.fill("high")
    height.press("Enter")
    expect_question(kinds_page, "No explanation of this row")
    expect(height).to_have_attribute("aria-invalid", "true")
    expect(height).to_have_accessible_description(re.compile("a number in m"))
    expect(distance).to_have_attribute("aria-invalid", "false")
    expect(kinds_page.locator("#error")).to_be_hidden()
    expect(kinds_page.locator("#bars li")).to_have_count(0)
    height.fill("400")
    height.press("Enter")
    expect_question(kinds_page, "Why 11 °C?")
    expect(height).to_have_attribute("aria-invalid", "false")


@pytest.mark.parametrize(
    ("link", "body"),
    [
        ("#model=words&text=it's+%22good%22&target=positive", {"text": 'it\'s "good"'}),
        ("#model=climate&x.Height=700&x.Distance=", {"Height": 700, "Distance": None, "Place": "inland"}),
    ],
)
def test_copied_commands_send_a_text_or_a_row(
    kinds_page: Page, tmp_path: Path, link: str, body: dict[str, Any]
) -> None:
    with kinds_page.expect_request("**/explain/*") as sent:
        kinds_page.goto(f"/{link}")
    assert json.loads(sent.value.post_data or "") in (body, {"features": body})
    expect(kinds_page.locator("#code")).to_contain_text("curl")
    copied = {}
    for name in ("curl", "Python"):
        kinds_page.get_by_role("button", name=name, exact=True).click()
        expect(kinds_page.locator("#code")).to_contain_text({"curl": "curl", "Python": "import httpx"}[name])
        copied[name] = kinds_page.locator("#code").inner_text()
    subprocess.run(["sh", "-c", copied["curl"]], cwd=tmp_path, check=True, timeout=60, capture_output=True)
    program = [sys.executable, "-c", copied["Python"]]
    printed = subprocess.run(program, check=True, timeout=60, capture_output=True, text=True).stdout
    with Image.open(next(tmp_path.glob("*.png"))) as picture:
        report = json.loads(picture.info["lrp"])
    assert printed.split() == [report["target"]["label"], str(report["relevance"]["sum"])]


def test_the_page_of_a_text_and_of_a_row_fits_the_window(kinds_page: Page) -> None:
    open_text(kinds_page, "not bad at all, a good film " + "x" * 200)
    expect_to_fit(kinds_page, "text")
    kinds_page.goto("/#model=words&text=good+film&tab=compare")
    expect(kinds_page.locator("#grid .words").first).to_be_visible()
    expect_to_fit(kinds_page, "text-compare", part="#panel-compare")
    kinds_page.goto("/#model=climate&x.Height=2000&x.Distance=far")
    expect(kinds_page.locator(".wrong").nth(1)).not_to_have_text("")
    expect_to_fit(kinds_page, "table-wrong", part=".input:not(.off)")
    kinds_page.goto("/#model=climate&x.Height=2000")
    expect(kinds_page.locator("#bars li")).to_have_count(4)
    expect_to_fit(kinds_page, "table")

"""Draw the picture of ``docs/debugging.md``: the most suspicious cluster of a report, in Chromium.

Run with ``python -m docs.make_debugging runs/planted/watermark-50/seed-0/planted/report.html``.
"""

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from docs import blocks

PICTURE = blocks.PAGES / "images" / "suspicious.png"
WIDTH = 1000
COLOURS = 128
"""Of the file, which is a third as large as with all."""


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, help="report.html of a survey")
    image = Image.open(io.BytesIO(photo(parser.parse_args().report))).convert("RGB")
    image.quantize(COLOURS).save(PICTURE, optimize=True)


def photo(report: Path) -> bytes:
    """Return a photo of the first cluster that the report shows."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
        page.goto(report.resolve().as_uri())
        cluster = page.locator(".cluster").first
        cluster.scroll_into_view_if_needed()
        cluster.locator(".tile img").first.wait_for()
        return cluster.screenshot()


if __name__ == "__main__":
    main()

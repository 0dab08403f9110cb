"""Parts of a page that a command prints: between two comments, and replaced as a whole.

<!-- settings, printed by `make docs` -->
| variable | default | meaning |
…
<!-- end -->
"""

import re
from pathlib import Path

PAGES = Path(__file__).parent
BLOCK = re.compile(
    r"(?P<head><!-- (?P<name>[a-z-]+), printed by `[^`]+` -->\n)(?P<text>.*?)(?P<end><!-- end -->)", re.DOTALL
)


def read(page: str) -> dict[str, str]:
    """The blocks of a page, by name."""
    return {match["name"]: match["text"].strip() for match in BLOCK.finditer((PAGES / page).read_text())}


def fill(page: str, texts: dict[str, str]) -> None:
    """Put ``texts`` into the blocks of these names; the page must have each of them."""
    absent = set(texts) - set(read(page))
    if absent:
        raise KeyError(f"{page} has no block {', '.join(sorted(absent))}")

    def filled(match: re.Match[str]) -> str:
        text = texts.get(match["name"], match["text"]).strip()
        return f"{match['head']}\n{text}\n\n{match['end']}"

    path = PAGES / page
    path.write_text(BLOCK.sub(filled, path.read_text()))


def table(columns: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; bars in cells are escaped."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)

"""Generated blocks of a page: the text between two comments, which a command replaces as a whole.

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
    """Return the blocks of a page by name."""
    return {match["name"]: match["text"].strip() for match in BLOCK.finditer((PAGES / page).read_text())}


def fill(page: str, texts: dict[str, str]) -> None:
    """Replace the blocks named in ``texts``. Raises `KeyError` if the page lacks one of them."""
    missing = set(texts) - set(read(page))
    if missing:
        raise KeyError(f"{page} has no block {', '.join(sorted(missing))}")

    def replacement(match: re.Match[str]) -> str:
        text = texts.get(match["name"], match["text"]).strip()
        return f"{match['head']}\n{text}\n\n{match['end']}"

    path = PAGES / page
    path.write_text(BLOCK.sub(replacement, path.read_text()))


def table(columns: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table. Vertical bars in cells are escaped."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)

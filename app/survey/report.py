"""``report.html``: one page with everything in it, which needs no network and works from a mail's attachment.

Items are drawn in the order of their importance until the page is large enough; those without a drawing are
listed by their names. The templates escape every name; the data of the page are JSON in which ``<`` is escaped,
so that no name can end a script.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from app.survey.errors_page import ErrorsPage, errors_page
from app.survey.findings import Findings
from app.survey.kind import Page, Section
from app.survey.numerals import number, percent

PAGE = Path(__file__).parent / "page"
MAX_BYTES = 19_000_000
"""Of a report; a megabyte of the 20 that a mail may have is left for the mail's own encoding of names."""
KEY_BYTES = 16
"""Of the number of an item before its drawing, and what is around it, at most."""
MAX_FAILURES = 500
STYLE, SCRIPT = "report.css", "report.js"
ESCAPES = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}


def write_report(findings: Findings, page: Page, path: Path) -> None:
    """Write the report."""
    errors = errors_page(findings)
    environment = Environment(loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined)
    environment.filters["percent"] = percent
    environment.filters["number"] = number
    environment.globals["items"] = findings.items
    sections = [
        errors.section(page.mistakes),
        *page.sections,
        _search(findings, page),
        _files(findings, page),
        page.method,
    ]
    rendered = [(one, _rendered(environment, one)) for one in sections]
    size = sum(len(text.encode()) for _, text in rendered)
    data = _data(findings, errors, page, MAX_BYTES - size)
    text = environment.get_template("report.html").render(
        setup=findings.setup,
        card=findings.description.card,
        count=len(findings.items),
        figures=[*errors.figures, *page.figures, ("items that failed", str(len(findings.failures)))],
        notes=findings.notes(),
        sections=rendered,
        seconds=findings.seconds,
        style=_file(STYLE),
        scripts=[_file(SCRIPT), _file(page.script)],
        data=as_script(data),
    )
    path.write_text(text, encoding="utf-8")


def as_script(data: Any) -> Markup:
    """Return JSON that may stand in a script element: no text in it can end the element or begin a comment."""
    text = json.dumps(data, separators=(",", ":"))
    return Markup(text.translate(ESCAPES))  # noqa: S704 # escaped


def _rendered(environment: Environment, section: Section) -> Markup:
    text = environment.get_template(section.template).render(section.content)
    return Markup(text)  # noqa: S704 # the template escapes


def _file(name: str) -> Markup:
    return Markup((PAGE / name).read_text(encoding="utf-8"))  # noqa: S704 # ours


def _search(findings: Findings, page: Page) -> Section:
    title = "Items like this one" if findings.neighbours else "Find items"
    content = {
        "noun": page.noun,
        "has_neighbours": bool(findings.neighbours),
        "found_by": page.found_by and f" or {page.found_by}",
    }
    return Section("alike", title, "search.html", content)


def _files(findings: Findings, page: Page) -> Section:
    content = {
        "files": page.files,
        "failures": findings.failures[:MAX_FAILURES],
        "failed": len(findings.failures),
    }
    return Section("data", "Data", "data.html", content)


def _data(findings: Findings, errors: ErrorsPage, page: Page, max_bytes: int) -> dict[str, Any]:
    """Return what the page's script shows: items by number, with as many drawings as the bytes allow."""
    mentioned = list(dict.fromkeys(_by_importance(findings, errors, page)))
    numbers = findings.cluster_numbers()
    data: dict[str, Any] = {
        **errors.data,
        **page.data,
        "items": {row: _item(findings, errors, row, int(numbers[row])) for row in mentioned},
        "drawings": {},
    }
    left = max_bytes - len(as_script(data))
    for row in mentioned:
        drawing = page.drawing(row)
        left -= len(as_script(drawing)) + KEY_BYTES
        if left < 0:
            break
        data["drawings"][row] = drawing
    return data


def _by_importance(findings: Findings, errors: ErrorsPage, page: Page) -> Iterator[int]:
    """Yield items, the most important first; some come twice."""
    first = [*errors.items, *page.items]
    yield from first
    if findings.neighbours:
        yield from (int(other) for row in first for other in findings.neighbours[row])
    yield from page.more


def _item(findings: Findings, errors: ErrorsPage, row: int, cluster: int) -> list[Any]:
    """Return name, label, prediction, how sure and right it is, cluster and neighbours."""
    item = findings.items[row]
    neighbours = findings.neighbours[row] if findings.neighbours else ()
    return [item.name, item.label, *errors.said(row), cluster, _integers(neighbours)]


def _integers(values: Iterable[int]) -> list[int]:
    return [int(value) for value in values]

"""The list of finished surveys as a page, in the style of the service's own."""

from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from app.survey.files import ITEMS, SUMMARY
from app.survey.finished import DamagedReport, Report, Reports

COLUMNS = ("report", "date", "model", "items", "right", "highest suspicion", "files")
UNKNOWN = "–"


def page_of(found: Reports) -> str:
    """Return the page; its links are relative to ``/reports``."""
    return f"""<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>Reports: LRPServe</title>
  <link rel="icon" href="web/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="web/style.css">
</head>
<body>
<header>
  <p class="brand"><strong>LRPServe</strong></p>
  <nav aria-label="Documentation"><a href="./">Explain</a> <a href="docs">Try the API</a></nav>
</header>
<main class="reports">
<h1>Reports</h1>
{_table(found.reports)}
{_notes(found.damaged)}</main>
</body>
</html>
"""


def _table(reports: Sequence[Report]) -> str:
    if not reports:
        return '<p class="hint">There is none yet. <code>lrpserve survey DATA --out FOLDER</code> writes one.</p>'
    head = "".join(f'<th scope="col">{name}</th>' for name in COLUMNS)
    rows = "\n".join(map(_row, reports))
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Reports">\n'
        f"<table><thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table></div>"
    )


def _row(report: Report) -> str:
    path = f"reports/{quote(report.name, safe='')}"
    right = UNKNOWN if report.accuracy is None else f"{report.accuracy:.2%}"
    suspicion = UNKNOWN if report.suspicion is None else f"{report.suspicion:.2f}"
    return (
        f'<tr><th scope="row"><a href="{path}">{escape(report.title)}</a> '
        f'<span class="hint">{escape(report.name)}</span></th>'
        f"<td><time>{escape(report.date)}</time></td><td>{escape(report.model)} "
        f'<span class="hint">{escape(report.version)}</span></td><td class="number">{report.items}</td>'
        f'<td class="number">{right}</td><td class="number">{suspicion}</td>'
        f'<td><a href="{path}/{SUMMARY}">JSON</a> <a href="{path}/{ITEMS}">Parquet</a></td></tr>'
    )


def _notes(damaged: Sequence[DamagedReport]) -> str:
    return "".join(
        f'<p class="notice">{escape(one.name)} is left out: {escape(one.error)}.</p>\n' for one in damaged
    )

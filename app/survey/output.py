"""The folder that a survey writes."""

import json
from pathlib import Path

from app.survey.files import ITEMS, REPORT, SUMMARY, VIRELAY
from app.survey.findings import Findings
from app.survey.image.virelay import write_project
from app.survey.item_rows import write_table
from app.survey.report import write_report
from app.survey.summary import summary


def write_all(findings: Findings, folder: Path) -> None:
    """Write the report, the table of items, the summary and the project of ViRelAy beside ``relevance.h5``."""
    write_table(findings, folder / ITEMS)
    (folder / SUMMARY).write_text(json.dumps(summary(findings), indent=1, allow_nan=False) + "\n")
    write_project(findings, folder / VIRELAY)
    write_report(findings, folder / REPORT)

"""Members of ``summary.json`` that only surveys of tables have."""

from typing import Any

from app.survey.table.findings import TableFindings


def summary(findings: TableFindings) -> dict[str, Any]:
    """Return the features of each class that is predicted, or of the value."""
    names = [one.name for one in findings.table.features]
    return {
        "features": [
            {
                "class": findings.classes[one.target],
                "rows": len(one.rows),
                "features": [
                    {
                        "feature": names[feature.number],
                        "mean_magnitude": feature.magnitude,
                        "mean": feature.mean,
                        "interaction": None if feature.interaction is None else names[feature.interaction],
                    }
                    for feature in one.features
                ],
            }
            for one in findings.by_output
        ]
    }

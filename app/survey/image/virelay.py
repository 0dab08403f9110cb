"""A project of ViRelAy, with which its viewer shows a survey: clusters, embeddings and labels.

The attributions and the pictures are those of ``relevance.h5``, which has the layout of ViRelAy's databases of
both. CoRelAy reads the same file.
"""

import json
from pathlib import Path

import h5py
import numpy as np

from app.survey.image.findings import ImageFindings
from app.survey.items import labels_of

ANALYSES, LABELS, PROJECT = "analysis.h5", "label-map.json", "project.yaml"
CLUSTERING = "clusters"
EMBEDDING = "tsne"


def write_project(findings: ImageFindings, folder: Path) -> None:
    """Write the project into ``folder``, beside which ``relevance.h5`` lies."""
    folder.mkdir(exist_ok=True)
    _write_analyses(findings, folder / ANALYSES)
    _, names = labels_of(findings.items, findings.classes)
    labels = [
        {"index": number, "word_net_id": _identifier(number), "name": name}
        for number, name in enumerate(names)
    ]
    (folder / LABELS).write_text(json.dumps(labels, indent=1) + "\n")
    project = _project(findings, f"../{findings.store.path.name}")
    (folder / PROJECT).write_text(json.dumps(project, indent=1) + "\n")  # JSON is YAML


def _write_analyses(findings: ImageFindings, path: Path) -> None:
    with h5py.File(path, "w") as file:
        for one in findings.strategies:
            cluster_of = dict(zip(one.rows.tolist(), one.labels.tolist(), strict=True))
            group = file.create_group(_identifier(one.target))
            group["index"] = findings.rows[one.embedded].astype(np.uint32)
            group[f"embedding/{EMBEDDING}"] = one.points
            group[f"cluster/{CLUSTERING}"] = np.array([cluster_of[row] for row in one.embedded.tolist()])
            group[f"cluster/{CLUSTERING}"].attrs["embedding"] = EMBEDDING


def _project(findings: ImageFindings, relevance: str) -> dict[str, object]:
    height, width = findings.store.data.shape[2:]
    return {
        "project": {
            "name": findings.setup.data,
            "model": findings.description.card.name,
            "label_map": LABELS,
            "dataset": {
                "name": findings.setup.data,
                "type": "hdf5",
                "path": relevance,
                "input_width": width,
                "input_height": height,
                "up_sampling_method": "none",
                "down_sampling_method": "none",
            },
            "attributions": {
                "attribution_method": findings.setup.rule,
                "attribution_strategy": "predicted_label",
                "sources": [relevance],
            },
            "analyses": [{"analysis_method": findings.method, "sources": [ANALYSES]}],
        }
    }


def _identifier(number: int) -> str:
    """Return the name of a class that ViRelAy looks up in place of a WordNet ID."""
    return f"{number:08d}"

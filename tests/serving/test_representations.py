"""Bodies and headers of answers."""

import json
from types import SimpleNamespace
from typing import Any

from app.serving.representations import MAX_SCORES_IN_HEADER, _headers


def test_the_header_of_scores_has_the_most_probable_classes_only() -> None:
    scores = [SimpleNamespace(label=f"class {i}", probability=1 / 2 ** (i + 1)) for i in range(1000)]
    report: Any = SimpleNamespace(scores=scores, prediction=scores[0], target=scores[3])
    headers = _headers(SimpleNamespace(report=report))  # type: ignore[arg-type]
    assert list(json.loads(headers["X-Scores"])) == [f"class {i}" for i in range(MAX_SCORES_IN_HEADER)]
    assert sum(len(name) + len(value) for name, value in headers.items()) < 1000

"""BentoML with Zennit and BentoML's adaptive batching: ``bentoml serve benchmarks.peers.bentoml.service:Explain``

One service, the first form in its documentation of adaptive batching. The other form, a second service in
front of the batching one, would send each picture over HTTP once more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bentoml
import torch

from benchmarks.peers.common import ZennitExplainer, answer, decode, load_model


@bentoml.service(workers=1, traffic={"timeout": 60})
class Explain:
    def __init__(self) -> None:
        model, self.card = load_model()
        self.explainer = ZennitExplainer(model)

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=60_000)
    def explain(self, file: list[Path]) -> list[dict[str, Any]]:
        pictures = torch.stack([decode(one.read_bytes(), self.card) for one in file])
        logits, relevance = self.explainer.explain(pictures)
        return [answer(*one, self.card.classes) for one in zip(logits, relevance, strict=True)]

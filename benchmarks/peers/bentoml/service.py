"""BentoML with Zennit and BentoML's adaptive batching: ``bentoml serve benchmarks.peers.bentoml.service:Explain``.

As its page on adaptive batching has it: one service owns the model and its batches, a second one takes the
requests, each with one picture. The second decodes and renders, in a process of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bentoml
import torch

from benchmarks.peers.common import ZennitExplainer, answer, decode, load_model


@bentoml.service(workers=1, traffic={"timeout": 60})
class Relevance:
    def __init__(self) -> None:
        model, self.card = load_model()
        self.explainer = ZennitExplainer(model)

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=60_000)
    def explain(self, files: list[Path]) -> list[dict[str, Any]]:
        pictures = torch.stack([decode(file.read_bytes(), self.card) for file in files])
        logits, relevance = self.explainer.explain(pictures)
        return [answer(*one, self.card.classes) for one in zip(logits, relevance, strict=True)]


@bentoml.service(workers=1, traffic={"timeout": 60})
class Explain:
    relevance = bentoml.depends(Relevance)

    @bentoml.api
    async def explain(self, file: Path) -> dict[str, Any]:
        return (await self.relevance.to_async.explain([file]))[0]

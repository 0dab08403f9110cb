"""TorchServe's handler with Captum's LRP behind its explanations API.

Captum has no EpsilonPlusFlat. Nearest to it: α1β0 for convolutions (z⁺ is its other name), ε for dense layers;
the first layer gets α1β0 too, for want of a flat rule.
"""

from typing import Any

import torch
from captum.attr import LRP
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule
from torch import Tensor, nn
from ts.torch_handler.base_handler import BaseHandler

from benchmarks.peers.common import answer, decode, load_model

RULES = {nn.Conv2d: Alpha1_Beta0_Rule, nn.Linear: EpsilonRule, nn.Flatten: EpsilonRule}


class ExplainHandler(BaseHandler):
    """Predicts at ``/predictions/lrp``, explains at ``/explanations/lrp``; both in batches."""

    def initialize(self, context: Any) -> None:
        self.context, self.manifest = context, context.manifest
        self.device = torch.device("cpu")
        self.model, self.card = load_model()
        self.initialized = True

    def preprocess(self, data: list[dict[str, bytes]]) -> Tensor:
        bodies = [next(iter(row.values())) for row in data]  # the form's only part, or "body" without a form
        return torch.stack([decode(bytes(body), self.card) for body in bodies])

    def postprocess(self, logits: Tensor) -> list[dict[str, float]]:
        return [dict(zip(self.card.classes, scores, strict=True)) for scores in logits.softmax(1).tolist()]

    def explain_handle(self, pictures: Tensor, _: object) -> list[dict[str, object]]:
        with torch.no_grad():
            logits = self.model(pictures)
        for layer in self.model.modules():  # Captum takes its rules away after each use
            if type(layer) in RULES:
                layer.rule = RULES[type(layer)]()
        relevance = LRP(self.model).attribute(pictures.requires_grad_(), target=logits.argmax(1))
        return [answer(*one, self.card.classes) for one in zip(logits, relevance.detach(), strict=True)]

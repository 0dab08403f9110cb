"""TorchServe's handler with Captum's LRP behind its explanations API.

Captum has no EpsilonPlusFlat. The closest is α1β0 (another name of z⁺) for convolutions and ε for dense layers.
It has no flat rule either; the first convolution gets ε, Captum's default, because pixels are signed and α1β0's
denominators can be zero there.
"""

from typing import Any

import torch
from captum.attr import LRP
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule
from torch import Tensor, nn
from ts.torch_handler.base_handler import BaseHandler

from benchmarks.peers.common import answer, decode, load_model


def set_rules(model: nn.Module) -> None:
    """Assign the layers' rules. Captum removes them after each use."""
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear, nn.Flatten)):
            layer.rule = Alpha1_Beta0_Rule() if layer in convolutions[1:] else EpsilonRule()


class ExplainHandler(BaseHandler):
    """Handler of ``/predictions/lrp`` and ``/explanations/lrp``, both in batches."""

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
        set_rules(self.model)
        relevance = LRP(self.model).attribute(pictures.requires_grad_(), target=logits.argmax(1))
        return [answer(*one, self.card.classes) for one in zip(logits, relevance.detach(), strict=True)]

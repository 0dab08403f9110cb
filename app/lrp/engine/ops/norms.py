"""Normalisations.

Relevance passes layer, group and RMS norm unchanged, gain, shift and centring included: the identity rule of
Achtibat et al. 2024. Batch norm, with fixed statistics, is an affine map of each channel.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from app.lrp.engine.operation import AtZero, Compile, OperationContext, Redistribution, Sign, Values
from app.lrp.engine.ops.division import absorbed, divided
from app.lrp.engine.ops.passing import Passing
from app.lrp.terms import STABILIZER


@dataclass(frozen=True, eq=False)
class BatchNorm:
    """Batch norm with fixed statistics, z = x · scale + shift. Relevance is x · scale · R / s(z)."""

    scale: Tensor
    """(C,)"""
    shift: Tensor
    """(C,)"""
    sign = Sign.ANY
    at_zero = AtZero.NONE
    conserves = False  # the shift absorbs some relevance
    reads_inputs = True
    reads_output = True

    def forward(self, *inputs: Tensor) -> tuple[Tensor, None]:
        """See `app.lrp.engine.operation.Operation`: (B, C, …) -> (B, C, …)."""
        (x,) = inputs
        scale, shift = (_of_channels(values, x) for values in (self.scale, self.shift))
        return torch.addcmul(shift, x, scale), None

    def relevance(self, R: Tensor, values: Values) -> Redistribution:
        """See `app.lrp.engine.operation.Backward`."""
        (x,) = values.inputs
        scale, shift = (_of_channels(values, x) for values in (self.scale, self.shift))
        q = divided(R, values.z, STABILIZER)
        kept = absorbed(R, q, STABILIZER).addcmul_(q, shift)
        return Redistribution((q.mul_(x).mul_(scale),), kept)


def _of_channels(values: Tensor, x: Tensor) -> Tensor:
    return values.view(-1, *(1 for _ in x.shape[2:]))  # (C,) -> (C, 1, …), which is broadcast to (B, C, …)


def _layer_norm(context: OperationContext) -> Passing:
    shape, eps = (context.node.attributes[name] for name in ("normalized_shape", "eps"))
    weight, bias = context.weights.get("weight"), context.weights.get("bias")
    return Passing(lambda x: F.layer_norm(x, shape, weight, bias, eps), Sign.ANY, AtZero.ANY)


def _group_norm(context: OperationContext) -> Passing:
    groups, eps = (context.node.attributes[name] for name in ("num_groups", "eps"))
    weight, bias = context.weights.get("weight"), context.weights.get("bias")
    return Passing(lambda x: F.group_norm(x, groups, weight, bias, eps), Sign.ANY, AtZero.ANY)


def _rms_norm(context: OperationContext) -> Passing:
    shape, eps = (context.node.attributes[name] for name in ("normalized_shape", "eps"))
    weight = context.weights.get("weight")
    return Passing(lambda x: F.rms_norm(x, shape, weight, eps), Sign.ANY, AtZero.AS_OUTPUT)


def _batch_norm(context: OperationContext) -> BatchNorm:
    return BatchNorm(context.weights["scale"], context.weights["shift"])


OPERATIONS: Mapping[str, Compile] = {
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "rms_norm": _rms_norm,
    "batch_norm": _batch_norm,
}

"""Normalisations.

- Layer and group norm under ``cp``: the deviation is a constant, centring is linear and the shift absorbs its
  share, the LN-rule of Ali et al. 2022.
- Under ``attnlrp`` relevance passes them unchanged, gain, shift and centring included: the identity rule of
  Achtibat et al. 2024.
- RMS norm does not centre and has no shift, so that both rules pass relevance unchanged.
- Batch norm, with fixed statistics, is an affine map of each channel.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from app.lrp.engine.operation import (
    AtZero,
    Compile,
    Operation,
    OperationContext,
    Redistribution,
    Sign,
    Values,
)
from app.lrp.engine.ops.division import absorbed, divided
from app.lrp.engine.ops.passing import Passing
from app.lrp.rules import ATTNLRP
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
    receivers = (0,)
    is_cheap = True

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


@dataclass(frozen=True, eq=False)
class Centring:
    """Layer or group norm, z = (x - mean) / σ · weight + bias, whose σ counts as a constant.

    With c = weight / σ · R / s(z), relevance is x · (c - mean of c), and the bias absorbs bias · R / s(z).
    `forward` also returns 1 / σ: to compute it apart takes a tenth of an explanation of ConvNeXt-T.
    """

    normalized: Callable[[Tensor], tuple[Tensor, Tensor]]
    """x (n, …) -> z (n, …), 1 / σ"""
    grouped: Callable[[Tensor], Tensor]
    """x (n, …) -> (…, N), with the values that are normalised together along the last axis; 1 / σ -> (…, 1)"""
    weight: Tensor | None
    """Of the last axes, or of the channels, as ``bias``."""
    bias: Tensor | None
    broadcast: Callable[[Tensor, Tensor], Tensor]
    """Weight or bias, x -> weight or bias that is broadcast to x."""
    sign = Sign.ANY
    at_zero = AtZero.NONE
    conserves = False  # the bias absorbs some relevance
    reads_inputs = True
    reads_output = True
    receivers = (0,)
    is_cheap = True

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """See `app.lrp.engine.operation.Operation`."""
        (x,) = inputs
        return self.normalized(x)

    def relevance(self, R: Tensor, values: Values) -> Redistribution:
        """See `app.lrp.engine.operation.Backward`."""
        (x,) = values.inputs
        q = divided(R, values.z, STABILIZER)
        kept = absorbed(R, q, STABILIZER)
        if self.bias is not None:
            kept.addcmul_(q, self.broadcast(self.bias, x))
        if self.weight is not None:
            q.mul_(self.broadcast(self.weight, x))
        c = self.grouped(q)  # (…, N)
        centred = c.sub_(c.mean(-1, keepdim=True)).mul_(self.grouped(values.extra))
        return Redistribution((centred.reshape(R.shape).mul_(x),), kept)


def _of_channels(values: Tensor, x: Tensor) -> Tensor:
    return values.view(-1, *(1 for _ in x.shape[2:]))  # (C,) -> (C, 1, …), which is broadcast to (B, C, …)


def _layer_norm(context: OperationContext) -> Operation:
    shape, eps = (context.node.attributes[name] for name in ("normalized_shape", "eps"))
    weight, bias = context.weights.get("weight"), context.weights.get("bias")

    def normalized(x: Tensor) -> tuple[Tensor, Tensor]:
        z, _, inverse = torch.native_layer_norm(x, shape, weight, bias, eps)
        return z, inverse

    if context.rule.name == ATTNLRP:
        return Passing(lambda x: normalized(x)[0], Sign.ANY, AtZero.ANY)
    return Centring(normalized, lambda x: x.flatten(-len(shape)), weight, bias, lambda values, _: values)


def _group_norm(context: OperationContext) -> Operation:
    groups, eps = (context.node.attributes[name] for name in ("num_groups", "eps"))
    weight, bias = context.weights.get("weight"), context.weights.get("bias")

    def normalized(x: Tensor) -> tuple[Tensor, Tensor]:
        rows, channels, values = *x.shape[:2], math.prod(x.shape[2:])
        z, _, inverse = torch.native_group_norm(x, weight, bias, rows, channels, values, groups, eps)
        return z, inverse  # (B, C, …), (B, groups)

    if context.rule.name == ATTNLRP:
        return Passing(lambda x: normalized(x)[0], Sign.ANY, AtZero.ANY)
    return Centring(normalized, lambda x: x.reshape(len(x), groups, -1), weight, bias, _of_channels)


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

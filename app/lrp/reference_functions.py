"""Operations that Zennit has no rule for, as autograd functions whose gradient is the relevance.

They share no code with `app.lrp.engine`.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from app.lrp.graph.graph import Graph, Node
from app.lrp.reference_recurrent import gru_states, lstm_states, recurrent
from app.lrp.rules import ATTNLRP, AssignedRule

STABILIZER = 1e-6


class Softmax(torch.autograd.Function):
    """Softmax, which receives relevance under `ATTNLRP` only: Achtibat et al. 2024, proposition 3.1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, axis: int, receives: bool) -> Tensor:
        """Return the output, shaped like ``x``."""
        s = x.softmax(axis)
        ctx.save_for_backward(x, s)
        ctx.axis, ctx.receives = axis, receives
        return s

    @staticmethod
    def backward(ctx: Any, R: Tensor) -> tuple[Tensor, None, None]:
        """Return x · (R − s · ΣR)."""
        x, s = ctx.saved_tensors
        if not ctx.receives:
            return torch.zeros_like(x), None, None
        x = x.masked_fill(x.isneginf(), 0)  # masks add minus infinity, and get none
        return x * (R - s * R.sum(ctx.axis, keepdim=True)), None, None


class MatrixProduct(torch.autograd.Function):
    """a · b: (…, n, k), (…, k, m) -> (…, n, m).

    Both factors get half of the relevance (Achtibat et al. 2024, equation 15), or ``b`` all where ``a`` are
    attention weights that count as constants (Ali et al. 2022).
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, shares: tuple[float, float]) -> Tensor:
        """Return the product."""
        z = a @ b
        ctx.save_for_backward(a, b, z)
        ctx.shares = shares
        return z

    @staticmethod
    def backward(ctx: Any, R: Tensor) -> tuple[Tensor, Tensor, None]:
        """Return a · (R / s(k z) bᵀ) and b · (aᵀ R / s(k z)), where k factors have a share, and else 0."""
        a, b, z = ctx.saved_tensors
        has_share = [share > 0 for share in ctx.shares]
        ratio = R / stabilized(sum(has_share) * z)
        of_a = (a * (ratio @ b.mT)).sum_to_size(a.shape)
        of_b = (b * (a.mT @ ratio)).sum_to_size(b.shape)
        return of_a * has_share[0], of_b * has_share[1], None


class Elementwise(torch.autograd.Function):
    """An elementwise operation of two values, which hands a share of the relevance to each, whatever they are."""

    @staticmethod
    def forward(
        ctx: Any,
        a: Tensor,
        b: Tensor,
        operation: Callable[[Tensor, Tensor], Tensor],
        shares: tuple[float, float],
    ) -> Tensor:
        """Return the output, (…) as a and b are broadcast."""
        ctx.shapes, ctx.shares = (a.shape, b.shape), shares
        return operation(a, b)

    @staticmethod
    def backward(ctx: Any, R: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Return share · R of both, summed where a value was broadcast."""
        of_a, of_b = (
            (share * R).sum_to_size(shape) for share, shape in zip(ctx.shares, ctx.shapes, strict=True)
        )
        return of_a, of_b, None, None


class Embedding(torch.autograd.Function):
    """Vectors of words: indices (…), as floating-point numbers, -> (…, dimensions)."""

    @staticmethod
    def forward(_: Any, indices: Tensor, weight: Tensor) -> Tensor:
        """Return the vectors."""
        return weight[indices.long()]

    @staticmethod
    def backward(_: Any, R: Tensor) -> tuple[Tensor, None]:
        """Return the relevance of each word, the sum over its dimensions."""
        return R.sum(-1), None


class Normalized(torch.autograd.Function):
    """Layer or group norm. Its deviation is a constant (Ali et al. 2022), or relevance passes it unchanged."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, norm: Callable[[Tensor], Tensor], passes: bool) -> Tensor:
        """Return ``norm(x)``, whose gradient is that with a constant deviation."""
        ctx.save_for_backward(x)
        ctx.norm, ctx.passes = norm, passes
        return norm(x)

    @staticmethod
    def backward(ctx: Any, R: Tensor) -> tuple[Tensor, None, None]:
        """Return R if it ``passes``, else x · ∂z/∂x · R / s(z)."""
        if ctx.passes:
            return R, None, None
        with torch.enable_grad():
            x = ctx.saved_tensors[0].detach().requires_grad_()
            z = ctx.norm(x)
            (gradient,) = torch.autograd.grad(z, x, R / stabilized(z.detach()))
        return x.detach() * gradient, None, None


class Dropped(torch.autograd.Function):
    """Dropout, which multiplies units by 0 or 1 / (1 - p), and whose relevance passes unchanged."""

    @staticmethod
    def forward(_: Any, x: Tensor, factors: Tensor) -> Tensor:
        """Return the output, shaped like ``x``."""
        return x * factors

    @staticmethod
    def backward(_: Any, R: Tensor) -> tuple[Tensor, None]:
        """Return the relevance of the input."""
        return R, None


OwnFunction = Callable[[Node, AssignedRule, tuple[Tensor, ...], Mapping[str, Tensor]], Tensor]
"""Output of a node, given its rule, inputs and weights. Its gradient is the relevance of the inputs."""


def _softmax(node: Node, rule: AssignedRule, inputs: tuple[Tensor, ...], _: Mapping[str, Tensor]) -> Tensor:
    return Softmax.apply(*inputs, node.attributes["axis"], rule.name == ATTNLRP)  # type: ignore[no-any-return]


def _matmul(node: Node, rule: AssignedRule, inputs: tuple[Tensor, ...], _: Mapping[str, Tensor]) -> Tensor:
    has_constant_weights = rule.name != ATTNLRP and node.attributes.get("attention", False)
    receives = [value.requires_grad for value in inputs]
    receives[0] &= not has_constant_weights
    shares = tuple(has_share / max(sum(receives), 1) for has_share in receives)
    return MatrixProduct.apply(*inputs, shares)  # type: ignore[no-any-return]


def _mul(node: Node, _: AssignedRule, inputs: tuple[Tensor, ...], __: Mapping[str, Tensor]) -> Tensor:
    constants = [index for index, value in enumerate(inputs) if not value.requires_grad]
    gate = node.attributes.get("gate", *constants[:1]) if constants else node.attributes.get("gate")
    shares = {None: (0.5, 0.5), 0: (0.0, 1.0), 1: (1.0, 0.0)}[gate]
    return Elementwise.apply(*inputs, torch.mul, shares)  # type: ignore[no-any-return]


def _div(_: Node, __: AssignedRule, inputs: tuple[Tensor, ...], ___: Mapping[str, Tensor]) -> Tensor:
    return Elementwise.apply(*inputs, torch.div, (1.0, 0.0))  # type: ignore[no-any-return]


def _embedding(
    _: Node, __: AssignedRule, inputs: tuple[Tensor, ...], weights: Mapping[str, Tensor]
) -> Tensor:
    return Embedding.apply(*inputs, weights["weight"])  # type: ignore[no-any-return]


def _layer_norm(
    node: Node, rule: AssignedRule, inputs: tuple[Tensor, ...], weights: Mapping[str, Tensor]
) -> Tensor:
    axes = tuple(range(-len(node.attributes["normalized_shape"]), 0))

    def norm(x: Tensor) -> Tensor:
        z = _standardised(x, axes, node.attributes["eps"])
        return z * weights.get("weight", 1) + weights.get("bias", 0)

    return Normalized.apply(*inputs, norm, rule.name == ATTNLRP)  # type: ignore[no-any-return]


def _group_norm(
    node: Node, rule: AssignedRule, inputs: tuple[Tensor, ...], weights: Mapping[str, Tensor]
) -> Tensor:
    def norm(x: Tensor) -> Tensor:
        groups = x.unflatten(1, (node.attributes["num_groups"], -1)).flatten(2)  # (B, C, …) -> (B, groups, N)
        z = _standardised(groups, (2,), node.attributes["eps"]).reshape(x.shape).movedim(1, -1)
        return (z * weights.get("weight", 1) + weights.get("bias", 0)).movedim(-1, 1)

    return Normalized.apply(*inputs, norm, rule.name == ATTNLRP)  # type: ignore[no-any-return]


def _standardised(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    """Return x less its mean, divided by its deviation, which is a constant."""
    variance = x.detach().var(axes, unbiased=False, keepdim=True)
    return (x - x.mean(axes, keepdim=True)) / (variance + eps) ** 0.5


OWN_FUNCTIONS: Mapping[str, OwnFunction] = MappingProxyType(
    {
        "softmax": _softmax,
        "matmul": _matmul,
        "mul": _mul,
        "div": _div,
        "embedding": _embedding,
        "layer_norm": _layer_norm,
        "group_norm": _group_norm,
        "lstm": recurrent(lstm_states),
        "gru": recurrent(gru_states),
    }
)
"""Operations that Zennit has no rule for."""


def is_zennits(graph: Graph) -> bool:
    """Return whether Zennit has rules for all nodes of ``graph``."""
    return not any(node.op in OWN_FUNCTIONS for node in graph)


def reference_name(graph: Graph) -> str:
    """Return name and version of what computes the reference for ``graph``, without loading it."""
    return f"zennit {version('zennit')}{'' if is_zennits(graph) else ' + autograd'}"


def stabilized(z: Tensor) -> Tensor:
    """Return s(z) = z + ε · sgn(z), sgn(0) = +1."""
    return z + STABILIZER * torch.where(z < 0, -1, 1).to(z)

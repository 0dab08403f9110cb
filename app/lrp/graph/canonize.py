"""A network as the chain of layers that relevance is propagated through."""

import copy

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from app.lrp.composites import Kind

CONVOLUTIONS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
WEIGHTED = (*CONVOLUTIONS, nn.Linear)
AVERAGES = (
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def leaf_layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Names and layers of a feed-forward chain, in the order in which they run."""
    modules = model.named_modules(remove_duplicate=False)  # one ReLU may stand in several places
    return [(name, layer) for name, layer in modules if not any(layer.children())]


def kinds(model: nn.Module) -> tuple[tuple[str, Kind], ...]:
    """The chain that ``model`` is to `app.lrp.composites.resolve`."""
    return tuple((name, _kind(layer)) for name, layer in leaf_layers(model))


def canonized(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Names and layers of ``model``, in evaluation mode, each batch norm folded into the layer it follows.

    A folded batch norm stands there as the identity, so that names stay. ``model`` is left as it is, and what
    is not folded is shared with it. Rules act on weights, and a batch norm's belong to the layer before it.
    """
    chain: list[tuple[str, nn.Module]] = []
    for name, layer in leaf_layers(model):
        folded = _folded(chain[-1][1], layer) if chain else None
        if folded is not None:
            chain[-1] = chain[-1][0], folded
            layer = nn.Identity()
        chain.append((name, layer))
    return chain


def _kind(layer: nn.Module) -> Kind:
    if isinstance(layer, CONVOLUTIONS):
        return "convolution"
    if isinstance(layer, nn.Linear):
        return "dense"
    return "average" if isinstance(layer, AVERAGES) else "other"


def _folded(before: nn.Module, layer: nn.Module) -> nn.Module | None:
    """``before`` with the batch norm ``layer`` in its weights; None where that cannot be."""
    if not isinstance(layer, _BATCH_NORMS) or layer.running_mean is None:
        return None
    fixed = copy.deepcopy(layer).eval()
    if isinstance(before, nn.Conv1d | nn.Conv2d):
        return fuse_conv_bn_eval(copy.deepcopy(before).eval(), fixed)
    if isinstance(before, nn.Linear):
        return fuse_linear_bn_eval(copy.deepcopy(before).eval(), fixed)
    return None

"""A network as a chain of layers, with batch normalisation folded into the layers with weights."""

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
    """Return names and layers of a feed-forward chain, in the order in which they run."""
    modules = model.named_modules(remove_duplicate=False)  # one ReLU may be used several times
    return [(name, layer) for name, layer in modules if not any(layer.children())]


def kinds(model: nn.Module) -> tuple[tuple[str, Kind], ...]:
    """Return names and kinds of the layers of ``model``, for `app.lrp.composites.resolve`."""
    return tuple((name, _kind(layer)) for name, layer in leaf_layers(model))


def canonized(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return names and layers of ``model``, each batch norm folded into the layer that it follows.

    Rules act on weights, and a batch norm that follows a layer is part of that layer's weights and bias. A folded
    batch norm is replaced by the identity, so that names stay. ``model`` is not modified; layers without a batch
    norm are shared with it.
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
    """Return a copy of ``before`` with the batch norm ``layer`` folded in; ``None`` if that is not possible."""
    if not isinstance(layer, _BATCH_NORMS) or layer.running_mean is None:
        return None
    fixed = copy.deepcopy(layer).eval()
    if isinstance(before, nn.Conv1d | nn.Conv2d):
        return fuse_conv_bn_eval(copy.deepcopy(before).eval(), fixed)
    if isinstance(before, nn.Linear):
        return fuse_linear_bn_eval(copy.deepcopy(before).eval(), fixed)
    return None

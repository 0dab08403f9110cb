"""The network that is trained: MiniVGG with layers that are folded into its weights before serving."""

import itertools

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from app.models.architectures.minivgg import MiniVGG
from app.training.recipe import Recipe
from app.training.rms_norm import RmsNorm, channel_mean_square, fuse_rms_norm, scaled_filters


class NumpyDropout(nn.Module):
    """Dropout whose mask comes from NumPy's random generator.

    On a CPU, torch generates masks on one thread, which takes a third of a training step here. NumPy's generator
    is ten times as fast. The mask uses 16 random bits for each unit.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self._generator = np.random.Generator(np.random.SFC64(0))

    def reseed(self, *seed: int) -> None:
        """Seed the random generator of the masks."""
        self._generator = np.random.Generator(np.random.SFC64(seed))

    def forward(self, x: Tensor) -> Tensor:
        """Set units of ``x`` to zero with probability ``p`` and scale the others by 1 / (1 - p)."""
        if not self.training or self.p == 0:
            return x
        drawn = np.frombuffer(self._generator.bytes(2 * x.numel()), dtype=np.uint16)
        keep = torch.from_numpy(drawn >= round(self.p * 65536))
        # The mask is filled in x's memory order, which is faster; the order of random numbers has no meaning.
        mask = torch.empty_like(x)
        mask.permute(_memory_order(x)).view(-1).copy_(keep)
        return x * mask.div_(1 - self.p)


def build_network(model: MiniVGG, recipe: Recipe) -> nn.Sequential:
    """Return the network to train: the layers of ``model``, with the recipe's dropout and normalisation.

    (B, 3, side, side) -> logits (B, classes), for sides that are multiples of 4. Parameters are shared with
    ``model``.
    """
    layers: list[nn.Module] = []
    rates = iter(recipe.dropout or ())
    plain = [*model.features, *model.classifier]
    for layer in plain:
        match layer:
            case nn.Dropout():
                layers.append(NumpyDropout(next(rates, layer.p)))
            case nn.Flatten():
                # (B, 128, side / 4, side / 4) -> (B, 128, 8, 8); the identity for a side of 32.
                layers += [nn.AdaptiveAvgPool2d(8), layer]
            case nn.Conv2d() if recipe.batch_norm:
                layers += [layer, nn.BatchNorm2d(layer.out_channels)]
            case nn.Linear() if recipe.batch_norm and layer is not plain[-1]:
                layers += [layer, nn.BatchNorm1d(layer.out_features)]
            case nn.Conv2d() if recipe.conserving:
                layers += [_without_bias(layer), RmsNorm(layer.out_channels)]
            case nn.Linear() if recipe.conserving:
                norm = [] if layer is plain[-1] else [RmsNorm(layer.out_features)]
                layers += [_without_bias(layer), *norm]
            case _:
                layers.append(layer)
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


@torch.no_grad()
def start_from(network: nn.Sequential, start: MiniVGG, inputs: Tensor) -> None:
    """Initialise a network with `RmsNorm` so that it computes what ``start`` computes, but for the last bias.

    Args:
        network: Network that `build_network` returned for a conserving recipe.
        start: Trained network.
        inputs: Normalised images (N, 3, 32, 32), on which the channels' root mean squares are measured.

    """
    sources = iter(_weighted_layers(start))
    layers = [*network.eval(), nn.Identity()]
    x = inputs
    for layer, follower in itertools.pairwise(layers):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            source = next(sources)
            layer.weight.copy_(source.weight)
            if isinstance(follower, RmsNorm):
                _start_norm(layer, follower, source.bias, x)
        x = layer(x)


def _start_norm(layer: nn.Conv2d | nn.Linear, norm: RmsNorm, bias: Tensor | None, x: Tensor) -> None:
    # Filters get the norm of PyTorch's initialisation: the layer's output does not depend on it, but the
    # effect of a learning rate does.
    norms = layer.weight.flatten(1).norm(dim=1)  # (C,)
    layer.weight.copy_(scaled_filters(layer.weight, 3**-0.5 / norms))
    mean_square = channel_mean_square(layer(x))
    norm.mean_square.copy_(mean_square)
    norm.gain.copy_((mean_square + norm.eps).sqrt() * norms * 3**0.5)
    if bias is not None:
        norm.bias.copy_(bias)


def fold_norms(network: nn.Sequential, num_classes: int) -> MiniVGG:
    """Return the MiniVGG that computes the same logits as ``network`` in evaluation mode for 32×32 images."""
    model = MiniVGG(num_classes).eval()
    followers = {id(layer): follower for layer, follower in itertools.pairwise(network)}
    for target, source in zip(_weighted_layers(model), _weighted_layers(network), strict=True):
        fused = _fuse(source, followers.get(id(source)))
        with torch.no_grad():
            target.weight.copy_(fused.weight)
            assert target.bias is not None
            target.bias.copy_(torch.zeros_like(target.bias) if fused.bias is None else fused.bias)
    return model


@torch.no_grad()
def mix_weights(model: MiniVGG, other: MiniVGG, share: float) -> None:
    """Replace a ``share`` of the weights of ``model`` by those of ``other``: w becomes w + share · (other's − w).

    Biases that are at most 0 in both networks stay so.
    """
    for own, others in zip(model.parameters(), other.parameters(), strict=True):
        own.lerp_(others, share)


@torch.no_grad()
def scale_logits(model: MiniVGG, factor: float) -> None:
    """Multiply the logits of ``model`` by ``factor``, in its last layer."""
    for parameter in _weighted_layers(model)[-1].parameters():
        parameter.mul_(factor)


def init_whitening(conv: nn.Conv2d, inputs: Tensor) -> None:
    """Initialise ``conv`` to whiten the patches of ``inputs`` (airbench, Jordan 2024).

    Its filters become the leading principal components of the patches, scaled to unit variance, and their
    negatives. The first half of the outputs is then uncorrelated.

    Args:
        conv: Convolution with an even number of filters, at most 2·C·k².
        inputs: Normalised images (N, C, H, W).

    """
    patches = nn.functional.unfold(inputs, conv.kernel_size)  # (N, C·k², L)
    patches = patches.transpose(1, 2).flatten(0, 1)  # -> (N·L, C·k²)
    values, vectors = torch.linalg.eigh(patches.T.cov())
    leading = (vectors / values.clamp_min(1e-4).sqrt()).T.flip(0)[: conv.out_channels // 2]
    with torch.no_grad():
        conv.weight.copy_(torch.cat([leading, -leading]).view_as(conv.weight))
        if conv.bias is not None:
            conv.bias.zero_()


def _weighted_layers(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


def _without_bias(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    layer.register_parameter("bias", None)
    return layer


def _fuse(layer: nn.Conv2d | nn.Linear, norm: nn.Module | None) -> nn.Conv2d | nn.Linear:
    match layer, norm:
        case _, RmsNorm():
            return fuse_rms_norm(layer, norm)
        case nn.Conv2d(), _BatchNorm():
            return fuse_conv_bn_eval(layer, norm)
        case nn.Linear(), _BatchNorm():
            return fuse_linear_bn_eval(layer, norm)
    return layer


def _memory_order(x: Tensor) -> list[int]:
    """Return the dimensions of ``x`` from the largest stride to the smallest."""
    return sorted(range(x.dim()), key=x.stride, reverse=True)

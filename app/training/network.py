"""The network that is trained: MiniVGG with layers that are folded into its weights before serving."""

import itertools

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from app.models.architectures.minivgg import MiniVGG
from app.training.recipe import Recipe


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
    """Return the network to train: the layers of ``model``, with the recipe's dropout and batch normalisation.

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
            case _:
                layers.append(layer)
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def fold_batch_norm(network: nn.Sequential, num_classes: int) -> MiniVGG:
    """Return the MiniVGG that computes the same logits as ``network`` in evaluation mode for 32×32 images."""
    weighted = [layer for layer in network if isinstance(layer, nn.Conv2d | nn.Linear)]
    norms = {id(layer): norm for layer, norm in itertools.pairwise(network) if isinstance(norm, _BatchNorm)}
    model = MiniVGG(num_classes).eval()
    served = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for target, source in zip(served, weighted, strict=True):
        target.load_state_dict(_fuse(source, norms.get(id(source))).state_dict())
    return model


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


def _fuse(layer: nn.Module, norm: _BatchNorm | None) -> nn.Module:
    if norm is None:
        return layer
    if isinstance(layer, nn.Conv2d):
        return fuse_conv_bn_eval(layer, norm)
    assert isinstance(layer, nn.Linear)
    return fuse_linear_bn_eval(layer, norm)


def _memory_order(x: Tensor) -> list[int]:
    """Return the dimensions of ``x`` from the largest stride to the smallest."""
    return sorted(range(x.dim()), key=x.stride, reverse=True)

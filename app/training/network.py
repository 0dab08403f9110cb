"""MiniVGG dressed for training, and back: what is added here is folded away before serving."""

import itertools

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from app.models.architectures.minivgg import MiniVGG
from app.training.recipe import Recipe


class BulkDropout(nn.Module):
    """Dropout whose mask is cut from bulk random bytes.

    torch draws a CPU mask number by number on one thread, a third of the whole step here; NumPy's bulk
    generator is ten times as fast and 16 bits a unit are enough to set the rate.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self._generator = np.random.Generator(np.random.SFC64(0))

    def reseed(self, *seed: int) -> None:
        """Start the masks anew from ``seed``."""
        self._generator = np.random.Generator(np.random.SFC64(seed))

    def forward(self, x: Tensor) -> Tensor:
        """``x`` with a share of ``p`` of its units at zero and the rest scaled by 1 / (1 - p)."""
        if not self.training or self.p == 0:
            return x
        drawn = np.frombuffer(self._generator.bytes(2 * x.numel()), dtype=np.uint16)
        keep = torch.from_numpy(drawn >= round(self.p * 65536))
        # The mask takes x's memory order: masks are independent, so which unit gets which does not matter.
        mask = torch.empty_like(x)
        mask.permute(_memory_order(x)).view(-1).copy_(keep)
        return x * mask.div_(1 - self.p)


def dress(model: MiniVGG, recipe: Recipe) -> nn.Sequential:
    """The network that ``recipe`` trains: it shares ``model``'s layers and adds what acts in training only.

    (B, 3, side, side) -> logits (B, classes), for any side that both poolings divide.
    """
    layers: list[nn.Module] = []
    rates = iter(recipe.dropout or ())
    plain = [*model.features, *model.classifier]
    for layer in plain:
        match layer:
            case nn.Dropout():
                layers.append(BulkDropout(next(rates, layer.p)))
            case nn.Flatten():
                # Identity at 32×32; smaller pictures of the early epochs are spread over the same 8×8.
                layers += [nn.AdaptiveAvgPool2d(8), layer]
            case nn.Conv2d() if recipe.batch_norm:
                layers += [layer, nn.BatchNorm2d(layer.out_channels)]
            case nn.Linear() if recipe.batch_norm and layer is not plain[-1]:
                layers += [layer, nn.BatchNorm1d(layer.out_features)]
            case _:
                layers.append(layer)
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def fold(dressed: nn.Sequential, num_classes: int) -> MiniVGG:
    """The MiniVGG that computes what ``dressed``, in evaluation mode, computes at 32×32."""
    weighted = [layer for layer in dressed if isinstance(layer, nn.Conv2d | nn.Linear)]
    norms = {id(layer): norm for layer, norm in itertools.pairwise(dressed) if isinstance(norm, _BatchNorm)}
    model = MiniVGG(num_classes).eval()
    served = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for target, source in zip(served, weighted, strict=True):
        target.load_state_dict(_folded(source, norms.get(id(source))).state_dict())
    return model


def whiten(conv: nn.Conv2d, inputs: Tensor) -> None:
    """Start ``conv`` from the leading principal components of the patches of ``inputs``, and their negatives.

    inputs (N, C, H, W); conv must have an even number of filters, at most twice C·k². One half of its outputs
    then starts uncorrelated and of equal variance, which early epochs otherwise learn (airbench, Jordan 2024).
    """
    patches = nn.functional.unfold(inputs, conv.kernel_size)  # (N, C·k², L)
    patches = patches.transpose(1, 2).flatten(0, 1)  # -> (N·L, C·k²)
    values, vectors = torch.linalg.eigh(patches.T.cov())
    leading = (vectors / values.clamp_min(1e-4).sqrt()).T.flip(0)[: conv.out_channels // 2]
    with torch.no_grad():
        conv.weight.copy_(torch.cat([leading, -leading]).view_as(conv.weight))
        if conv.bias is not None:
            conv.bias.zero_()


def _folded(layer: nn.Module, norm: _BatchNorm | None) -> nn.Module:
    if norm is None:
        return layer
    if isinstance(layer, nn.Conv2d):
        return fuse_conv_bn_eval(layer, norm)
    assert isinstance(layer, nn.Linear)
    return fuse_linear_bn_eval(layer, norm)


def _memory_order(x: Tensor) -> list[int]:
    return sorted(range(x.dim()), key=x.stride, reverse=True)

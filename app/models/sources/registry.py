"""All sources by the word before the colon. A new one is one row."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from app.errors import SourceError
from app.models.sources.efficientnet_lite0 import EfficientNetLite0Source
from app.models.sources.exported import ExportedSource
from app.models.sources.huggingface import HuggingFaceSource
from app.models.sources.minivgg import MiniVGGSource
from app.models.sources.names import meant
from app.models.sources.protocol import Source, SourceModel, SourceOptions
from app.models.sources.timm import TimmSource
from app.models.sources.torchvision import TorchvisionSource

SOURCES: Mapping[str, Callable[[], Source]] = {
    "minivgg": MiniVGGSource,
    "torchvision": TorchvisionSource,
    "timm": TimmSource,
    "huggingface": HuggingFaceSource,
    "exported": ExportedSource,
    "efficientnet_lite0": EfficientNetLite0Source,
}
_WITH_ARGUMENT = {"torchvision": "NAME", "timm": "NAME", "huggingface": "FOLDER", "exported": "FILE.pt2"}
"""What stands after the colon."""


def forms() -> tuple[str, ...]:
    """Return how each source is written."""
    return tuple(f"{name}:{_WITH_ARGUMENT[name]}" if name in _WITH_ARGUMENT else name for name in SOURCES)


def load(source: str, options: SourceOptions) -> SourceModel:
    """Return the network that ``source``, such as ``torchvision:resnet18``, names; raises `SourceError`."""
    kind, _, argument = source.partition(":")
    if kind not in SOURCES:
        raise SourceError(f"no source {source!r}; there are {', '.join(forms())}{meant(kind, list(SOURCES))}")
    if kind in _WITH_ARGUMENT and not argument:
        raise SourceError(f"{kind} needs more: {kind}:{_WITH_ARGUMENT[kind]}")
    model = SOURCES[kind]().load(argument, options)
    return replace(model, classes=options.classes or model.classes, input=model.input.with_options(options))

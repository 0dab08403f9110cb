"""Options of `lrpserve add` that take the place of what a source knows of its network."""

from dataclasses import replace

from app.errors import SourceError
from app.modalities.image.spec import Resampling
from app.models.image_card import Normalisation, Preprocessing
from app.models.sources.protocol import SourceModel, SourceOptions


def applied(model: SourceModel, options: SourceOptions) -> SourceModel:
    """Return ``model`` with ``options`` in place of what it states itself; raises `SourceError`."""
    return replace(
        model,
        classes=options.classes or model.classes,
        normalisation=_normalisation(model.normalisation, options),
        preprocessing=_preprocessing(model.preprocessing, options),
    )


def _normalisation(own: Normalisation | None, options: SourceOptions) -> Normalisation | None:
    mean, std = options.mean or (own and own.mean), options.std or (own and own.std)
    if (mean is None) is not (std is None):
        raise SourceError("give both --mean and --std: the source states neither")
    return None if mean is None or std is None else Normalisation(mean=mean, std=std)


def _preprocessing(own: Preprocessing | None, options: SourceOptions) -> Preprocessing | None:
    resampling = options.interpolation or (own and own.interpolation) or Resampling.BILINEAR
    if options.resize is not None:
        return Preprocessing(resize=options.resize, interpolation=resampling)
    if own is None and options.interpolation is not None:
        raise SourceError(
            "--interpolation needs --resize here: the source does not say how pictures are resized"
        )
    return own and own.model_copy(update={"interpolation": resampling})

"""Answers about pictures, and the parts that they are evaluated by."""

import base64

import numpy as np

from app.errors import InvalidParameterError
from app.modalities.image.drawing.heatmap import Heatmap
from app.modalities.image.modality import ImageSample
from app.models.card import ModelCard
from app.models.image_card import image_card
from app.quality.perturbation import default_patch, patch_groups, patch_sides, replacement_values
from app.serving.answers import RenderedComparison, RenderedExplanation
from app.serving.evaluation_schemas import EvaluateAnswer
from app.serving.kinds.image_schemas import (
    CompareAnswer,
    Crop,
    ExplainAnswer,
    ExplanationReport,
    HeatmapReport,
    InputReport,
    PredictAnswer,
)
from app.serving.removal import ReplacedParts, Scores
from app.serving.requests import EvaluateOptions


class ImageAnswers:
    """Answers with heatmaps; an `app.serving.answers.Answers`."""

    prediction = PredictAnswer
    report = ExplanationReport
    evaluation = EvaluateAnswer

    def input_report(self, sample: ImageSample) -> InputReport:
        """See `Answers`: format and size of the upload, and the rectangle that the model saw."""
        facts = sample.facts
        crop = facts.rectangle.scaled()
        return InputReport(
            format=facts.format,
            width=facts.width,
            height=facts.height,
            crop=Crop(left=crop.left, top=crop.top, width=crop.width, height=crop.height),
        )

    def explanation(self, rendered: RenderedExplanation, *, values: bool) -> ExplainAnswer:
        """See `Answers`: the heatmap in base64; with ``values``, the pixels that the model saw as well."""
        fields = rendered.report_with(values=values)
        if values:
            pixels = np.atleast_3d(rendered.sample.pixels).tolist()  # (height, width, channels)
            fields["input"] = rendered.report.input.model_copy(update={"pixels": pixels})
        return ExplainAnswer(**fields, heatmap=_heatmap_report(rendered.figure))

    def comparison(self, compared: RenderedComparison, *, values: bool) -> CompareAnswer:
        """See `Answers`: all heatmaps, and a sheet of them."""
        return CompareAnswer(
            **dict(compared.predicted),
            explanations=[self.explanation(one, values=values) for one in compared.explained],
            sheet=_heatmap_report(compared.sheet),
        )


class Patches:
    """Replaces square patches of pictures; an `app.serving.removal.Removal`."""

    def __init__(self, card: ModelCard) -> None:
        self._card = image_card(card)

    def check(self, options: EvaluateOptions) -> None:
        """See `Removal`: the patch must divide the network's input."""
        self._side(options.patch)

    def parts(self, sample: ImageSample, options: EvaluateOptions) -> ReplacedParts:
        """See `Removal`."""
        side, x = self._side(options.patch), sample.input
        _, height, width = x.shape
        groups = patch_groups(height, width, side)
        return ReplacedParts(
            x,
            replacement_values(x, options.replacement, side).astype(x.dtype),
            groups,
            self._range(),
            {"patch": side, "patches": int(groups.max()) + 1, "replacement": options.replacement},
        )

    def _side(self, patch: int | None) -> int:
        _, height, width = self._card.input_size
        if patch is None:
            return default_patch(height, width)
        sides = patch_sides(height, width)
        if patch not in sides:
            known = f"{width}×{height} pixels; use one of {', '.join(map(str, sides))}"
            raise InvalidParameterError("patch", f"{patch} does not divide the network's {known}")
        return patch

    def _range(self) -> tuple[Scores, Scores]:
        """Return black and white after normalisation, each (C, 1, 1)."""
        normalisation = self._card.normalisation
        mean, std = (np.reshape(values, (-1, 1, 1)) for values in (normalisation.mean, normalisation.std))
        return (0 - mean) / std, (1 - mean) / std


def _heatmap_report(heatmap: Heatmap) -> HeatmapReport:
    return HeatmapReport(
        media_type="image/png",
        width=heatmap.width,
        height=heatmap.height,
        colormap=heatmap.colormap,
        vmin=heatmap.vmin,
        vmax=heatmap.vmax,
        data=base64.b64encode(heatmap.png).decode(),
    )

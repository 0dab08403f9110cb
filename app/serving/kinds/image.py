"""Answers about pictures."""

import base64

import numpy as np

from app.modalities.image.drawing.heatmap import Heatmap
from app.modalities.image.modality import ImageSample
from app.serving.answers import RenderedComparison, RenderedExplanation
from app.serving.schemas import (
    CompareAnswer,
    Crop,
    ExplainAnswer,
    ExplanationReport,
    HeatmapReport,
    InputReport,
    PredictAnswer,
)


class ImageAnswers:
    """Answers with heatmaps; an `app.serving.answers.Answers`."""

    prediction = PredictAnswer
    report = ExplanationReport

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

"""Metrics of a text model: those of `app.training.evaluation`, computed by the engine as when it is served."""

from torch import Tensor

from app.lrp.attribution import output_relevance
from app.lrp.composites import DEFAULT_RULE, resolve
from app.lrp.engine.engine import Engine
from app.lrp.graph.kinds import kinds
from app.lrp.graph.traced import TracedModel
from app.lrp.request import ExplanationRequest, Target
from app.models.records import Measured
from app.training.evaluation import compute_metrics, leaks_of, logits_of
from app.training.text.batches import TokenizedTexts
from app.training.text.loop import by_length


def evaluate(model: TracedModel, texts: TokenizedTexts, classes: tuple[str, ...]) -> Measured:
    """Return the metrics of a network, ids (B, T) -> logits (B, len(classes)), on all texts."""
    engine = Engine(model)
    composite = resolve(kinds(model.graph), DEFAULT_RULE, {}, [])

    def leaks(ids: Tensor) -> Tensor:
        put_in = output_relevance([ExplanationRequest(composite, Target())] * len(ids))
        return leaks_of(engine.attribute(ids, composite, put_in))

    metrics = compute_metrics(by_length(logits_of(engine), texts.ids), texts.targets.argmax(1), classes)
    median = float(by_length(leaks, texts.ids).quantile(0.5))
    return metrics.model_copy(update={"median_leak": round(median, 5)})

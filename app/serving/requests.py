"""Options as clients give them, and the explanation requests that they mean for one model."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from app.errors import InvalidParameterError
from app.lrp.composites import COMPOSITES, DEFAULT_RULE, Composite, Composites, definition
from app.lrp.request import ExplanationRequest, Start, Target
from app.lrp.rules import RULES, AttentionRule, Rules
from app.lrp.samples import DEFAULT_NOISE, Samples, Sampling, Statistic
from app.models.card import ModelCard
from app.models.protocol import LayerDescription
from app.quality.perturbation import Replacement

ALL = "all"
"""As a target of a comparison: every class."""
MAX_COMPARED = 150
"""Explanations of one comparison: all thirteen rules for ten classes, and some."""
MAX_SAMPLED = 128
"""Samples of all explanations of one request together: twice those that one explanation may have."""

Resolve = Callable[[str, dict[str, float], Sequence[str], AttentionRule | None], Composite]
"""Rule name, its parameters, overrides and rule of attention -> the rule of each layer of the network."""


@dataclass(frozen=True)
class ExplainOptions:
    """Options of one explanation; defaults and meaning as in the HTTP contract."""

    rule: str = DEFAULT_RULE
    parameters: dict[str, float] = field(default_factory=dict)
    layers: tuple[str, ...] = ()
    attention: AttentionRule | None = None
    target: str | None = None
    versus: str | None = None
    start: Start | None = None
    """``None``: the logit of a value, and with ``versus``; else one."""
    layer: str | None = None
    input: Any = None
    """Options of the kind of input, such as `app.modalities.image.modality.ImageOptions`."""
    top_k: int | None = None
    verify: bool = False
    samples: Samples | None = None


@dataclass(frozen=True)
class CompareOptions:
    """Several rules for several targets of one input; ``options`` holds what they share."""

    options: ExplainOptions = field(default_factory=ExplainOptions)
    rules: tuple[str, ...] = ()
    """Empty: all composites."""
    targets: tuple[str, ...] = ()
    """Empty: the predicted class."""


def samples_of(
    count: int | None,
    sampling: Sampling | None = None,
    noise: float | None = None,
    seed: int | None = None,
    statistic: Statistic | None = None,
) -> Samples | None:
    """Return the samples that these options describe, ``None`` without ``count``.

    ``None`` stands for the default of an option. Raises `InvalidParameterError` for an option that has no effect.
    """
    others = {"sampling": sampling, "noise": noise, "seed": seed, "statistic": statistic}
    given = [name for name, value in others.items() if value is not None]
    if count is None:
        if given:
            raise InvalidParameterError(
                given[0], "is for samples; give their number as samples, or leave it out"
            )
        return None
    sampling = sampling or Sampling.DROPOUT
    if noise is not None and sampling is not Sampling.NOISE:
        raise InvalidParameterError("noise", "is for sampling=noise; give that, or leave it out")
    noise = DEFAULT_NOISE if noise is None else noise
    return Samples(count, sampling, noise, seed or 0, statistic or Statistic.MEAN)


def places_of(samples: Sequence[Samples | None]) -> int:
    """Return the places in the queue of explanations with these samples: one each, or one for each sample.

    Raises `InvalidParameterError` for more samples than a request may have.
    """
    sampled = sum(one.count for one in samples if one is not None)
    if sampled > MAX_SAMPLED:
        raise InvalidParameterError(
            "samples",
            f"{sampled} samples of {len(samples)} explanations are over {MAX_SAMPLED} for one request; ask for "
            "fewer samples, or for fewer explanations at once",
        )
    return sum(1 if one is None else one.count for one in samples)


@dataclass(frozen=True)
class EvaluateOptions:
    """Several rules for one target of one input, to be evaluated."""

    rules: tuple[str, ...] = ()
    """Empty: all composites."""
    attention: AttentionRule | None = None
    target: str | None = None
    patch: int | None = None
    """Of pictures: side of a patch in pixels of the network's input; ``None``: see `default_patch`."""
    replacement: Replacement = Replacement.MEAN
    """Of pictures."""
    input: Any = None
    """As in `ExplainOptions`."""
    top_k: int | None = None


class RequestFactory:
    """Makes explanation requests for the network of a card."""

    def __init__(
        self,
        card: ModelCard,
        resolve: Resolve,
        composites: Composites = COMPOSITES,
        rules: Rules = RULES,
        layers: Sequence[LayerDescription] = (),
    ) -> None:
        """``layers``: those of the network, of which some cannot be drawn."""
        self._card = card
        self._not_drawable = {layer.name for layer in layers if not layer.drawable}
        self._classes = classes = card.classes
        self._output = card.output
        self._dropout = card.dropout
        self._composites, self._rules = composites, rules
        self._resolve = resolve
        numbers = {str(index): index for index in range(len(classes))}
        self._indices = numbers | {label: index for index, label in enumerate(classes)}

    def comparison_places(self, compared: CompareOptions) -> int:
        """Return the places of a comparison: one, or one for each sample; raises `InvalidParameterError`."""
        count = len(self.comparison(compared))
        return 1 if compared.options.samples is None else places_of([compared.options.samples] * count)

    def explanation(self, options: ExplainOptions) -> ExplanationRequest:
        """Return the request that ``options`` describe; raises `InvalidParameterError`."""
        composite = self._resolve(options.rule, options.parameters, options.layers, options.attention)
        composite.position(options.layer)  # raises here, for this request alone, not for its batch
        self._check_layer(options.layer)
        self._check_sampling(options.samples)
        target = None if options.target is None else self._index("target", options.target)
        versus = None if options.versus is None else self._index("versus", options.versus)
        if versus is not None and self._output == "value":
            raise InvalidParameterError(
                "versus", "is for classes; this model predicts one value: leave it out"
            )
        if versus is not None and versus == target:
            raise InvalidParameterError("versus", "is the target itself; name another class")
        self._check_start(options.start)
        return ExplanationRequest(
            composite, Target(target, versus, options.start or self._default_start(versus)), options.layer
        )

    def _default_start(self, versus: int | None) -> Start:
        return Start.ONE if versus is None and self._output != "value" else Start.LOGIT

    def _check_start(self, start: Start | None) -> None:
        if start is Start.PROBABILITY and self._output != "classes":
            raise InvalidParameterError(
                "start", "probability is for classes that exclude each other; use one or logit"
            )

    def comparison(self, compared: CompareOptions) -> tuple[ExplanationRequest, ...]:
        """Return the requests of a comparison, rule by rule and target by target.

        Each rule gets those of the parameters that it has. Raises `InvalidParameterError`.
        """
        options, rules = compared.options, compared.rules or tuple(self._composites)
        targets = self._targets(compared)
        known = {
            rule: {parameter.name for parameter in definition(rule, self._composites, self._rules).parameters}
            for rule in rules
        }
        _check_comparison(options, rules, targets, known)
        return tuple(
            self.explanation(
                replace(
                    options,
                    rule=rule,
                    target=target,
                    parameters={
                        name: value for name, value in options.parameters.items() if name in known[rule]
                    },
                )
            )
            for rule in rules
            for target in targets
        )

    def evaluation(self, options: EvaluateOptions) -> tuple[ExplanationRequest, ...]:
        """Return the explanations to evaluate; raises `InvalidParameterError`."""
        rules = options.rules or tuple(self._composites)
        _refuse_twice("rule", rules)
        return tuple(
            self.explanation(ExplainOptions(rule=rule, attention=options.attention, target=options.target))
            for rule in rules
        )

    def _check_layer(self, layer: str | None) -> None:
        if layer in self._not_drawable:
            raise InvalidParameterError(
                "layer", "its input has no values for each token, so it cannot be drawn; choose another layer"
            )

    def _check_sampling(self, samples: Samples | None) -> None:
        if samples is None:
            return
        if samples.sampling is Sampling.NOISE:
            if not self._card.has_bounds:
                raise InvalidParameterError(
                    "sampling", "noise cannot be added to tokens; use sampling=dropout"
                )
            return
        if any(self._dropout or ()):
            return
        reason = (
            "the model's card does not state the dropout probabilities that it was trained with"
            if self._dropout is None
            else "the model was trained without dropout, so that its samples would be equal"
        )
        advice = "use sampling=noise" if self._card.has_bounds else "leave samples out"
        raise InvalidParameterError("sampling", f"{reason}; {advice}")

    def _targets(self, compared: CompareOptions) -> tuple[str | None, ...]:
        """Labels of the compared classes; ``None`` is the predicted one."""
        if ALL in compared.targets:
            if len(compared.targets) > 1:
                raise InvalidParameterError("target", f"{ALL} is every class; leave the others out")
            targets = tuple(self._classes)
        else:
            targets = tuple(self._label("target", text) for text in compared.targets)
        versus = compared.options.versus
        if versus is not None and (label := self._label("versus", versus)) in targets:
            advice = f"leave versus out, or name targets other than {label}"
            raise InvalidParameterError("versus", f"{label} is one of the targets; {advice}")
        return targets or (None,)

    def _label(self, parameter: str, text: str) -> str:
        return self._classes[self._index(parameter, text)]

    def _index(self, parameter: str, text: str) -> int:
        """Index of a class given by label or number."""
        if text in self._indices:
            return self._indices[text]
        known = f"use a number from 0 to {len(self._classes) - 1} or one of {', '.join(self._classes)}"
        raise InvalidParameterError(parameter, f"no class {text!r}; {known}")


def _check_comparison(
    options: ExplainOptions,
    rules: Sequence[str],
    targets: Sequence[str | None],
    known: dict[str, set[str]],
) -> None:
    for parameter in options.parameters:
        if not any(parameter in names for names in known.values()):
            raise InvalidParameterError(parameter, f"none of {', '.join(rules)} takes it; leave it out")
    _refuse_twice("rule", rules)
    _refuse_twice("target", targets)
    if len(rules) * len(targets) > MAX_COMPARED:
        raise InvalidParameterError(
            "target",
            f"{len(rules)} rules × {len(targets)} targets are over {MAX_COMPARED}; compare fewer",
        )


def _refuse_twice(name: str, chosen: Sequence[str | None]) -> None:
    if twice := [one for one, times in Counter(chosen).items() if times > 1]:
        raise InvalidParameterError(name, f"{twice[0]} is given twice; give it once")

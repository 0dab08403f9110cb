"""The rules and composites that can be chosen for one model: those for any network, and the one tuned for it."""

from app.lrp.composites import COMPOSITES, DEFAULT_RULE, CompositeDefinition, Composites, without_bounds
from app.lrp.rules import RULES, Rules
from app.models.card import ModelCard
from app.models.records import TunedComposite

TUNED = "tuned"
"""Name of the composite that `lrpserve tune` found for a model."""


def rules_of(card: ModelCard) -> Rules:
    """Return the rules that explanations of a model may name."""
    return RULES if card.has_bounds else without_bounds(COMPOSITES, RULES)[1]


def composites_of(card: ModelCard) -> Composites:
    """Return the composites that explanations of a model may name."""
    known = COMPOSITES if card.has_bounds else without_bounds(COMPOSITES, RULES)[0]
    return {**known, **({} if card.tuned is None else {TUNED: _definition(card.tuned)})}


def _definition(tuned: TunedComposite) -> CompositeDefinition:
    low, high = tuned.interval
    return CompositeDefinition(
        name=TUNED,
        title="Tuned",
        formula="; ".join(layer.replace(":", ": ", 1) for layer in tuned.layers),
        when="For this network only: the composite with the largest gap of perturbation curves that a search "
        f"found. Its gap is {tuned.gap:.2f}, {tuned.share_of_occlusion:.2f} of occlusion's (95 % interval "
        f"{low:.2f} to {high:.2f}); the default's is {tuned.default_gap:.2f}.",
        source=f"lrpserve tune on {tuned.data}, {tuned.date}: searched on {tuned.searched_on} pictures, measured "
        f"on {tuned.pictures} others",
        roles=COMPOSITES[DEFAULT_RULE].roles,
        overrides=tuned.layers,
    )

"""A model that takes text, without torch: six words, two classes, at most eight tokens.

Its logits are the sums of the weights of a text's words, and the relevance of a word is its share of them, so
that tests can compute what is to be answered.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from fake_model import OnCallingThread, explanation_of, output_relevance_of

from app.lrp.explanation import Explanation
from app.lrp.request import ExplanationRequest
from app.models.protocol import Description, Job, JobResult, LayerDescription
from app.models.text_card import TOKENIZER, TextCard, TextInput

Floats = npt.NDArray[np.float64]

MAX_TOKENS = 8
CLASSES = ("negative", "positive")
VOCABULARY = ("[UNK]", "a", "film", "good", "bad", "not")
WEIGHTS = np.array(
    [[0.25, 0.125], [0.5, 0.75], [0.25, 1.0], [-2.0, 3.0], [4.0, -1.5], [1.0, -0.5]],
)
"""What each word of the vocabulary adds to the logits, (6, 2): binary fractions, so that sums are exact."""
TOKENIZER_JSON = json.dumps(
    {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": {word: number for number, word in enumerate(VOCABULARY)},
            "unk_token": "[UNK]",
        },
    }
)
CARD = TextCard(
    name="words",
    kind="text",
    architecture="BagOfWords",
    classes=CLASSES,
    text=TextInput(max_tokens=MAX_TOKENS),
    files={"weights.safetensors": "fedcba9876543210" * 4, TOKENIZER: "0123456789abcdef" * 4},
)
DESCRIPTION = Description(
    CARD,
    "cpu",
    "words",
    "words again",
    (("embedding", "sequence"), ("pool", "proportional"), ("vote", "dense")),
    (
        LayerDescription("embedding", "Embedding", "Embedding(6, 2)"),
        LayerDescription("pool", "Sum", "Sum(1)"),
        LayerDescription("vote", "Linear", "Linear(2, 2)", drawable=False),
    ),
    {TOKENIZER: TOKENIZER_JSON},
)


def ids_of(text: str) -> npt.NDArray[np.int64]:
    """Return the ids of the first words of a text, (T,)."""
    words = text.lower().split()[:MAX_TOKENS]
    return np.array([VOCABULARY.index(word) if word in VOCABULARY else 0 for word in words], np.int64)


def logits_of(ids: npt.NDArray[Any]) -> Floats:
    """(T,) -> (2,)."""
    logits: Floats = WEIGHTS[ids].sum(0)
    return logits


def relevance_of(ids: npt.NDArray[Any], output_relevance: Floats) -> Floats:
    """LRP-0 of the network, (T,): the share of each word in the logits."""
    shares = np.divide(WEIGHTS[ids], logits := logits_of(ids), out=np.zeros((len(ids), 2)), where=logits != 0)
    relevance: Floats = shares @ output_relevance
    return relevance


class FakeTextModel(OnCallingThread):
    """An `app.models.protocol.Model` on the calling thread."""

    description = DESCRIPTION

    def run(self, jobs: Sequence[Job]) -> list[JobResult]:
        return [_result(job) for job in jobs]


def _result(job: Job) -> JobResult:
    assert job.input.dtype == np.int64
    assert job.input.ndim == 1
    assert 0 < len(job.input) <= MAX_TOKENS
    assert job.samples is None
    logits = logits_of(job.input)
    explanations = tuple(_explanation(job.input, logits, request) for request in job.requests)
    return JobResult(logits.tolist(), explanations, explanations if job.verify else None)


def _explanation(ids: npt.NDArray[Any], logits: Floats, request: ExplanationRequest) -> Explanation:
    output_relevance = output_relevance_of(logits, request.target)
    words = relevance_of(ids, output_relevance)
    at_input = {"embedding": words, "pool": words, "vote": output_relevance}
    return explanation_of(output_relevance, at_input, request.layer)

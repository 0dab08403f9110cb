"""What the report of texts shows: words of each class, and words that change predictions or lack support."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from app.modalities.protocol import Map
from app.modalities.text.drawing.pieces import Piece, number, pieces_of
from app.modalities.text.modality import TextModality, TextOptions
from app.survey.arrays import Floats
from app.survey.kind import Page, Section
from app.survey.numerals import percent
from app.survey.text.findings import ClassWords, TextFindings
from app.survey.text.removals import MAX_TEXTS, WORDS_EACH
from app.survey.text.words import BALANCED, SURE, Word, least_texts, unsupported

MAX_CLASSES = 20
"""Classes whose words are shown: those that are predicted most often."""
MAX_WORDS = 25
"""Of each list."""
EXAMPLES = 8
"""Texts that are shown of a word: those where it has the largest relevance."""


def page(findings: TextFindings, modality: TextModality) -> Page:
    """Return what the report shows."""
    tried = [one.flips for one in findings.removals]
    classes = sorted(findings.by_class, key=lambda one: -one.count)[:MAX_CLASSES]
    words = [_lists(findings, one) for one in classes]
    flipping = findings.flipping[:MAX_WORDS]
    examples = _examples(findings, [one for lists in words for one in lists["all"]])
    for one in flipping:
        examples[_key(one.target, one.text, "flip")] = list(one.texts[:EXAMPLES])
    return Page(
        noun="text",
        mistakes="Each with the relevance of its words for the predicted class; choose one to see why that class "
        "rather than the label.",
        sections=[
            Section(
                "words", "Words of each class", "text_words.html", {"classes": words, "most": _most(words)}
            ),
            Section(
                "flips",
                "Words that change predictions",
                "text_flips.html",
                {
                    "flipping": [(_key(one.target, one.text, "flip"), one) for one in flipping],
                    "names": findings.classes,
                    "tried": len(tried),
                    "flipped": sum(tried),
                    "words_each": WORDS_EACH,
                },
            ),
            Section(
                "unsupported",
                "Words that labels do not support",
                "text_unsupported.html",
                {"classes": words, "balanced": BALANCED, "sure": SURE},
            ),
        ],
        method=Section(
            "method",
            "Method",
            "text_method.html",
            {
                "least": least_texts(len(findings.items)),
                "max_texts": MAX_TEXTS,
                "words_each": WORDS_EACH,
                "balanced": BALANCED,
                "sure": SURE,
            },
        ),
        files="relevance.h5 has their maps: the relevance of each token.",
        script="text.js",
        drawing=partial(drawing, findings, modality),
        found_by="words",
        items=list(dict.fromkeys(text for texts in examples.values() for text in texts)),
        figures=[
            (
                "deletions of a word that change predictions",
                percent(sum(tried) / len(tried) if tried else None, 1),
            ),
        ],
        data={"words": examples},
    )


def drawing(findings: TextFindings, modality: TextModality, row: int) -> list[list[list[str]]]:
    """Return the pieces of the text with its map, and of a mistake with why it is not its label."""
    sample = modality.decode(findings.items[row].read(), TextOptions())
    contrast = findings.contrasts.get(row)
    maps = [
        findings.contributions(np.array([row]))[0, : len(sample.tokens)],
        *([] if contrast is None else [contrast]),
    ]
    return [
        [_piece(piece) for piece in pieces_of(modality.render([_map(one)], sample, TextOptions())[0])]
        for one in maps
    ]


def _map(relevance: Floats) -> Map:
    return Map(relevance, "", "", "", {})


def _piece(piece: Piece) -> list[str]:
    """Return the characters; of what has relevance also the colours of paper and ink, and the number."""
    if not piece.scored:
        return [piece.text]
    paper, ink = ("#" + bytes(colour).hex() for colour in (piece.background, piece.ink))
    return [piece.text, paper, ink, number(piece.relevance) + ("" if piece.known else ", unknown word")]


def _lists(findings: TextFindings, one: ClassWords) -> dict[str, Any]:
    """Return the lists of one class's words, each word with its key."""
    words = one.words
    shown = {
        "speaking": [word for word in words[:MAX_WORDS] if word.mean > 0],
        "against": [word for word in words[: -MAX_WORDS - 1 : -1] if word.mean < 0],
        "unsupported": unsupported(words)[:MAX_WORDS],
    }
    return {
        "name": findings.classes[one.target],
        "count": one.count,
        "of_all": words[0].of_all if words else None,
        "categories": one.categories,
        "all": list({word.text: word for chosen in shown.values() for word in chosen}.values()),
        **{
            name: [(_key(one.target, word.text, "word"), word) for word in chosen]
            for name, chosen in shown.items()
        },
    }


def _examples(findings: TextFindings, words: Sequence[Word]) -> dict[str, list[int]]:
    """Return texts of each word for whose class they are predicted, that with its largest magnitude first."""
    found, classes = findings.occurrences, findings.predictions.classes
    numbers = {text: number for number, text in enumerate(found.vocabulary)}
    order = np.argsort(found.words, kind="stable")
    starts = np.searchsorted(found.words[order], np.arange(len(found.vocabulary) + 1))
    examples = {}
    for word in words:
        number_of_word = numbers[word.text]
        places = order[starts[number_of_word] : starts[number_of_word + 1]]
        places = places[classes[found.texts[places]] == word.target]
        ranked = places[np.argsort(-np.abs(found.relevance[places]), kind="stable")]
        texts = list(dict.fromkeys(found.texts[ranked].tolist()))
        examples[_key(word.target, word.text, "word")] = texts[:EXAMPLES]
    return examples


def _key(target: int, text: str, of: str) -> str:
    return f"{of} {target} {text}"


def _most(classes: Sequence[dict[str, Any]]) -> float:
    """Return the largest magnitude of a mean relevance that is shown, which bars are drawn relative to."""
    return max((abs(word.mean) for one in classes for word in one["all"]), default=0.0) or 1.0

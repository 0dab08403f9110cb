"""Members of ``summary.json`` that only surveys of texts have."""

from dataclasses import asdict
from typing import Any

from app.survey.text.findings import TextFindings
from app.survey.text.words import Word, unsupported

MAX_WORDS = 50
"""Words of each list."""


def summary(findings: TextFindings) -> dict[str, Any]:
    """Return the words of each class, and those without which predictions change."""
    classes = findings.classes
    return {
        "words": [
            {
                "class": classes[one.target],
                "texts": one.count,
                "for": [_word(word) for word in one.words[:MAX_WORDS] if word.mean > 0],
                "against": [_word(word) for word in one.words[: -MAX_WORDS - 1 : -1] if word.mean < 0],
                "unsupported": [_word(word) for word in unsupported(one.words)[:MAX_WORDS]],
                "categories": list(one.categories),
            }
            for one in findings.by_class
        ],
        "removed": len(findings.removals),
        "flipped": sum(one.flips for one in findings.removals),
        "flipping": [
            {
                "word": one.text,
                "class": classes[one.target],
                "becomes": classes[one.becomes],
                "removed": one.tried,
                "flipped": one.flips,
            }
            for one in findings.flipping[:MAX_WORDS]
        ],
    }


def _word(word: Word) -> dict[str, Any]:
    fields = asdict(word)
    return {
        "word": fields.pop("text"),
        **{name: value for name, value in fields.items() if name != "target"},
    }

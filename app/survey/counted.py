"""Numbers with their nouns."""


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, as ``3 items``."""
    return f"{count} {noun}{'s' * (count != 1)}"

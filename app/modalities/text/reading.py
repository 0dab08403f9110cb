"""Uploads to text: what is not plain text is refused."""

import re

from app.errors import InvalidTextError, TooLargeError

MAX_CHARACTERS = 10_000
UTF8_BYTES = 4
"""Of one character, at most."""
NOT_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")
"""Control characters except tabs and line breaks, and halves of surrogate pairs, which JSON can contain."""


def read(data: bytes | str) -> str:
    """Return the text in ``data``, UTF-8 where it is bytes, without a byte order mark.

    Raises `TooLargeError`, and `InvalidTextError` for what is not text or has nothing but white space.
    """
    text = data if isinstance(data, str) else _decoded(data)
    _check_length(len(text))
    if match := NOT_TEXT.search(text):
        raise InvalidTextError(
            f"has the control character U+{ord(match[0]):04X} at position {match.start()}; remove it"
        )
    if not text.strip():
        raise InvalidTextError("is empty; send at least one word")
    return text


def _decoded(data: bytes) -> str:
    if len(data) > UTF8_BYTES * (MAX_CHARACTERS + 1):  # with a byte order mark
        _check_length(len(data) // UTF8_BYTES)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidTextError(f"is not UTF-8: byte {error.start} is invalid") from None


def _check_length(characters: int) -> None:
    if characters > MAX_CHARACTERS:
        raise TooLargeError(f"the text has over {MAX_CHARACTERS} characters; send a shorter one")

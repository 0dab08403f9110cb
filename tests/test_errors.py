"""The text of errors."""

from app.errors import first_line


def test_the_first_line_of_an_error_without_text_is_its_type() -> None:
    assert first_line(ValueError("no such layer\n  File 'a.py'")) == "no such layer"
    assert first_line(EOFError()) == "EOFError"

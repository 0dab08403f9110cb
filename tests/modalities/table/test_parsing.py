"""Rows in JSON and CSV: what is read, and what each fault is answered with."""

import pytest

from app.errors import InvalidFeaturesError, RequestError, TooLargeError
from app.modalities.json_values import DOUBLED
from app.modalities.table.parsing import rows_of_csv, rows_of_json


@pytest.mark.parametrize(
    ("data", "rows", "several"),
    [
        (b'{"features": {"a": 1, "b": "x"}}', ({"a": 1, "b": "x"},), False),
        (b'\xef\xbb\xbf{"rows": [{"a": 1}, {}]}', ({"a": 1}, {}), True),
        (b'{"features": {"a": 1, "a": 1}}', ({"a": DOUBLED},), False),
        (b'{"features": {"a": 1e999}}', ({"a": float("inf")},), False),
    ],
)
def test_json_is_read(data: bytes, rows: object, several: bool) -> None:
    assert rows_of_json(data) == (rows, several)


@pytest.mark.parametrize(
    "data",
    [
        b"a,b\n1,x y\n,z\n",
        b"\xef\xbb\xbfa,b\r\n1,x y\r\n,z",
        b'"a", "b"\r 1 , "x y"\r"",z\r',
        b"\n\na,b\n\n1,x y\n\n,z\n\n",
    ],
    ids=["plain", "byte-order mark", "quotation marks", "empty lines"],
)
def test_csv_is_read(data: bytes) -> None:
    assert rows_of_csv(data) == (({"a": "1", "b": "x y"}, {"a": "", "b": "z"}), True)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the body is empty; send"),
        (b'{"features": ', "not valid JSON: Expecting value at line 1, column 14"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"features": {"a": ' + b"1" * 5000 + b"}}", "endless numbers"),
        (b'{"features": {"a": "\xff"}}', "line 1 is not UTF-8"),
        (b'{"features": {"\\ud800": 1}}', "a name that is no text, '\\ud800'"),
        (b"[1]", "is a list, not an object; send"),
        (b'{"Cement": 540}', "neither 'features' nor 'rows'; send {\"features\":"),
        (b'{"features": [1]}', "features: is a list; an object of features is expected"),
        (b'{"features": {}, "features": {}}', "features: is given twice"),
        (b'{"features": {}, "rows": []}', "has 'rows' beside 'features'"),
        (b'{"rows": {"a": 1}}', "rows: is an object; a list"),
        (b'{"rows": []}', "rows: is empty"),
        (b'{"rows": [{"a": 1}, 7]}', "rows[1]: is a number; an object"),
        (b'{"rows": [' + b"{}," * 1000 + b"{}]}", "1001 rows are over 1000"),
    ],
)
def test_json_of_another_form_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(RequestError) as refused:
        rows_of_json(data)
    assert said in refused.value.detail


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the CSV is empty; the first row must have the names"),
        (b"\n\n", "the CSV is empty"),
        (b"a,b\n", "has a header, but no rows"),
        (
            b"a;b\n1,5;2\n",
            "'a;b', has ';' between its names: separate columns by commas and write decimals with",
        ),
        (b"a\tb\n1\t2\n", "has tabs between its names"),
        (b"1,2\n3,4\n", "has numbers only: it must be a header"),
        (b"a,,b\n1,2,3\n", "column 2 has no name"),
        (
            b"a,b\n1,2\n3\n",
            "row 2 (line 3) has 1 cells, but the header has 2 columns; leave a missing cell empty",
        ),
        (
            b"a,b\n1,5,2\n",
            "row 1 (line 2) has 3 cells, but the header has 2 columns; write decimals with a point",
        ),
        (b'a,b\n"1,2\n', "line 2 of the CSV cannot be read: unexpected end of data"),
        (b"a,b\n1,\xe9\n", "line 2 is not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "line 1 is not UTF-8"),
        (b"a\n" + b"x" * 200_000, "line 2 of the CSV cannot be read: field larger"),
    ],
)
def test_csv_of_another_form_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(RequestError) as refused:
        rows_of_csv(data)
    assert said in refused.value.detail


def test_doubled_columns_and_endless_rows_are_refused() -> None:
    with pytest.raises(InvalidFeaturesError, match="a: is given twice in the header; c: is given twice"):
        rows_of_csv(b"a,c,a,b,c\n1,2,3,4,5\n")
    assert len(rows_of_csv(b"a\n" + b"1\n" * 1000).rows) == 1000
    with pytest.raises(TooLargeError, match="over 1000 rows"):
        rows_of_csv(b"a\n" + b"1\n" * 1001)

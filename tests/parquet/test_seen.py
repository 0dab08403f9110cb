"""Texts that were seen, in little memory."""

import tracemalloc

import pytest

from app.parquet import seen
from app.parquet.seen import Seen


@pytest.mark.parametrize("recent", [1, 7, 10_000])
def test_each_text_is_new_once(monkeypatch: pytest.MonkeyPatch, recent: int) -> None:
    monkeypatch.setattr(seen, "RECENT", recent)
    texts, known = Seen(), set()
    for number in [*range(3000), *range(0, 4000, 3)]:
        assert texts.add(f"photos/{number}.png") is (number not in known)
        known.add(number)


def test_a_text_takes_few_bytes() -> None:
    texts = Seen()
    tracemalloc.start()
    for number in range(200_000):
        texts.add(f"a/long/path/of/a/folder/with/very/many/photos/{number}.png")
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 32 * 200_000

"""Lists of successive items."""

from itertools import count

from app.batched import batched


def test_lists_have_their_size_but_the_last_one() -> None:
    assert list(batched(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(batched(iter("abcd"), 2)) == [["a", "b"], ["c", "d"]]
    assert list(batched([], 3)) == []


def test_items_are_taken_as_lists_are() -> None:
    numbers = count()
    assert next(batched(numbers, 3)) == [0, 1, 2]
    assert next(numbers) == 3

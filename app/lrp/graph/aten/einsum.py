"""Sums of products of two values by Einstein's notation, as a matrix product."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from app.lrp.graph.aten.affine import product
from app.lrp.graph.aten.call import Call, Translation
from app.lrp.graph.aten.shapes import reshaped
from app.lrp.graph.graph import Shape, Size
from app.lrp.graph.graph import product as size_product
from app.lrp.graph.values import Constant, Signal, UntranslatableError, Value, for_batch


def _einsum(call: Call) -> Signal:
    terms, _, result = call["equation"].replace(" ", "").partition("->")
    letters = terms.split(",")
    if len(letters) != 2 or "." in terms or any(len(set(term)) < len(term) for term in letters):
        raise UntranslatableError(f"the equation {call['equation']!r} is not that of a product of two values")
    first, second = call["tensors"]
    if isinstance(first, Constant):
        first, second, letters = second, first, letters[::-1]
    sizes = {
        letter: size
        for term, value in zip(letters, (first, second), strict=True)
        for letter, size in zip(term, value.shape, strict=True)
    }
    shared = [letter for letter in result if all(letter in term for term in letters)]
    summed = [letter for letter in letters[0] if letter in letters[1] and letter not in result]
    rows, columns = (
        [letter for letter in result if letter in term and letter not in shared] for term in letters
    )
    if {*shared, *summed, *rows, *columns} != {*letters[0], *letters[1]} or not summed:
        raise UntranslatableError(f"the equation {call['equation']!r} is not that of a matrix product")
    is_dense = isinstance(second, Constant) and not shared
    leading, row_group = (rows, ()) if is_dense else (shared, (rows,))  # a dense layer keeps axes apart
    left = _arranged(call, first, letters[0], (leading, *row_group, summed), sizes)
    right = _arranged(call, second, letters[1], (shared, summed, columns), sizes)
    z = product(replace(call, shape=_shape(leading, (*row_group, columns), sizes)), left, right)
    order = [*shared, *rows, *columns]
    z = reshaped(call, z, tuple(sizes[letter] for letter in order))
    return _permuted(call, z, order, result, sizes)


def _shape(shared: list[str], groups: Iterable[list[str]], sizes: Mapping[str, Size]) -> Shape:
    """Return the shape of matrices: one axis a shared letter, then one axis a group."""
    return *(sizes[letter] for letter in shared), *(
        size_product(sizes[letter] for letter in group) for group in groups
    )


def _arranged(
    call: Call,
    value: Value,
    term: str,
    groups: Sequence[list[str]],
    sizes: Mapping[str, Size],
) -> Value:
    """Return a value as matrices, in the order of the groups."""
    order = [letter for group in groups for letter in group]
    shape = _shape(groups[0], groups[1:], sizes)
    if isinstance(value, Constant) and not value.is_batched:
        tensor = value.tensor.permute([term.index(letter) for letter in order])
        return Constant(tensor.reshape(for_batch(shape, 1)), shape)
    return reshaped(call, _permuted(call, call.signal(value), term, order, sizes), shape)


def _permuted(
    call: Call, x: Signal, letters: Sequence[str], order: Sequence[str], sizes: Mapping[str, Size]
) -> Signal:
    if list(letters) == list(order):
        return x
    axes = [list(letters).index(letter) for letter in order]
    return call.emit("permute", x, shape=tuple(sizes[letter] for letter in order), axes=axes)


TRANSLATIONS: Mapping[str, Translation] = MappingProxyType({"einsum": _einsum})
"""By the operator's name."""

"""Which nodes of an exported program share memory, so that writes in place are seen by all of them."""

from collections.abc import Mapping
from typing import Any

from torch import fx
from torch._ops import OpOverload

from app.lrp.graph.values import Signal, UntranslatableError


def is_in_place(node: fx.Node) -> bool:
    """Return whether a node writes to its first argument."""
    return isinstance(node.target, OpOverload) and node.target._schema.is_mutable


class Memory:
    """Nodes of a program by the memory that their values are in."""

    def __init__(self) -> None:
        self._owner: dict[fx.Node, fx.Node] = {}

    def share(self, node: fx.Node, other: fx.Node) -> None:
        """Record that a node's value is in the memory of another node's."""
        self._owner[node] = self._owner.get(other, other)

    def record(self, node: fx.Node, values: dict[fx.Node, Any], result: Any) -> None:
        """Record a call's memory, and change the values of the nodes that it writes to.

        Raises `UntranslatableError` if another view of that memory is read later.
        """
        first = next((argument for argument in node.args if isinstance(argument, fx.Node)), None)
        if first is None:
            return
        if is_in_place(node):
            self._write(node, first, values, result)
        if is_in_place(node) or _may_alias(node) or values.get(first) is result:
            self.share(node, first)

    def _write(self, node: fx.Node, target: fx.Node, values: dict[fx.Node, Any], result: Any) -> None:
        owner = self._owner.get(target, target)
        before = values[target]
        for other in [owner, *(name for name, of in self._owner.items() if of is owner)]:
            if values.get(other) is before:
                values[other] = result
            elif isinstance(before, Signal) and _is_read_after(other, node):
                raise UntranslatableError("it writes in place to a part of a tensor that is read later")


def _may_alias(node: fx.Node) -> bool:
    target = node.target
    return isinstance(target, OpOverload) and any(value.alias_info for value in target._schema.returns)


def _is_read_after(node: fx.Node, other: fx.Node) -> bool:
    later: Mapping[fx.Node, None] = node.users
    return any(other < user for user in later)

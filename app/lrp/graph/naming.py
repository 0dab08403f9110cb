"""Names of a graph's nodes: those of their modules wherever that is possible."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from app.lrp.graph.graph import INPUT
from app.lrp.graph.values import Signal

LAYOUT = frozenset(
    {
        *("reshape", "permute", "expand", "slice", "select", "index_select", "gather", "cat", "pad", "roll"),
        *("dropout", "constant"),
    }
)
"""Operations that compute nothing."""


def names_of(signals: Sequence[Signal]) -> dict[Signal, str]:
    """Return a name for each node, all different.

    A node that is the only operation of a leaf module, or the only one there that computes something, has the
    module's name. Another one has the name of its module and its operation. The names of constants are those of
    the tensors in the module's `state_dict`. ``_2``, ``_3`` … tell nodes apart that would have one name.
    """
    modules = {signal.origin.module for signal in signals}
    calls = defaultdict(list)
    for signal in signals:
        calls[signal.origin.call].append(signal)
    wanted: dict[Signal, str] = {}
    for call in calls.values():
        main = _main(call) if _is_leaf(call[0].origin.module, modules) else None
        if main is not None:
            wanted[main] = main.origin.module
    wanted |= {signal: _described(signal) for signal in signals if signal not in wanted}
    taken = {INPUT}
    names = {}
    for signal, name in wanted.items():
        names[signal] = unique(name, taken)
        taken.add(names[signal])
    return names


def unique(name: str, taken: Iterable[str]) -> str:
    """Return ``name`` with a number behind it if it is taken."""
    taken = set(taken)
    number = 2
    candidate = name
    while candidate in taken:
        candidate = f"{name}_{number}"
        number += 1
    return candidate


def _main(call: Sequence[Signal]) -> Signal | None:
    """Return the node that stands for its module, if there is one."""
    if len(call) == 1:
        return call[0]
    computing = [signal for signal in call if signal.op not in LAYOUT]
    return computing[0] if len(computing) == 1 else None


def _is_leaf(module: str, modules: Iterable[str]) -> bool:
    return bool(module) and not any(other.startswith(f"{module}.") for other in modules)


def _described(signal: Signal) -> str:
    value = signal.weights.get("value") if signal.op == "constant" else None
    if value is not None and value.name:
        return value.name
    return f"{signal.origin.module}.{signal.op}" if signal.origin.module else signal.op

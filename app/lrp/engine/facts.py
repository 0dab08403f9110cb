"""What is known of the values of a graph before any input arrives."""

from collections.abc import Sequence

from app.lrp.engine.operation import AtZero, Sign
from app.lrp.engine.wiring import Wiring


def nonnegative(wiring: Wiring, signs: Sequence[Sign]) -> list[bool]:
    """Return which values have no negative elements; ``signs`` are those of the nodes' outputs."""
    known = [False]
    for sign, inputs in zip(signs, wiring.inputs, strict=True):
        inherited = sign is Sign.AS_INPUTS and all(known[value] for value in inputs)
        known.append(sign is Sign.NONNEGATIVE or inherited)
    return known


def masked(wiring: Wiring, at_zero: Sequence[AtZero]) -> list[bool]:
    """Return for which nodes no relevance arrives where the output is not positive.

    So it is where a ReLU follows, if no user of the ReLU's output gives relevance to inputs that are zero.
    """
    vanishes = [False] * len(wiring.users)
    for value, users in reversed(list(enumerate(wiring.users))):
        vanishes[value] = bool(users) and all(
            at_zero[user] is AtZero.NONE or (at_zero[user] is AtZero.AS_OUTPUT and vanishes[user + 1])
            for user in users
        )
    return [
        node in wiring.rectifiers and vanishes[wiring.rectifiers[node] + 1]
        for node in range(len(wiring.inputs))
    ]

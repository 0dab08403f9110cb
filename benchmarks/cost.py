"""Operations and bytes of an explanation, and what a million explanations take by them.

Counted in a batch of the shipped network for pictures under the default rule, as the engine runs it: operations
of convolutions and products, and bytes that PyTorch's operators read and write. Speeds of this machine are
those of ``docs/performance.md``. Run with ``python -m benchmarks.cost``; ``--write`` fills in ``docs/scale.md``.
"""

import argparse
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from app.settings import shipped_model
from benchmarks.relevance import candidates
from docs import blocks

RULE, BATCH = "epsilon_plus_flat", 32
MILLION = 1_000_000
CLIENTS = 32
COLUMNS = ["where", "bound by", "figure", "explanations a second", "a million in"]
CONVOLUTIONS = ("convolution", "conv2d", "_convolution_pointwise")


@dataclass(frozen=True)
class Peak:
    """What a GPU computes and moves at most, by its maker's data sheet: operations and bytes a second."""

    name: str
    operations: float
    bytes: float


H100 = Peak("one H100 (SXM)", operations=67e12, bytes=3.35e12)
"""https://www.nvidia.com/en-us/data-center/h100/: FP32, which the engine computes in, not TF32; HBM3."""


class Counted(TorchDispatchMode):
    """Counts what PyTorch's operators do in the block; a multiplication with its addition is two operations."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # it has no types
        self.operations = 0
        self.bytes = 0

    def __enter__(self) -> Self:
        super().__enter__()  # type: ignore[no-untyped-call] # it has no types
        return self

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator and count it."""
        result = operator(*args, **(kwargs or {}))
        read, written = list(_tensors((args, kwargs or {}))), list(_tensors(result))
        if operator.is_view or not written:
            return result
        self.operations += 2 * _multiplications(operator.overloadpacket.__name__, read, written[0])
        self.bytes += sum(_bytes(one) for one in (*read, *written))
        return result


def _multiplications(name: str, read: list[torch.Tensor], written: torch.Tensor) -> int:
    """Return those of convolutions and matrix products; for each value written, those of one sum."""
    if name in CONVOLUTIONS:
        return written.numel() * math.prod(read[1].shape[1:])  # (out, in / groups, *kernel)
    if name in ("matmul", "mm", "bmm", "addmm", "linear", "_linear_pointwise"):
        return written.numel() * read[1 if name == "addmm" else 0].shape[-1]
    return 0


def _tensors(tree: object) -> Iterator[torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, Mapping):
        yield from _tensors(list(tree.values()))
    elif isinstance(tree, tuple | list):
        for one in tree:
            yield from _tensors(one)


def _bytes(tensor: torch.Tensor) -> int:
    """Return the bytes of the values; repetitions of one, as ``expand`` makes them, count once."""
    if tensor.is_mkldnn:  # packed weights, which have no strides
        return tensor.numel() * tensor.element_size()
    sizes = (size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)
    return math.prod(sizes) * tensor.element_size()


def counted() -> Counted:
    """Return what one batch takes, with weights prepared before."""
    engine = candidates(shipped_model(), RULE, BATCH, torch.device("cpu"))["engine"]
    engine()
    with Counted() as found:
        engine()
    return found


def engine_per_second() -> float:
    """Return the engine's measured speed, as ``make bench`` has written it."""
    return _written("engine", f"{RULE} | {BATCH}")


def service_per_second() -> float:
    """Return the service's measured speed, as ``make bench-service`` has written it."""
    return _written("service", f"{CLIENTS} | lrpserve")


def _written(table: str, row: str) -> float:
    """Return the figure behind the first cells of a row, in a table of ``docs/performance.md``."""
    found = re.search(
        rf"^\| {re.escape(row)} \| ([\d.]+) \|", blocks.read("performance.md")[table], re.MULTILINE
    )
    assert found is not None
    return float(found[1])


def table(found: Counted) -> str:
    """Return the table in Markdown, below the figures it is computed from."""
    operations, moved = found.operations / BATCH, found.bytes / BATCH
    speeds = [
        ("two cores of an AMD EPYC", "the engine", "measured by `make bench`", engine_per_second()),
        ("", "the service, JPEG to PNG", "measured by `make bench-service`", service_per_second()),
        (H100.name, "operations", f"computed: {H100.operations / 1e12:g} T/s", H100.operations / operations),
        ("", "bytes", f"computed: {H100.bytes / 1e12:g} TB/s", H100.bytes / moved),
    ]
    rows = [
        [where, bound, figure, rounded(speed), f"{rounded(MILLION / speed)} s"]
        for where, bound, figure, speed in speeds
    ]
    return (
        f"An explanation of the shipped network, under its default rule in batches of {BATCH}: "
        f"{operations / 1e6:.0f} million operations, {moved / 1e6:.1f} MB read and written.\n\n"
        f"{blocks.table(COLUMNS, rows)}"
    )


def rounded(figure: float) -> str:
    """Return a figure with three digits that count."""
    return f"{float(f'{figure:.3g}'):,.10g}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="also write the table into docs/scale.md")
    arguments = parser.parse_args()
    text = table(counted())
    print(text)
    if arguments.write:
        blocks.fill("scale.md", {"cost": text})


if __name__ == "__main__":
    main()

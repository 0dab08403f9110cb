"""Copies to and from a device: page-locked buffers, with fake tensors; values, with a real device."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from app.lrp.transfer import to_device, to_memory

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


class Recorder(TorchDispatchMode):
    """Records names and keyword arguments of operations."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's has no types
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        self.calls.append((func.overloadpacket.__name__, kwargs or {}))
        return func(*args, **(kwargs or {}))


def recorded(copy: Callable[[], Tensor]) -> tuple[Tensor, dict[str, dict[str, Any]]]:
    with Recorder() as recorder:
        copied = copy()
    return copied, dict(recorder.calls)


def pictures(device: torch.device) -> Tensor:
    return torch.zeros(2, 3, 4, 5, device=device).to(memory_format=torch.channels_last)


def test_inputs_go_to_a_gpu_from_page_locked_memory_without_waiting() -> None:
    with FakeTensorMode():
        there, calls = recorded(lambda: to_device(pictures(CPU), CUDA))
    assert there.device.type == "cuda"
    assert calls["empty_like"]["pin_memory"] is True
    assert calls["_to_copy"]["non_blocking"] is True
    assert there.is_contiguous(memory_format=torch.channels_last)


def test_results_come_from_a_gpu_into_page_locked_memory_when_they_are_computed() -> None:
    with FakeTensorMode():
        here, calls = recorded(lambda: to_memory(pictures(CUDA)))
    assert here.device.type == "cpu"
    assert calls["empty_like"]["pin_memory"] is True
    assert "non_blocking" not in calls["copy_"]  # a copy that does not wait could be read before it has ended
    assert here.is_contiguous(memory_format=torch.channels_last)


def test_nothing_is_copied_on_a_cpu() -> None:
    x = torch.randn(2, 3)
    assert to_device(x, CPU) is x
    assert to_memory(x) is x


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_values_arrive() -> None:
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    back = to_memory(to_device(x, CUDA) * 2)
    assert back.is_pinned()
    assert torch.equal(back, x * 2)

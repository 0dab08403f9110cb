"""The device that a network runs on, and the precision of what it computes."""

from collections.abc import Mapping
from types import MappingProxyType

import torch

from app.errors import RefusedToStartError
from app.settings import Precision, variable

PRODUCTS: Mapping[Precision, torch.dtype | None] = MappingProxyType(
    {"float32": None, "bfloat16": torch.bfloat16}
)
"""Argument ``products`` of the engine for each precision."""
BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")
"""Names in ``torch.cpu.get_capabilities``."""


def pick_device(name: str) -> torch.device:
    """Return a torch device; ``auto`` is CUDA if available, else the CPU.

    Raises `RefusedToStartError` for an unknown or unavailable device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise RefusedToStartError(f"device {name!r} is unknown: use auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RefusedToStartError(f"device {name!r} was asked for, but torch sees no CUDA device here")
    return device


def compute_in_float32() -> None:
    """Let cuDNN compute in float32: by default its convolutions and recurrent layers round inputs to TF32.

    TF32 has 10 bits of fraction instead of 23, and scores and maps would differ from those of a CPU.
    """
    torch.backends.cudnn.allow_tf32 = False


def check_precision(precision: Precision, device: torch.device) -> None:
    """Raise `RefusedToStartError` if ``device`` has no instructions for ``precision``."""
    if precision == "bfloat16" and not has_bfloat16(device):
        raise RefusedToStartError(
            f"{variable('precision')}=bfloat16: {_name(device)} has no instructions for it; a CPU needs "
            "AVX512-BF16 or AMX. Use float32"
        )


def has_bfloat16(device: torch.device) -> bool:
    """Return whether ``device`` has instructions for bfloat16; without, it is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) is True for name in BFLOAT16_INSTRUCTIONS)


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return str(torch.cpu.get_capabilities().get("cpu_name", "this processor"))

"""The device that a benchmark runs on: what it is, when it has finished, and the memory that was used."""

import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from app.errors import RefusedToStartError
from app.models.device import compute_in_float32, pick_device


def device(name: str) -> torch.device:
    """Return a device that computes in float32; ends the program with a message where there is none."""
    try:
        found = pick_device(name)
    except RefusedToStartError as error:
        sys.exit(f"Nothing was measured: {error}")
    compute_in_float32()
    return found


def described(device: torch.device) -> str:
    """Return cores and processor, or the GPU with its version of CUDA."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}"
    return f"{os.cpu_count()} cores, {platform.machine()}"


def block(name: str, device: torch.device) -> str:
    """Return the name of a table's block in the documentation, of which a GPU has its own."""
    return f"{name}-gpu" if device.type == "cuda" else name


def clock(device: torch.device) -> Callable[[], float]:
    """Return a clock that waits until the device has computed what it was given; in seconds."""
    return _clock_of_gpu if device.type == "cuda" else time.perf_counter


def peak_bytes(run: Callable[[], object], device: torch.device) -> int:
    """Return the most memory in use during a run: of the GPU, or resident of this process (Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return torch.cuda.max_memory_allocated(device)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak to what is resident now
    run()
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM")]
    return 1024 * int(line.split()[1])


def _clock_of_gpu() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()

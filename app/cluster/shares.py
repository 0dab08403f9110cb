"""What each replica of the service reserves of a cluster."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from app.errors import RefusedToStartError
from app.settings import Settings, variable

GRANULE = 10_000
"""Parts of a processor or a GPU that Ray can reserve."""

BOUNDS = re.compile("([0-9]+)(?:-([0-9]+))?")


@dataclass(frozen=True)
class Replicas:
    """Bounds on the number of replicas, of the application and of each model."""

    least: int = 1
    most: int = 1

    @classmethod
    def parse(cls, text: str) -> "Replicas":
        """Return the bounds in ``text``, ``2`` or ``1-8``; raises `RefusedToStartError`."""
        found = BOUNDS.fullmatch(text)
        if found and 0 < (least := int(found[1])) <= (most := int(found[2] or least)):
            return cls(least, most)
        raise RefusedToStartError(f"--replicas: {text!r} is no number such as 2, or two such as 1-8")


@dataclass(frozen=True)
class Shares:
    """Reserved resources of one replica; ``cores`` of a model is the number of its threads."""

    ingress_cpus: float
    model_cpus: float
    model_gpus: float
    cores: int

    @classmethod
    def fixed(cls, settings: Settings) -> "Shares":
        """Return shares that do not depend on a cluster: a core, and for each model ``LRP_CORES``, else one.

        Raises `RefusedToStartError` if the settings name one GPU of several.
        """
        _refuse_numbered(settings.device)
        cores = settings.cores or 1
        return cls(1, cores, 0, cores)


def shares_of(
    settings: Settings, nodes: Iterable[Mapping[str, Any]], models: int, replicas: Replicas
) -> Shares:
    """Return the shares of a cluster's ``nodes`` for the fewest ``replicas`` of each of ``models``.

    A replica of the application has one core, and those of models share the other cores of the smallest machine
    equally, or have ``LRP_CORES`` each. On fewer cores than replicas, all have equal parts of one. With GPUs, a
    model has one, or an equal part of one. Raises `RefusedToStartError` if the cluster has too few processors, or
    the settings name one GPU of several.
    """
    machines = [node["Resources"] for node in nodes if node["Alive"]]
    cpus = [int(machine["CPU"]) for machine in machines if machine.get("CPU")]
    if not cpus:
        raise RefusedToStartError("--address: the cluster has no machine with processors")
    gpus = _gpus(settings, machines)
    gpu = _part(1 / math.ceil(models * replicas.least / gpus)) if gpus else 0.0
    if settings.cores:
        _check_enough(models, settings.cores, replicas.least, sum(cpus))
        return Shares(1, settings.cores, gpu, settings.cores)
    ingresses = math.ceil(replicas.least / len(cpus))  # on one machine
    here = math.ceil(models * replicas.least / len(cpus))
    if min(cpus) < ingresses + here:
        part = _part(min(cpus) / (ingresses + here))
        return Shares(part, part, gpu, 1)
    cores = (min(cpus) - ingresses) // here
    return Shares(1, cores, gpu, cores)


def _gpus(settings: Settings, machines: Iterable[Mapping[str, Any]]) -> int:
    """Return the number of GPUs to use; raises `RefusedToStartError` if the settings name one of them."""
    _refuse_numbered(settings.device)
    return 0 if settings.device == "cpu" else int(sum(machine.get("GPU", 0) for machine in machines))


def _refuse_numbered(device: str) -> None:
    if ":" in device:
        raise RefusedToStartError(f"--device: {device}: Ray chooses the GPU; use cuda")


def _check_enough(models: int, cores: int, replicas: int, there: int) -> None:
    needed = replicas * (1 + models * cores)
    if needed > there:
        raise RefusedToStartError(
            f"{variable('cores')}: {needed} cores are needed, {cores} for each model and one for the application "
            f"in each of {replicas} replicas of {models} models, and the cluster has {there}"
        )


def _part(share: float) -> float:
    """Return ``share``, rounded down to what Ray can reserve, so that the shares of one processor fit on it."""
    return math.floor(share * GRANULE) / GRANULE

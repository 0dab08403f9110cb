"""What replicas reserve of a cluster."""

from typing import Any

import pytest

from app.cluster.shares import Replicas, Shares, shares_of
from app.errors import RefusedToStartError
from app.settings import Settings


def machine(cpus: int, gpus: int = 0, *, is_alive: bool = True) -> dict[str, Any]:
    return {"Alive": is_alive, "Resources": {"CPU": float(cpus), "GPU": float(gpus), "memory": 1e9}}


@pytest.mark.parametrize(
    ("nodes", "settings", "models", "replicas", "expected"),
    [
        ([machine(8)], {}, 1, Replicas(), Shares(1, 7, 0, 7)),
        ([machine(8)], {}, 3, Replicas(), Shares(1, 2, 0, 2)),
        ([machine(2)], {}, 4, Replicas(), Shares(0.4, 0.4, 0, 1)),
        ([machine(1)], {}, 2, Replicas(), Shares(0.3333, 0.3333, 0, 1)),
        ([machine(2)], {}, 1, Replicas(2, 4), Shares(0.5, 0.5, 0, 1)),
        ([machine(8), machine(8), machine(8)], {}, 3, Replicas(), Shares(1, 7, 0, 7)),
        ([machine(8), machine(64, is_alive=False), machine(0), machine(4)], {}, 2, Replicas(2, 2),
         Shares(1, 1, 0, 1)),
        ([machine(16)], {"cores": 4}, 3, Replicas(), Shares(1, 4, 0, 4)),
        ([machine(16, 1)], {}, 3, Replicas(), Shares(1, 5, 0.3333, 5)),
        ([machine(16, 2), machine(16, 2)], {}, 2, Replicas(2, 2), Shares(1, 7, 1, 7)),
        ([machine(16, 2)], {"device": "cpu"}, 1, Replicas(), Shares(1, 15, 0, 15)),
    ],
)  # fmt: skip
def test_replicas_share_the_machines(
    nodes: list[dict[str, Any]], settings: dict[str, Any], models: int, replicas: Replicas, expected: Shares
) -> None:
    shares = shares_of(Settings(**settings), nodes, models, replicas)
    assert shares == expected
    there = [one["Resources"] for one in nodes if one["Alive"]]
    count = replicas.least
    assert count * (shares.ingress_cpus + models * shares.model_cpus) <= sum(one["CPU"] for one in there)
    assert count * models * shares.model_gpus <= sum(one["GPU"] for one in there)


@pytest.mark.parametrize(
    ("nodes", "settings", "error"),
    [
        ([machine(2)], {"cores": 1}, "LRP_CORES: 4 cores are needed, 1 for each model .* the cluster has 2"),
        ([machine(0)], {}, "no machine with processors"),
        ([machine(8, 2)], {"device": "cuda:1"}, "--device: cuda:1: Ray chooses the GPU; use cuda"),
    ],
)
def test_what_does_not_fit_is_refused(
    nodes: list[dict[str, Any]], settings: dict[str, Any], error: str
) -> None:
    with pytest.raises(RefusedToStartError, match=error):
        shares_of(Settings(**settings), nodes, 3, Replicas())


@pytest.mark.parametrize(
    ("text", "expected"), [("1", Replicas(1, 1)), ("3", Replicas(3, 3)), ("2-16", Replicas(2, 16))]
)
def test_replicas_are_a_number_or_two(text: str, expected: Replicas) -> None:
    assert Replicas.parse(text) == expected


@pytest.mark.parametrize("text", ["", "0", "0-2", "3-2", "1-", "-1", "-", "1-2-3", "two", "1.5"])
def test_other_replicas_are_refused(text: str) -> None:
    with pytest.raises(
        RefusedToStartError, match=r"--replicas: .* is no number such as 2, or two such as 1-8"
    ):
        Replicas.parse(text)

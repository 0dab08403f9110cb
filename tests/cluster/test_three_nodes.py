"""``deploy/ray.yaml`` on a cluster of three nodes, of which processes and a node are killed under load."""

import base64
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from benchmarks.cluster import CLIENTS, INGRESS, MODEL, Load, Tally, faults, table
from benchmarks.exchanges import alike, client_of, exchanges
from benchmarks.ray_nodes import Nodes, three_nodes

REQUESTS = 40
MAX_PIXELS = 1_000_000
"""A setting that the update changes."""
COUNTED = re.compile(r'lrpserve_requests_total\{replica="(\w+)",route="/predict",status="200"\} (.+)')


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with three_nodes(tmp_path_factory.mktemp("nodes")) as started:
        yield started


@pytest.fixture(scope="module")
def clients(nodes: Nodes, client: TestClient) -> Iterator[tuple[httpx.Client, TestClient]]:
    """Of the cluster, and of the service without Ray."""
    with client_of(nodes) as of_cluster:
        yield of_cluster, client


@pytest.mark.parametrize(
    ("path", "accept"),
    [("/predict", "application/json"), ("/explain", "application/json"), ("/explain", "application/x-npy")],
)
def test_answers_are_those_of_the_service_without_ray(
    clients: tuple[httpx.Client, TestClient], cat_png: bytes, path: str, accept: str
) -> None:
    headers = {"Content-Type": "image/png", "Accept": accept}
    ours, theirs = (one.post(path, content=cat_png, headers=headers) for one in clients)
    assert (ours.status_code, theirs.status_code) == (200, 200)
    assert alike(ours, theirs)


def test_protocols_answer_and_a_key_is_required(nodes: Nodes, cat_png: bytes) -> None:
    body: dict[str, Any] = {"json": {"instances": [base64.b64encode(cat_png).decode()]}}
    with client_of(nodes) as client:
        answer = client.post(f"/v1/models/{MODEL}:explain", **body)
        assert answer.json()["explanations"][0]["target"]["label"] == "cat"
        del client.headers["X-API-Key"]
        assert client.post(f"/v1/models/{MODEL}:explain", **body).status_code == 401


def counts(nodes: Nodes) -> Counter[str]:
    with client_of(nodes) as client:
        return Counter(
            {replica: int(float(value)) for replica, value in COUNTED.findall(client.get("/metrics").text)}
        )


def test_metrics_are_those_of_all_replicas_whichever_answers(nodes: Nodes, cat_png: bytes) -> None:
    before = counts(nodes)
    for _ in range(REQUESTS):
        with client_of(nodes) as client:
            client.post("/predict", content=cat_png, headers={"Content-Type": "image/png"}).raise_for_status()
    seen = [counts(nodes) for _ in range(10)]
    assert sum((seen[0] - before).values()) == REQUESTS
    assert len(seen[0]) == 2
    assert seen == seen[:1] * len(seen)


def test_an_update_loses_no_answer(nodes: Nodes) -> None:
    with Load(nodes, exchanges(nodes)) as load:
        load.wait_for(REQUESTS)
        nodes.deploy(LRP_MAX_PIXELS=str(MAX_PIXELS))
        load.wait_for(REQUESTS)
    (tally,) = load.phases.values()
    assert tally.answered == tally.requests, table(load.phases, {})
    with client_of(nodes) as client:
        assert client.get("/model").json()["limits"]["max_pixels"] == MAX_PIXELS


def test_what_is_lost_loses_no_answer(nodes: Nodes) -> None:
    """Only what a lost process works on fails, and is answered when it is sent again; no answer is wrong."""
    tallies: dict[str, Tally] = {}
    with Load(nodes, exchanges(nodes)) as load:
        for name, inject in faults(nodes).items():
            load.wait_for(REQUESTS)
            tallies[name] = load.begin(name)
            inject()
            load.wait_for(REQUESTS)
            nodes.restore()
    printed = table(load.phases, {})
    assert all(one.requests >= REQUESTS for one in tallies.values()), printed
    assert all((one.wrong, one.lost) == (0, 0) for one in load.phases.values()), printed
    of_model, of_ingress, of_node = tallies.values()
    assert of_model.answered == of_model.requests, printed  # the application runs the batch again
    assert of_ingress.retried <= CLIENTS, printed
    assert of_ingress.failures.keys() <= {"500"}, printed
    assert of_node.failures.keys() <= {"500", "503", "504", "RemoteProtocolError", "ReadError"}, printed
    assert {len(nodes.replicas(name)) for name in (MODEL, INGRESS)} == {2}

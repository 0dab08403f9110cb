"""Prometheus metrics of the service."""

import re
from collections.abc import Iterator
from typing import get_args

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.models.protocol import Model
from app.settings import Settings
from app.telemetry.metrics import Failure, Metrics, Refusal, exposition

MODEL = 'model="minivgg-cifar10"'


@pytest.fixture
def fresh(model: Model) -> Iterator[TestClient]:
    """A service without any requests so far but those that ask whether it is ready."""
    with TestClient(create_app(Settings(), model)) as client:
        assert any(client.get("/readyz").status_code == 200 for _ in range(10_000)), "the warm-up failed"
        yield client


def samples(client: TestClient) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_requests_are_counted_by_route_and_status(fresh: TestClient, cat_png: bytes) -> None:
    fresh.post("/explain", content=cat_png, headers={"Content-Type": "image/png"})
    fresh.post("/explain?rule=nonsense", content=cat_png, headers={"Content-Type": "image/png"})
    fresh.get("/explain")
    counted = samples(fresh)
    for status in (200, 422, 405):
        assert counted[f'lrpserve_requests_total{{route="/explain",status="{status}"}}'] == 1
    assert counted['lrpserve_request_duration_seconds_count{route="/explain"}'] == 3


def test_stages_and_leaks_are_measured(fresh: TestClient, cat_png: bytes) -> None:
    answer = fresh.post("/explain", content=cat_png, headers={"Content-Type": "image/png"}).json()
    counted = samples(fresh)
    for stage in ("decode", "queue", "model", "render"):
        assert counted[f'lrpserve_stage_duration_seconds_count{{{MODEL},stage="{stage}"}}'] == 1
    assert counted[f"lrpserve_leak_sum{{{MODEL}}}"] == pytest.approx(abs(answer["relevance"]["leak"]))


def test_bad_pictures_are_counted_by_reason(fresh: TestClient) -> None:
    for body in (b"no picture", b"neither", b"\x89PNG\r\n\x1a\n"):
        fresh.post("/predict", content=body, headers={"Content-Type": "image/png"})
    assert samples(fresh)[f'lrpserve_bad_pictures_total{{{MODEL},reason="unreadable-image"}}'] == 3


def test_labels_contain_nothing_from_requests(fresh: TestClient) -> None:
    for address in ("/nothing/évil", "/model?évil=1", "/v2/models/évil/infer", "/static-offline-docs/évil"):
        fresh.request("EVIL", address)
        fresh.get(address, headers={"X-Request-ID": "evil", "User-Agent": "evil", "Host": "evil"})
    text = fresh.get("/metrics").text
    assert not re.findall("(?i)[eé]vil|%C3%A9vil", text)
    assert 'lrpserve_requests_total{route="other",status="404"}' in text


def test_the_prometheus_parser_reads_both_formats(fresh: TestClient) -> None:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
    from prometheus_client.parser import text_string_to_metric_families as parse_text

    text = fresh.get("/metrics", headers={"Accept": "text/plain"})
    openmetrics = fresh.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert openmetrics.headers["Content-Type"].startswith("application/openmetrics-text")
    families_of_openmetrics = parse_openmetrics(openmetrics.text)  # type: ignore[no-untyped-call] # prometheus_client's parser has no types
    for families in (parse_text(text.text), families_of_openmetrics):
        names = {family.name.removesuffix("_total") for family in families}
        assert names >= {
            f"lrpserve_{name}"
            for name in (
                "requests", "stage_duration_seconds", "batch_size", "queue_depth", "refused", "cancelled",
                "bad_pictures", "leak", "failures", "model_info",
            )
        }  # fmt: skip


def test_metrics_of_batches_and_failures_are_exposed() -> None:
    metrics, waiting = Metrics(), [1, 2, 3]
    one, other = metrics.of_model("one"), metrics.of_model("other")
    one.batch(8)
    one.queue_depth(lambda: len(waiting))
    other.batch(2)
    metrics.rendering_depth(lambda: len(waiting) - 1)
    metrics.cancelled()
    for reason in get_args(Refusal):
        one.refused(reason)
    for failure in get_args(Failure):
        one.failed(failure)
    text = exposition(metrics.families(), "")[0].decode()
    for line in (
        'batch_size_bucket{le="4.0",model="one"} 0.0',
        'batch_size_bucket{le="8.0",model="one"} 1.0',
        'batch_size_bucket{le="4.0",model="other"} 1.0',
        'queue_depth{model="one"} 3.0',
        "rendering_queue_depth 2.0",
        "cancelled_total 1.0",
        'refused_total{model="one",reason="queue_full"} 1.0',
        'refused_total{model="other",reason="queue_full"} 0.0',
        'failures_total{model="one",reason="non_finite"} 1.0',
    ):
        assert "lrpserve_" + line in text


def test_two_services_in_one_process_have_separate_metrics(fresh: TestClient, model: Model) -> None:
    with TestClient(create_app(Settings(), model)) as other:
        other.get("/model")
        assert 'lrpserve_requests_total{route="/model",status="200"}' in samples(other)
    assert 'lrpserve_requests_total{route="/model",status="200"}' not in samples(fresh)

"""Benchmarks: calculations, tables and messages, and the load generator. The measurements are not tested."""

import asyncio
import json
import math
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image

from benchmarks import hardware, load, lone, networks, relevance, report
from benchmarks.peers.contenders import CONTENDERS, MULTIPART, RAW, TORCHSERVE, Contender
from benchmarks.report import Cell, Load, Row, Start
from benchmarks.service import Baseline, make_bodies, start_lines
from benchmarks.soak import Finding, Overload, overload_findings
from docs import blocks

WRK = """Running 4s test @ http://127.0.0.1:9101/explain
  1 threads and 8 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   175.07ms   12.00ms 219.26ms   71.00%
Requests/sec:     44.93
{"answered": 180, "refused": 20, "failed": 3, "broken": 2, "seconds": 4.0, "p50_ms": 175.069, "p99_ms": 219.259}
"""


def cell(
    service: str = "lrpserve",
    *,
    body: str = MULTIPART,
    clients: int = 8,
    number: int = 0,
    answered: int = 100,
    refused: int = 0,
    errors: int = 0,
    cpu_s: float = 1.0,
    others: float = 0.0,
) -> Cell:
    load = Load(answered, refused, errors, seconds=2.0, p50_ms=10.0, p99_ms=20.0)
    return Cell(service, body, clients, number, load, cpu_s, 500.0, others)


def row(service: str, clients: int, rate: float, body: str = MULTIPART) -> Row:
    return Row(clients, service, body, rate, 10.0, 20.0, 0.0, 0.0, 5.0, 500.0)


def test_wrks_words_are_read_and_refusals_are_not_errors() -> None:
    load = report.parse_load(WRK)
    assert load == Load(answered=180, refused=20, errors=5, seconds=4.0, p50_ms=175.069, p99_ms=219.259)


def test_wrk_that_counted_nothing_is_quoted() -> None:
    with pytest.raises(ValueError, match="unable to connect"):
        report.parse_load("unable to connect to 127.0.0.1:9101 Connection refused\n")


def test_a_row_is_the_median_over_the_rounds() -> None:
    (found,) = report.rows([cell(number=i, answered=count) for i, count in enumerate((100, 900, 120))])
    assert found.rate == 60.0
    assert found.cpu_ms == pytest.approx(1000 / 120)


def test_refused_requests_are_shares_and_never_answers() -> None:
    (found,) = report.rows([cell(answered=50, refused=40, errors=10)])
    assert found.rate == 25.0
    assert (found.refused, found.errors) == (0.4, 0.1)
    assert found.cpu_ms == 20.0


def test_a_service_that_answered_nothing_has_a_row() -> None:
    (found,) = report.rows([cell(answered=0)])
    assert found.rate == 0.0
    assert math.isfinite(found.cpu_ms)


def test_rows_keep_loads_and_bodies_apart_and_the_contenders_order() -> None:
    cells = [
        cell(service, body=body, clients=clients, number=number)
        for number in range(2)
        for service in ("lrpserve", "afternoon")
        for body, clients in ((MULTIPART, 8), (MULTIPART, 32), (RAW, 32))
    ]
    found = [(line.clients, line.body, line.service) for line in report.rows(cells)]
    assert found == [
        (8, MULTIPART, "lrpserve"),
        (8, MULTIPART, "afternoon"),
        (32, MULTIPART, "lrpserve"),
        (32, MULTIPART, "afternoon"),
        (32, RAW, "lrpserve"),
        (32, RAW, "afternoon"),
    ]


def test_ratios_are_to_the_afternoon_and_to_the_best_peer() -> None:
    table = [
        *(row("lrpserve", 1, 60), row("afternoon", 1, 40), row("litserve", 1, 20)),
        *(row("lrpserve", 32, 210), row("afternoon", 32, 30), row("litserve", 32, 70)),
        row("torchserve", 32, 900, RAW),
    ]
    one, many = report.ratios(table)
    assert (one.clients, one.afternoon, one.best, one.best_name) == (1, 1.5, 1.5, "afternoon")
    assert (many.clients, many.afternoon, many.best, many.best_name) == (32, 7.0, 3.0, "litserve")


def test_a_ratio_without_a_peer_is_a_dash() -> None:
    lines = report.ratio_lines(report.ratios([row("lrpserve", 1, 60)]))
    assert lines == [["1", "lrpserve", "60.0", "–", "–", "–"]]


def test_our_service_in_another_precision_is_no_peer() -> None:
    table = [row("lrpserve", 8, 60), row("lrpserve-bfloat16", 8, 90), row("litserve", 8, 30)]
    found = [(one.service, one.best, one.best_name) for one in report.ratios(table)]
    assert found == [("lrpserve", 2.0, "litserve"), ("lrpserve-bfloat16", 3.0, "litserve")]


def test_without_our_own_service_there_are_no_ratios() -> None:
    assert report.ratios([row("afternoon", 1, 40)]) == []


def test_a_markdown_table_has_as_many_cells_in_each_line() -> None:
    lines = report.markdown_table(report.COLUMNS, [row("afternoon", 1, 40).texts()]).splitlines()
    assert len(lines) == 3
    assert {line.count("|") for line in lines} == {len(report.COLUMNS) + 1}
    assert lines[2].startswith("| 1 | afternoon | multipart | 40.0 |")


def test_the_terminals_table_shows_every_row() -> None:
    table = report.rich_table("rows", report.COLUMNS, [row("afternoon", 1, 40).texts()])
    assert table.row_count == 1
    assert len(table.columns) == len(report.COLUMNS)


def test_start_and_memory_are_told_beside_torch_alone() -> None:
    starts = [Start("lrpserve", number, seconds, 600.0) for number, seconds in enumerate((4.0, 9.0, 4.2))]
    baselines = [Baseline(number, import_s, 450.0) for number, import_s in enumerate((2.0, 2.1, 8.0))]
    torch, ours = start_lines(starts, baselines)
    assert torch[1:] == ["2.1", "", "450", ""]
    assert ours == ["lrpserve", "4.2", "+2.1", "600", "+150"]


def test_other_work_on_the_machine_is_told() -> None:
    sentence = report.others_sentence([cell(others=share) for share in (0.02, 0.05, 0.4)])
    assert "5%" in sentence
    assert "40% at most" in sentence
    assert "measure again" not in sentence


def test_figures_from_a_busy_machine_carry_a_warning() -> None:
    assert "measure again" in report.others_sentence([cell(others=share) for share in (0.02, 0.3, 0.4)])


def test_raw_figures_survive_as_json() -> None:
    found = json.loads(
        report.raw_json([cell(answered=7)], [Start("lrpserve", 0, 4.0, 600.0)], {"machine": "m"})
    )
    assert found["cells"][0]["load"]["answered"] == 7
    assert found["starts"][0]["seconds"] == 4.0
    assert found["machine"] == "m"


def test_the_plot_is_a_picture_wide_enough_for_two_panels(tmp_path: Path) -> None:
    table = [row(name, clients, 10.0 * clients) for name in ("lrpserve", "afternoon") for clients in (1, 8)]
    report.plot(table, tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.width > 1.5 * picture.height


def test_every_contender_has_a_colour_and_a_mark_of_its_own() -> None:
    assert len(CONTENDERS) <= len(set(report.COLOURS)) == len(set(report.MARKERS))


@pytest.mark.parametrize("benchmark", [relevance, networks])
def test_a_benchmark_of_a_gpu_that_is_not_there_says_so_and_fails(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = blocks.read("performance.md")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["benchmark", "--device", "cuda", "--write"])
    with pytest.raises(SystemExit, match="Nothing was measured: device 'cuda'"):
        benchmark.main()
    assert blocks.read("performance.md") == page


@pytest.mark.parametrize("table", ["engine", "networks"])
def test_the_page_has_a_table_for_each_device(table: str) -> None:
    devices = [torch.device(name) for name in ("cpu", "cuda", "cuda:1")]
    names = [hardware.block(table, device) for device in devices]
    assert names == [table, f"{table}-gpu", f"{table}-gpu"]
    assert set(names) <= blocks.read("performance.md").keys()


def test_every_step_of_a_request_is_a_row_with_the_cost_of_its_hand_over() -> None:
    names = {name for pair in lone.STEPS.values() for name in pair if name is not None}
    found = dict.fromkeys(names, 4.0) | {"decode": 0.5, "decode in a worker": 0.75}
    rows = lone.lines(found)
    assert [len(row) for row in rows] == [len(lone.COLUMNS)] * len(lone.STEPS)
    assert ["decode a JPEG, in a worker", "0.50", "0.75", "0.25"] in rows
    assert ["engine", "4.00", "–", "–"] in rows


def test_what_a_request_takes_besides_the_engine_is_told() -> None:
    assert "+ 3.25 ms (goal: + 2.5 ms)" in lone.sentence({"engine": 3.5, "POST": 6.75})


def test_steps_take_turns_after_a_call_that_is_not_measured() -> None:
    called = []

    async def call(name: str, seconds: float) -> None:
        called.append(name)
        await asyncio.sleep(seconds)

    steps = {"slow": partial(call, "slow", 0.02), "fast": partial(call, "fast", 0.0)}
    found = asyncio.run(lone.medians_ms(steps, rounds=2, calls=2))
    assert called == 2 * (3 * ["slow"] + 3 * ["fast"])
    assert found["fast"] < 20 <= found["slow"]


def test_bodies_hold_the_same_picture_raw_and_in_a_form(tmp_path: Path) -> None:
    bodies = make_bodies(tmp_path)
    raw, form = bodies[RAW].path.read_bytes(), bodies[MULTIPART].path.read_bytes()
    boundary = bodies[MULTIPART].content_type.partition("boundary=")[2]
    assert raw.startswith(b"\xff\xd8")
    assert raw in form
    assert form.startswith(f"--{boundary}".encode())
    assert b'name="file"' in form


@pytest.mark.parametrize(("status", "ready"), [("READY", True), ("UNLOADED", False)])
def test_torchserve_is_ready_when_its_worker_is(status: str, ready: bool) -> None:
    assert TORCHSERVE.is_ready(json.dumps([{"workers": [{"status": status}]}]).encode()) is ready


def test_a_peer_without_its_program_is_left_out_by_name() -> None:
    contender = Contender("slow", "a peer", lambda port, _: [str(port)], (), programs=("no-such-program",))
    reason = contender.missing()
    assert reason is not None
    assert "slow is left out" in reason
    assert "no-such-program" in reason


def test_a_peer_that_is_not_installed_is_left_out_by_name() -> None:
    reason = Contender("no-such-peer", "a peer", lambda port, _: [str(port)], ()).missing()
    assert reason is not None
    assert "no-such-peer is left out" in reason
    assert "make bench-service" in reason


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda contender: contender.name)
def test_every_contender_is_started_on_the_port_it_is_given(contender: Contender, tmp_path: Path) -> None:
    assert any("12345" in word for word in contender.command(12345, tmp_path))


BODY = bytes(2**20)
"""More than the kernel accepts at once."""
REQUEST = b"POST /explain HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"
REFUSED = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nRetry-After: 1\r\n\r\n"

on_linux = pytest.mark.skipif(not hasattr(select, "epoll"), reason="the load generator uses epoll")


class Replies:
    """Server that sends what ``reply`` returns for the number of a request, in pieces.

    It sends nothing for an empty list, and closes the connection for ``None``.
    """

    def __init__(self, reply: Callable[[int], list[bytes] | None]) -> None:
        self.received = self.concurrent = self.max_concurrent = 0
        self._reply = reply

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.concurrent += 1
                self.max_concurrent = max(self.max_concurrent, self.concurrent)
                await reader.readexactly(len(BODY))
                pieces = self._reply(self.received)
                self.received += 1
                for piece in pieces or ():
                    writer.write(piece)
                    await asyncio.sleep(0.001)
                self.concurrent -= 1
                if pieces is None:
                    return
        except (EOFError, OSError):
            pass
        finally:
            writer.close()


@contextmanager
def serving(replies: Replies) -> Iterator[int]:
    """Run the server in a thread; yield its port."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(replies.handle, "127.0.0.1", 0, backlog=1000))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def end() -> None:
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def few_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "INITIAL_CONNECTIONS", 1)
    monkeypatch.setattr(load, "MAX_CONNECTIONS", 3)


@on_linux
def test_the_load_counts_answers_by_status_and_those_that_say_when_to_come_again() -> None:
    with serving(Replies(lambda number: [REFUSED] if number % 2 else [OK[:9], OK[9:50], OK[50:]])) as port:
        tally = load.flood(port, REQUEST, rate=200, seconds=0.2)
    answered, refused = tally.answers[200], tally.answers[503]
    assert set(tally.answers) == {200, 503}
    assert len(answered.since_sent_s) + len(refused.since_sent_s) == tally.sent == len(tally.late_s) > 1
    assert len(answered.since_sent_s) - len(refused.since_sent_s) in (0, 1)
    assert (answered.with_retry_after, refused.with_retry_after) == (0, len(refused.since_sent_s))
    assert (tally.not_sent, tally.lost.total()) == (0, 0)


@on_linux
def test_the_load_counts_a_wait_from_when_it_was_due() -> None:
    with serving(Replies(lambda _: [OK])) as port:
        tally = load.flood(port, REQUEST, rate=200, seconds=0.1)
    answers = tally.answers[200]
    assert sum(answers.since_due_s) == pytest.approx(sum(answers.since_sent_s) + sum(tally.late_s))


@on_linux
@pytest.mark.usefixtures("few_connections")
def test_the_load_goes_on_where_connections_are_closed() -> None:
    with serving(Replies(lambda number: None if number % 3 else [OK])) as port:
        tally = load.flood(port, REQUEST, rate=100, seconds=0.3)
    assert set(tally.lost) == {"closed"}
    assert tally.sent == len(tally.answers[200].since_sent_s) + tally.lost["closed"] > 3


@on_linux
@pytest.mark.usefixtures("few_connections")
def test_the_load_says_what_it_could_not_send_and_waits_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "ANSWER_LIMIT_S", 0)
    with serving(Replies(lambda _: [])) as port:
        tally = load.flood(port, REQUEST, rate=1000, seconds=0.2)
    assert tally.sent == 3
    assert tally.not_sent > 3
    assert tally.lost == {"no answer": 3}


@on_linux
def test_clients_who_wait_for_their_answers_are_never_more_than_asked_for() -> None:
    replies = Replies(lambda _: [OK])
    with serving(replies) as port:
        tally = load.saturate(port, REQUEST, clients=4, seconds=0.2)
    assert replies.max_concurrent <= 4
    assert len(tally.answers[200].since_sent_s) == tally.sent == replies.received > 4


def overload_by(sent: int, **lost: int) -> dict[str, Finding]:
    """Return the findings for requests sent within one second, at a capacity of ten per second."""
    tally = load.Tally(sent=sent, seconds=1.0)
    for status, count in {200: 10, 503: 90}.items():
        tally.answers[status] = load.Answers([0.001] * count, [0.001] * count, count)
    tally.lost.update(lost)
    return {finding.what: finding for finding in overload_findings(Overload(tally, 1, 10, 10, 0, [], 1))}


def test_a_load_that_is_not_ten_times_the_capacity_proves_nothing() -> None:
    assert overload_by(sent=100)["19 load sent"].kept
    assert not overload_by(sent=94)["19 load sent"].kept


def test_an_accepted_request_without_an_answer_is_found() -> None:
    assert overload_by(sent=100)["19 accepted but not answered"].kept
    assert not overload_by(sent=100, closed=1)["19 accepted but not answered"].kept

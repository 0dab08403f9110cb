"""Rows 29 and 30: how a real process ends, told to or not. The model waits for the tests; nothing is timed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from threading import Thread

import httpx
import pytest
from gate import LIMIT_S

HERE = Path(__file__).parent
PNG = {"Content-Type": "image/png"}
SETTINGS = {"LRP_PORT": "0", "LRP_PICTURE_PROCESSES": "1"}
FOR_EVER_S = "600"
END_S = 15
"""More than the second and `CLOSING_S` that are allowed, for machines that are busy."""


class Process:
    """`controlled_service.py`."""

    def __init__(self, picture: bytes, **settings: str) -> None:
        self._picture = picture
        self._pool = ThreadPoolExecutor(32)
        self._process = subprocess.Popen(
            [sys.executable, HERE / "controlled_service.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=HERE.parent,
            env={**os.environ, "PYTHONPATH": str(HERE.parent), **SETTINGS, **settings},
        )
        self.log: list[str] = []
        addresses: Queue[str] = Queue()
        self._reader = Thread(target=self._read_log, args=(addresses,), daemon=True)
        self._reader.start()
        self._url = addresses.get(timeout=LIMIT_S)

    def warm_up(self) -> None:
        self.batch()
        self.say("run")
        self.until(lambda: self.get("/readyz").status_code == 200)

    def _read_log(self, addresses: "Queue[str]") -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.log.append(line)
            if found := re.search(r"http://127\.0\.0\.1:[1-9]\d*", line):
                addresses.put(found[0])

    def batch(self) -> int:
        """Pictures in the next batch, which waits now."""
        assert self._process.stdout is not None
        return int(self._process.stdout.readline().split()[1])

    def say(self, word: str) -> None:
        """To the batch that waits."""
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()

    def let_all(self) -> None:
        """Whatever batches come."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self._url + path, timeout=LIMIT_S)

    def post(self) -> "Future[httpx.Response]":
        url = f"{self._url}/explain"
        return self._pool.submit(httpx.post, url, content=self._picture, headers=PNG, timeout=LIMIT_S)

    def until(self, reached: Callable[[], bool]) -> None:
        """Ask until it is so."""
        assert any(reached() for _ in range(100_000))

    def until_waiting(self, count: int) -> None:
        self.until(
            lambda: f'lrpserve_queue_depth{{model="quadrants"}} {count}.0' in self.get("/metrics").text
        )

    def refuses_connections(self) -> bool:
        try:
            return self.get("/livez").status_code != 200
        except httpx.TransportError:
            return True

    def ends(self) -> int:
        """With which code."""
        code = self._process.wait(LIMIT_S)
        self._reader.join(LIMIT_S)
        return code

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(LIMIT_S)
        self._reader.join(LIMIT_S)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()


@contextmanager
def running(picture: bytes, **settings: str) -> Iterator[Process]:
    process = Process(picture, **settings)
    try:
        process.warm_up()
        yield process
    finally:
        process.stop()


def test_row_30_when_told_to_end_it_says_so_first_and_still_takes_requests_then_closes_when_told_again(
    cat_png: bytes,
) -> None:
    with running(cat_png, LRP_DRAIN_S=FOR_EVER_S) as process:
        accepted = [process.post()]
        assert process.batch() == 1
        accepted += [process.post() for _ in range(19)]
        process.until_waiting(19)

        process.signal(signal.SIGTERM)
        process.until(lambda: process.get("/readyz").status_code == 503)
        assert "shutting down" in process.get("/readyz").json()["detail"]
        assert process.get("/livez").status_code == 200
        accepted.append(process.post())  # a load balancer that has not noticed yet
        process.until_waiting(20)

        process.signal(signal.SIGTERM)
        process.until(process.refuses_connections)
        assert not any(answer.done() for answer in accepted)
        process.let_all()
        assert [answer.result().status_code for answer in accepted] == [200] * 21
        # Whoever keeps connections does not find one closed just when it is used again.
        assert {answer.result().headers["Connection"] for answer in accepted} == {"close"}
        assert process.ends() in (0, -signal.SIGTERM)
        logged = [json.loads(line) for line in process.log if '"message"' in line]
        assert len([line for line in logged if line.get("route") == "/explain"]) == 21
        assert "stopped" in [line["message"] for line in logged]
        assert not [line for line in process.log if "Traceback" in line or '"error"' in line]


def test_row_30_no_answer_is_lost_when_load_goes_elsewhere_once_readiness_is_gone(cat_png: bytes) -> None:
    with running(cat_png, LRP_DRAIN_S="3") as process:
        process.let_all()
        answers: list[int] = []

        def client(number: int) -> None:
            """Sends while it is told that requests are welcome; the first one has the process told to end."""
            while process.get("/readyz").status_code == 200:
                answers.append(process.post().result().status_code)
                if number == 0 and len(answers) > 20:
                    process.signal(signal.SIGTERM)

        with ThreadPoolExecutor(6) as clients:
            for outcome in [clients.submit(client, number) for number in range(6)]:
                outcome.result()
        assert len(answers) > 20
        assert set(answers) == {200}
        assert process.ends() in (0, -signal.SIGTERM)


def test_row_30_ctrl_c_closes_at_once_and_answers_what_was_accepted(cat_png: bytes) -> None:
    with running(cat_png, LRP_DRAIN_S=FOR_EVER_S) as process:
        accepted = process.post()
        process.batch()
        process.signal(signal.SIGINT)
        process.until(process.refuses_connections)
        process.let_all()
        assert accepted.result().status_code == 200
        assert process.ends() in (0, -signal.SIGINT)
        assert not [line for line in process.log if "Traceback" in line]


def test_row_30_what_cannot_be_answered_in_time_is_503_and_the_deadline_is_one_for_all(
    cat_png: bytes,
) -> None:
    with running(cat_png, LRP_DRAIN_S="0", LRP_GRACEFUL_STOP_S="1") as process:
        waiting = [process.post()]
        process.batch()  # never ends
        waiting += [process.post() for _ in range(3)]
        process.until_waiting(3)
        told_at = time.monotonic()
        process.signal(signal.SIGTERM)
        for answer in (one.result() for one in waiting):
            assert answer.status_code == 503
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert int(answer.headers["Retry-After"]) >= 1
        process.ends()
        assert time.monotonic() - told_at < END_S
        assert not [line for line in process.log if "Traceback" in line or "Exception in ASGI" in line]


def test_row_30_a_warm_up_does_not_keep_the_process_from_its_end(cat_png: bytes) -> None:
    process = Process(cat_png, LRP_DRAIN_S="0", LRP_GRACEFUL_STOP_S="1")
    try:
        process.batch()  # the warm-up's, which never ends
        told_at = time.monotonic()
        process.signal(signal.SIGTERM)
        assert process.ends() in (0, -signal.SIGTERM)
        assert time.monotonic() - told_at < END_S
    finally:
        process.stop()


def unready_or_gone(process: Process) -> bool:
    """What a load balancer makes of it: no 200 from /readyz."""
    try:
        return process.get("/readyz").status_code == 503
    except httpx.TransportError:
        return True


@pytest.mark.parametrize("fault", ["lose-device", "exit"])
def test_row_29_when_the_model_is_gone_all_who_wait_are_told_and_the_process_ends_with_a_code(
    cat_png: bytes, fault: str
) -> None:
    with running(cat_png) as process:
        waiting = [process.post()]
        assert process.batch() == 1
        waiting += [process.post() for _ in range(9)]
        process.until_waiting(9)
        process.say(fault)
        assert [answer.result().status_code for answer in waiting] == [503] * 10
        assert unready_or_gone(process)
        assert process.ends() == 1
        critical = [json.loads(line) for line in process.log if '"critical"' in line]
        assert [line["message"] for line in critical] == ["the model's thread died"]


def test_row_29_a_model_that_cannot_warm_up_ends_the_process_with_a_code() -> None:
    process = subprocess.run(
        [sys.executable, HERE / "controlled_service.py"],
        input="exit\n",
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        cwd=HERE.parent,
        env={**os.environ, "PYTHONPATH": str(HERE.parent), **SETTINGS},
    )
    assert process.returncode == 1
    assert "the model's thread died" in process.stderr

"""Batchers that share a thread: whose batch runs next. Batches run when they are let; nothing is timed."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from app.errors import UnavailableError
from app.runtime.batcher import Batcher, Refusal
from app.runtime.executor import Timed
from app.runtime.turns import Turns

LIMIT_S = 30


class Fatal(BaseException):
    """What no batch survives."""


class Device:
    """Runs batches of several models, one when it is let, and notes them."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[int]]] = []
        self.fault: BaseException | None = None
        self._started, self._let = threading.Semaphore(0), threading.Semaphore(0)

    def model(self, name: str) -> Callable[[list[int]], Sequence[int]]:
        def run(items: list[int]) -> Sequence[int]:
            self.batches.append((name, items))
            self._started.release()
            assert self._let.acquire(timeout=LIMIT_S)
            if self.fault:
                raise self.fault
            return items

        return run

    async def started(self) -> None:
        """When the next batch has."""
        assert await asyncio.to_thread(self._started.acquire, timeout=LIMIT_S)

    def let(self, batches: int) -> None:
        self._let.release(batches)


class Silent:
    """An observer that notes nothing."""

    def batch(self, size: int) -> None:
        pass

    def refused(self, reason: Refusal) -> None:
        pass


class Models:
    """Batchers of several models with a batch of two at most, which take turns."""

    def __init__(self, on_death: Callable[[BaseException], None] = lambda _: None) -> None:
        self.device = Device()
        self.turns = Turns(on_death)

    def batcher(self, name: str) -> Batcher[int, int]:
        return Batcher(
            self.device.model(name), max_batch=2, deadline_s=LIMIT_S, observer=Silent(), turns=self.turns
        )


def play(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test's body in an event loop."""

    async def bounded() -> None:
        async with asyncio.timeout(LIMIT_S):
            await scene()

    asyncio.run(bounded())


async def submitted(batcher: Batcher[int, int], *items: int) -> list[asyncio.Task[Timed[int]]]:
    tasks = [asyncio.create_task(batcher.submit(item)) for item in items]
    await asyncio.sleep(0)
    return tasks


async def submitted_in_background(batcher: Batcher[int, int], *items: int) -> list[asyncio.Task[Timed[int]]]:
    tasks = [asyncio.create_task(batcher.submit_in_background(item)) for item in items]
    await asyncio.sleep(0)
    return tasks


def test_a_lone_request_to_one_model_waits_for_one_batch_of_a_busy_other_one() -> None:
    async def scene() -> None:
        models = Models()
        busy, small = models.batcher("busy"), models.batcher("small")
        tasks = await submitted(busy, 1, 2, 3, 4, 5, 6, 7)
        await models.device.started()
        tasks += await submitted(small, 100)
        models.device.let(5)
        await asyncio.gather(*tasks)
        assert [name for name, _ in models.device.batches[:2]] == ["busy", "small"]
        assert [name for name, _ in models.device.batches[2:]] == ["busy"] * 3
        busy.close()
        small.close()

    play(scene)


def test_three_busy_models_take_turns_with_a_batch_each() -> None:
    async def scene() -> None:
        models = Models()
        a, b, c = models.batcher("a"), models.batcher("b"), models.batcher("c")
        tasks = await submitted(a, 0)
        await models.device.started()
        for batcher in (a, b, c):
            tasks += await submitted(batcher, 1, 2, 3, 4)
        models.device.let(7)
        await asyncio.gather(*tasks)
        assert models.device.batches == [
            ("a", [0]),
            *[("b", [1, 2]), ("c", [1, 2]), ("a", [1, 2])],
            *[("b", [3, 4]), ("c", [3, 4]), ("a", [3, 4])],
        ]
        for batcher in (a, b, c):
            batcher.close()

    play(scene)


def test_what_arrives_while_another_model_runs_is_one_batch() -> None:
    async def scene() -> None:
        models = Models()
        busy, small = models.batcher("busy"), models.batcher("small")
        tasks = await submitted(busy, 1)
        await models.device.started()
        tasks += await submitted(small, 10)
        tasks += await submitted(small, 11)
        models.device.let(2)
        await asyncio.gather(*tasks)
        assert models.device.batches == [("busy", [1]), ("small", [10, 11])]
        busy.close()
        small.close()

    play(scene)


def test_the_background_of_one_model_waits_while_another_model_has_requests() -> None:
    async def scene() -> None:
        models = Models()
        evaluated, asked = models.batcher("evaluated"), models.batcher("asked")
        tasks = await submitted(asked, 0)
        await models.device.started()
        tasks += await submitted_in_background(evaluated, 10, 11)
        tasks += await submitted(asked, 1, 2, 3)
        models.device.let(4)
        await asyncio.gather(*tasks)
        assert models.device.batches == [
            ("asked", [0]),
            ("asked", [1, 2]),
            ("asked", [3]),
            ("evaluated", [10, 11]),
        ]
        evaluated.close()
        asked.close()

    play(scene)


def test_the_background_pauses_while_requests_to_another_model_arrive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.runtime.batcher.PAUSE", 1e9)

    async def scene() -> None:
        models = Models()
        evaluated, asked = models.batcher("evaluated"), models.batcher("asked")
        models.device.let(4)
        await asyncio.gather(*await submitted(asked, 0))
        behind = await submitted_in_background(evaluated, 10, 11, 12)
        await asyncio.gather(*behind[:2])
        await asyncio.gather(*await submitted(asked, 1))
        assert not behind[2].done()
        await asyncio.to_thread(evaluated.close)  # ends the pause
        await behind[2]
        assert models.device.batches[-2:] == [("asked", [1]), ("evaluated", [12])]
        asked.close()

    play(scene)


def test_a_model_that_is_closed_leaves_the_others_their_turns() -> None:
    async def scene() -> None:
        models = Models()
        first, second = models.batcher("first"), models.batcher("second")
        models.device.let(2)
        await asyncio.gather(*await submitted(first, 1))
        assert await asyncio.to_thread(first.close, LIMIT_S)
        with pytest.raises(UnavailableError):
            await first.submit(2)
        await asyncio.gather(*await submitted(second, 3))
        assert models.device.batches == [("first", [1]), ("second", [3])]
        second.close()

    play(scene)


def test_row_29_a_lost_device_is_lost_for_all_its_models_and_reported_once() -> None:
    async def scene() -> None:
        told: list[BaseException] = []
        models = Models(told.append)
        one, other = models.batcher("one"), models.batcher("other")
        tasks = await submitted(one, 1, 2, 3)
        await models.device.started()
        tasks += await submitted(other, 4)
        models.device.fault = Fatal()
        models.device.let(1)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [UnavailableError] * 4
        for batcher in (one, other):
            with pytest.raises(UnavailableError, match="failed"):
                await batcher.submit(5)
            assert await asyncio.to_thread(batcher.close, LIMIT_S)
        models.turns.lose(Fatal())
        assert told == [models.device.fault]

    play(scene)


def test_nothing_is_reported_of_a_device_that_ends_on_purpose() -> None:
    told: list[BaseException] = []
    turns = Turns(told.append)
    turns.end()
    turns.lose(Fatal())
    assert told == []

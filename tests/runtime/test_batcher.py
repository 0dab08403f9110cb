"""The batcher with a model of a few lines that works when it is let. Nothing here is timed or slept through."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from app.errors import DeadlineError, InternalError, UnavailableError
from app.runtime.batcher import Batcher, Refusal
from app.runtime.executor import Timed
from app.runtime.turns import Turns

LIMIT_S = 30
"""Nothing takes as long, so that a test that would hang fails instead."""


class Fatal(BaseException):
    """What no batch survives."""


class Work:
    """Doubles numbers. Each batch waits until it is let, and is noted; words are refused."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self._started, self._let = threading.Semaphore(0), threading.Semaphore(0)
        self.fault: BaseException | None = None

    def __call__(self, items: list[int]) -> Sequence[int | Exception]:
        self.batches.append(items)
        self._started.release()
        assert self._let.acquire(timeout=LIMIT_S)
        if self.fault:
            raise self.fault
        return [2 * item for item in items]

    async def started(self) -> None:
        """When the next batch has."""
        assert await asyncio.to_thread(self._started.acquire, timeout=LIMIT_S)

    def let(self, batches: int = 1) -> None:
        self._let.release(batches)


class Noted:
    """What the batcher reported."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.refusals: list[Refusal] = []

    def batch(self, size: int) -> None:
        self.sizes.append(size)

    def refused(self, reason: Refusal) -> None:
        self.refusals.append(reason)


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose clock can be put forward."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


@contextmanager
def batching(
    run: Callable[[list[int]], Sequence[int | Exception]], **given: Any
) -> Iterator[tuple[Batcher[int, int], Noted]]:
    noted = Noted()
    settings: dict[str, Any] = {"max_batch": 4, "deadline_s": 60, "observer": noted}
    batcher = Batcher[int, int](run, **{**settings, **given})
    yield batcher, noted
    batcher.close()


def play(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test's body in an event loop."""

    async def bounded() -> None:
        async with asyncio.timeout(LIMIT_S):
            await scene()

    asyncio.run(bounded())


def submit(batcher: Batcher[int, int], *items: int) -> list[asyncio.Task[Timed[int]]]:
    return [asyncio.create_task(batcher.submit(item)) for item in items]


async def outcomes(tasks: Sequence[asyncio.Task[Timed[int]]]) -> list[int | BaseException]:
    done = await asyncio.gather(*tasks, return_exceptions=True)
    return [one.result if isinstance(one, Timed) else one for one in done]


async def turn() -> None:
    """Until every task that was created has run as far as it can."""
    for _ in range(3):
        await asyncio.sleep(0)


def test_the_first_item_starts_at_once_and_those_that_come_meanwhile_are_the_next_batches() -> None:
    async def scene() -> None:
        with batching(work := Work()) as (batcher, noted):
            first = submit(batcher, 1)
            await work.started()
            later = submit(batcher, 2, 3, 4, 5, 6)
            await turn()
            assert batcher.waiting == 5
            work.let(3)
            assert await outcomes(first + later) == [2, 4, 6, 8, 10, 12]
            assert work.batches == [[1], [2, 3, 4, 5], [6]]
            assert noted.sizes == [1, 4, 1]
            assert noted.refusals == []

    play(scene)


def test_a_batch_is_bounded_by_weight_and_what_weighs_more_runs_alone() -> None:
    async def scene() -> None:
        with batching(work := Work(), weigh=lambda item: item) as (batcher, _):
            tasks = submit(batcher, 1)
            await work.started()
            tasks += submit(batcher, 2, 2, 1, 9, 3, 1)
            await turn()
            work.let(5)
            assert await outcomes(tasks) == [2, 4, 4, 2, 18, 6, 2]
            assert work.batches == [[1], [2, 2], [1], [9], [3, 1]]

    play(scene)


def test_a_result_says_how_long_it_waited_and_how_long_it_ran() -> None:
    async def scene() -> None:
        with batching(work := Work()) as (batcher, _):
            work.let()
            (done,) = await asyncio.gather(batcher.submit(1))
            assert done.queue_s >= 0
            assert done.run_s > 0

    play(scene)


def test_row_21_what_waits_past_the_deadline_is_told_so_and_never_computed() -> None:
    async def scene() -> None:
        clock = asyncio.get_running_loop()
        assert isinstance(clock, Clock)
        with batching(work := Work(), deadline_s=60) as (batcher, noted):
            running = submit(batcher, 1)
            await work.started()
            waiting = submit(batcher, 2, 3)
            await turn()
            clock.ahead = 61
            for task in waiting:
                with pytest.raises(DeadlineError, match="not computed"):
                    await task
            assert batcher.waiting == 0
            assert noted.refusals == ["deadline"] * 2
            late = submit(batcher, 4)
            work.let(2)
            assert await outcomes(running + late) == [2, 8]  # what runs is not cut off
            assert work.batches == [[1], [4]]

    with asyncio.Runner(loop_factory=Clock) as runner:
        runner.run(scene())


def test_row_16_who_leaves_while_waiting_is_dropped_before_it_is_computed() -> None:
    async def scene() -> None:
        with batching(work := Work()) as (batcher, noted):
            running = submit(batcher, 1)
            await work.started()
            stays, leaves, stays_too = submit(batcher, 2, 3, 4)
            await turn()
            leaves.cancel()
            await asyncio.wait([leaves])
            assert batcher.waiting == 2
            room_again = submit(batcher, 5)
            await turn()
            work.let(2)
            assert await outcomes([*running, stays, stays_too, *room_again]) == [2, 4, 8, 10]
            assert work.batches == [[1], [2, 4, 5]]
            assert noted.refusals == []

    play(scene)


def test_who_leaves_while_it_is_computed_costs_its_batch_nothing() -> None:
    async def scene() -> None:
        with batching(work := Work()) as (batcher, _):
            tasks = submit(batcher, 1)
            await work.started()
            leaves, stays = submit(batcher, 2, 3)
            await turn()
            work.let()
            await work.started()
            leaves.cancel()
            work.let()
            assert await outcomes([*tasks, stays]) == [2, 6]
            assert leaves.cancelled()

    play(scene)


@pytest.mark.parametrize("bad", range(8))
def test_row_23_one_bad_item_of_eight_fails_alone(bad: int) -> None:
    batches: list[list[int]] = []
    held, release = threading.Event(), threading.Event()

    def run(items: list[int]) -> list[int]:
        batches.append(items)
        held.set()
        assert release.wait(LIMIT_S)
        if bad in items:
            raise ArithmeticError("no such number")
        return [2 * item for item in items]

    async def scene() -> None:
        with batching(run, max_batch=8) as (batcher, noted):
            first = submit(batcher, 100)
            assert await asyncio.to_thread(held.wait, LIMIT_S)
            eight = submit(batcher, *range(8))
            await turn()
            release.set()
            assert await outcomes(first) == [200]
            results = await outcomes(eight)
            assert isinstance(results.pop(bad), ArithmeticError)
            assert results == [2 * item for item in range(8) if item != bad]
            assert batches[1] == list(range(8))
            assert noted.sizes == [1, 8]

    play(scene)


def test_an_exception_among_the_results_is_its_items_own() -> None:
    async def scene() -> None:
        fault = ArithmeticError("of one")
        with batching(lambda items: [fault if item == 2 else item for item in items]) as (batcher, _):
            assert await outcomes(submit(batcher, 1, 2, 3)) == [1, fault, 3]

    play(scene)


@pytest.mark.parametrize("results", [[], [1, 2, 3]])
def test_a_wrong_number_of_results_is_nobodys_result(results: list[int]) -> None:
    async def scene() -> None:
        with (
            batching(lambda _: results) as (batcher, _),
            pytest.raises(InternalError, match=f"{len(results)} results"),
        ):
            await batcher.submit(1)

    play(scene)


def test_row_29_when_the_thread_dies_all_who_wait_hear_of_it_and_nobody_is_taken_on() -> None:
    async def scene() -> None:
        told: list[BaseException] = []
        with batching(work := Work(), turns=Turns(told.append)) as (batcher, noted):
            tasks = submit(batcher, 1)
            await work.started()
            tasks += submit(batcher, *range(6))
            await turn()
            work.fault = Fatal()
            work.let()
            results = await outcomes(tasks)
            assert all(isinstance(result, UnavailableError) for result in results)
            assert len({id(result) for result in results}) == len(
                results
            )  # each may be worded for its request
            with pytest.raises(UnavailableError, match="failed"):
                await batcher.submit(9)
            assert noted.refusals == ["broken"]
            assert batcher.waiting == 0
        assert told == [work.fault]  # after close(), which waits for the thread
        assert work.batches == [[1]]

    play(scene)


def test_close_finishes_what_waits_and_refuses_what_comes_after() -> None:
    async def scene() -> None:
        told: list[BaseException] = []
        with batching(work := Work(), turns=Turns(told.append)) as (batcher, noted):
            tasks = submit(batcher, 1)
            await work.started()
            tasks += submit(batcher, 2, 3, 4, 5, 6)
            await turn()
            closing = asyncio.create_task(asyncio.to_thread(batcher.close))
            while "draining" not in noted.refusals:  # items are accepted until then
                tasks += submit(batcher, 7)
                await turn()
            work.let(len(tasks))
            await closing
            *accepted, late = await outcomes(tasks)
            assert isinstance(late, UnavailableError)
            assert accepted == [2, 4, 6, 8, 10, 12] + [14] * (len(accepted) - 6)
        assert told == []

    play(scene)


def test_each_event_loop_gets_its_own_results() -> None:
    work = Work()
    results: dict[int, int] = {}

    def client(batcher: Batcher[int, int], item: int) -> None:
        results[item] = asyncio.run(batcher.submit(item)).result

    with batching(work) as (batcher, _):
        clients = [threading.Thread(target=client, args=(batcher, item)) for item in range(6)]
        for thread in clients:
            thread.start()
        work.let(6)
        for thread in clients:
            thread.join(LIMIT_S)
    assert results == {item: 2 * item for item in range(6)}


def test_a_loop_that_has_been_closed_costs_the_others_nothing() -> None:
    work, gone = Work(), asyncio.new_event_loop()
    with batching(work) as (batcher, _):
        left = gone.create_task(batcher.submit(1))
        gone.run_until_complete(work.started())
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            gone.run_until_complete(left)
        gone.run_until_complete(gone.shutdown_default_executor())
        gone.close()
        work.let(2)
        assert asyncio.run(batcher.submit(2)).result == 4


def in_background(batcher: Batcher[int, int], *items: int) -> list[asyncio.Task[Timed[int]]]:
    return [asyncio.create_task(batcher.submit_in_background(item)) for item in items]


def test_the_background_waits_while_anything_else_does_and_runs_in_batches_of_its_own() -> None:
    async def scene() -> None:
        with batching(work := Work(), max_background_batch=2) as (batcher, _):
            first = submit(batcher, 0)
            await work.started()
            behind = in_background(batcher, 10, 11, 12)
            await turn()
            before = submit(batcher, 1, 2, 3)
            await turn()
            assert batcher.waiting == 6
            work.let(4)
            assert await outcomes(first + before + behind) == [0, 2, 4, 6, 20, 22, 24]
            assert work.batches == [[0], [1, 2, 3], [10, 11], [12]]

    play(scene)


def test_the_background_has_no_deadline_and_what_is_cancelled_in_it_is_not_run() -> None:
    async def scene() -> None:
        with batching(work := Work(), deadline_s=0.001) as (batcher, noted):
            running = submit(batcher, 0)
            await work.started()
            kept, left = in_background(batcher, 1, 2)
            with pytest.raises(
                DeadlineError
            ):  # what was submitted later is late, and the background still waits
                await batcher.submit(3)
            left.cancel()
            await turn()
            work.let(2)
            assert await outcomes([*running, kept]) == [0, 2]
            assert work.batches == [[0], [1]]
            assert noted.refusals == ["deadline"]

    play(scene)


def test_the_background_fails_with_a_batcher_that_dies_and_is_refused_by_one_that_is_closed() -> None:
    async def scene() -> None:
        with batching(work := Work()) as (batcher, _):
            tasks = submit(batcher, 0)
            await work.started()
            tasks += in_background(batcher, 1)
            await turn()
            work.fault = Fatal()
            work.let()
            assert all(isinstance(result, UnavailableError) for result in await outcomes(tasks))
            assert batcher.waiting == 0
        with pytest.raises(UnavailableError):
            await batcher.submit_in_background(2)

    play(scene)


def test_the_background_pauses_while_others_arrive_and_they_do_not_wait_for_the_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.runtime.batcher.PAUSE", 1e9)

    async def scene() -> None:
        with batching(work := Work(), max_background_batch=1) as (batcher, _):
            work.let(4)
            assert await outcomes(submit(batcher, 0)) == [0]
            behind = in_background(batcher, 1, 2)
            assert await outcomes(behind[:1]) == [2]
            assert await outcomes(submit(batcher, 3)) == [6]
            assert not behind[1].done()
            await asyncio.to_thread(batcher.close)  # ends the pause
            assert await outcomes(behind[1:]) == [4]
            assert work.batches == [[0], [1], [3], [2]]

    play(scene)


def test_the_background_may_leave_while_it_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        with batching(work := Work(), max_background_batch=1) as (batcher, _):
            work.let(4)
            assert await outcomes(submit(batcher, 0)) == [0]
            first, second = in_background(batcher, 1, 2)
            assert await outcomes([first]) == [2]
            second.cancel()
            await turn()
            assert batcher.waiting == 0
            await asyncio.to_thread(lambda: None)
            assert await outcomes(submit(batcher, 3)) == [6]
            assert await outcomes(in_background(batcher, 4)) == [8]

    monkeypatch.setattr("app.runtime.batcher.PAUSE", 50.0)
    play(scene)

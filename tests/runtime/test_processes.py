"""Work that is done elsewhere: by processes that die, hang and are late, and by threads."""

import asyncio
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import psutil
import pytest

from app.errors import DeadlineError, InvalidParameterError, LRPServeError
from app.runtime.processes import ProcessExecutor, WorkerLostError
from app.runtime.remote_errors import RemoteError
from app.runtime.threads import ThreadExecutor

LIMIT_S = 60.0


class Tools:
    """What the workers of these tests can do."""

    def __init__(self, word: str) -> None:
        self._word = word

    def say(self, to: str, *, loudly: bool = False) -> str:
        return f"{self._word}, {to}{'!' if loudly else ''}"

    def pid(self) -> int:
        return os.getpid()

    def refuse(self) -> None:
        raise InvalidParameterError("epsilon", "must be positive")

    def fail(self) -> None:
        raise ValueError("SECRET")

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def chatter(self) -> None:
        os.write(2, b"SECRET of a library")
        sys.stderr.write("Python's own words\n")

    def allocate(self, count: int) -> int:
        return len(bytes(count))

    def page_faults(self, count: int, size: int) -> int:
        """Allocate, and return how many pages the system had to clear for it."""
        import resource  # not on Windows

        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        _ = [bytes(size) for _ in range(count)]
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    def unsendable(self) -> object:
        return threading.Lock()

    def unloadable(self) -> object:
        return Unloadable()

    def fail_with_two_arguments(self) -> None:
        raise TwoArgumentsError("this", "because")


class TwoArgumentsError(LRPServeError):
    """Exceptions of this type cannot be unpickled."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")


class Unloadable:
    """Can be pickled, but not unpickled."""

    def __reduce__(self) -> tuple[type[int], tuple[str]]:
        return int, ("SECRET",)


class Stillborn(Tools):
    """No process gets to hold these."""

    def __setstate__(self, _: object) -> None:
        raise ValueError("not here")


@asynccontextmanager
async def employed(
    count: int = 1,
    deadline_s: float = LIMIT_S,
    limit_s: float = LIMIT_S,
    memory_limit_bytes: int | None = None,
) -> AsyncIterator[ProcessExecutor[Tools]]:
    deaths: list[BaseException] = []
    workers = ProcessExecutor(
        Tools("Hello"),
        count,
        deadline_s=deadline_s,
        limit_s=limit_s,
        memory_limit_bytes=memory_limit_bytes,
        on_death=deaths.append,
    )
    async with asyncio.timeout(LIMIT_S):
        await workers.ready()
        yield workers
    workers.close()
    assert not deaths


async def pids_of(workers: ProcessExecutor[Tools], count: int) -> set[int]:
    """When so many are up."""
    pids: set[int] = set()
    while len(pids) < count:
        pids |= {done.result for done in await asyncio.gather(*(workers.call(Tools.pid) for _ in range(8)))}
    return pids


def test_work_is_done_in_other_processes_side_by_side() -> None:
    async def scene() -> None:
        async with employed(2) as workers:
            assert (await workers.call(Tools.say, "you", loudly=True)).result == "Hello, you!"
            assert (await workers.call_before_deadline(Tools.say, "you")).result == "Hello, you"
            assert os.getpid() not in await pids_of(workers, 2)

    asyncio.run(scene())


def test_work_that_comes_alone_is_done_by_the_worker_that_worked_last() -> None:
    async def scene() -> None:
        async with employed(2) as workers:
            await pids_of(workers, 2)
            assert len({(await workers.call(Tools.pid)).result for _ in range(6)}) == 1

    asyncio.run(scene())


def test_large_work_arrives_whole() -> None:
    async def scene() -> None:
        async with employed() as workers:
            text = "x" * 20_000_000
            assert len((await workers.call(Tools.say, text)).result) == len(text) + len("Hello, ")

    asyncio.run(scene())


def test_our_errors_come_back_as_they_are_and_others_in_no_users_words() -> None:
    async def scene() -> None:
        async with employed() as workers:
            with pytest.raises(InvalidParameterError) as refused:
                await workers.call(Tools.refuse)
            assert (refused.value.parameter, refused.value.message) == ("epsilon", "must be positive")
            for work in (Tools.fail, Tools.unsendable, Tools.unloadable):
                with pytest.raises(RemoteError) as failed:
                    await workers.call(work)
                assert "SECRET" not in failed.value.detail
            with pytest.raises(TwoArgumentsError, match="this: because"):
                await workers.call(Tools.fail_with_two_arguments)
            assert (await workers.call(Tools.say, "again")).result == "Hello, again"

    asyncio.run(scene())


def test_a_worker_that_dies_takes_nothing_along_but_its_work() -> None:
    async def scene() -> None:
        async with employed() as workers:
            before = (await workers.call(Tools.pid)).result
            dying = asyncio.ensure_future(workers.call(Tools.die))
            behind = asyncio.ensure_future(workers.call(Tools.pid))
            with pytest.raises(WorkerLostError):
                await dying
            assert (await behind).result != before

    asyncio.run(scene())


def test_a_worker_that_dies_idle_costs_nobody_anything() -> None:
    async def scene() -> None:
        async with employed() as workers:
            process = psutil.Process((await workers.call(Tools.pid)).result)
            process.kill()
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                await asyncio.sleep(0)
            await asyncio.sleep(0.05)  # what the system says of it arrives
            assert (await workers.call(Tools.say, "you")).result == "Hello, you"

    asyncio.run(scene())


def test_a_worker_that_hangs_is_killed_and_replaced() -> None:
    async def scene() -> None:
        async with employed(limit_s=0.5) as workers:
            before = (await workers.call(Tools.pid)).result
            with pytest.raises(WorkerLostError):
                await workers.call(Tools.sleep, LIMIT_S)
            assert (await workers.call(Tools.pid)).result != before

    asyncio.run(scene())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the address space")
def test_a_worker_that_allocates_too_much_fails_the_call_and_lives_on() -> None:
    async def scene() -> None:
        async with employed(memory_limit_bytes=2**28) as workers:
            before = (await workers.call(Tools.pid)).result
            with pytest.raises(RemoteError, match="MemoryError"):
                await workers.call(Tools.allocate, 2**29)
            assert (await workers.call(Tools.allocate, 2**27)).result == 2**27
            assert (await workers.call(Tools.pid)).result == before

    asyncio.run(scene())


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_a_worker_keeps_the_memory_of_a_picture_for_the_next_one() -> None:
    async def scene() -> None:
        async with employed() as workers:
            cleared = [(await workers.call(Tools.page_faults, 16, 2**18)).result for _ in range(4)]
        assert max(cleared[2:]) < 100  # of 1024 pages

    asyncio.run(scene())


def test_whose_sender_has_left_is_not_done() -> None:
    async def scene() -> None:
        async with employed() as workers:
            running = asyncio.ensure_future(workers.call(Tools.sleep, 0.2))
            await asyncio.sleep(0)
            leaving = asyncio.ensure_future(workers.call(Tools.die))
            await asyncio.sleep(0)
            leaving.cancel()
            await running
            assert (await workers.call(Tools.say, "you")).result == "Hello, you"

    asyncio.run(scene())


def test_who_leaves_while_it_is_done_disturbs_nobody() -> None:
    async def scene() -> None:
        async with employed() as workers:
            leaving = asyncio.ensure_future(workers.call(Tools.sleep, 0.2))
            await asyncio.sleep(0.05)
            leaving.cancel()
            assert (await workers.call(Tools.say, "you")).result == "Hello, you"

    asyncio.run(scene())


def test_what_need_not_be_in_time_is_done_first_and_the_rest_in_order() -> None:
    async def scene() -> list[str]:
        done: list[str] = []

        async def note(name: str, work: Awaitable[object]) -> None:
            await work
            done.append(name)

        async with employed() as workers:
            running = asyncio.ensure_future(workers.call(Tools.sleep, 0.2))
            await asyncio.sleep(0)
            await asyncio.gather(
                note("open 1", workers.call_before_deadline(Tools.pid)),
                note("open 2", workers.call_before_deadline(Tools.pid)),
                note("draw", workers.call(Tools.pid)),
                running,
            )
        return done

    assert asyncio.run(scene()) == ["draw", "open 1", "open 2"]


def test_whose_turn_comes_too_late_is_told_so_and_not_done() -> None:
    async def scene() -> None:
        async with employed(deadline_s=0.1) as workers:
            running = asyncio.ensure_future(workers.call(Tools.sleep, 0.5))
            await asyncio.sleep(0)
            with pytest.raises(DeadlineError, match=r"waited 0\.1 s"):
                await workers.call_before_deadline(Tools.die)
            await running
            assert (await workers.call_before_deadline(Tools.say, "you")).result == "Hello, you"

    asyncio.run(scene())


def test_processes_that_do_not_start_are_reported_and_nobody_waits_for_them() -> None:
    deaths: list[BaseException] = []

    async def scene() -> None:
        workers = ProcessExecutor(Stillborn(""), 2, deadline_s=LIMIT_S, on_death=deaths.append)
        with pytest.raises(EOFError):
            await asyncio.wait_for(workers.ready(), LIMIT_S)
        workers.close()

    asyncio.run(scene())
    assert deaths


def test_processes_end_with_those_who_made_them() -> None:
    async def scene() -> list[psutil.Process]:
        async with employed(2) as workers:
            return [psutil.Process(pid) for pid in await pids_of(workers, 2)]

    _, alive = psutil.wait_procs(asyncio.run(scene()), LIMIT_S)
    assert not alive


def test_what_waits_when_all_ends_is_given_up() -> None:
    async def scene() -> None:
        async with employed() as workers:
            running = asyncio.ensure_future(workers.call(Tools.sleep, LIMIT_S))
            waiting = asyncio.ensure_future(workers.call(Tools.pid))
            await asyncio.sleep(0.05)
        for future in (running, waiting):
            with pytest.raises(asyncio.CancelledError):
                await future

    asyncio.run(scene())


def test_the_wait_for_a_worker_is_told_and_counted() -> None:
    async def scene() -> None:
        async with employed() as workers:
            running = asyncio.ensure_future(workers.call(Tools.sleep, 0.2))
            await asyncio.sleep(0)
            second = asyncio.ensure_future(workers.call(Tools.sleep, 0))
            await asyncio.sleep(0.05)
            assert workers.waiting == 1
            assert (await running).queue_s < 0.1 < (await second).queue_s
            assert workers.waiting == 0

    asyncio.run(scene())


def test_what_libraries_say_about_an_upload_is_not_logged(capfd: pytest.CaptureFixture[str]) -> None:
    async def scene() -> None:
        async with employed() as workers:
            await workers.call(Tools.chatter)

    asyncio.run(scene())
    said = capfd.readouterr().err
    assert "Python's own words" in said
    assert "SECRET" not in said


def test_threads_do_the_same_for_any_loop() -> None:
    workers = ThreadExecutor(Tools("Hello"), 1)

    async def scene() -> str:
        await workers.ready()
        return (await workers.call_before_deadline(Tools.say, "you")).result

    assert {asyncio.run(scene()) for _ in range(2)} == {"Hello, you"}
    workers.close()

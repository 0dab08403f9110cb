"""Which call runs next, and which slot takes it."""

import asyncio

from app.runtime.calls import CallQueue, QueuedCall


def call(number: int, *, is_low_priority: bool = False) -> QueuedCall:
    future = asyncio.get_running_loop().create_future()
    return QueuedCall(is_low_priority, number, b"", future, 0.0, float("inf"))


async def idle_slots(queue: CallQueue, count: int) -> list["asyncio.Task[QueuedCall]"]:
    """Return slots that wait for a call, the last of which became idle last."""
    slots = [asyncio.create_task(queue.get()) for _ in range(count)]
    await asyncio.sleep(0)
    return slots


def test_calls_of_low_priority_run_after_all_others_each_in_their_order() -> None:
    async def scene() -> None:
        queue = CallQueue()
        for number in (0, 1, 2, 3):
            queue.put(call(number, is_low_priority=number < 2))
        assert [(await queue.get()).number for _ in range(4)] == [2, 3, 0, 1]

    asyncio.run(scene())


def test_a_call_that_is_put_back_runs_before_later_ones() -> None:
    async def scene() -> None:
        queue = CallQueue()
        for number in (0, 1):
            queue.put(call(number))
        queue.put(await queue.get())
        assert [(await queue.get()).number for _ in range(2)] == [0, 1]

    asyncio.run(scene())


def test_the_slot_that_became_idle_last_takes_the_next_call() -> None:
    async def scene() -> None:
        queue = CallQueue()
        slots = await idle_slots(queue, 3)
        queue.put(call(0))
        await asyncio.wait(slots, return_when=asyncio.FIRST_COMPLETED)
        assert [slot.done() for slot in slots] == [False, False, True]
        queue.put(call(1))
        assert (await slots[1]).number == 1

    asyncio.run(scene())


def test_a_slot_whose_call_another_one_has_taken_waits_for_the_next_one() -> None:
    async def scene() -> None:
        queue = CallQueue()
        (slot,) = await idle_slots(queue, 1)
        queue.put(call(0))
        assert (await queue.get()).number == 0  # before the slot that was woken runs
        queue.put(call(1))
        assert (await slot).number == 1

    asyncio.run(scene())


def test_a_slot_that_is_cancelled_leaves_its_call_to_another_one() -> None:
    async def scene() -> None:
        for is_woken in (False, True):
            queue = CallQueue()
            other, slot = await idle_slots(queue, 2)
            if is_woken:
                queue.put(call(0))
                slot.cancel()
            else:
                slot.cancel()
                queue.put(call(0))
            async with asyncio.timeout(10):
                assert (await other).number == 0
            assert slot.cancelled()

    asyncio.run(scene())


def test_calls_that_wait_are_counted_and_cancelled() -> None:
    async def scene() -> None:
        queue = CallQueue()
        waiting = [call(number) for number in range(3)]
        for one in waiting:
            queue.put(one)
        assert len(queue) == 3
        queue.cancel()
        assert len(queue) == 0
        assert all(one.future.cancelled() for one in waiting)

    asyncio.run(scene())

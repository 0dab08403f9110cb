"""Several inputs of one request."""

import asyncio
from typing import Any

import pytest
from fastapi import Request

from app.api.concurrency import RunAll
from app.errors import UnreadableImageError
from app.serving.admission import Admission, Ticket
from app.serving.timings import Timings
from app.telemetry.metrics import Metrics


async def stays() -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


def admission_of(places: int) -> Admission:
    return Admission(places, Metrics().of_model("some"))


def running(admission: Admission | None = None) -> RunAll:
    request = Request({"type": "http", "headers": []}, stays)
    return RunAll(request, Ticket(admission or admission_of(8)), Timings())


def test_when_one_has_failed_the_rest_is_cancelled_and_its_place_is_named() -> None:
    cancelled: list[int] = []

    async def waits(number: int) -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(number)
            raise
        return number

    async def fails() -> int:
        await asyncio.sleep(0)
        raise UnreadableImageError("not a picture")

    async def scene() -> None:
        items = [lambda _: waits(0), lambda _: fails(), lambda _: waits(2)]
        with pytest.raises(UnreadableImageError) as failed:
            await running().or_fail(items, "image")
        assert failed.value.detail == "image[1]: not a picture"
        assert cancelled == [0, 2]

    asyncio.run(asyncio.wait_for(scene(), 60))


def test_results_come_in_the_order_of_the_items() -> None:
    async def after(steps: int) -> int:
        for _ in range(steps):
            await asyncio.sleep(0)
        return steps

    async def scene() -> list[int]:
        return await running().or_fail([lambda _: after(5), lambda _: after(1), lambda _: after(3)], "image")

    assert asyncio.run(asyncio.wait_for(scene(), 60)) == [5, 1, 3]


def test_items_that_wait_for_their_turn_take_no_places() -> None:
    admission = admission_of(100)
    free: list[int] = []

    async def counted() -> None:
        free.append(sum(admission.occupy(1) for _ in range(100)))
        admission.free(free[-1])

    async def scene() -> None:
        await running(admission)([lambda _: counted()] * 1_000)

    asyncio.run(asyncio.wait_for(scene(), 60))
    assert free == [36] * 1_000


@pytest.mark.parametrize(
    ("items", "places", "at_once"), [(5, None, 5), (100, None, 8), (4, 16, 2), (2, 64, 1)]
)
def test_no_more_items_run_than_have_places(items: int, places: int | None, at_once: int) -> None:
    now, most = 0, 0

    async def counted() -> None:
        nonlocal now, most
        now += 1
        most = max(now, most)
        await asyncio.sleep(0)
        now -= 1

    async def scene() -> None:
        await running()([lambda _: counted()] * items, places)

    asyncio.run(asyncio.wait_for(scene(), 60))
    assert most == at_once

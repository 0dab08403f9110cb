"""The model's thread: what one request, or the machine, may do to the others. Nothing here is timed."""

import asyncio
import threading
import tracemalloc
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from fake_model import DESCRIPTION, OnCallingThread
from gate import LIMIT_S, Gate, with_non_finite
from PIL import Image
from zennit import rules as zennit_rules

from app.errors import InternalError, InvalidParameterError, UnavailableError
from app.lrp.attribution import Attribution, Batch, BatchAttributions, extremes
from app.lrp.composites import resolve
from app.lrp.overrides import MAX_OVERRIDE_LENGTH, MAX_OVERRIDES
from app.lrp.reference import Reference
from app.lrp.request import ExplanationRequest, Start, Target
from app.lrp.samples import Samples, Sampling
from app.modalities.image.preprocessing import to_input
from app.models.image_card import image_card
from app.models.local import LocalModel
from app.models.protocol import Job, JobResult, Model, ModelLostError, ModelUnavailableError
from app.runtime.executor import Timed
from app.runtime.turns import Turns
from app.serving.scheduler import MAX_CACHED_COMPOSITES, REFERENCE_WEIGHT, BatchLimits, Scheduler, weight
from app.settings import shipped_model
from app.telemetry.metrics import Metrics, exposition

CPU = torch.device("cpu")
Floats = npt.NDArray[np.float32]
ZEROTH = torch.tensor([0])
GREY = np.zeros((3, 32, 32), np.float32)

RULES: Sequence[tuple[str, dict[str, float], tuple[str, ...]]] = (
    ("epsilon_plus_flat", {}, ()),
    ("epsilon_plus_flat", {"epsilon": 0.5}, ()),
    ("epsilon_plus", {}, ("features.0:w_square",)),
    ("epsilon", {"epsilon": 0.1}, ()),
    ("epsilon", {"epsilon": 2.0}, ()),
    ("gamma", {"gamma": 0.1}, ()),
    ("gamma", {"gamma": 3.0}, ("features.*:z_plus",)),
    ("alpha_beta", {"alpha": 2.0, "beta": 1.0}, ()),
    ("alpha_beta", {"alpha": 3.0, "beta": 2.0}, ()),
    ("z_plus", {}, ()),
)
QUESTIONS = (
    (Target(), None),
    (Target(3), None),
    (Target(5, versus=3, start=Start.LOGIT), None),
    (Target(start=Start.PROBABILITY), "features.6"),
)


@pytest.fixture(scope="module")
def shipped() -> LocalModel:
    return LocalModel.load(shipped_model(), "cpu", None)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


@pytest.fixture(scope="module")
def pictures(cat: Image.Image, shipped: LocalModel) -> list[Floats]:
    """Eight pieces of the cat, as the model takes them."""
    spec = image_card(shipped.description.card).spec
    corners = [(left, top) for left in (40, 130, 220, 300) for top in (20, 140)]
    pieces = [cat.crop((left, top, left + 128, top + 128)).resize((32, 32)) for left, top in corners]
    return [to_input(piece, spec) for piece in pieces]


@contextmanager
def scheduling(
    model: Model,
    limits: BatchLimits | None = None,
    on_death: Callable[[BaseException], None] = lambda _: None,
) -> Iterator[tuple[Scheduler, Metrics]]:
    metrics = Metrics()
    limits = limits or BatchLimits(deadline_s=LIMIT_S)
    turns = Turns(on_death)
    scheduler = Scheduler(model, limits=limits, metrics=metrics.of_model("any"), turns=turns)
    yield scheduler, metrics
    scheduler.close()


def play(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test's body in an event loop."""

    async def bounded() -> None:
        async with asyncio.timeout(LIMIT_S):
            await scene()

    asyncio.run(bounded())


async def together(scheduler: Scheduler, gate: Gate, jobs: Sequence[Job]) -> list[JobResult | BaseException]:
    """What comes of ``jobs`` as one batch: they come while another is computed."""
    gate.close()
    first = asyncio.create_task(scheduler.submit(Job(GREY)))
    await asyncio.to_thread(gate.wait_for_batch)
    tasks = [asyncio.create_task(scheduler.submit(job)) for job in jobs]
    await asyncio.sleep(0)
    gate.open()
    await first
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    return [outcome.result if isinstance(outcome, Timed) else outcome for outcome in outcomes]


async def alone(scheduler: Scheduler, jobs: Sequence[Job]) -> list[JobResult]:
    return [(await scheduler.submit(job)).result for job in jobs]


def assert_equal(got: JobResult | BaseException, expected: JobResult) -> None:
    """Up to the last bits, which depend on the batch's size."""
    assert isinstance(got, JobResult), got
    np.testing.assert_allclose(got.logits, expected.logits, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(got.explanations, expected.explanations, strict=True):
        size = float(np.abs(theirs.relevance).max())
        np.testing.assert_allclose(ours.relevance, theirs.relevance, rtol=1e-3, atol=1e-4 * size)
        np.testing.assert_allclose(ours.output_relevance, theirs.output_relevance, rtol=1e-4, atol=1e-5)
        assert [name for name, _ in ours.layer_sums] == [name for name, _ in theirs.layer_sums]


def counted(metrics: Metrics, sample: str) -> float:
    lines = exposition(metrics.families(), "")[0].decode().splitlines()
    return next(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"lrpserve_{sample} "))


def jobs_of(scheduler: Scheduler, pictures: Sequence[Floats]) -> list[Job]:
    """Every rule with every question, spread over the pictures; and one that asks for nothing but scores."""
    asked = [
        Job(
            pictures[(which + number) % len(pictures)],
            (ExplanationRequest(scheduler.resolve(rule, parameters, overrides), target, layer),),
        )
        for which, (rule, parameters, overrides) in enumerate(RULES)
        for number, (target, layer) in enumerate(QUESTIONS)
    ]
    return [*asked, Job(pictures[0])]


@pytest.mark.parametrize("bad", [0, 3, 7])
def test_row_23_one_that_raises_in_a_batch_of_eight_fails_alone(
    shipped: LocalModel, gate: Gate, pictures: list[Floats], bad: int
) -> None:
    def fault(batch: Batch, run: Callable[[], BatchAttributions]) -> BatchAttributions:
        if any(np.array_equal(image, pictures[bad]) for image in batch.inputs):
            raise ArithmeticError("this one")
        return run()

    async def scene() -> None:
        with scheduling(shipped) as (scheduler, _):
            request = ExplanationRequest(scheduler.resolve("epsilon_plus_flat", {}, ()))
            jobs = [Job(picture, (request,)) for picture in pictures]
            solo = await alone(scheduler, jobs)
            gate.fault = fault
            got = await together(scheduler, gate, jobs)
            assert gate.batch_sizes[1] == 8
            assert isinstance(got[bad], ArithmeticError)
            for which in set(range(8)) - {bad}:
                assert_equal(got[which], solo[which])

    play(scene)


def test_row_24_different_rules_and_parameters_at_once_equal_one_at_a_time(
    shipped: LocalModel, gate: Gate, pictures: list[Floats]
) -> None:
    async def scene() -> None:
        with scheduling(shipped, BatchLimits(max_batch=64, deadline_s=LIMIT_S)) as (scheduler, _):
            jobs = jobs_of(scheduler, pictures)
            solo = await alone(scheduler, jobs)
            got = await together(scheduler, gate, jobs)
            assert gate.batch_sizes == [1, len(jobs)]
            for one, expected in zip(got, solo, strict=True):
                assert_equal(one, expected)

    play(scene)


def test_row_24_several_explanations_of_each_of_several_pictures_keep_to_their_own(
    shipped: LocalModel, gate: Gate, pictures: list[Floats]
) -> None:
    async def scene() -> None:
        with scheduling(shipped, BatchLimits(max_batch=64, deadline_s=LIMIT_S)) as (scheduler, _):
            requests = [job.requests[0] for job in jobs_of(scheduler, pictures) if job.requests]
            jobs = [
                Job(pictures[0], tuple(requests[:7])),
                Job(pictures[1]),
                Job(pictures[2], tuple(requests[4:20:3])),
            ]
            solo = [
                await alone(scheduler, [Job(job.input, (request,)) for request in job.requests])
                for job in jobs
            ]
            for got, expected in zip(await together(scheduler, gate, jobs), solo, strict=True):
                assert isinstance(got, JobResult)
                for index, one in enumerate(expected):
                    assert_equal(replace(got, explanations=got.explanations[index : index + 1]), one)

    play(scene)


def test_row_24_verified_ones_among_others_agree_with_the_reference(
    shipped: LocalModel, gate: Gate, pictures: list[Floats]
) -> None:
    async def scene() -> None:
        with scheduling(shipped, BatchLimits(max_batch=64, deadline_s=LIMIT_S)) as (scheduler, _):
            jobs = jobs_of(scheduler, pictures)
            solo = await alone(scheduler, jobs)
            mixed = [replace(job, verify=number % 3 == 0) for number, job in enumerate(jobs)]
            await scheduler.submit(mixed[0])  # the reference is there
            for got, job, expected in zip(await together(scheduler, gate, mixed), mixed, solo, strict=True):
                assert_equal(got, expected)
                assert isinstance(got, JobResult)
                assert (got.verified is not None) == job.verify
                for ours, theirs in zip(got.explanations, got.verified or got.explanations, strict=True):
                    distance = np.linalg.norm(ours.relevance - theirs.relevance)
                    assert distance < 1e-4 * np.linalg.norm(theirs.relevance)

    play(scene)


def test_row_25_after_an_exception_while_hooks_are_registered_the_next_request_is_clean(
    shipped: LocalModel, pictures: list[Floats], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ArithmeticError("while registering")

    async def scene() -> None:
        with scheduling(shipped) as (scheduler, _):
            job = Job(
                pictures[0],
                (ExplanationRequest(scheduler.resolve("epsilon_plus_flat", {}, ())),),
                verify=True,
            )
            before = (await scheduler.submit(job)).result
            with monkeypatch.context() as patched:
                patched.setattr(zennit_rules.Pass, "register", fail)  # the second layer, a ReLU, has it
                with pytest.raises(ArithmeticError):
                    await scheduler.submit(job)
            after = (await scheduler.submit(job)).result
            assert before.verified
            assert after.verified
            assert np.array_equal(before.verified[0].relevance, after.verified[0].relevance)

    play(scene)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_row_27_what_is_not_finite_is_an_error_of_its_own_and_counted(
    shipped: LocalModel, gate: Gate, pictures: list[Floats], poison: float
) -> None:
    def fault(_batch: Batch, run: Callable[[], BatchAttributions]) -> BatchAttributions:
        result = run()
        ours = [with_non_finite(one, poison) if i == 2 else one for i, one in enumerate(result.attributions)]
        return BatchAttributions(result.logits, tuple(ours))

    async def scene() -> None:
        with scheduling(shipped) as (scheduler, metrics):
            request = ExplanationRequest(scheduler.resolve("epsilon_plus_flat", {}, ()))
            jobs = [Job(picture, (request,)) for picture in pictures]
            solo = await alone(scheduler, jobs)
            gate.fault = fault
            got = await together(scheduler, gate, jobs)
            assert isinstance(got.pop(2), InternalError)
            solo.pop(2)
            for one, expected in zip(got, solo, strict=True):
                assert_equal(one, expected)
            assert counted(metrics, 'failures_total{model="any",reason="non_finite"}') == 1

    play(scene)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_layer_sum_that_is_not_finite_is_an_error_and_no_metric(
    shipped: LocalModel, gate: Gate, poison: float
) -> None:
    def fault(_batch: Batch, run: Callable[[], BatchAttributions]) -> BatchAttributions:
        result = run()
        spoiled = (replace(one, sums=one.sums.index_fill(1, ZEROTH, poison)) for one in result.attributions)
        return BatchAttributions(result.logits, tuple(spoiled))

    async def scene() -> None:
        with scheduling(shipped) as (scheduler, metrics):
            request = ExplanationRequest(scheduler.resolve("epsilon_plus_flat", {}, ()))
            gate.fault = fault
            with pytest.raises(InternalError):
                await scheduler.submit(Job(GREY, (request,)))
            assert counted(metrics, 'failures_total{model="any",reason="non_finite"}') == 1

    play(scene)


@pytest.mark.parametrize("spoil", [lambda R: R * float("nan"), lambda R: R / 0])
def test_a_verification_that_is_not_finite_is_an_error(
    shipped: LocalModel, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    own = Reference.attribute

    def spoiled(*arguments: Any) -> Attribution:
        attribution = own(*arguments)
        relevance = spoil(attribution.relevance)
        return replace(attribution, relevance=relevance, extremes=extremes(relevance))

    async def scene() -> None:
        with scheduling(shipped) as (scheduler, metrics):
            request = ExplanationRequest(scheduler.resolve("epsilon_plus_flat", {}, ()))
            await scheduler.submit(Job(GREY, (request,), verify=True))
            monkeypatch.setattr(Reference, "attribute", spoiled)
            with pytest.raises(InternalError):
                await scheduler.submit(Job(GREY, (request,), verify=True))
            assert counted(metrics, 'failures_total{model="any",reason="non_finite"}') == 1

    play(scene)


def exhausted() -> RuntimeError:
    """What torch raises on a CPU."""
    try:
        torch.empty(2**60)
    except RuntimeError as error:
        return error
    raise AssertionError("an exabyte was had")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), exhausted()])
def test_row_28_a_batch_that_does_not_fit_is_halved(
    shipped: LocalModel, gate: Gate, pictures: list[Floats], error: Exception
) -> None:
    def fault(batch: Batch, run: Callable[[], BatchAttributions]) -> BatchAttributions:
        if len(batch.inputs) > 4:
            raise error
        return run()

    async def scene() -> None:
        with scheduling(shipped) as (scheduler, metrics):
            request = ExplanationRequest(scheduler.resolve("epsilon_plus_flat", {}, ()))
            jobs = [Job(picture, (request,)) for picture in pictures]
            solo = await alone(scheduler, jobs)
            gate.fault = fault
            for one, expected in zip(await together(scheduler, gate, jobs), solo, strict=True):
                assert_equal(one, expected)
            assert gate.batch_sizes == [1, 8, 4, 4]
            assert counted(metrics, 'refused_total{model="any",reason="out_of_memory"}') == 0

    play(scene)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), exhausted()])
def test_row_28_what_does_not_fit_alone_is_unavailable_and_the_thread_lives(
    shipped: LocalModel, gate: Gate, pictures: list[Floats], error: Exception
) -> None:
    def fault(*_: object) -> BatchAttributions:
        raise error

    async def scene() -> None:
        deaths: list[BaseException] = []
        with scheduling(shipped, on_death=deaths.append) as (scheduler, metrics):
            gate.fault = fault
            with pytest.raises(UnavailableError, match="memory"):
                await scheduler.submit(Job(pictures[0]))
            assert counted(metrics, 'refused_total{model="any",reason="out_of_memory"}') == 1
            gate.fault = lambda _batch, run: run()
            assert len((await scheduler.submit(Job(pictures[0]))).result.logits) == 10
        assert deaths == []

    play(scene)


def test_row_29_a_lost_device_ends_the_thread_and_is_not_blamed_on_a_picture(
    shipped: LocalModel, gate: Gate, pictures: list[Floats]
) -> None:
    def fault(batch: Batch, run: Callable[[], BatchAttributions]) -> BatchAttributions:
        if len(batch.inputs) > 1:
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        return run()

    async def scene() -> None:
        deaths: list[BaseException] = []
        with scheduling(shipped, on_death=deaths.append) as (scheduler, _):
            gate.fault = fault
            got = await together(scheduler, gate, [Job(picture) for picture in pictures])
            assert all(isinstance(one, UnavailableError) for one in got)
            with pytest.raises(UnavailableError):
                await scheduler.submit(Job(pictures[0]))
        assert [type(death) for death in deaths] == [ModelLostError]
        assert gate.batch_sizes == [1, 8]  # not halved: nothing would come of it

    play(scene)


def test_a_batch_that_no_replica_runs_is_refused_whole_and_counted_and_the_thread_lives(
    shipped: LocalModel, gate: Gate, pictures: list[Floats]
) -> None:
    def fault(batch: Batch, run: Callable[[], BatchAttributions]) -> BatchAttributions:
        if len(batch.inputs) > 1:
            raise ModelUnavailableError("no replica is there; try again in a second")
        return run()

    async def scene() -> None:
        deaths: list[BaseException] = []
        with scheduling(shipped, on_death=deaths.append) as (scheduler, metrics):
            gate.fault = fault
            got = await together(scheduler, gate, [Job(picture) for picture in pictures])
            assert [type(one) for one in got] == [UnavailableError] * len(pictures)
            assert {str(one) for one in got} == {"no replica is there; try again in a second"}
            assert counted(metrics, 'refused_total{model="any",reason="no_replica"}') == len(pictures)
            assert len((await scheduler.submit(Job(pictures[0]))).result.logits) == 10
        assert deaths == []
        assert gate.batch_sizes == [1, 8, 1]  # not halved: the halves would fail as well

    play(scene)


class WithoutReplica(OnCallingThread):
    """A model whose reference cannot be prepared now."""

    description = DESCRIPTION

    def run(self, jobs: Sequence[Job]) -> list[JobResult]:
        raise AssertionError(f"{len(jobs)} jobs ran without their reference")

    def prepare_reference(self) -> None:
        raise ModelUnavailableError("no replica is there; try again in a second")


def test_a_reference_that_no_replica_prepares_is_unavailable_and_counted() -> None:
    async def scene() -> None:
        with scheduling(WithoutReplica()) as (scheduler, metrics):
            with pytest.raises(UnavailableError, match="no replica is there"):
                await scheduler.submit(Job(GREY, verify=True))
            assert counted(metrics, 'refused_total{model="any",reason="no_replica"}') == 1

    play(scene)


def test_row_29_a_device_lost_while_pictures_go_there_is_noticed(
    shipped: LocalModel, pictures: list[Floats], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise torch.AcceleratorError("CUDA error: unspecified launch failure")

    async def scene() -> None:
        deaths: list[BaseException] = []
        with scheduling(shipped, on_death=deaths.append) as (scheduler, _), monkeypatch.context() as patched:
            patched.setattr(torch, "from_numpy", fail)
            with pytest.raises(UnavailableError):
                await scheduler.submit(Job(pictures[0]))
        assert [type(death) for death in deaths] == [ModelLostError]

    play(scene)


def test_what_is_kept_of_requests_is_small_however_long_they_are(shipped: LocalModel) -> None:
    blanks = " " * (MAX_OVERRIDE_LENGTH - 40)
    with scheduling(shipped) as (scheduler, _):
        tracemalloc.start()
        for number in range(MAX_CACHED_COMPOSITES + 50):
            override = f"features.*:gamma(gamma=1.{number:03}"
            scheduler.resolve("zero", {}, [f"{override}{blanks[i:]})" for i in range(MAX_OVERRIDES)])
            with pytest.raises(InvalidParameterError, match="characters are over"):
                scheduler.resolve("zero", {}, [f"{override}{' ' * 1_000_000})"])
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert kept < 5 * 2**20


def test_a_job_weighs_what_it_costs(shipped: LocalModel) -> None:
    request = ExplanationRequest(resolve(shipped.description.chain, "epsilon_plus_flat", {}, ()))
    assert weight(Job(GREY)) == 1
    assert weight(Job(GREY, (request,) * 5)) == 5
    assert weight(Job(GREY, (request,) * 5, verify=True)) == 5 * (1 + REFERENCE_WEIGHT)
    assert weight(Job(GREY, (request,) * 2, samples=Samples(16))) == 32
    assert weight(Job(GREY, (request,), verify=True, samples=Samples(16))) == 16 * (1 + REFERENCE_WEIGHT)


@pytest.mark.parametrize("sampling", Sampling)
def test_samples_do_not_depend_on_the_rest_of_the_batch(
    shipped: LocalModel, gate: Gate, pictures: list[Floats], sampling: Sampling
) -> None:
    async def scene() -> None:
        with scheduling(shipped, BatchLimits(max_batch=32, deadline_s=LIMIT_S)) as (scheduler, _):
            request = ExplanationRequest(scheduler.resolve("epsilon_plus_flat", {}, ()))
            jobs = [Job(picture, (request,)) for picture in pictures[:3]]
            for seed in (0, 1):
                jobs.insert(seed + 1, Job(pictures[4], (request,), samples=Samples(6, sampling, seed=seed)))
            solo = await alone(scheduler, jobs)
            got = await together(scheduler, gate, jobs)
            assert gate.batch_sizes == [1, 3]  # those without samples
            for one, expected in zip(got, solo, strict=True):
                assert_equal(one, expected)
            for index in (1, 2):
                ours, theirs = got[index], solo[index]
                assert isinstance(ours, JobResult)
                a, b = ours.explanations[0].relevance, theirs.explanations[0].relevance
                assert np.linalg.norm(a - b) <= 1e-5 * np.linalg.norm(b)
                assert ours.explanations[0].samples is not None

    play(scene)


def test_its_thread_has_ended_when_it_is_closed(shipped: LocalModel) -> None:
    before = set(threading.enumerate())
    scheduler = Scheduler(shipped, limits=BatchLimits(), metrics=Metrics().of_model("some"))
    asyncio.run(scheduler.submit(Job(np.zeros((3, 32, 32), np.float32))))
    scheduler.close()
    assert set(threading.enumerate()) <= before

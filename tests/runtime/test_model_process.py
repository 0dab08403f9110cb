"""A model in another process is the model; and whatever becomes of that process, the service hears of it."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import torch

from app.errors import RefusedToStartError, UnavailableError
from app.lrp.composites import resolve
from app.lrp.request import ExplanationRequest
from app.models.architectures.minivgg import MiniVGG
from app.models.checkpoint import save
from app.models.image_card import Normalisation
from app.models.local import LocalModel
from app.models.protocol import Job, ModelLostError
from app.runtime.model_process import ModelProcess, ProcessModel
from app.runtime.remote_errors import RemoteError
from app.runtime.turns import Turns
from app.serving.scheduler import BatchLimits, Scheduler
from app.settings import shipped_model
from app.telemetry.metrics import Metrics

ROOT = Path(__file__).parents[2]
LIMIT_S = 60
METRICS = Metrics().of_model("any")


class Unloadable:
    """Can be pickled, but not unpickled."""

    def __reduce__(self) -> tuple[type[int], tuple[str]]:
        return int, ("not a number",)


GREY = Job(np.zeros((3, 32, 32), np.float32))


@pytest.fixture
def mortal() -> Iterator[ProcessModel]:
    """A model whose process the test may kill."""
    model = ModelProcess([shipped_model()], "cpu", 1).models[0]
    yield model
    model.kill()


def children(pid: int | None = None) -> list[psutil.Process]:
    """Model processes of a process, this one if none is named."""
    alive = [c for c in psutil.Process(pid).children() if c.status() != psutil.STATUS_ZOMBIE]
    return [child for child in alive if "spawn_main" in " ".join(child.cmdline())]


def test_it_describes_and_answers_as_one_in_this_process_does(model: ProcessModel) -> None:
    local = LocalModel.load(shipped_model(), "cpu", None)
    assert model.description == local.description
    generator = np.random.default_rng(0)
    request = ExplanationRequest(resolve(model.description.chain, "epsilon_plus_flat", {}, ()))
    jobs = [
        Job(generator.standard_normal((3, 32, 32), np.float32), (request,) * number, verify=number == 2)
        for number in range(3)
    ]
    model.prepare_reference()
    for there, here in zip(model.run(jobs), local.run(jobs), strict=True):
        np.testing.assert_allclose(there.logits, here.logits, rtol=1e-4, atol=1e-5)
        assert len(there.explanations) == len(here.explanations)
        for ours, theirs in zip(there.explanations, here.explanations, strict=True):
            np.testing.assert_allclose(ours.relevance, theirs.relevance, rtol=1e-3, atol=1e-6)
            assert (ours.smallest, ours.largest) == (ours.relevance.min(), ours.relevance.max())
        assert (there.verified is None) == (here.verified is None)


def test_threads_take_turns(model: ProcessModel) -> None:
    lengths: list[int] = []
    threads = [
        threading.Thread(target=lambda size=size: lengths.append(len(model.run([GREY] * size)) - size))
        for size in (1, 2, 3, 4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    assert lengths == [0] * 4


@pytest.mark.parametrize(
    ("card", "device", "words"),
    [("nowhere.json", "cpu", "cannot be read"), (str(shipped_model()), "tpu:7", "device 'tpu:7'")],
)
def test_what_keeps_it_from_starting_is_said_here(card: str, device: str, words: str) -> None:
    with pytest.raises(RefusedToStartError, match=words):
        _ = ModelProcess([Path(card)], device, 1).models


def write(folder: Path, **classes: tuple[str, ...]) -> list[Path]:
    """Write a network for each name, with random weights; return the paths of their cards."""
    torch.manual_seed(0)
    normalisation = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    return [
        save(MiniVGG(len(labels)), folder, name=name, classes=labels, normalisation=normalisation)
        for name, labels in classes.items()
    ]


def test_one_process_holds_several_models_each_of_which_answers_as_alone(tmp_path: Path) -> None:
    cards = write(tmp_path, two=("a", "b"), three=("a", "b", "c"), five=("a", "b", "c", "d", "e"))
    process = ModelProcess(cards, "cpu", 1)
    alone = [LocalModel.load(card, "cpu", 1) for card in cards]
    x = np.random.default_rng(0).standard_normal((3, 32, 32), np.float32)
    for there, here in [*zip(process.models, alone, strict=True)][::-1]:
        assert there.description == here.description
        request = ExplanationRequest(resolve(there.description.chain, "epsilon_plus_flat", {}, ()))
        (ours,), (theirs,) = (one.run([Job(x, (request,))]) for one in (there, here))
        np.testing.assert_allclose(ours.logits, theirs.logits, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(
            ours.explanations[0].relevance, theirs.explanations[0].relevance, rtol=1e-3, atol=1e-6
        )
    process.models[1].kill()
    with pytest.raises(ModelLostError):
        process.models[2].run([GREY])


def test_one_model_that_cannot_be_loaded_is_refused_by_its_file(tmp_path: Path) -> None:
    first, second = write(tmp_path, first=("a", "b"), second=("a", "b"))
    weights = second.with_name("weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(RefusedToStartError, match="SHA-256") as refused:
        _ = ModelProcess([first, second], "cpu", 1).models
    assert str(weights) in refused.value.detail


def test_a_process_that_dies_while_it_loads_is_a_refusal_with_its_code() -> None:
    process = ModelProcess([shipped_model()], "cpu", 1)
    process.kill()
    with pytest.raises(RefusedToStartError, match="code -9"):
        _ = process.models


def test_row_29_when_it_is_killed_who_waits_is_told_and_the_service_hears_of_it(mortal: ProcessModel) -> None:
    deaths: list[BaseException] = []

    async def scene() -> None:
        scheduler = Scheduler(mortal, limits=BatchLimits(), metrics=METRICS, turns=Turns(deaths.append))
        await scheduler.submit(GREY)
        mortal.kill()
        with pytest.raises(UnavailableError):
            await scheduler.submit(GREY)
        scheduler.close()

    asyncio.run(scene())
    assert [type(death) for death in deaths] == [ModelLostError]


def test_a_model_that_hangs_is_killed_when_all_is_to_end(mortal: ProcessModel) -> None:
    child = psutil.Process(mortal.process.pid)
    deaths: list[BaseException] = []

    async def scene() -> None:
        scheduler = Scheduler(mortal, limits=BatchLimits(), metrics=METRICS, turns=Turns(deaths.append))
        await scheduler.submit(GREY)
        child.suspend()
        waiting = asyncio.create_task(scheduler.submit(GREY))
        await asyncio.sleep(0)
        await asyncio.to_thread(scheduler.close, 0.2)
        with pytest.raises(UnavailableError):
            await waiting

    asyncio.run(asyncio.wait_for(scene(), LIMIT_S))
    assert not deaths  # it was killed on purpose


def test_signals_that_reach_the_whole_group_do_not_end_it(model: ProcessModel) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(model.process.pid, number)
    assert len(model.run([GREY])) == 1


def test_it_ends_with_the_object_that_stands_for_it() -> None:
    process = ModelProcess([shipped_model()], "cpu", 1)
    child = psutil.Process(process.pid)
    del process
    assert child.wait(LIMIT_S) is not None or not child.is_running()


@contextmanager
def service(**environment: str) -> Iterator["subprocess.Popen[str]"]:
    """The command, and whatever it says."""
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "serve", "--port", "0"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "LRP_LOG_FORMAT": "json", **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_row_29_the_service_ends_with_a_code_when_its_model_is_killed() -> None:
    with service() as process:
        assert process.stderr is not None
        assert any("Uvicorn running" in line for line in process.stderr)
        model = max(children(process.pid), key=lambda child: child.memory_info().rss)  # it alone has torch
        model.kill()
        assert process.wait(LIMIT_S) == 1


def test_a_model_that_hangs_past_the_limit_is_killed_and_the_service_ends_with_a_code(cat_png: bytes) -> None:
    with service(LRP_MODEL_LIMIT_S="8") as process:
        assert process.stderr is not None
        address = next(found[0] for line in process.stderr if (found := re.search(r"http://[\d.:]+", line)))
        while httpx.get(f"{address}/readyz", timeout=LIMIT_S).status_code == 503:
            pass
        model = max(children(process.pid), key=lambda child: child.memory_info().rss)  # it alone has torch
        model.suspend()
        png = {"Content-Type": "image/png"}
        running = httpx.post(f"{address}/explain", content=cat_png, headers=png, timeout=LIMIT_S)
        assert running.status_code == 503
        assert "failed" in running.json()["detail"]
        assert process.wait(LIMIT_S) == 1
        assert any("did not answer in time" in line for line in process.stderr)


def test_a_model_that_sleeps_is_unready_at_once_and_all_who_wait_are_told() -> None:
    sleepy = ModelProcess([shipped_model()], "cpu", 1, limit_s=3.0).models[0]
    deaths: list[BaseException] = []

    async def scene() -> None:
        scheduler = Scheduler(sleepy, limits=BatchLimits(), metrics=METRICS, turns=Turns(deaths.append))
        await scheduler.submit(GREY)
        await asyncio.sleep(3.5)  # an idle model is not killed
        await scheduler.submit(GREY)
        psutil.Process(sleepy.process.pid).suspend()
        waiting = [asyncio.create_task(scheduler.submit(GREY)) for _ in range(3)]
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result) for result in results] == [UnavailableError] * 3
        scheduler.close()

    asyncio.run(asyncio.wait_for(scene(), LIMIT_S))
    assert len(deaths) == 1


def test_all_models_of_a_folder_are_served(tmp_path: Path, cat_png: bytes) -> None:
    write(tmp_path, two=("a", "b"), three=("a", "b", "c"))
    with service(LRP_MODELS=str(tmp_path), LRP_DEFAULT_MODEL="three") as process:
        assert process.stderr is not None
        address = next(found[0] for line in process.stderr if (found := re.search(r"http://[\d.:]+", line)))
        while httpx.get(f"{address}/readyz", timeout=LIMIT_S).status_code == 503:
            pass
        listed = httpx.get(f"{address}/models", timeout=LIMIT_S).json()["models"]
        assert [(one["name"], one["classes"], one["default"]) for one in listed] == [
            ("three", 3, True),
            ("two", 2, False),
        ]
        for query, name, count in (("", "three", 3), ("?model=two", "two", 2), ("?model=three", "three", 3)):
            png = {"Content-Type": "image/png"}
            answer = httpx.post(f"{address}/explain{query}", content=cat_png, headers=png, timeout=LIMIT_S)
            assert answer.json()["model"]["name"] == name
            assert len(answer.json()["scores"]) == count


def test_row_26_weights_that_are_damaged_are_refused_with_a_code_and_by_name(tmp_path: Path) -> None:
    card = Path(shutil.copy(shipped_model(), tmp_path))
    weights = Path(shutil.copy(shipped_model().with_name("weights.safetensors"), tmp_path))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with service(LRP_MODEL=str(card)) as process:
        assert process.wait(LIMIT_S) == 2
        assert process.stderr is not None
        said = process.stderr.read()
    assert "SHA-256" in said
    assert weights.name in said
    assert "Traceback" not in said


def test_row_30_a_service_that_is_told_to_end_while_its_model_loads_ends_at_once() -> None:
    with service() as process:
        while not children(process.pid):
            assert process.poll() is None
        (child,) = children(process.pid)
        process.terminate()
        assert process.wait(LIMIT_S) == 143
        child.wait(LIMIT_S)


def test_jobs_that_cannot_be_run_fail_and_the_process_lives(model: ProcessModel) -> None:
    for job in (replace(GREY, input=np.zeros((1, 2, 3), np.float32)), replace(GREY, input=Unloadable())):  # type: ignore[arg-type]
        with pytest.raises(RemoteError, match="Error at "):
            model.run([job])
    assert len(model.run([GREY])) == 1


def test_verifying_with_a_model_that_is_gone_is_unavailable(mortal: ProcessModel) -> None:
    async def scene() -> None:
        scheduler = Scheduler(mortal, limits=BatchLimits(), metrics=METRICS)
        mortal.kill()
        with pytest.raises(UnavailableError):
            await scheduler.submit(replace(GREY, verify=True))
        scheduler.close()

    asyncio.run(scene())

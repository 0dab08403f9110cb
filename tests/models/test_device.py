"""The device and the precision that a network is loaded with."""

import numpy as np
import pytest
import torch
from conftest import encode
from PIL import Image
from starlette.testclient import TestClient

from app.errors import RefusedToStartError
from app.lrp.composites import resolve
from app.lrp.engine import cuda_graphs
from app.lrp.engine.cuda_graphs import Pass
from app.lrp.request import ExplanationRequest
from app.main import create_app
from app.models import local
from app.models.device import check_precision, pick_device
from app.models.local import LocalModel
from app.models.protocol import Job
from app.settings import Settings, shipped_model

CPU = torch.device("cpu")


def test_an_unknown_or_missing_device_is_refused_by_name() -> None:
    assert pick_device("cpu") == CPU
    for name in ("abacus", "cuda:x"):
        with pytest.raises(RefusedToStartError, match=name):
            pick_device(name)
    if not torch.cuda.is_available():
        with pytest.raises(RefusedToStartError, match="no CUDA"):
            pick_device("cuda")


def test_bfloat16_is_refused_by_name_without_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": "Abacus 2", "avx512_f": True})
    check_precision("float32", CPU)
    with pytest.raises(RefusedToStartError, match=r"LRP_PRECISION=bfloat16: Abacus 2 has no instructions"):
        LocalModel.load(shipped_model(), "cpu", 1, "bfloat16")


def test_cuda_graphs_are_refused_by_name_without_a_gpu() -> None:
    with pytest.raises(RefusedToStartError, match=r"LRP_CUDA_GRAPHS=true: cpu has no CUDA graphs; a GPU has"):
        LocalModel.load(shipped_model(), "cpu", 1, cuda_graphs=True)


def test_batches_run_as_the_graphs_of_a_recorder(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a recorder that runs each pass again; randomized layers and several explanations have no graph."""
    runs: list[Pass] = []

    def recorder(run: Pass) -> Pass:
        runs.append(run)
        return run

    monkeypatch.setattr(local, "_recorder", lambda _: recorder)
    monkeypatch.setattr(cuda_graphs, "SIGHTS", 1)
    graphed = LocalModel.load(shipped_model(), "cpu", 1, cuda_graphs=True)
    plain = LocalModel.load(shipped_model(), "cpu", 1)
    request = ExplanationRequest(resolve(plain.description.chain, "epsilon_plus_flat", {}, []))
    x = np.random.default_rng(0).standard_normal((3, 32, 32), np.float32)
    jobs = [Job(x, (request,)), Job(x[:, ::-1].copy(), (request,)), Job(x, (request,), randomized=1)]
    for mine, other in zip(graphed.run(jobs), plain.run(jobs), strict=True):
        assert mine.logits == pytest.approx(other.logits, rel=1e-4, abs=1e-5)
        np.testing.assert_allclose(
            mine.explanations[0].relevance, other.explanations[0].relevance, rtol=1e-3, atol=1e-5
        )
    assert len(runs) == 1


@pytest.mark.parametrize("instructions", ["avx512_bf16", "amx_bf16"])
def test_answers_say_the_precision_and_verify_holds_it_against_float64(
    instructions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {instructions: True})
    model = LocalModel.load(shipped_model(), "cpu", 1, "bfloat16")
    picture = encode(Image.radial_gradient("L").resize((32, 32)).convert("RGB"))
    with TestClient(create_app(Settings(), model)) as client:
        answer = client.post("/explain?verify=true", content=picture, headers={"Content-Type": "image/png"})
        about = client.get("/model").json()
    relevance = answer.json()["relevance"]
    assert about["precision"] == relevance["precision"] == "bfloat16"
    assert 1e-5 < relevance["verify"]["difference"] < 0.02


def test_a_gpu_computes_in_float32_what_has_that_type() -> None:
    torch.backends.cudnn.allow_tf32 = True  # torch's default
    LocalModel.load(shipped_model(), "cpu", 1)
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32

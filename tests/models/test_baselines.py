"""Rows of a table, explained relative to a baseline, by a network that returns one number."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from tracing import traced

from app.errors import GraphError, RefusedToStartError
from app.lrp.composites import resolve
from app.lrp.graph.baseline import with_baseline
from app.lrp.request import ExplanationRequest, Start, Target
from app.lrp.samples import Samples, Sampling
from app.models.local import LocalModel
from app.models.protocol import Job
from app.models.table_card import TableCard

Array = npt.NDArray[np.float32]
CPU = torch.device("cpu")
COLUMNS = 5
CARD = TableCard.model_validate(
    {
        "kind": "table",
        "name": "made-up",
        "architecture": "made-up",
        "output": "value",
        "classes": ["strength"],
        "unit": "MPa",
        "table": {
            "features": [
                *({"name": name, "mean": 2.0, "std": 0.5, "min": 0.0, "max": 4.0} for name in "abc"),
                {"name": "kind", "categories": ["coarse", "fine"], "shares": [0.25, 0.75]},
            ]
        },
        "files": {"made-up.safetensors": "0" * 64},
    }
)


def drawn(seed: int) -> Array:
    return np.random.default_rng(seed).normal(size=COLUMNS).astype(np.float32)


def deep() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(COLUMNS, 16),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(16, 8),
        nn.ReLU(),
        nn.Linear(8, 1),
    ).eval()


def model_of(network: nn.Module) -> LocalModel:
    return LocalModel(traced(network, COLUMNS), CARD, CPU)


def job(model: LocalModel, rule: str, x: Array, baseline: Array | None, **options: Any) -> Job:
    composite = resolve(model.description.chain, rule, {}, [])
    request = ExplanationRequest(composite, Target(start=Start.LOGIT))
    return Job(x, (request,), baseline=baseline, **options)


def prediction(network: nn.Module, x: Array) -> float:
    with torch.inference_mode():
        return float(network(torch.from_numpy(x)[None]))


def test_a_linear_network_gives_each_feature_its_weight_times_its_difference() -> None:
    network, x, baseline = nn.Linear(COLUMNS, 1), drawn(1), drawn(2)
    model = model_of(network)
    (result,) = model.run([job(model, "zero", x, baseline)])
    expected = network.weight.detach().numpy()[0] * (x - baseline)
    np.testing.assert_allclose(result.explanations[0].relevance, expected, rtol=1e-5, atol=1e-6)
    assert result.explanations[0].bias == pytest.approx(prediction(network, baseline), rel=1e-5)
    assert result.logits == pytest.approx([prediction(network, x)], rel=1e-5)
    assert result.baseline_logits == pytest.approx([prediction(network, baseline)], rel=1e-5)


@pytest.mark.parametrize("rule", ["zero", "epsilon", "gamma", "z_box"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_prediction_of_either_sign_is_shared_by_features_and_biases(rule: str, sign: int) -> None:
    network, x, baseline = deep(), drawn(1), drawn(2)
    with torch.no_grad():
        network[5].bias.fill_(3.0 * sign)  # type: ignore[operator]
    model = model_of(network)
    (result,) = model.run([job(model, rule, x, baseline, verify=True)])
    ours, theirs = result.explanations[0], (result.verified or ())[0]
    predicted = prediction(network, x)
    assert predicted * sign > 0
    assert ours.output_relevance == pytest.approx([predicted], rel=1e-5)
    assert ours.input_sum + ours.bias == pytest.approx(predicted, rel=1e-5)
    np.testing.assert_allclose(ours.relevance, theirs.relevance, rtol=1e-3, atol=1e-5)
    assert ours.bias == pytest.approx(theirs.bias, rel=1e-4)


def test_the_baseline_is_a_part_of_the_share_of_biases() -> None:
    network, x, baseline = deep(), drawn(1), drawn(2)
    parameters = [value for name, value in network.named_parameters() if name.endswith("bias")]
    at = torch.from_numpy(x)[None].requires_grad_()
    *of_biases, slope = torch.autograd.grad(network(at), [*parameters, at])
    shares = sum(float(b.detach() @ g) for b, g in zip(parameters, of_biases, strict=True))
    model = model_of(network)
    without, relative = model.run([job(model, "zero", x, one) for one in (None, baseline)])
    assert without.explanations[0].bias == pytest.approx(shares, rel=1e-4)
    moved = float(slope[0] @ torch.from_numpy(baseline))
    assert relative.explanations[0].bias == pytest.approx(shares + moved, rel=1e-4)
    np.testing.assert_allclose(
        relative.explanations[0].relevance, slope[0].numpy() * (x - baseline), rtol=1e-4, atol=1e-6
    )


def test_jobs_of_a_batch_have_baselines_of_their_own() -> None:
    model = model_of(deep())
    x, baselines = drawn(1), [drawn(2), None, drawn(3), drawn(2)]
    jobs = [job(model, "epsilon", x, one, randomized=depth) for one in baselines for depth in (0, 1)]
    jobs.append(job(model, "epsilon", x, drawn(2), samples=Samples(4, Sampling.NOISE)))
    together, alone = model.run(jobs), [model.run([one])[0] for one in jobs]
    for ours, theirs in zip(together, alone, strict=True):
        np.testing.assert_allclose(
            ours.explanations[0].relevance, theirs.explanations[0].relevance, rtol=1e-4, atol=1e-6
        )
        assert ours.baseline_logits == theirs.baseline_logits
    assert [result.baseline_logits is None for result in together[::2]] == [False, True, False, False, False]


def test_samples_of_a_network_with_one_output_explain_it() -> None:
    network = deep()
    model = model_of(network)
    samples = Samples(8, Sampling.DROPOUT)
    (result,) = model.run([job(model, "zero", drawn(1), drawn(2), samples=samples, verify=True)])
    ours, theirs = result.explanations[0], (result.verified or ())[0]
    np.testing.assert_allclose(ours.relevance, theirs.relevance, rtol=1e-3, atol=1e-5)
    assert result.sample_logits is not None
    assert result.sample_logits.shape == (8, 1)
    assert ours.input_sum + ours.bias == pytest.approx(prediction(network, drawn(1)), rel=1e-4)


class Wide(nn.Module):
    """A batch norm, and a dense layer twice, which read the input: (B, columns) -> (B, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.dense = nn.BatchNorm1d(COLUMNS), nn.Linear(COLUMNS, COLUMNS, bias=False)
        nn.init.uniform_(self.norm.weight)
        nn.init.uniform_(self.norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm(x)) + torch.relu(self.dense(x))
        z: Tensor = self.dense(y)[:, :1] * 2.0
        return z


def test_every_layer_that_reads_the_input_is_shifted() -> None:
    module = Wide().eval()
    model, x, baseline = traced(module, COLUMNS), torch.randn(3, COLUMNS), torch.randn(COLUMNS)
    shifted = with_baseline(model, baseline)
    explained = LocalModel(shifted, CARD, CPU)
    found = [explained.run([Job((row - baseline).numpy())])[0].logits for row in x]
    torch.testing.assert_close(torch.tensor(found), module(x).detach())


def test_networks_whose_input_cannot_be_shifted_are_refused() -> None:
    network = nn.Sequential(nn.Tanh(), nn.Linear(COLUMNS, 1))
    with pytest.raises(RefusedToStartError, match=r"made-up: node '0' \(tanh\) reads the network's input"):
        model_of(network)
    for size in (COLUMNS - 1, 1):
        with pytest.raises(GraphError, match="does not fit the network's input"):
            with_baseline(traced(nn.Linear(COLUMNS, 1), COLUMNS), torch.zeros(size))

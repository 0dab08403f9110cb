import pytest
import torch
from graph_interpreter import interpreted
from graph_oracle import Network, traced
from torch import Tensor, nn

from app.errors import UnsupportedNetworkError
from app.lrp.graph.graph import from_json, to_json
from app.lrp.graph.trace import exported, from_program, trace
from app.models.architectures.minivgg import MiniVGG


def test_a_chain_has_the_names_of_its_layers() -> None:
    module = MiniVGG()
    model = traced(module, 3, 32, 32)
    layers = [(name, layer) for name, layer in module.named_modules() if not any(layer.children())]
    assert [node.name for node in model.graph] == [name for name, _ in layers]
    assert [node.description for node in model.graph] == [repr(layer) for _, layer in layers]
    assert [node.kind for node in model.graph] == [type(layer).__name__ for _, layer in layers]
    assert set(model.weights) == set(module.state_dict())
    dropout = model.graph.by_name["classifier.3"]
    assert (dropout.op, dropout.attributes) == ("dropout", {"p": 0.45, "channels": False})
    assert from_json(to_json(model.graph)).output.shape == ("B", 10)


def test_a_module_that_runs_twice_gives_two_nodes() -> None:
    relu = nn.ReLU()
    model = traced(nn.Sequential(nn.Linear(3, 4), relu, nn.Linear(4, 4), relu), 3)
    assert [node.name for node in model.graph] == ["0", "1", "2", "3"]


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding="same")
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        y = self.relu(x)
        pooled: Tensor = self.relu(y + x).mean((2, 3))
        return pooled


def test_a_write_in_place_is_seen_by_all_readers_of_the_tensor() -> None:
    model = traced(Branches(), 2, 5, 5)
    assert [(node.name, node.inputs) for node in model.graph] == [
        ("conv", ("input",)),
        ("relu", ("conv",)),
        ("add", ("relu", "relu")),
        ("relu_2", ("add",)),
        ("mean", ("relu_2",)),
    ]


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(9, 3)
        self.positions = nn.Embedding(5, 3)

    def forward(self, words: Tensor) -> Tensor:
        y: Tensor = self.words(words) + self.positions(torch.arange(words.shape[1]))
        return y.mean(1)


def test_the_number_of_tokens_is_free() -> None:
    module, words = Words(), torch.tensor([[1, 2, 8], [0, 3, 3]])
    model = trace(module, words)
    assert [node.name for node in model.graph] == ["words", "constant", "slice", "add", "mean"]
    assert model.graph.by_name["add"].shape == ("B", "T", 3)
    for tokens in (words, words[:1, :1], words[:, :2]):
        torch.testing.assert_close(interpreted(model, tokens), module(tokens).detach())


class Shifted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.arange(3.0).exp() * torch.ones(x.shape[0], 1)


def test_values_that_do_not_depend_on_the_input_become_constants() -> None:
    model = traced(Shifted(), 3)
    assert [node.name for node in model.graph] == ["constant", "add"]
    torch.testing.assert_close(model.weights["constant.value"], torch.arange(3.0).exp()[None])


def test_tracing_leaves_the_module_as_it_was() -> None:
    module = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 2))
    module[1].eval()
    trace(module, torch.randn(1, 3))
    assert [part.training for part in module] == [True, False]


class Sorts(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.cumsum(1).sort(1).values


def test_all_operations_that_are_not_supported_are_listed_with_their_lines() -> None:
    with pytest.raises(UnsupportedNetworkError) as refused:
        trace(nn.Sequential(Sorts(), nn.Linear(3, 2)), torch.randn(1, 3))
    first, second = refused.value.detail.splitlines()[1:]
    assert first.startswith("- aten.cumsum.default: ")
    assert second.startswith("- aten.sort.default: ")
    assert f" in 0 (Sorts), {__file__}:" in first
    assert first.endswith("return x.cumsum(1).sort(1).values")


def test_operations_behind_one_that_is_not_supported_are_listed_too() -> None:
    def run(_: Network, x: Tensor) -> Tensor:
        return x.sort(1).values.tanh().cumsum(1)  # relevance cannot pass a cumulative sum

    with pytest.raises(UnsupportedNetworkError, match=r"(?s)aten\.sort.*aten\.cumsum"):
        trace(Network(run), torch.randn(1, 3))


class FixedBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(2, 3)


class CountsRows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.arange(x.shape[0])[:, None]


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (FixedBatch(), "fixed batch size 2"),
        (CountsRows(), "not the same for all rows of a batch"),
        (Branching(), "torch.export cannot export the network"),
        (nn.Unflatten(1, (1, 3)), r"logits of shape \(B, C\), but returns \['B', 1, 3\]"),
        (nn.Bilinear(3, 3, 2), "torch.export cannot export the network"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_networks_that_cannot_be_explained_are_refused(module: nn.Module, message: str) -> None:
    with pytest.raises(UnsupportedNetworkError, match=message):
        trace(module, torch.randn(2, 3))


class Steps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(9, 4), nn.LSTM(4, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.lstm(self.embedding(x))[0][:, -1]
        return y


@pytest.mark.filterwarnings("ignore:The tensor attributes")
def test_an_lstm_for_a_fixed_number_of_tokens_is_refused_with_what_to_do() -> None:
    free = ({0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO},)
    x = torch.zeros(2, 5, dtype=torch.long)
    program = torch.export.export(Steps().eval(), (x,), dynamic_shapes=free)
    with pytest.raises(UnsupportedNetworkError, match=r"exported for 5 tokens.*LSTM.*trace.exported"):
        from_program(program)
    assert from_program(exported(Steps(), x)).graph.is_of_tokens

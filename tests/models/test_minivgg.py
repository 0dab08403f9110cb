"""MiniVGG has the layers and parameter names of the talk's network, so its checkpoints can be loaded."""

import pytest
import torch

from app.lrp.graph.graph import to_json
from app.lrp.graph.trace import trace
from app.models.architectures.minivgg import MiniVGG
from app.models.architectures.registry import ARCHITECTURES, graph_of, graph_path
from app.models.architectures.write_graphs import graph_text

PARAMETERS = {
    "features.0.weight": (32, 3, 3, 3),
    "features.0.bias": (32,),
    "features.3.weight": (64, 32, 3, 3),
    "features.3.bias": (64,),
    "features.6.weight": (128, 64, 3, 3),
    "features.6.bias": (128,),
    "features.9.weight": (128, 128, 3, 3),
    "features.9.bias": (128,),
    "classifier.1.weight": (256, 8192),
    "classifier.1.bias": (256,),
    "classifier.4.weight": (10, 256),
    "classifier.4.bias": (10,),
}


def test_parameters_have_the_names_and_shapes_of_the_talks_checkpoints() -> None:
    assert {name: tuple(tensor.shape) for name, tensor in MiniVGG().state_dict().items()} == PARAMETERS


def test_layers_are_those_of_the_talk_in_order() -> None:
    model = MiniVGG()
    assert [type(layer).__name__ for layer in (*model.features, *model.classifier)] == [
        *("Conv2d", "ReLU", "Dropout", "Conv2d", "ReLU", "MaxPool2d"),
        *("Conv2d", "ReLU", "Dropout", "Conv2d", "ReLU", "MaxPool2d"),
        *("Flatten", "Linear", "ReLU", "Dropout", "Linear"),
    ]
    rates = [layer.p for layer in model.modules() if isinstance(layer, torch.nn.Dropout)]
    assert rates == [0.35, 0.35, 0.45]


@pytest.mark.parametrize("classes", [2, 10])
def test_output_has_a_logit_for_each_class(classes: int) -> None:
    with torch.inference_mode():
        assert MiniVGG(classes).eval()(torch.zeros(3, 3, 32, 32)).shape == (3, classes)


def test_dropout_is_inactive_in_evaluation_mode() -> None:
    model, x = MiniVGG().eval(), torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(model(x), model(x))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_stored_graph_is_that_of_the_class(architecture: str) -> None:
    assert graph_path(architecture).read_text() == graph_text(architecture)


def test_the_graph_takes_any_number_of_classes() -> None:
    expected = trace(MiniVGG(3), torch.zeros(1, 3, 32, 32)).graph
    assert to_json(graph_of("MiniVGG", 3)) == to_json(expected)

"""Traced networks of tests, held against their modules."""

from collections.abc import Callable

import torch
from graph_interpreter import interpreted
from torch import Tensor, nn

from app.lrp.graph.trace import trace
from app.lrp.graph.traced import TracedModel


class Network(nn.Module):
    """Modules by name, and a function of them and the input."""

    def __init__(self, run: "Callable[[Network, Tensor], Tensor]", **modules: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, module in modules.items():
            self.add_module(name, module)

    def call(self, name: str, *inputs: Tensor, **options: object) -> Tensor:
        """Return the output of a module."""
        output = self.get_submodule(name)(*inputs, **options)
        result: Tensor = output[0] if isinstance(output, tuple) else output
        return result

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def random_batch_norms(module: nn.Module) -> nn.Module:
    """Return the module with random statistics and parameters in its batch norms."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                assert part.running_mean is not None
                assert part.running_var is not None
                for tensor in (part.weight, part.bias, part.running_mean, part.running_var):
                    tensor.uniform_(0.5, 1.5, generator=generator)
    return module


def traced(module: nn.Module, *shape: int) -> TracedModel:
    """Return a network that computes what its module does, in float64 and float32 and for several batch sizes."""
    module = random_batch_norms(module.eval()).double()
    model = trace(module, torch.randn(1, *shape, dtype=torch.float64))
    for batch_size in (1, 2, 5):
        generator = torch.Generator().manual_seed(batch_size)
        x = torch.randn(batch_size, *shape, dtype=torch.float64, generator=generator)
        with torch.no_grad():
            y = module(x)
        torch.testing.assert_close(interpreted(model, x), y, rtol=1e-10, atol=1e-10)
        in_float32 = model.map_weights(
            lambda tensor: tensor.float() if tensor.is_floating_point() else tensor
        )
        torch.testing.assert_close(interpreted(in_float32, x.float()), y.float(), rtol=1e-4, atol=1e-4)
    return model


def operations(model: TracedModel) -> list[str]:
    """Return the operations of a network in order."""
    return [node.op for node in model.graph]

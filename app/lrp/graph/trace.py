"""The way from a PyTorch module to a graph."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from app.errors import UnsupportedNetworkError
from app.lrp.graph.graph import check
from app.lrp.graph.passes.batch_norms import merge_batch_norms
from app.lrp.graph.passes.expands import drop_expands
from app.lrp.graph.passes.moves import merge_moves
from app.lrp.graph.passes.roles import mark_attention, mark_gates, turn_attention
from app.lrp.graph.traced import Pass, TracedModel
from app.lrp.graph.translate import translated
from app.lrp.graph.values import shape_of

PASSES: tuple[Pass, ...] = (
    turn_attention,
    merge_moves,
    merge_batch_norms,
    drop_expands,
    mark_gates,
    mark_attention,
)
"""In the order in which they are applied."""


def trace(module: nn.Module, example_input: Tensor) -> TracedModel:
    """Return the graph and the weights of a network in evaluation mode.

    Args:
        module: Returns logits (B, C) for one input (B, …), for any batch size B.
        example_input: An input of the network; its batch size does not matter.

    Raises:
        UnsupportedNetworkError: The network cannot be exported, or has operations that are not supported.

    """
    model = from_program(exported(module, example_input))
    modules = dict(module.named_modules(remove_duplicate=False))
    nodes = (
        replace(node, description=repr(modules[node.name])) if _is_leaf(modules.get(node.name)) else node
        for node in model.graph
    )
    return replace(model, graph=replace(model.graph, nodes=tuple(nodes)))


def exported(module: nn.Module, example_input: Tensor) -> ExportedProgram:
    """Return the program of a network in evaluation mode, with a free batch axis."""
    was_training = {part: part.training for part in module.modules()}
    rows = example_input[:1].expand(2, *example_input.shape[1:])  # one row would fix the batch size
    try:
        return torch.export.export(
            module.eval(), (rows.contiguous(),), dynamic_shapes=({0: Dim.AUTO},), strict=False
        )
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UnsupportedNetworkError(
            f"torch.export cannot export the network ({reason}). Its code may depend on values of tensors, for "
            "example in an if statement, or it has several inputs; see the documentation of torch.export"
        ) from error
    finally:
        for part, training in was_training.items():
            part.training = training


def from_program(program: ExportedProgram) -> TracedModel:
    """Return the graph and the weights of an exported program with a free batch axis.

    Raises `UnsupportedNetworkError` with the reason, or all reasons.
    """
    _check_input(program)
    model = translated(program)
    for transform in PASSES:
        model = transform(model)
    check(model.graph)
    return model


def _check_input(program: ExportedProgram) -> None:
    names = program.graph_signature.user_inputs
    inputs = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    if len(inputs) != 1 or not isinstance(inputs[0].meta["val"], Tensor):
        raise UnsupportedNetworkError(
            f"the network has {len(names)} inputs; it must have one, a tensor (B, …)"
        )
    batch, *sizes = shape_of(inputs[0].meta["val"].shape)
    if isinstance(batch, int):
        raise UnsupportedNetworkError(
            f"the network is exported with the fixed batch size {batch}; export it with a free one: "
            "torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim.AUTO},)), where the "
            "example has at least two rows. If that does not help, the module's code uses the number "
            f"{batch} where it must use x.shape[0]"
        )
    if not all(isinstance(size, int) for size in sizes):
        raise UnsupportedNetworkError("only the batch axis of the network's input may have a free size")


def _is_leaf(module: nn.Module | None) -> bool:
    return module is not None and not any(module.children())

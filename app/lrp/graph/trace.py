"""The way from a PyTorch module to a graph."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from app.errors import UnsupportedNetworkError
from app.lrp.graph.graph import check
from app.lrp.graph.passes.batch_norms import merge_batch_norms
from app.lrp.graph.passes.expands import drop_expands
from app.lrp.graph.passes.masks import mask_recurrent
from app.lrp.graph.passes.moves import merge_moves
from app.lrp.graph.passes.norms import merge_norms
from app.lrp.graph.passes.roles import mark_attention, mark_gates, turn_attention
from app.lrp.graph.recurrent import recurrent_operators
from app.lrp.graph.traced import Pass, TracedModel
from app.lrp.graph.translate import input_of, translated
from app.lrp.graph.values import FreeSizes

PASSES: tuple[Pass, ...] = (
    turn_attention,
    drop_expands,
    merge_norms,
    merge_moves,
    merge_batch_norms,
    mark_gates,
    mark_attention,
    mask_recurrent,
)
"""In the order in which they are applied."""


def trace(module: nn.Module, example_input: Tensor) -> TracedModel:
    """Return the graph and the weights of a network in evaluation mode.

    Args:
        module: Returns logits (B, C) for one input (B, …), for any batch size B. For tokens, integers (B, T) of
            which the negative ones are padding on the right, it does so for any number T of them.
        example_input: An input of the network; its batch size does not matter. Of tokens it has as many as an
            input may have: tables of positions and the like are kept for that many.

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
    """Return the program of a network in evaluation mode, with a free batch axis, and a free number of tokens."""
    was_training = {part: part.training for part in module.modules()}
    rows = example_input[:1].expand(2, *example_input.shape[1:])  # one row would fix the batch size
    free = {0: Dim.AUTO}
    if _is_tokens(rows):
        free[1] = Dim.AUTO
    try:
        with recurrent_operators():
            return torch.export.export(
                module.eval(), (rows.contiguous(),), dynamic_shapes=(free,), strict=False
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
    x = input_of(program).meta["val"]
    batch, *sizes = FreeSizes(x.shape).shape_of(x.shape)
    if isinstance(batch, int):
        raise UnsupportedNetworkError(
            f"the network is exported with the fixed batch size {batch}; export it with a free one: "
            "torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim.AUTO},)), where the "
            "example has at least two rows. If that does not help, the module's code uses the number "
            f"{batch} where it must use x.shape[0]"
        )
    if _is_tokens(x):
        if isinstance(sizes[0], int):
            raise UnsupportedNetworkError(
                f"the network is exported for {sizes[0]} tokens; it must take any number: the module's code uses "
                f"the number {sizes[0]} where it must use x.shape[1], or the program was exported without a free "
                "axis 1. Where nn.LSTM or nn.GRU runs over tokens, torch.export fixes their number; the function "
                "app.lrp.graph.trace.exported does not"
            )
    elif any(isinstance(size, str) for size in sizes):
        raise UnsupportedNetworkError("only the batch axis of the network's input may have a free size")


def _is_tokens(x: Tensor) -> bool:
    """Return whether an input is the numbers of tokens, (B, T)."""
    return x.dim() == 2 and not x.is_floating_point()


def _is_leaf(module: nn.Module | None) -> bool:
    return module is not None and not any(module.children())

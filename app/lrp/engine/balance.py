"""How much relevance each node of a network absorbs: the parts of the leak."""

import torch
from torch import Tensor

from app.lrp.attribution import OutputRelevance
from app.lrp.composites import Composite
from app.lrp.engine.compile import CompiledNetwork
from app.lrp.engine.run import backward_pass, forward_pass
from app.lrp.graph.traced import TracedModel


@torch.inference_mode()
def absorbed(
    model: TracedModel, low: Tensor, high: Tensor, x: Tensor, composite: Composite, start: OutputRelevance
) -> dict[str, float]:
    """Return the share of the relevance put in at the output that each layer absorbs, by name, for one input.

    That is, what arrives at its output less what reaches all its inputs. The sum over all layers is the leak.
    ``x`` is (1, …); ``low`` and ``high`` are the smallest and largest input; ``start`` is as in `Engine`.
    """
    network = CompiledNetwork(model, low, high)
    steps = network.steps(composite, x.shape[1:], x.dtype)
    forward = forward_pass(network, x, [steps])
    put_in = start(forward.logits)  # (1, C)
    total = put_in.sum()
    return {
        reached.name: float((reached.arrived - reached.sums)[0] / total)
        for reached in backward_pass(forward, put_in, [0], [steps])
        if reached.name is not None
    }

"""Forward passes of samples: with dropout, or with noise on the input.

Nodes before the first dropout that drops anything are the same in all samples. They run once, and their
values have one row, which the backward passes of all samples share. This includes the denominators of rules
that need a modified forward pass: below the dropout, a sample only costs the transposes.
"""

from collections.abc import Sequence

from app.lrp.engine.forward import ForwardPass, forward_pass, resumed
from app.lrp.engine.steps import Network, Steps
from app.lrp.perturbation import factors_of, noisy
from app.lrp.samples import Samples, Sampling


def sampled_pass(
    network: Network,
    plain: ForwardPass,
    steps: Sequence[Steps],
    samples: Samples,
    numbers: Sequence[int],
) -> ForwardPass:
    """Return the forward pass of the samples with these ``numbers``, one row each.

    ``plain`` is that of their input, one row, without dropout and noise, with all values.
    """
    if samples.sampling is Sampling.NOISE:
        inputs = noisy(plain.inputs, samples, numbers, network.input_range)
        return forward_pass(network, inputs, steps)
    dropouts = network.dropouts(plain.shape)
    factors = factors_of(dropouts, plain.logits, samples, numbers)
    return resumed(plain.until(dropouts[0].index), factors, range(len(plain.layouts)))

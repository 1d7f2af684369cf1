"""Attacks by gradient: the change of an input, within a radius, that raises a loss the most.

Written here, since the libraries that have them take one tensor with one radius, an image in
[0, 1]; what is attacked here is sound and picture at once, each with a range of its own.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Inputs = Mapping[str, Tensor]
"""What is attacked, by name: `sound`, `picture`."""

Loss = Callable[[Inputs], Tensor]
"""A scalar that rises with the error; differentiable in each of the inputs."""

LIMITS = {"picture": (0.0, 1.0)}
"""Least and greatest value of an input; sound has none."""


def slopes(loss: Loss, inputs: Inputs) -> dict[str, Tensor]:
    """Gradient of a loss by each of its inputs."""
    leaves = {name: values.detach().requires_grad_() for name, values in inputs.items()}
    found = torch.autograd.grad(loss(leaves), list(leaves.values()))
    return dict(zip(leaves, found, strict=True))


def fgsm(clean: Inputs, slope: Inputs, radius: Mapping[str, float]) -> dict[str, Tensor]:
    """One step of the full radius along the sign of the gradient.

    Args:
        clean: the inputs.
        slope: gradient of the loss at them.
        radius: of each input, in its unit (maximum norm).

    Source: Goodfellow et al., "Explaining and Harnessing Adversarial Examples", ICLR 2015, Eq. (3).
    """
    return {
        name: _within(name, values + radius[name] * slope[name].sign(), values, radius[name])
        for name, values in clean.items()
    }


def pgd(
    loss: Loss, clean: Inputs, radius: Mapping[str, float], steps: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Steps along the sign of the gradient, each projected back into the radius.

    They begin at random within it and are 2.5 radius / steps long.

    Args:
        loss: to raise.
        clean: the inputs.
        radius: of each input, in its unit (maximum norm).
        steps: their number.
        generator: draws the start.

    Source: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR
    2018, Section 2.1; the length of a step is that of its experiments.
    """
    found = {}
    for name, values in clean.items():
        noise = 2 * torch.rand(values.shape, generator=generator) - 1
        found[name] = _within(name, values + radius[name] * noise, values, radius[name])
    for _ in range(steps):
        slope = slopes(loss, found)
        for name, values in clean.items():
            ahead = found[name] + 2.5 * radius[name] / steps * slope[name].sign()
            found[name] = _within(name, ahead, values, radius[name])
    return found


def _within(name: str, values: Tensor, clean: Tensor, radius: float) -> Tensor:
    near = torch.clamp(values, clean - radius, clean + radius)
    return near.clamp(*LIMITS[name]) if name in LIMITS else near

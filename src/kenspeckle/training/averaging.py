"""A running average of a network's weights, which often answers better than the last ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Average:
    """The exponential moving average of trained parameters and floating-point buffers.

    After update t (1, 2, ...): average <- average + (1 - d) * (weights - average), where
    d = min(decay, (1 + t) / (10 + t)), so that the first random weights are soon forgotten.

    Args:
        decay: in (0, 1); about 1 / (1 - decay) updates are averaged over.

    Source: Polyak and Juditsky 1992; the warm-up is TensorFlow's `ExponentialMovingAverage`.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self._live = averaged_tensors(network)
        self._names = list(self._live)
        self.values = {name: tensor.detach().clone() for name, tensor in self._live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after update `step` (counted from 1)."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        mean = [self.values[name] for name in self._names]
        torch._foreach_lerp_(mean, [self._live[name].detach() for name in self._names], share)

    @torch.no_grad()
    def load(self, values: dict[str, Tensor]) -> None:
        """Take over the `values` of an earlier average of the same network."""
        for name in self._names:
            self.values[name].copy_(values[name])


def averaged_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Trainable parameters and floating-point buffers by name; counters stay as they are."""
    parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
    saved = network.state_dict(keep_vars=True)
    buffers = {n: b for n, b in network.named_buffers() if b.is_floating_point() and n in saved}
    return {**parameters, **buffers}

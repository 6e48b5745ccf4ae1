"""Literal penalties on weights, and how many weights they brought to zero."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def weights_of(network: nn.Module) -> list[nn.Parameter]:
    """The trainable parameters with two dimensions or more: what decay and penalties act on.

    Biases and the scales of normalisation have one dimension and are left alone: shrinking them
    costs accuracy and buys nothing (He et al. 2019, arXiv:1812.01187, section 3.1).
    """
    return [p for p in network.parameters() if p.requires_grad and p.ndim > 1]


def l1_penalty(parameters: Iterable[Tensor]) -> Tensor:
    """The sum of |w| over all parameters; a scalar.

    >>> l1_penalty([torch.tensor([1.0, -2.0])]).item()
    3.0
    """
    return _total([p.abs().sum() for p in parameters])


def l2_penalty(parameters: Iterable[Tensor]) -> Tensor:
    """The sum of w squared over all parameters (no half, no root); a scalar.

    >>> l2_penalty([torch.tensor([1.0, -2.0])]).item()
    5.0
    """
    return _total([p.square().sum() for p in parameters])


def sparsity(network: nn.Module, threshold: float = 1e-3) -> float:
    """The share of weights (biases left out) that are close to zero, in [0, 1].

    Args:
        threshold: a weight counts when |w| is at most this times the largest |w| of its tensor.
            Gradient steps make an l1 penalty's weights small, seldom exactly zero.

    >>> layer = nn.Linear(4, 1)
    >>> _ = layer.weight.data.copy_(torch.tensor([[1.0, 0.0, 1e-6, -1.0]]))
    >>> sparsity(layer)
    0.5
    """
    small = count = 0
    for parameter in network.parameters():
        if parameter.ndim > 1 and parameter.numel():
            size = parameter.detach().abs()
            small += int((size <= threshold * size.max()).sum())
            count += parameter.numel()
    return small / count if count else 0.0


def _total(terms: list[Tensor]) -> Tensor:
    return torch.stack(terms).sum() if terms else torch.zeros(())

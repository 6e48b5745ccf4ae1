"""The rules that turn gradients into steps, each with a learning rate to start from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import Optimizer

from kenspeckle.errors import UsageError, nearest

# `foreach` steps all parameters in a few calls instead of a few calls each.


@dataclass(frozen=True)
class Row:
    """One optimiser: how it is made, its default learning rate, and why that rate."""

    make: Callable[[list[nn.Parameter], float], Optimizer]
    learning_rate: float
    reason: str


def _sgd(parameters: list[nn.Parameter], rate: float) -> Optimizer:
    return torch.optim.SGD(parameters, lr=rate, foreach=True)


def _momentum(parameters: list[nn.Parameter], rate: float) -> Optimizer:
    return torch.optim.SGD(parameters, lr=rate, momentum=0.9, foreach=True)


def _nesterov(parameters: list[nn.Parameter], rate: float) -> Optimizer:
    return torch.optim.SGD(parameters, lr=rate, momentum=0.9, nesterov=True, foreach=True)


def _rmsprop(parameters: list[nn.Parameter], rate: float) -> Optimizer:
    return torch.optim.RMSprop(parameters, lr=rate, foreach=True)


def _adam(parameters: list[nn.Parameter], rate: float) -> Optimizer:
    return torch.optim.Adam(parameters, lr=rate, foreach=True)


def _adam_gan(parameters: list[nn.Parameter], rate: float) -> Optimizer:
    # No momentum: what the other player does next makes the last direction stale.
    return torch.optim.Adam(parameters, lr=rate, betas=(0.0, 0.99), foreach=True)


def _adamw(parameters: list[nn.Parameter], rate: float) -> Optimizer:
    # The loop decays the weights itself, alike for every optimiser.
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0, foreach=True)


def _lbfgs(parameters: list[nn.Parameter], rate: float) -> Optimizer:
    return torch.optim.LBFGS(parameters, lr=rate, line_search_fn="strong_wolfe")


OPTIMISERS: dict[str, Row] = {
    "sgd": Row(_sgd, 0.1, "the usual start for networks with normalisation (He 2016)"),
    "momentum": Row(_momentum, 0.02, "momentum 0.9 makes steps up to ten times longer than sgd's"),
    "nesterov": Row(_nesterov, 0.02, "as momentum"),
    "rmsprop": Row(_rmsprop, 1e-3, "steps of about the rate itself (Tieleman and Hinton 2012)"),
    "adam": Row(_adam, 3e-3, "peak of one-cycle; 1e-3 (Kingma and Ba 2015) is its mean"),
    "adamw": Row(_adamw, 3e-3, "as adam; 4e-3 reached 99 % on MNIST in one epoch of one-cycle"),
    "adam-gan": Row(_adam_gan, 1e-3, "betas 0 and .99 (Karras et al. 2018, arXiv:1710.10196)"),
    "lbfgs": Row(_lbfgs, 1.0, "the full quasi-Newton step; the line search shortens it"),
}


def default_learning_rate(name: str) -> float:
    """The rate that is used when the recipe names none.

    >>> default_learning_rate("lbfgs")
    1.0
    """
    return _row(name).learning_rate


def make_optimiser(
    name: str, parameters: Iterable[nn.Parameter], learning_rate: float | None = None
) -> Optimizer:
    """The optimiser called `name` over `parameters`, without weight decay (the loop's work).

    With decoupled decay for every optimiser, `adam` and `adamw` take the same steps; they differ
    from the literal penalty `l2`, which Adam rescales (Loshchilov and Hutter 2019).

    Args:
        learning_rate: None is the table's default.

    Raises:
        UsageError: there is none of that name, or no parameter to train.
    """
    row = _row(name)
    chosen = list(parameters)
    if not chosen:
        raise UsageError("Nothing is left to train: every parameter is frozen. Unfreeze a part.")
    return row.make(chosen, row.learning_rate if learning_rate is None else learning_rate)


def _row(name: str) -> Row:
    if name not in OPTIMISERS:
        hint = nearest(name, OPTIMISERS) or "."
        raise UsageError(f"There is no optimiser '{name}'{hint} Known: {', '.join(OPTIMISERS)}.")
    return OPTIMISERS[name]

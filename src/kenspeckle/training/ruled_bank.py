"""Heads of the bank under rules: solved for what labels settle, by L-BFGS for what stays open."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor

from kenspeckle.knowledge.names import CLASS
from kenspeckle.tasks.ruled import RuledClassify
from kenspeckle.training.bank import (
    ABSENT,
    SHARPNESS,
    Floats,
    Kind,
    Linear,
    logistic,
    transform_vectors,
)

STEPS = 60  # of L-BFGS, from a good start; 4000 images of 10 classes take about a second
_LOG_RANGE = (-5.0, 10.0)  # of a temperature, as in tasks/temperature.py


def ruled_layer(
    kind: Kind,
    vectors: NDArray[np.float32],
    targets: NDArray[np.int64],
    widths: tuple[int, ...],
    task: RuledClassify,
) -> Linear:
    """Weights (D, F) and biases (D,), a row for each of the task's outputs.

    Leaves, and each attribute, are first solved by the head's closed form on the images whose label
    settles them. Where labels leave the class open, that head goes on by L-BFGS on

        sum of -log p_net(what was seen and the rules)  +  |W - W0|^2 / 2

    over all images, their vectors stretched to a mean length of 10. W0 is zero for logistic
    regression, which is the same problem with more images, and else the closed form, divided by the
    temperature with which it explains the images that it has not seen best.

    Args:
        targets: (N,) as the task collates them.
    """
    x = transform_vectors(vectors, widths, kind.transform)
    left: NDArray[np.bool_] = task.left_open(torch.from_numpy(targets)).numpy()
    weights, bias = _settled(kind, x, left, task)
    start = task.compiled.offsets[CLASS]
    count = left[:, start : start + len(task.rules.leaves)].sum(1)
    is_open = count > 1
    if not is_open.any():
        return weights, bias
    return _refitted(kind, x, targets, is_open, (weights, bias), task)


def _settled(kind: Kind, x: Floats, left: NDArray[np.bool_], task: RuledClassify) -> Linear:
    """Each choice by itself, on the images of which it is known."""
    compiled = task.compiled
    weights = np.zeros((len(task.outputs), x.shape[1]))
    bias = np.zeros(len(task.outputs))
    for choice, columns in compiled.columns.items():
        start, values = compiled.offsets[choice], len(task.rules.choices[choice].values)
        own = left[:, start : start + values]
        rows = own.sum(1) == 1
        number = own[rows].argmax(1)
        if not rows.any():
            continue  # nothing tells it: every value alike
        if len(columns) == 1:  # a yes or no
            if number.min() == number.max():
                bias[columns[0]] = ABSENT if number[0] == 0 else -ABSENT
                continue
            pair, offsets = kind.solve(x[rows], number, 2)
            weights[columns[0]], bias[columns[0]] = pair[1] - pair[0], offsets[1] - offsets[0]
            continue
        solved, offsets = kind.solve(x[rows], number, values)
        for value, column in enumerate(columns):
            if column != -1:
                weights[column], bias[column] = solved[value], offsets[value]
    return weights, bias


def _refitted(
    kind: Kind,
    x: Floats,
    targets: NDArray[np.int64],
    is_open: NDArray[np.bool_],
    begun: Linear,
    task: RuledClassify,
) -> Linear:
    is_free = kind.solve is logistic
    # A class that no image shows wholly begins where a fold put it: never answered. Here kinds
    # speak of it, so it begins as likely as the others.
    begun = begun[0], np.where(begun[1] == ABSENT, _middle(begun[1]), begun[1])
    stretch = SHARPNESS / float(np.linalg.norm(x, axis=1).mean())
    images = torch.from_numpy(x * stretch).float()
    wanted = torch.from_numpy(targets)
    weights, bias = (torch.from_numpy(part).float() for part in begun)
    weights = weights / stretch
    if not is_free:
        rows = torch.from_numpy(np.flatnonzero(is_open))
        logits = images[rows] @ weights.T + bias
        heat = _temperature(logits, wanted[rows], task)
        weights, bias = weights / heat, bias / heat
    anchor = torch.zeros_like(weights) if is_free else weights.clone()
    weights, bias = weights.clone().requires_grad_(), bias.clone().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [weights, bias], max_iter=STEPS, history_size=20, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        losses = task.losses(images @ weights.T + bias, wanted, True)
        loss = losses.sum() + (weights - anchor).square().sum() / 2
        loss.backward()
        return loss

    optimiser.step(closure)
    return weights.detach().double().numpy() * stretch, bias.detach().double().numpy()


def _middle(bias: Floats) -> float:
    """The mean of those that some image settled; 0 where none did."""
    settled = bias[np.abs(bias) != -ABSENT]
    return float(settled.mean()) if len(settled) else 0.0


def _temperature(logits: Tensor, targets: Tensor, task: RuledClassify) -> float:
    """By what logits of images that were not learned from should be divided."""
    found = minimize_scalar(
        lambda log_t: float(task.losses(logits / math.exp(log_t), targets, False).mean()),
        bounds=_LOG_RANGE,
        method="bounded",
    )
    return math.exp(found.x)

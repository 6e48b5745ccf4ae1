"""A learning rate to start from: raise it until the loss blows up; where did it fall fastest?"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from kenspeckle.data.batch import Batches
from kenspeckle.errors import UsageError
from kenspeckle.recipe import Training
from kenspeckle.tasks.task import Task
from kenspeckle.training.loop import TrainingDiverged, train
from kenspeckle.training.schedules import Schedule

SMOOTHING = 0.9  # of the loss; at 100 rates over 7 decades it lags by half a decade
BLOWN_UP = 4.0  # times the lowest smoothed loss


@dataclass(frozen=True)
class Sweep:
    """The curve and what it suggests.

    Args:
        rates: learning rates tried, rising.
        losses: smoothed training loss at each.
        suggestion: the rate at which the loss fell fastest; where it did not fall, a tenth of the
            rate with the lowest loss.
        blew_up: whether the sweep ended before the highest rate.
    """

    rates: Sequence[float]
    losses: Sequence[float]
    suggestion: float
    blew_up: bool


@dataclass(frozen=True)
class _Rising(Schedule):
    """From `low` to 1, each step the same number of times the one before."""

    low: float

    def factor(self, progress: float) -> float:
        return float(self.low ** (1 - progress))


def find_learning_rate(
    network: nn.Module,
    task: Task[Any],
    batches: Batches,
    recipe: Training,
    *,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 100,
) -> Sweep:
    """Train a copy of the network for `steps` updates at rates that rise from `low` to `high`.

    The given network is not touched.

    Raises:
        UsageError: the optimiser is L-BFGS, which searches its own step.

    Source: Smith 2017, arXiv:1506.01186, section 3.3; the smoothing and the end, arXiv:1803.09820.
    """
    if recipe.optimiser == "lbfgs":
        raise UsageError("L-BFGS finds the length of each step itself; there is no rate to find.")
    tried = replace(recipe, learning_rate=high, steps=steps, averaging=0.0)
    copied = copy.deepcopy(network)
    rates: list[float] = []
    losses: list[float] = []
    mean, lowest, blew_up = 0.0, math.inf, False

    def progress(done: int) -> float:
        return done / max(1, steps - 1)

    try:
        rising = _Rising(low / high)
        for step in train(copied, task, batches, tried, schedule=rising, progress=progress):
            mean = SMOOTHING * mean + (1 - SMOOTHING) * step.loss
            smooth = mean / (1 - SMOOTHING ** (len(losses) + 1))
            if smooth > BLOWN_UP * lowest:
                blew_up = True
                break
            lowest = min(lowest, smooth)
            rates.append(step.learning_rate)
            losses.append(smooth)
    except TrainingDiverged:
        blew_up = True
    return Sweep(rates, losses, suggest(rates, losses, fallback=low), blew_up)


def suggest(rates: Sequence[float], losses: Sequence[float], fallback: float) -> float:
    """The rate of the steepest fall of loss against log rate, at or before the lowest loss.

    Args:
        rates, losses: a curve, rates rising.
        fallback: for a curve of fewer than 3 points.

    >>> suggest([1e-4, 1e-3, 1e-2, 1e-1], [1.0, 0.9, 0.2, 0.1], fallback=1e-5)
    0.001
    """
    if len(rates) < 3:
        return fallback
    bottom = int(np.argmin(losses))
    slopes = np.gradient(np.asarray(losses, float), np.log(rates))[: bottom + 1]
    steepest = int(np.argmin(slopes))
    if bottom == 0 or slopes[steepest] >= 0:
        return rates[bottom] / 10
    return rates[steepest]

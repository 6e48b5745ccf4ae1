"""Time: how much of it is left, and which settings make the most of it on this machine."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import nn

from kenspeckle.data.batch import Batch, Batches
from kenspeckle.recipe import Training
from kenspeckle.tasks.task import Task
from kenspeckle.training.loop import train
from kenspeckle.training.schedules import Constant

MEASURE_SECONDS = 1.0  # about a dozen steps of each setting
WORTH_MEASURING_SECONDS = 5.0  # a shorter run cannot win back what measuring costs
STEP_SECONDS = 0.05  # the measured batch is cut until a step is about this long
CLEARLY = 0.9  # another setting must take at most this share of the default's time


class Deadline:
    """A time budget on the monotonic clock.

    Args:
        seconds: of the whole budget; None is no limit.
        share: how much of it training may use; the rest is for the last measurements and saving.
        spent: seconds that were used before, by a run that is resumed.

    >>> Deadline(None).used()
    0.0
    >>> Deadline(10, spent=9).used()
    1.0
    """

    def __init__(self, seconds: float | None, share: float = 0.9, spent: float = 0.0) -> None:
        self.limit = math.inf if seconds is None else seconds * share
        self.began = time.monotonic() - spent

    def used(self, reserve: float = 0.0) -> float:
        """The share of the budget that is over, in [0, 1]; `reserve` seconds are kept back."""
        limit = self.limit - reserve
        if limit <= 0:
            return 1.0
        return min(1.0, (time.monotonic() - self.began) / limit)

    def seconds_left(self) -> float:
        """Until training should stop; infinite without a limit."""
        return max(0.0, self.limit - (time.monotonic() - self.began))


@dataclass(frozen=True)
class Settings:
    """What may change the speed of a step without changing what is asked of it."""

    precision: Literal["float32", "bfloat16"]
    channels_last: bool
    threads: int

    def into(self, recipe: Training) -> Training:
        """The recipe with these settings."""
        return replace(recipe, **dataclasses.asdict(self))


def choose_speed(
    network: nn.Module, task: Task[Any], batch: Batch, recipe: Training, updates: int
) -> Training:
    """The recipe with precision, channels_last and threads resolved to what is fastest here.

    A few updates of a copy of the network are timed, settings in turn, and least compared; only
    fields that are None are chosen. Short runs take float32, the given memory order and torch's
    own number of threads without measuring.

    Args:
        batch: a real one; it is cut to keep a measured step short.
        updates: of the whole run.
    """
    candidates = list(settings_for(recipe))
    default = candidates[0]
    if len(candidates) == 1:
        return default.into(recipe)
    before = torch.get_num_threads()
    try:
        trial = _Trial(network, task, batch, recipe, default)
        seconds = trial.seconds()
        if seconds * updates < WORTH_MEASURING_SECONDS:
            return default.into(recipe)
        part = _cut(batch, seconds)
        least = _measure([_Trial(network, task, part, recipe, s) for s in candidates])
    finally:
        torch.set_num_threads(before)
    fastest = min(least, key=lambda setting: least[setting])
    clear = least[fastest] <= CLEARLY * least[default]
    return (fastest if clear else default).into(recipe)


def settings_for(recipe: Training) -> Iterator[Settings]:
    """Every combination that the recipe leaves open; the safe one first."""
    precisions = [recipe.precision] if recipe.precision else _precisions(recipe.device)
    orders = [False, True] if recipe.channels_last is None else [recipe.channels_last]
    threads = [recipe.threads] if recipe.threads else _threads(recipe.device)
    for combination in itertools.product(precisions, orders, threads):
        yield Settings(*combination)


def _precisions(device: str) -> list[Literal["float32", "bfloat16"]]:
    """Bfloat16 only where the processor computes in it; elsewhere it is emulated and slow."""
    if torch.device(device).type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return ["float32", "bfloat16"] if native else ["float32"]


def _threads(device: str) -> list[int]:
    """Torch's own number first, then one: two can be 5x slower on a busy machine."""
    own = min(torch.get_num_threads(), os.cpu_count() or 1)
    return [own] if own == 1 or torch.device(device).type != "cpu" else [own, 1]


class _Same(Batches):
    """One batch, again and again."""

    def __init__(self, batch: Batch) -> None:
        super().__init__(batch.images, batch.targets, batch.weights, batch_size=len(batch))
        self.batch = batch

    def epoch(self, number: int, skip: int = 0) -> Iterator[list[Batch]]:
        """An epoch is one update."""
        yield [self.batch]


class _Trial:
    """A copy of the network that can be trained for one update at a time."""

    def __init__(
        self, network: nn.Module, task: Task[Any], batch: Batch, recipe: Training, chosen: Settings
    ) -> None:
        self.settings, self.times = chosen, [float("inf")]
        quick = replace(chosen.into(recipe), optimiser="sgd", learning_rate=1e-6, clip=None)
        quick = replace(quick, steps=1_000_000, batch_size=len(batch))
        torch.set_num_threads(chosen.threads)
        copied = copy.deepcopy(network)
        self.steps = train(copied, task, _Same(batch), quick, schedule=Constant())
        next(self.steps)  # the first update chooses kernels and takes memory

    def seconds(self) -> float:
        """Of one update."""
        torch.set_num_threads(self.settings.threads)
        start = time.perf_counter()
        next(self.steps)
        return time.perf_counter() - start


def _measure(trials: list[_Trial]) -> dict[Settings, float]:
    """Least seconds of an update, by turns. What else the machine does can only add to a time, and
    least of a busy minute chose float32 where bfloat16 is twice as fast.
    """
    end = time.monotonic() + MEASURE_SECONDS
    times: dict[Settings, list[float]] = {trial.settings: [] for trial in trials}
    while not all(times.values()) or time.monotonic() < end:
        for trial in trials:
            times[trial.settings].append(trial.seconds())
    return {settings: min(seconds) for settings, seconds in times.items()}


def _cut(batch: Batch, seconds: float) -> Batch:
    """So many images that a step takes about `STEP_SECONDS`; at least 4, for normalisation."""
    count = max(4, round(len(batch) * min(1.0, STEP_SECONDS / seconds)))
    return Batch(*(part[:count] for part in vars(batch).values()))

"""Fine-tuning: the last stages of a packaged network go on learning, and must show that it pays."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kenspeckle.data.batch import Batches, Chosen, Rows
from kenspeckle.data.split import split
from kenspeckle.errors import DataError
from kenspeckle.models.backbone import Backbone
from kenspeckle.models.heads import FeatureHead
from kenspeckle.models.runtime import Precision, for_inference, in_parallel
from kenspeckle.recipe import Training
from kenspeckle.score import paired_difference, standard_error
from kenspeckle.tasks.task import ClassTask, Network
from kenspeckle.training.budget import choose_speed
from kenspeckle.training.fit import fit
from kenspeckle.verbs.prepare import Prepared
from kenspeckle.verbs.progress import Stage, Tell

EPOCHS = 8  # passes over the images: the head is solved already, so few are needed
FEWEST_EPOCHS = 2
RATE = 3e-4  # a tenth of what a fresh network takes: what was learned before should stay
HELD_OUT = 0.25  # of the images, to see whether it pays
TIMED = 3  # updates that tell how long one takes
SHARE = 0.8  # of the time that is left; the rest is for measuring and the report

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tuned:
    """What fine-tuning came to.

    Args:
        network: the network to keep, or None where it did not pay or was not tried.
        task: with the temperature of the network that is kept.
        row: what the report lists under what was tried, or None.
        words: what came of it, as a sentence.
    """

    network: Network | None
    task: ClassTask
    row: Mapping[str, Any] | None
    words: str


@dataclass(frozen=True)
class Start:
    """What fine-tuning begins with.

    Args:
        task: calibrated for the fixed features.
        head: fits a head to some rows: rows -> a fresh `FeatureHead`.
        targets: (N,) or (N, K), as the task collates them.
        learn: rows that may be learned from.
        seconds: that may be spent; None is no limit.
    """

    prepared: Prepared
    task: ClassTask
    backbone: Backbone
    head: Callable[[Ints], FeatureHead]
    targets: Tensor
    learn: Ints
    recipe: Training
    precision: Precision
    seconds: float | None


def fine_tuned(start: Start, tell: Tell) -> Tuned:
    """Let the last stages go on learning, once to see whether it pays, once on all images.

    A quarter of the images is held out. The fixed features with their head and the network that
    went on from there, both without that quarter, answer it; fine-tuning is kept only where the
    fall of -log p(truth) on these images is larger than its standard error, in which the images of
    one group (a patient, a track) count as one.
    """
    tail = start.backbone.tail()
    if not tail:
        return _left(start, "the network does not say which of its stages are the last")
    try:
        inside, outside = _halves(start)
    except DataError:
        return _left(start, "there are too few images of each class to see whether it pays")
    network = _network(start, inside)
    epochs = _epochs(start, network, inside)
    if epochs < FEWEST_EPOCHS:
        return _left(start, "the budget leaves too little time")
    began = time.perf_counter()
    base = _outputs(network, start, outside)
    _go_on(network, start, inside, epochs, tell)
    tuned = _outputs(network, start, outside)
    truth = start.targets[torch.from_numpy(outside)].long().numpy()
    before, _ = start.task.judge(base, truth)
    after, accuracy = start.task.judge(tuned, truth)
    gain = before - after
    groups = start.prepared.groups_of(outside)
    error = standard_error(gain, groups)
    row = {
        "name": "fine-tuning the last stages",
        "loss": float(after.mean()),
        "accuracy": accuracy,
        "seconds": round(time.perf_counter() - began, 1),
        "gain": paired_difference(np.exp(-after), np.exp(-before), groups).as_dict(),
    }
    fall = f"on {len(outside)} held-out images the loss went from {before.mean():.3f} to "
    fall += f"{after.mean():.3f}, a gain of {gain.mean():.3f} with a standard error of {error:.3f}"
    if gain.mean() <= error:
        words = f"dropped: {fall}, which is no more than noise"
        return Tuned(None, start.task, {**row, "chosen": False, "words": words}, words)
    task = copy.copy(start.task)
    task.calibrate(tuned, truth)
    final = _network(start, start.learn)
    _go_on(final, start, start.learn, epochs, tell)
    words = f"kept: {fall}"
    return Tuned(final.eval(), task, {**row, "chosen": True, "words": words}, words)


def answered(network: Network, images: Rows, rows: Ints, precision: Precision) -> Floats:
    """Logits (M, K) of some images, as a model file's network gives them."""
    folded = for_inference(network)
    chosen = Chosen(images, torch.from_numpy(rows))
    return in_parallel(folded, chosen, precision).double().numpy()


def _left(start: Start, why: str) -> Tuned:
    return Tuned(None, start.task, None, f"fine-tuning was not tried: {why}")


def _halves(start: Start) -> tuple[Ints, Ints]:
    """Rows to learn from and rows to judge on, groups kept together."""
    samples = start.prepared.used.samples
    labels = [samples[i].label for i in start.learn]
    parts = split(
        start.task.strata(labels),
        start.prepared.groups[start.learn],
        test_share=HELD_OUT,
        tune_share=0.0,
        seed=start.recipe.seed,
        given=[None] * len(labels),
        names=[samples[i].path for i in start.learn],
    )
    if len(parts.test) < 2:
        raise DataError("nothing to judge on")
    return start.learn[parts.train], start.learn[parts.test]


def _network(start: Start, rows: Ints) -> Network:
    """The packaged network with a head for these rows, its last stages free to learn."""
    backbone = copy.deepcopy(start.backbone).requires_grad_(False)
    for part in backbone.tail():
        for module in part.modules():
            if isinstance(module, nn.Conv2d):  # normalisation keeps its statistics and scales
                module.requires_grad_(True)
    head = start.head(rows)
    with torch.no_grad():  # as sure as it is right: a head far too sure has no gradient
        for weights in (head.linear.weight, head.linear.bias):
            weights.div_(start.task.temperature)
    return Network(backbone, head.requires_grad_(True))


def _training(start: Start, epochs: int) -> Training:
    return replace(
        start.recipe,
        epochs=epochs,
        steps=None,
        batch_size=32,
        optimiser="adamw",
        learning_rate=RATE,
        schedule="one-cycle",
        budget_seconds=None,
        patience=0,
    )


def _batches(start: Start, rows: Ints) -> Batches:
    chosen = torch.from_numpy(rows)
    weights = torch.tensor([start.prepared.used.samples[i].weight for i in rows])
    return Batches(
        Chosen(start.prepared.images, chosen),
        start.targets[chosen],
        weights,
        batch_size=32,
        seed=start.recipe.seed,
    )


def _epochs(start: Start, network: Network, rows: Ints) -> int:
    """How many passes there is time for, twice: to see, and on all images."""
    if start.seconds is None:
        return EPOCHS
    batches, trial = _batches(start, rows), copy.deepcopy(network)
    training = replace(_training(start, 1), steps=TIMED + 1, precision=start.precision)
    ends = [time.perf_counter() for _ in fit(trial, start.task, batches, None, training, None)]
    each = (ends[TIMED] - ends[0]) / TIMED
    both = len(batches) + -(-len(start.learn) // 32)
    return min(EPOCHS, int(SHARE * start.seconds / (each * both)))


def _go_on(network: Network, start: Start, rows: Ints, epochs: int, tell: Tell) -> None:
    batches = _batches(start, rows)
    training = _training(start, epochs)
    first = next(batches.epoch(0))[0]
    training = choose_speed(network, start.task, first, training, epochs * len(batches))
    for step in fit(network, start.task, batches, None, training, None):
        tell(Stage("fine-tuning", step.step, step.total_steps, "", step.seconds_left))
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def _outputs(network: Network, start: Start, rows: Ints) -> Floats:
    return answered(network.eval(), start.prepared.images, rows, start.precision)

"""Training a network's own weights: the loop, stopped on tuning images, measured on test images."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kenspeckle.data.batch import Batches
from kenspeckle.data.split import Parts
from kenspeckle.errors import DataError
from kenspeckle.files import write_bytes
from kenspeckle.models import BACKBONES, ENCODERS
from kenspeckle.models.backbone import Input
from kenspeckle.models.pretrained import hold_statistics, is_pretrained, make_backbone
from kenspeckle.recipe import Recipe
from kenspeckle.tasks import TASKS
from kenspeckle.tasks.generate import Generate
from kenspeckle.tasks.task import Choices, ClassTask, Task
from kenspeckle.training.budget import choose_speed
from kenspeckle.training.finder import find_learning_rate
from kenspeckle.training.fit import Look, Measured, Progress, Tune, fit
from kenspeckle.training.health import Diagnosis, diagnose, draw
from kenspeckle.training.loop import Augment, total_steps
from kenspeckle.training.optimisers import default_learning_rate
from kenspeckle.verbs.augmenting import chosen_augmentation, remembered_words
from kenspeckle.verbs.film import Film
from kenspeckle.verbs.loop_outcome import PIECE, loop_outcome, part_of
from kenspeckle.verbs.outcome import Outcome
from kenspeckle.verbs.parts import divided
from kenspeckle.verbs.prepare import Prepared
from kenspeckle.verbs.progress import Stage, Tell, quiet
from kenspeckle.verbs.settle import fit_of

STATISTICS = 2000  # training images, at most, that mean and deviation are taken from
Ints = NDArray[np.int64]
MOST_WATCHED = 2000  # training images that are measured beside the tuning images, each epoch


@dataclass(frozen=True)
class Extras:
    """What is asked of a loop beside training.

    Args:
        folder: of the run, for snapshots and drawings; None keeps none.
        began: `time.perf_counter()` when the verb began: a budget counts from there.
        resume: continue from its newest snapshot.
        diagnose: draw the gradients' health.
        find_rate: sweep for a learning rate first.
    """

    folder: Path | None
    began: float
    resume: bool = False
    diagnose: bool = False
    find_rate: bool = False


def train_loop(prepared: Prepared, recipe: Recipe, extras: Extras, tell: Tell) -> Outcome:
    """Train on the train part, stop on the val part, measure on the test part."""
    parts = parts_of(prepared, recipe)
    torch.manual_seed(recipe.training.seed)
    task, network = _asked(prepared, recipe, parts.train)
    batches = _batches(prepared, recipe, task, parts.train)
    if isinstance(task, ClassTask) and task.chosen.kind != "cross-entropy":
        tell(Stage("training", words=f"loss: {task.chosen.words}"))
    augmenting = chosen_augmentation(prepared, recipe, task, parts.train, tell)
    if extras.folder is not None:
        augmenting = remembered_words(augmenting, extras.folder, extras.resume)
    if extras.find_rate:
        recipe = _with_found_rate(recipe, network, task, batches, tell)
    recipe = _resolved(recipe, network, task, batches)
    drawn = extras.folder if extras.diagnose else None
    health = None
    if task.learning.brings is None:  # a network that starts as the identity looks ill and is not
        health = _health(network, task, batches, recipe, drawn, tell)
    if recipe.training.budget_seconds is not None and not extras.resume:
        left = recipe.training.budget_seconds - (time.perf_counter() - extras.began)
        left *= 1 - task.learning.measuring_share
        training = replace(recipe.training, budget_seconds=max(1.0, left))
        recipe = replace(recipe, training=training)
    recipe = replace(recipe, training=replace(recipe.training, augment=augmenting.names))
    if extras.folder is not None:
        recipe.to_yaml(extras.folder / "args.yaml")  # a resumed run repeats what was measured
        if augmenting.sheet is not None:
            write_bytes(extras.folder / "augmentation.png", augmenting.sheet)
    tune = _tuner(prepared, recipe, task, parts.val, parts.train)
    film = None
    if isinstance(task, Generate) and extras.folder is not None:
        film = Film(task, extras.folder, extras.resume)
    look = None if film is None else film.take
    history = _run(network, task, batches, tune, look, recipe, extras, augmenting.change, tell)
    told: dict[str, Any] = {"augmentation": list(augmenting.words)}
    if isinstance(task, ClassTask):
        told["losses"] = task.chosen.words
    outcome = loop_outcome(prepared, recipe, task, network, parts, history, health, told, tell)
    return outcome if film is None else film.shown(outcome)


def trained(prepared: Prepared, recipe: Recipe, rows: Ints, tune_rows: Ints) -> nn.Module:
    """A network trained on some rows and stopped on others, without a word: for comparisons."""
    torch.manual_seed(recipe.training.seed)
    began = time.perf_counter()
    task, network = _asked(prepared, recipe, rows)
    batches = _batches(prepared, recipe, task, rows)
    recipe = _resolved(recipe, network, task, batches)
    augmenting = chosen_augmentation(prepared, recipe, task, rows, quiet)
    training = recipe.training
    if training.budget_seconds is not None:
        left = training.budget_seconds - (time.perf_counter() - began)
        training = replace(training, budget_seconds=max(1.0, left))
    tune = _tuner(prepared, recipe, task, tune_rows, rows)
    for _ in fit(network, task, batches, tune, training, None, augment=augmenting.change):
        pass
    return network.to("cpu").to(memory_format=torch.contiguous_format)


def parts_of(prepared: Prepared, recipe: Recipe) -> Parts:
    """Which rows train, tune and measure: as the owner gave them, else by chance.

    Raises:
        DataError: nothing is left to measure on.
    """
    used, data = prepared.used, recipe.data
    task = prepared.task(recipe.task)
    parts = divided(
        prepared,
        task,
        test_share=data.test_share,
        tune_share=data.tune_share,
        seed=data.seed,
    )
    if not task.learning.tunes:
        both = np.sort(np.concatenate([parts.train, parts.val]))
        parts = replace(parts, train=both, val=parts.val[:0])
    if not len(parts.test):
        raise DataError(
            f"{used.root} has no image left to test on: no class has a second image or group. "
            "Add images, or use a packaged network, which learns from one image a class."
        )
    return parts


def _asked(prepared: Prepared, recipe: Recipe, rows: Ints) -> tuple[Task[Any], Any]:
    """The task, and its network with fresh or given weights."""
    used, name = prepared.used, str(recipe.model)
    choices = Choices(
        head=_head(recipe, prepared),
        fit=fit_of(recipe),
        dropout=recipe.dropout,
        pool=recipe.pool,
        smoothing=recipe.training.smoothing,
        loss=recipe.loss,
        degradations=recipe.degradations,
        channels=prepared.images[torch.tensor([0])].shape[1] if used.reads == "images" else 3,
        rules=None if prepared.rules is None else prepared.rules.kept(),
    )
    task = prepared.kind(recipe.task).for_data(used, rows.tolist(), choices)
    if task.learning.brings is not None:
        return task, task.network(None)
    features = task.features(prepared.features)
    built = Input(recipe.data.image_size or 224, recipe.positions, features)
    fresh = recipe.weights is None and (bool(features) or not is_pretrained(name, None))
    backbone = make_backbone(name, recipe.weights, fresh=fresh, built=built)
    if fresh and used.reads != "pairs" and choices.head != "flatten":
        few = torch.from_numpy(rows[:: -(-len(rows) // STATISTICS)])
        backbone.learn_statistics(prepared.images[few])
    if not fresh and task.says_where:
        hold_statistics(backbone)
    return task, task.network(backbone)


def _head(recipe: Recipe, prepared: Prepared) -> str:
    """Which of models/heads.py the network's row names; features are read by a pooled head here."""
    name = str(recipe.model)
    asked: type[Task[Any]] = TASKS.load(recipe.task)
    if asked.learning.heads or asked.learning.brings is not None:
        return recipe.head
    if prepared.used.reads != "images":
        return str(ENCODERS.row(name).facts.get("head", "pooled"))
    named = "pooled" if name.startswith("timm:") else BACKBONES.row(name).facts["head"]
    return "pooled" if named == "features" else str(named)


def _batches(prepared: Prepared, recipe: Recipe, task: Task[Any], rows: Ints) -> Batches:
    samples = [prepared.used.samples[i] for i in rows]
    images, targets, weights = task.learnable(
        part_of(prepared, rows),
        [sample.label for sample in samples],
        torch.tensor([sample.weight for sample in samples]),
        [prepared.sizes[i] for i in rows],
        recipe.training.seed,
    )
    return Batches(
        images,
        targets,
        weights,
        batch_size=recipe.training.batch_size,
        seed=recipe.training.seed,
        lengths=None if prepared.lengths is None else torch.from_numpy(prepared.lengths[rows]),
    )


def _resolved(recipe: Recipe, network: nn.Module, task: Task[Any], batches: Batches) -> Recipe:
    """The recipe with learning rate, precision, memory order and threads settled."""
    training = recipe.training
    if training.learning_rate is None:
        rate = default_learning_rate(training.optimiser)
        training = replace(training, learning_rate=rate)
    first = next(batches.epoch(0))[0]
    updates = total_steps(training, len(batches))
    return replace(recipe, training=choose_speed(network, task, first, training, updates))


def _with_found_rate(
    recipe: Recipe, network: nn.Module, task: Task[Any], batches: Batches, tell: Tell
) -> Recipe:
    sweep = find_learning_rate(network, task, batches, recipe.training)
    tell(Stage("training", words=f"learning rate found: {sweep.suggestion:.2g}"))
    return replace(recipe, training=replace(recipe.training, learning_rate=sweep.suggestion))


def _health(
    network: nn.Module,
    task: Task[Any],
    batches: Batches,
    recipe: Recipe,
    folder: Path | None,
    tell: Tell,
) -> Diagnosis:
    diagnosis = diagnose(network, task, next(batches.epoch(0))[0], recipe.training)
    if folder is not None:
        draw(diagnosis, folder / "gradient_health.png")
    if diagnosis.verdict != "healthy" or folder is not None:
        tell(Stage("training", words=f"gradients: {diagnosis}"))
    return diagnosis


def _tuner(
    prepared: Prepared, recipe: Recipe, task: Task[Any], rows: Ints, learned: Ints
) -> Tune | None:
    """How good a network's weights are on the tuning images, or None where there are none."""
    if not len(rows) or not task.learning.tunes:
        return None
    batches = in_order(_batches(prepared, recipe, task, rows))
    some = learned[:: -(-len(learned) // MOST_WATCHED)]
    seen = in_order(_batches(prepared, recipe, task, some))

    def tune(network: nn.Module) -> Measured:
        loss, share = _watched(network, task, batches)
        _, seen_share = _watched(network, task, seen) if share is not None else (0.0, None)
        return Measured(loss, seen_share, share, len(rows))

    return tune


def _watched(network: nn.Module, task: Task[Any], batches: Batches) -> tuple[float, float | None]:
    """The plain mean loss, and the share that is answered right where the task knows one."""
    device = next(network.parameters()).device
    total = 0.0
    right: int | None = 0 if isinstance(task, ClassTask) else None
    for (batch,) in batches.epoch(0):
        placed = batch.to(device)
        if isinstance(task, ClassTask):
            outputs = network(placed.images).float()
            total += float(task.losses(outputs, placed.targets, False).sum())
            right = (right or 0) + int(task.right(outputs, placed.targets).sum())
        else:
            loss = task.loss(network, placed, next(iter(task.players(network))))
            total += float(loss) * len(batch)
    n = len(batches.images)
    return total / n, None if right is None else right / n


def in_order(batches: Batches) -> Batches:
    """The same images in order, each as heavy as the other, in large pieces: for measuring."""
    return Batches(batches.images, batches.targets, batch_size=PIECE)


def _run(
    network: nn.Module,
    task: Task[Any],
    batches: Batches,
    tune: Tune | None,
    look: Look | None,
    recipe: Recipe,
    extras: Extras,
    augment: Augment | None,
    tell: Tell,
) -> list[dict[str, Any]]:
    snapshots = None if extras.folder is None else extras.folder / "checkpoints"
    steps: Iterator[Progress] = fit(
        network,
        task,
        batches,
        tune,
        recipe.training,
        snapshots,
        resume=extras.resume,
        augment=augment,
        look=look,
    )
    last = None
    for last in steps:
        words = ""
        if last.tune_loss is not None:
            words = (
                f"epoch {last.epoch}: training loss {last.train_loss:.3f}, "
                f"tuning loss {last.tune_loss:.3f}"
            )
        if last.stopped:
            words = f"stopped: {last.stopped}"
        tell(Stage("training", last.step, last.total_steps, words, last.seconds_left))
    return [] if last is None else [dataclasses.asdict(row) for row in last.history]

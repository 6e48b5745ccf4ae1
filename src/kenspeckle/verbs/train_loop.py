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
from torch import Tensor, nn

from kenspeckle.data.batch import Batches, Rows, in_pieces
from kenspeckle.data.split import Parts, split
from kenspeckle.errors import DataError
from kenspeckle.models import BACKBONES
from kenspeckle.models.pretrained import is_pretrained, make_backbone
from kenspeckle.recipe import Recipe
from kenspeckle.tasks.classify import Classify
from kenspeckle.tasks.task import Network
from kenspeckle.training.budget import choose_speed
from kenspeckle.training.finder import find_learning_rate
from kenspeckle.training.fit import Progress, fit
from kenspeckle.training.health import Diagnosis, diagnose, draw
from kenspeckle.training.loop import total_steps
from kenspeckle.training.optimisers import default_learning_rate
from kenspeckle.trust.calibration import fit_temperature
from kenspeckle.trust.unknown import familiar_from, unit
from kenspeckle.verbs.outcome import Outcome
from kenspeckle.verbs.prepare import Prepared
from kenspeckle.verbs.progress import Stage, Tell

PIECE = 256  # images at once where nothing is learned
MOST_VECTORS = 5000  # training images whose vectors are kept for `unknown` and nearest images


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
    used = prepared.used
    targets = torch.from_numpy(used.targets())
    parts = split(
        used.targets(),
        prepared.groups,
        test_share=recipe.data.test_share,
        tune_share=recipe.data.tune_share,
        seed=recipe.data.seed,
        given=[sample.split for sample in used.samples],
        names=[sample.path for sample in used.samples],
    )
    if not len(parts.test):
        raise DataError(
            f"{used.root} has no image left to test on: no class has a second image or group. "
            "Add images, or use a packaged network, which learns from one image a class."
        )
    torch.manual_seed(recipe.training.seed)
    backbone = make_backbone(
        recipe.model, recipe.weights, fresh=not is_pretrained(recipe.model, recipe.weights)
    )
    is_flat = not recipe.model.startswith("timm:") and (
        BACKBONES.row(recipe.model).facts["head"] == "flatten"
    )
    task = Classify(
        used.classes,
        head="flatten" if is_flat else "pooled",
        image_size=recipe.data.image_size or 224,
        dropout=recipe.dropout,
        smoothing=recipe.training.smoothing,
    )
    network = task.network(backbone)
    batches = Batches(
        _part(prepared.images, parts.train),
        targets[parts.train],
        torch.tensor([used.samples[i].weight for i in parts.train]),
        batch_size=recipe.training.batch_size,
        seed=recipe.training.seed,
    )
    if extras.find_rate:
        recipe = _with_found_rate(recipe, network, task, batches, tell)
    recipe = _resolved(recipe, network, task, batches)
    drawn = extras.folder if extras.diagnose else None
    health = _health(network, task, batches, recipe, drawn, tell)
    if recipe.training.budget_seconds is not None and not extras.resume:
        left = recipe.training.budget_seconds - (time.perf_counter() - extras.began)
        training = replace(recipe.training, budget_seconds=max(1.0, left))
        recipe = replace(recipe, training=training)
    if extras.folder is not None:
        recipe.to_yaml(extras.folder / "args.yaml")  # a resumed run repeats what was measured
    tune = _tuner(prepared, parts, targets)
    history = _run(network, task, batches, tune, recipe, extras, tell)
    return _outcome(prepared, recipe, task, network, parts, history, health)


def _part(images: Rows, rows: NDArray[np.int64]) -> Tensor:
    return images[torch.from_numpy(rows)]


def _resolved(recipe: Recipe, network: Network, task: Classify, batches: Batches) -> Recipe:
    """The recipe with learning rate, precision, memory order and threads settled."""
    training = recipe.training
    if training.learning_rate is None:
        rate = default_learning_rate(training.optimiser)
        training = replace(training, learning_rate=rate)
    first = next(batches.epoch(0))[0]
    updates = total_steps(training, len(batches))
    return replace(recipe, training=choose_speed(network, task, first, training, updates))


def _with_found_rate(
    recipe: Recipe, network: Network, task: Classify, batches: Batches, tell: Tell
) -> Recipe:
    sweep = find_learning_rate(network, task, batches, recipe.training)
    tell(Stage("training", words=f"learning rate found: {sweep.suggestion:.2g}"))
    return replace(recipe, training=replace(recipe.training, learning_rate=sweep.suggestion))


def _health(
    network: Network,
    task: Classify,
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


def _tuner(prepared: Prepared, parts: Parts, targets: Tensor) -> Any:
    if not len(parts.val):
        return None
    images, labels = _part(prepared.images, parts.val), targets[parts.val]

    def tune(network: nn.Module) -> float:
        device = next(network.parameters()).device
        pieces = in_pieces(len(images), PIECE)
        logits = torch.cat([network(images[s].to(device)).float().cpu() for s in pieces])
        return float(nn.functional.cross_entropy(logits, labels))

    return tune


def _run(
    network: Network,
    task: Classify,
    batches: Batches,
    tune: Any,
    recipe: Recipe,
    extras: Extras,
    tell: Tell,
) -> list[dict[str, Any]]:
    snapshots = None if extras.folder is None else extras.folder / "checkpoints"
    steps: Iterator[Progress] = fit(
        network, task, batches, tune, recipe.training, snapshots, resume=extras.resume
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


def answers_of(network: Network, images: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Logits (N, K) and unit vectors (N, D) of images, without learning."""
    network.eval()
    logits, vectors = [], []
    with torch.inference_mode():
        for piece in in_pieces(len(images), PIECE):
            vector = network.head.vector(network.backbone.stages(images[piece]))
            logits.append(network.head.from_vector(vector))
            vectors.append(network.head.likeness(vector))
    return torch.cat(logits).double().numpy(), torch.cat(vectors).float().numpy()


def _outcome(
    prepared: Prepared,
    recipe: Recipe,
    task: Classify,
    network: Network,
    parts: Parts,
    history: list[dict[str, Any]],
    health: Diagnosis,
) -> Outcome:
    targets = prepared.used.targets()
    network = network.to("cpu").to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    test_logits, test_vectors = answers_of(network, _part(prepared.images, parts.test))
    chosen = parts.train[:: -(-len(parts.train) // MOST_VECTORS)]
    _, vectors = answers_of(network, _part(prepared.images, chosen))
    temperature, held_out = 1.0, np.zeros(0, np.float32)
    familiar = familiar_from(unit(vectors), held_out, recipe.unknown_share)
    if len(parts.val):
        val_logits, val_vectors = answers_of(network, _part(prepared.images, parts.val))
        temperature = fit_temperature(val_logits, targets[parts.val]).value
        held_out = familiar.distances(val_vectors)
        familiar = familiar_from(unit(vectors), held_out, recipe.unknown_share)
    task.temperature = temperature
    return Outcome(
        prepared=prepared,
        task=task,
        network=network,
        head=task.head,
        recipe=recipe,
        precision="float32",
        parts=parts,
        measured=parts.test,
        logits=test_logits / temperature,
        how=f"{len(parts.test)} images held out for the test",
        familiar=familiar,
        trained=chosen,
        distances=familiar.distances(test_vectors),
        history=history,
        notes=parts.notes,
        facts={"gradients": str(health), "verdict": health.verdict},
    )

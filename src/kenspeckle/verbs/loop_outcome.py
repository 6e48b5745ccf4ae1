"""What a network that a loop trained is worth: its answers on samples it has not learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kenspeckle.answer import Answer
from kenspeckle.data.batch import Chosen, Rows, in_pieces
from kenspeckle.data.dataset import Reads
from kenspeckle.data.split import Parts
from kenspeckle.models.vectors import unit
from kenspeckle.recipe import Recipe
from kenspeckle.tasks.generate import Generate
from kenspeckle.tasks.task import ClassTask, Network, Task
from kenspeckle.tasks.under import answered_under
from kenspeckle.training.health import Diagnosis
from kenspeckle.trust.unknown import Familiar, familiar_from
from kenspeckle.verbs.examine import examine
from kenspeckle.verbs.outcome import Outcome
from kenspeckle.verbs.prepare import Prepared
from kenspeckle.verbs.progress import Tell, quiet

PIECE = 256  # images at once where nothing is learned
PIECE_PLACES = 16  # the same where every place of an image has outputs of its own
MOST_VECTORS = 5000  # training images whose vectors are kept for `unknown` and nearest images
MOST_AGAIN = 300  # training images that are answered again to see the gap, where no vectors are
Ints = NDArray[np.int64]


def loop_outcome(
    prepared: Prepared,
    recipe: Recipe,
    task: Task[Any],
    network: nn.Module,
    parts: Parts,
    history: Sequence[Mapping[str, Any]],
    health: Diagnosis | None,
    told: Mapping[str, Any],
    tell: Tell = quiet,
) -> Outcome:
    """Let the task settle on the tuning part, then answer the test part, once."""
    network = network.to("cpu").to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    labels = [str(sample.label) for sample in prepared.used.samples]
    most = MOST_VECTORS if isinstance(task, ClassTask) else MOST_AGAIN
    chosen = parts.train[:: -(-len(parts.train) // most)]
    measured = parts.test
    familiar: Familiar | None = None
    distances, vectors = None, None
    sheets: Mapping[str, NDArray[np.uint8]] = {}
    if isinstance(task, ClassTask):
        answers, again, familiar, vectors = _classified(
            prepared, recipe, task, network, parts, chosen
        )
        distances = familiar.distances(vectors)
        vectors = unit(vectors)
    elif isinstance(task, Generate):
        examined = examine(prepared, recipe, task, network, parts.train, measured, tell)
        answers, again, sheets = examined.answers, [], examined.sheets
        told = {**told, **examined.told}
    else:
        task.finish(network)
        if len(parts.val) and task.learning.settles:
            held = answered(prepared, task, network, parts.val)
            task.settle(held, [labels[i] for i in parts.val])
        measured = at_most(parts.test, task.learning.most_measured)
        answers = answered(prepared, task, network, measured)
        again = answered(prepared, task, network, chosen if task.judges else chosen[:0])
    sure = prepared.measures(task)
    judged = [(a, i) for a, i in zip(again, chosen, strict=False) if sure[i]]
    right = sum(task.is_right(a, labels[i]) for a, i in judged)
    return Outcome(
        prepared=prepared,
        task=task,
        network=network,
        head=getattr(task, "head", "pooled"),
        recipe=recipe,
        precision="float32",
        parts=parts,
        measured=measured,
        answers=answers,
        how=f"{_of(measured, parts.test)} {noun(prepared.used.reads)} held out for the test",
        familiar=familiar,
        trained=chosen if familiar is not None else chosen[:0],
        distances=distances,
        vectors=vectors,
        history=history,
        training_right=(right, len(judged)),
        notes=parts.notes,
        facts={
            **({} if health is None else {"gradients": str(health), "verdict": health.verdict}),
            "parameters": sum(p.numel() for p in network.parameters()),
        },
        told=told,
        sheets=sheets,
    )


def _classified(
    prepared: Prepared,
    recipe: Recipe,
    task: ClassTask,
    network: nn.Module,
    parts: Parts,
    chosen: Ints,
) -> tuple[list[Answer], list[Answer], Familiar, NDArray[np.float32]]:
    """Answers on the test part and on some training images, what is familiar, test vectors."""
    samples = prepared.used.samples
    outputs, test_vectors = outputs_of(network, part_of(prepared, parts.test))
    learned, vectors = outputs_of(network, part_of(prepared, chosen))
    familiar = familiar_from(unit(vectors), np.zeros(0, np.float32), recipe.unknown_share)
    if len(parts.val):
        labels = [samples[i].label for i in parts.val]
        val_outputs, val_vectors = outputs_of(network, part_of(prepared, parts.val))
        task.calibrate(val_outputs.numpy(), task.collate(labels).numpy())
        held_out = familiar.distances(val_vectors)
        familiar = familiar_from(unit(vectors), held_out, recipe.unknown_share)
    nothing = nn.Identity()  # classes and tags are said from outputs alone
    tested, seen = [samples[i] for i in parts.test], [samples[i] for i in chosen]
    answers = answered_under(task, nothing, outputs, outputs, tested)
    again = answered_under(task, nothing, learned, learned, seen)
    return answers, again, familiar, test_vectors


def at_most(rows: Ints, most: int | None) -> Ints:
    """All rows, or `most` of them, spread evenly."""
    if most is None or len(rows) <= most:
        return rows
    return rows[np.arange(most) * len(rows) // most]


def _of(some: Ints, all_: Ints) -> str:
    return str(len(all_)) if len(some) == len(all_) else f"{len(some)} of the {len(all_)}"


def answered(prepared: Prepared, task: Task[Any], network: nn.Module, rows: Ints) -> list[Answer]:
    """One answer a row, a few at a time: outputs that say where are large."""
    samples, answers = prepared.used.samples, []
    network.eval()
    with torch.inference_mode():
        for piece in in_pieces(len(rows), PIECE_PLACES):
            some = rows[piece]
            paths, sizes = [samples[i].path for i in some], [prepared.sizes[i] for i in some]
            answers += task.answered(network, part_of(prepared, some), paths, sizes)
    return answers


def outputs_of(network: nn.Module, images: Rows) -> tuple[Tensor, NDArray[np.float32]]:
    """Raw outputs (N, K) and unit vectors (N, D) of images, without learning."""
    assert isinstance(network, Network)
    network.eval()
    outputs, vectors = [], []
    with torch.inference_mode():
        for piece in in_pieces(len(images), PIECE):
            some = images[torch.arange(piece.start, piece.stop)]
            vector = network.head.vector(network.backbone.stages(some))
            outputs.append(network.head.from_vector(vector).double())
            vectors.append(network.head.likeness(vector))
    return torch.cat(outputs), torch.cat(vectors).float().numpy()


def part_of(prepared: Prepared, rows: Ints) -> Rows:
    """Some images in memory, side by side; sequences stay as long as each is."""
    chosen = torch.from_numpy(rows)
    if prepared.lengths is not None or prepared.used.reads == "pixels":
        return Chosen(prepared.images, chosen)
    return prepared.images[chosen]


def noun(reads: Reads) -> str:
    """What samples are called: images, sequences or pairs."""
    return "images" if reads == "pixels" else reads

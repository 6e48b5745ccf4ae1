"""Training without a loop: cached features of a frozen backbone, and the best head of the bank."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import nn

from kenspeckle.answer import Answer
from kenspeckle.data.batch import Chosen, Rows
from kenspeckle.data.dataset import Sample
from kenspeckle.data.split import folds
from kenspeckle.errors import DataError
from kenspeckle.files import cache_folder, sha256
from kenspeckle.models.backbone import Backbone
from kenspeckle.models.pretrained import make_backbone
from kenspeckle.models.runtime import Precision, for_inference, in_parallel, remembered_precision
from kenspeckle.models.vectors import unit
from kenspeckle.recipe import Recipe
from kenspeckle.tasks.ruled import RuledClassify
from kenspeckle.tasks.task import ClassTask, Network
from kenspeckle.tasks.under import answered_under
from kenspeckle.training.bank import (
    Kind,
    Linear,
    as_head,
    candidates,
    linear_layer,
    transform_vectors,
)
from kenspeckle.training.features import (
    FeatureNetwork,
    extract,
    feature_network,
    remembered,
    weights_hash,
)
from kenspeckle.training.ruled_bank import ruled_layer
from kenspeckle.trust.evaluate import FitAndAnswer, Trial, choose, compare
from kenspeckle.trust.unknown import fit_familiar
from kenspeckle.verbs.deep import deeply_checked, deeply_grouped
from kenspeckle.verbs.finetune import Start, answered, fine_tuned
from kenspeckle.verbs.outcome import Outcome
from kenspeckle.verbs.parts import alone, divided
from kenspeckle.verbs.prepare import Prepared
from kenspeckle.verbs.progress import Stage, Tell, counter
from kenspeckle.verbs.settle import fit_of

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
TIMED = 64  # images that tell how long one takes
NOT_CROSSED = (
    "not tried: with so few images every one is measured by cross-validation, which would train "
    "the network five times over; give test images, or 500 and more"
)
FEATURE_SHARE = 0.7  # of a time budget; the rest is for heads, scores and the report


class Bank:
    """The bank's heads on one set of vectors: fits, answers and chooses."""

    def __init__(
        self,
        recipe: Recipe,
        task: ClassTask,
        vectors: NDArray[np.float32],
        samples: Sequence[Sample],
        groups: Ints,
        widths: tuple[int, ...],
        whole: NDArray[np.bool_],
    ) -> None:
        self.recipe, self.task, self.vectors, self.widths = recipe, task, vectors, widths
        self.groups, self.samples = groups, samples
        labels, self.names = [s.label for s in samples], [s.path for s in samples]
        self.targets = task.collate(labels).long().numpy()
        self.strata = task.strata(labels)
        self.sure, self.loose = np.flatnonzero(whole), np.flatnonzero(~whole)

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        task: ClassTask,
        prepared: Prepared,
        vectors: NDArray[np.float32],
        widths: tuple[int, ...],
    ) -> Bank:
        """The bank on the vectors of prepared images."""
        whole = prepared.measures(task)
        return cls(recipe, task, vectors, prepared.used.samples, prepared.groups, widths, whole)

    def fit(self, kind: Kind, rows: Ints) -> Linear:
        """The head of that kind, fitted to the rows; under rules, to what leaves much open too."""
        if isinstance(self.task, RuledClassify):
            # What says less than a class teaches beside images that it does not belong to.
            others = np.setdiff1d(self.sure, rows)
            rows = np.concatenate([rows, alone(self.groups, self.loose, others)])
            return ruled_layer(kind, self.vectors[rows], self.targets[rows], self.widths, self.task)
        count = len(self.task.classes)
        return linear_layer(kind, self.vectors[rows], self.targets[rows], self.widths, count)

    def outputs(self, kind: Kind, linear: Linear, rows: Ints) -> Floats:
        """Logits (M, K) of the rows by a fitted head."""
        weights, bias = linear
        return transform_vectors(self.vectors[rows], self.widths, kind.transform) @ weights.T + bias

    def answers(self, logits: Floats, rows: Ints, task: ClassTask) -> list[Answer]:
        """What the task says to logits (M, K) of the rows."""
        outputs, some = torch.from_numpy(logits), [self.samples[i] for i in rows]
        return answered_under(task, nn.Identity(), outputs, outputs, some)

    def folds(self, rows: Ints, seed: int) -> Ints:
        """The fold of each of the rows, as in `data.split.folds`."""
        names = [self.names[i] for i in rows]
        count = self.recipe.data.folds
        return folds(self.strata[rows], self.groups[rows], count, seed, names)

    def choose(self, rows: Ints) -> tuple[Kind, Trial | None, list[Trial]]:
        """The best head for `rows` by cross-validation inside them; no trial where none can be."""
        kinds = {
            kind.name: kind
            for kind in candidates(
                self.recipe.head, self.strata[rows], self.vectors[rows], self.widths
            )
        }
        try:
            number = self.folds(rows, self.recipe.data.seed)
        except DataError:  # a single image or group a class: nothing to choose by
            return next(iter(kinds.values())), None, []

        def fitted(kind: Kind) -> FitAndAnswer:
            return lambda learn, ask: self.outputs(kind, self.fit(kind, rows[learn]), rows[ask])

        trials = compare(
            {name: fitted(kind) for name, kind in kinds.items()},
            self.targets[rows],
            number,
            self.task.judge,
        )
        chosen = choose(trials)
        return kinds[chosen.name], chosen, trials

    def probabilities(self, chosen: Trial, rows: Ints) -> Floats:
        """(N, K) out of fold, nan for images that are not among `rows`."""
        found = np.full((len(self.names), len(self.task.classes)), np.nan)
        said = self.calibrated(chosen, rows).probabilities(torch.from_numpy(chosen.logits))
        found[rows] = said.double().numpy()
        return found

    def calibrated(self, chosen: Trial | None, rows: Ints) -> ClassTask:
        """A copy of the task that found out its temperature (and thresholds) out of fold."""
        task = copy.copy(self.task)
        if chosen is not None:
            task.calibrate(chosen.logits, self.targets[rows])
        return task


@dataclass(frozen=True)
class Seen:
    """What a frozen network made of images: `vectors` (N, D) of the N images of `prepared`."""

    prepared: Prepared
    recipe: Recipe
    backbone: Backbone
    network: FeatureNetwork
    vectors: NDArray[np.float32]


def see(prepared: Prepared, recipe: Recipe, tell: Tell) -> Seen:
    """The features of the images, of as many as a time budget allows; precision is resolved."""
    backbone = make_backbone(str(recipe.model), recipe.weights).eval()
    precision = _precision(recipe, backbone, prepared)
    recipe = replace(recipe, training=replace(recipe.training, precision=precision))
    network = feature_network(backbone, precision, recipe.data.image_size or 224)
    if recipe.weights not in (None, "hub"):
        tell(Stage("weights", words=f"{recipe.weights}, SHA-256 {sha256(Path(recipe.weights))}"))
    fit_name = fit_of(recipe).name
    prepared = _affordable(prepared, network, fit_name, recipe, tell)
    vectors = extract(
        network,
        prepared.images,
        prepared.keys,
        fit_name,
        cache_folder(),
        counter(tell, "computing features"),
    )
    return Seen(prepared, recipe, backbone, network, vectors)


def train_features(
    prepared: Prepared, recipe: Recipe, tell: Tell, began: float | None = None
) -> Outcome:
    """Extract features once, choose a head by inner cross-validation, measure honestly.

    Below `recipe.data.cross_validate_below` images, and where the owner names no test images,
    every image is answered once by a model that was chosen and fitted without it (nested
    cross-validation), and the final head learns from all of them. Else a test part is held out.

    Args:
        began: `time.perf_counter()` when the verb began: a budget counts from there.
    """
    began = time.perf_counter() if began is None else began
    seen = see(prepared, recipe, tell)
    recipe, network, vectors = seen.recipe, seen.network, seen.vectors
    waist = unit(vectors[:, -network.widths[-1] :])
    prepared = deeply_grouped(seen.prepared, waist)
    used = prepared.used
    task: ClassTask = prepared.task(recipe.task, image_size=recipe.data.image_size or 224)
    bank = Bank.of(recipe, task, prepared, vectors, network.widths)
    given = [sample.split for sample in used.samples]
    sure = prepared.measures(task)
    crossed = sure.sum() < recipe.data.cross_validate_below and "test" not in given
    parts = divided(
        prepared,
        task,
        test_share=0.0 if crossed else recipe.data.test_share,
        tune_share=0.0,
        seed=recipe.data.seed,
    )
    learn = np.sort(np.concatenate([parts.train, parts.val]))  # heads need no tuning images
    bank.loose = np.intersect1d(bank.loose, learn)
    learn = learn[sure[learn]]
    tell(Stage("choosing a head"))
    with threadpool_limits(1):  # two threads of BLAS cost 20x the CPU of one on systems this small
        kind, chosen, trials = bank.choose(learn)
        task = bank.calibrated(chosen, learn)
        linear = bank.fit(kind, learn)
        if crossed:
            measured = _measurable(bank, learn)
            every = dict(zip(learn.tolist(), _nested(bank, learn, tell), strict=True))
            answers = [every[int(row)] for row in measured]
            how = "cross-validation: each image was answered by a model that had not seen it"
        else:
            measured = parts.test
            answers = bank.answers(bank.outputs(kind, linear, measured), measured, task)
            how = f"{len(measured)} images held out for the test"
        learned = bank.answers(bank.outputs(kind, linear, learn), learn, task)
    tried = [_told(trial, kind.name) for trial in trials]
    final = Network(seen.backbone, as_head(kind, linear, network.widths))
    wanted = recipe.finetune or (recipe.finetune is None and recipe.training.budget_seconds)
    notes = tuple(parts.notes)
    if wanted and crossed:
        if recipe.finetune:
            tell(Stage("fine-tuning", words=NOT_CROSSED))
    elif wanted:
        left = None
        if recipe.training.budget_seconds is not None:
            left = recipe.training.budget_seconds - (time.perf_counter() - began)
        start = Start(
            prepared=prepared,
            task=task,
            backbone=seen.backbone,
            head=lambda rows: as_head(kind, bank.fit(kind, rows), network.widths),
            targets=task.collate([sample.label for sample in used.samples]),
            learn=learn,
            recipe=recipe.training,
            precision=network.precision,
            seconds=left,
        )
        tuned = fine_tuned(start, tell)
        tell(Stage("fine-tuning", words=tuned.words))
        notes = (*notes, tuned.words)
        if tuned.row is not None:
            tried.append(dict(tuned.row))
        if tuned.network is not None:
            final, task = tuned.network, tuned.task
            logits = answered(final, prepared.images, measured, network.precision)
            answers = bank.answers(logits, measured, task)
            learned = bank.answers(
                answered(final, prepared.images, learn, network.precision), learn, task
            )
            waist = waist_of(final, prepared.images, network.precision)
    known = _fold_numbers(bank, learn)
    familiar = fit_familiar(waist[learn], known, recipe.unknown_share)
    right = sum(a.label == used.samples[i].label for a, i in zip(learned, learn, strict=True))
    is_told = chosen is not None and task.classes == used.classes  # else columns mean others
    probabilities = bank.probabilities(chosen, learn) if chosen is not None and is_told else None
    # Labels are looked at where they say a class: a parent beside its children is no mistake.
    rows = np.flatnonzero(sure)
    some = probabilities if probabilities is None else probabilities[rows]
    checked = deeply_checked(prepared.only(rows), waist[rows], some, tell)
    prepared = replace(prepared, findings=checked.findings)
    return Outcome(
        prepared=prepared,
        task=task,
        network=final,
        head="features",
        recipe=recipe,
        precision=network.precision,
        parts=replace(parts, train=np.union1d(learn, bank.loose), val=parts.val[:0]),
        measured=measured,
        answers=answers,
        how=how,
        familiar=familiar,
        trained=learn,
        widths=network.widths,
        transform=kind.transform,
        distances=None if crossed or not len(measured) else familiar.distances(waist[measured]),
        vectors=waist[measured],
        tried=tried,
        out_of_fold=None if chosen is None else chosen.logits,
        training_right=(right, len(learn)),
        notes=notes,
        facts={"head": kind.name, "head_words": kind.words, "weights_sha256": network.identity},
    )


def waist_of(network: Network, images: Rows, precision: Precision) -> NDArray[np.float32]:
    """(N, D) unit vectors of the waist of a network that was fine-tuned."""
    folded = for_inference(network.backbone)
    pooled = in_parallel(lambda x: folded(x).float().mean((2, 3)), images, precision)
    return unit(pooled.numpy())


def _affordable(
    prepared: Prepared, network: FeatureNetwork, fit_name: str, recipe: Recipe, tell: Tell
) -> Prepared:
    """As many images, the same share of each class, as a time budget allows features for."""
    budget = recipe.training.budget_seconds
    known = remembered(network, prepared.keys, fit_name, cache_folder())
    missing = np.flatnonzero(~known)
    if budget is None or not len(missing):
        return prepared
    some = torch.from_numpy(missing[:TIMED])
    start = time.perf_counter()
    in_parallel(network.vectors, Chosen(prepared.images, some), network.precision)
    each = (time.perf_counter() - start) / len(some)
    room = int(FEATURE_SHARE * budget / each)
    if room >= len(missing):
        return prepared
    rows = np.sort(
        np.concatenate([np.flatnonzero(known), _evenly(prepared, recipe.task, missing, room)])
    )
    tell(
        Stage(
            "computing features",
            words=f"the budget of {budget:g} s allows {len(rows)} of {len(prepared.keys)} images, "
            "the same share of each class; the others are left out",
        )
    )
    return prepared.only(rows)


def _evenly(prepared: Prepared, task: str, rows: Ints, count: int) -> Ints:
    """At least two of each class, then by turns; the same ones each time."""
    labels = [prepared.used.samples[i].label for i in rows]
    targets = prepared.task(task).strata(labels)
    order = np.random.default_rng(0).permutation(len(rows))
    rank = np.empty(len(rows))
    for k in np.unique(targets):
        inside = order[targets[order] == k]
        rank[inside] = (np.arange(len(inside)) + 0.5) / len(inside)
        rank[inside[:2]] = -1
    return rows[np.argsort(rank, kind="stable")[: max(count, int((rank < 0).sum()))]]


def _precision(recipe: Recipe, backbone: Backbone, prepared: Prepared) -> Precision:
    if recipe.training.precision is not None:
        return recipe.training.precision
    few = prepared.images[torch.arange(min(4, len(prepared.images)))]
    identity = weights_hash(backbone)
    return remembered_precision(lambda: for_inference(backbone), few, identity, cache_folder())


def _nested(bank: Bank, rows: Ints, tell: Tell) -> list[Answer]:
    """Each row's answer from a head chosen, fitted and calibrated on other folds only."""
    number = _fold_numbers(bank, rows)
    answers: dict[int, Answer] = {}
    if not number.any():  # one fold: nothing to learn from outside it
        return bank.answers(np.zeros((len(rows), len(bank.task.outputs))), rows, bank.task)
    for fold in range(number.max() + 1):
        tell(Stage("cross-validating", fold, int(number.max()) + 1))
        inside, outside = rows[number == fold], rows[number != fold]
        kind, chosen, _ = bank.choose(outside)
        task = bank.calibrated(chosen, outside)
        logits = bank.outputs(kind, bank.fit(kind, outside), inside)
        answers.update(zip(inside.tolist(), bank.answers(logits, inside, task), strict=True))
    return [answers[int(row)] for row in rows]


def _measurable(bank: Bank, rows: Ints) -> Ints:
    """The rows whose class is still there when their group is held out."""
    groups_of: dict[int, set[int]] = {}
    for k, group in zip(bank.strata[rows].tolist(), bank.groups[rows].tolist(), strict=True):
        groups_of.setdefault(k, set()).add(group)
    return np.array([i for i in rows if len(groups_of[int(bank.strata[i])]) > 1], dtype=np.int64)


def _fold_numbers(bank: Bank, rows: Ints) -> Ints:
    try:
        return bank.folds(rows, bank.recipe.data.seed)
    except DataError:
        return np.zeros(len(rows), dtype=np.int64)


def _told(trial: Trial, chosen: str) -> dict[str, object]:
    return {
        "name": trial.name,
        "loss": float(trial.losses.mean()),
        "accuracy": trial.accuracy,
        "chosen": trial.name == chosen,
    }

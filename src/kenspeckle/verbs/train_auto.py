"""`--model auto`: several kinds of network under one budget, compared on the same folds."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from kenspeckle.data.dataset import Dataset
from kenspeckle.data.split import folds, split
from kenspeckle.errors import UsageError
from kenspeckle.models.pretrained import is_pretrained
from kenspeckle.recipe import Recipe
from kenspeckle.score import Score, paired_difference
from kenspeckle.tasks.task import ClassTask
from kenspeckle.verbs.augmenting import chosen_augmentation
from kenspeckle.verbs.loop_outcome import outputs_of, part_of
from kenspeckle.verbs.outcome import Outcome
from kenspeckle.verbs.prepare import Prepared, prepare
from kenspeckle.verbs.progress import Stage, Tell, quiet
from kenspeckle.verbs.settle import fit_of, suited
from kenspeckle.verbs.train_features import Bank, see, train_features
from kenspeckle.verbs.train_loop import Extras, parts_of, train_loop, trained

# In order of preference where they cannot be told apart: what needs least comes first.
CANDIDATES = {
    "images": ("efficientnet-lite0", "cnn", "lstm", "transformer"),
    "sequences": ("gru", "lstm", "rnn", "transformer"),
}
BUDGET = 600.0  # seconds, where none is given
FOLDS = 3  # each network is trained so many times to be compared, and the winner once more
SHARE = 0.85  # of the budget; the rest is for reading, scores and the report

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Contest:
    """One candidate on all folds.

    Args:
        right: (N,) probability given to the truth, out of fold.
    """

    name: str
    right: Floats
    loss: float
    accuracy: float
    seconds: float


def train_auto(
    dataset: Dataset, prepared: Prepared, recipe: Recipe, extras: Extras, tell: Tell
) -> Outcome:
    """Compare the candidates out of fold on the training part, then train the winner on all of it.

    The test part is opened once, for the winner. A winner is named only where it gives the truth
    more probability than every other one beyond noise (paired, 95 %); else the first in the order
    of preference is taken among those that cannot be told from the best.

    Args:
        prepared: the images at the size of the first candidate, with their parts.

    Raises:
        UsageError: the task has no candidates.
    """
    if recipe.task == "translate" or dataset.reads not in CANDIDATES:
        raise UsageError("--model auto compares networks over images or sequences; name a model.")
    names = CANDIDATES[dataset.reads]
    end = extras.began + SHARE * (recipe.training.budget_seconds or BUDGET)
    task: ClassTask = prepared.task(recipe.task)
    rows, number = _folds(prepared, recipe, task)
    recipe = _with_augmentation(dataset, prepared, recipe, rows, tell)
    each = _share(end, FOLDS * len(names) + 1)
    words = f"{len(names)} networks, {FOLDS} folds, {each:.0f} seconds each: {', '.join(names)}"
    tell(Stage("comparing", words=words))
    contests = []
    for k, name in enumerate(names):
        tell(Stage("comparing", k, len(names)))
        each = _share(end, FOLDS * (len(names) - k) + 1)
        contests.append(_contest(dataset, prepared, _with(recipe, name, each), rows, number))
    winner, verdict, gains = judged(contests, prepared.groups_of(rows))
    tell(Stage("comparing", words=verdict))
    tried = [_row(contest, winner, gains) for contest in contests]
    chosen = suited(_with(recipe, winner.name, _share(end, 1)), dataset)
    sized = _sized(dataset, prepared, chosen)
    if chosen.freeze:
        outcome = train_features(sized, chosen, tell)
    else:
        outcome = train_loop(sized, chosen, replace(extras, began=time.perf_counter()), tell)
    return replace(outcome, tried=tried, notes=(*outcome.notes, verdict))


def _with_augmentation(
    dataset: Dataset, prepared: Prepared, recipe: Recipe, rows: Ints, tell: Tell
) -> Recipe:
    """The recipe with the changes that keep the labels: asked once, for all networks."""
    if dataset.reads != "images" or recipe.training.augment is not None:
        return recipe
    own = suited(_with(recipe, "cnn", BUDGET), dataset)
    task: ClassTask = prepared.task(recipe.task)
    names = chosen_augmentation(_sized(dataset, prepared, own), own, task, rows, tell).names
    return replace(recipe, training=replace(recipe.training, augment=names))


def judged(
    contests: Sequence[Contest], groups: Sequence[Hashable] | None = None
) -> tuple[Contest, str, Mapping[str, Score]]:
    """Who is taken, the verdict in words, and by how much each differs from the one taken.

    Args:
        groups: N, where images belong together.
    """

    def gain(first: Contest, second: Contest) -> Score:
        return paired_difference(first.right, second.right, groups)

    best = max(contests, key=lambda contest: float(contest.right.mean()))
    equal = [c for c in contests if c is best or gain(best, c).low <= 0]
    taken = equal[0]
    gains = {c.name: gain(c, taken) for c in contests if c is not taken}
    if len(equal) == 1:
        return taken, f"{taken.name} is better than the others beyond noise", gains
    others = ", ".join(c.name for c in equal if c is not taken)
    words = f"{taken.name} is taken; it cannot be told from {others} on these images"
    return taken, words, gains


def _share(end: float, trainings: int) -> float:
    """Seconds for each of the trainings that are left until `end`; 2 at least."""
    return max(2.0, (end - time.perf_counter()) / trainings)


def _with(recipe: Recipe, name: str, seconds: float) -> Recipe:
    is_seen_once = is_pretrained(name, None)  # features are computed of images as they are
    augment = None if is_seen_once else recipe.training.augment
    training = replace(recipe.training, budget_seconds=seconds, augment=augment)
    return replace(recipe, model=name, freeze=None, finetune=False, training=training)


def _sized(dataset: Dataset, prepared: Prepared, recipe: Recipe) -> Prepared:
    """The same rows and groups as `prepared`, at the size of the recipe's network."""
    if dataset.reads != "images":
        return prepared
    again = prepare(dataset, fit_of(recipe), quiet)
    return replace(again, dataset=prepared.dataset, groups=prepared.groups)


def _folds(prepared: Prepared, recipe: Recipe, task: ClassTask) -> tuple[Ints, Ints]:
    """The rows that are not for the test, and the fold of each."""
    parts = parts_of(prepared, recipe)
    rows = np.sort(np.concatenate([parts.train, parts.val]))
    samples = [prepared.used.samples[i] for i in rows]
    number = folds(
        task.strata([sample.label for sample in samples]),
        prepared.groups[rows],
        FOLDS,
        recipe.data.seed,
        [sample.path for sample in samples],
    )
    return rows, number


def _contest(
    dataset: Dataset, prepared: Prepared, recipe: Recipe, rows: Ints, number: Ints
) -> Contest:
    began = time.perf_counter()
    recipe = suited(recipe, dataset)
    prepared = _sized(dataset, prepared, recipe)
    answer = _by_features(prepared, recipe) if recipe.freeze else _by_loop(prepared, recipe)
    task: ClassTask = prepared.task(recipe.task)
    targets = task.collate([prepared.used.samples[i].label for i in rows]).long().numpy()
    logits: Floats | None = None
    for fold in range(int(number.max()) + 1):
        inside = number == fold
        answered = answer(rows[~inside], rows[inside])
        logits = np.zeros((len(rows), answered.shape[1])) if logits is None else logits
        logits[inside] = answered
    assert logits is not None
    losses, accuracy = task.judge(logits, targets)
    seconds = time.perf_counter() - began
    return Contest(str(recipe.model), np.exp(-losses), float(losses.mean()), accuracy, seconds)


def _by_features(prepared: Prepared, recipe: Recipe) -> Any:
    # Every image counts here: a budget that leaves some out would compare other images.
    recipe = replace(recipe, training=replace(recipe.training, budget_seconds=None))
    seen = see(prepared, recipe, quiet)
    task: ClassTask = prepared.task(recipe.task)
    bank = Bank.of(recipe, task, prepared, seen.vectors, seen.network.widths)

    def answer(learn: Ints, ask: Ints) -> Floats:
        with threadpool_limits(1):
            kind, chosen, _ = bank.choose(learn)
            logits = bank.outputs(kind, bank.fit(kind, learn), ask)
            return logits / bank.calibrated(chosen, learn).temperature

    return answer


def _by_loop(prepared: Prepared, recipe: Recipe) -> Any:
    def answer(learn: Ints, ask: Ints) -> Floats:
        samples = [prepared.used.samples[i] for i in learn]
        task: ClassTask = prepared.task(recipe.task)
        inner = split(
            task.strata([sample.label for sample in samples]),
            prepared.groups[learn],
            test_share=0.0,
            tune_share=recipe.data.tune_share,
            seed=recipe.data.seed,
            given=[None] * len(learn),
            names=[sample.path for sample in samples],
        )
        network = trained(prepared, recipe, learn[inner.train], learn[inner.val])
        return outputs_of(network, part_of(prepared, ask))[0].double().numpy()

    return answer


def _row(contest: Contest, winner: Contest, gains: Mapping[str, Score]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": contest.name,
        "loss": contest.loss,
        "accuracy": contest.accuracy,
        "chosen": contest is winner,
        "seconds": round(contest.seconds, 1),
    }
    if contest.name in gains:
        row["gain"] = gains[contest.name].as_dict()
    return row

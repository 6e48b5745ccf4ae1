"""Training `match`: vectors that tell people apart, measured on people never seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from kenspeckle.data.batch import Batches
from kenspeckle.data.split import Parts, folds
from kenspeckle.models.heads import Transform
from kenspeckle.models.margin import MarginHead
from kenspeckle.models.vectors import unit
from kenspeckle.recipe import Recipe, Training
from kenspeckle.score import standard_error
from kenspeckle.tasks.match import Compared, Match
from kenspeckle.tasks.task import Network
from kenspeckle.tasks.verification import limits_for
from kenspeckle.training.loop import train
from kenspeckle.training.schedules import make_schedule
from kenspeckle.trust.unknown import Familiar
from kenspeckle.verbs.deep import deeply_grouped
from kenspeckle.verbs.match_parts import People, parts_of_people
from kenspeckle.verbs.outcome import Outcome
from kenspeckle.verbs.prepare import Prepared
from kenspeckle.verbs.progress import Stage, Tell
from kenspeckle.verbs.train_features import Seen, see

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

MOST_COMPARED = 3000  # training images that set the limits: 4.5 million pairs
FEWEST_FOLDS = 3  # two are held out at a time, and one is learned from
MOST_AGAIN = 300  # training images that are answered again, to see the gap


def train_match(prepared: Prepared, recipe: Recipe, tell: Tell, began: float) -> Outcome:
    """Learn vectors from some people, measure on others, and enrol everybody.

    Nobody is on both sides: whole people are held out, together with whoever shares a copy or a
    group with them. The limits come from pairs of people who were not learned from, in
    cross-validation over those who are. The model file has the vectors that were
    measured, so those who were held out are enrolled and never learned from.

    Args:
        began: `time.perf_counter()` when the verb began; nothing here takes long.

    Raises:
        DataError: there are too few people, or none has two images.
    """
    torch.manual_seed(recipe.training.seed)
    seen = see(prepared, recipe, tell)
    prepared = deeply_grouped(seen.prepared, unit(seen.vectors[:, -seen.network.widths[-1] :]))
    people = People.on(prepared)
    parts, measured = parts_of_people(prepared, people, recipe)
    tell(Stage("choosing", words=_said(people, parts)))
    task = Match(
        people.names, widths=seen.network.widths, size=_size(seen), transform=_transform(seen)
    )
    with threadpool_limits(1):
        chosen = _chosen(seen, task, people, parts.train, recipe, tell)
        task.limits = tuple(chosen.limits)
        head, parameters = _shipped(seen, task, people, parts.train, recipe, chosen.is_trained)
        vectors = _embedded(head, seen.vectors)
        samples = prepared.used.samples
        paths = [sample.path for sample in samples]
        task.remember([str(sample.label) for sample in samples], vectors, paths)
        answers = _without_itself(task, people, vectors, paths, measured)
        again = parts.train[:: -(-len(parts.train) // MOST_AGAIN)]
        learned = _without_itself(task, people, vectors, paths, again)
    right = sum(
        task.is_right(a, str(samples[i].label)) for a, i in zip(learned, again, strict=True)
    )
    enough = 2 ** (len(chosen.limits) - 1)
    notes = [*parts.notes, chosen.words]
    if len(people.names) > enough:
        notes.append(
            f"{chosen.pairs} pairs are too few to set a limit for more than {enough} who are "
            f"enrolled; of {len(people.names)}, strangers are taken for somebody more often than "
            f"the wanted {recipe.false_accepts:g}"
        )
    return Outcome(
        prepared=prepared,
        task=task,
        network=Network(seen.backbone, head),
        head="margin",
        recipe=replace(seen.recipe, false_accepts=chosen.rate),
        precision=seen.network.precision,
        parts=parts,
        measured=measured,
        answers=answers,
        how=f"people: {len(people.among(measured))} of them were held out for the test, "
        f"with {len(measured)} images",
        familiar=Familiar(vectors, np.inf, np.zeros(0, np.float32)),
        trained=np.arange(len(samples)),
        training_right=(right, len(again)),
        notes=notes,
        facts={
            "head": "margin",
            "head_words": chosen.words,
            "parameters": parameters,
            "weights_sha256": seen.network.identity,
        },
        told={"unknown": None},
    )


@dataclass(frozen=True)
class Choice:
    """What people who were held out of training decided.

    Args:
        limits: as of `Match`.
        is_trained: whether the vectors that training refined are better than their start.
        rate: of false accepts, as far as the pairs can show it.
        pairs: of different people.
        words: what was chosen, and why.
    """

    limits: Sequence[float]
    is_trained: bool
    rate: float
    pairs: int
    words: str


@dataclass(frozen=True)
class HeldOut:
    """How alike images are by vectors that were learned from neither of the two.

    Args:
        different: (P,) similarities of two people.
        same: for each person with several images, the similarities of theirs.
    """

    different: Doubles
    same: dict[int, Doubles]

    def accepted(self, limit: float) -> Doubles:
        """Of each person's pairs the share that reaches the limit."""
        return np.array([float((alike >= limit).mean()) for alike in self.same.values()])


def _chosen(
    seen: Seen, task: Match, people: People, rows: Ints, recipe: Recipe, tell: Tell
) -> Choice:
    """Whether training pays, and the limits: by people who are held out of training in turn."""
    start, end = _held_out(seen, task, people, rows, recipe, tell)
    limits, trained_limits = (limits_for(x.different, recipe.false_accepts) for x in (start, end))
    gain = end.accepted(trained_limits[0]) - start.accepted(limits[0])
    doubt = standard_error(gain) if len(gain) > 1 else np.inf
    pays = float(gain.mean()) > doubt
    words = (
        f"training moved the share of same pairs that are accepted by {100 * gain.mean():+.1f} "
        f"points on people held out (standard error {100 * doubt:.1f}), so "
        f"{'it was kept' if pays else 'what it started from was kept'}"
    )
    pairs = len(start.different)
    rate = max(recipe.false_accepts, 1 / pairs)
    if rate > recipe.false_accepts:
        words += f"; {pairs} pairs cannot show a false-accept rate below {rate:.2g}, which is used"
    tell(Stage("choosing", words=words))
    return Choice(trained_limits if pays else limits, pays, rate, pairs, words)


def _held_out(
    seen: Seen, task: Match, people: People, rows: Ints, recipe: Recipe, tell: Tell
) -> tuple[HeldOut, HeldOut]:
    """How alike images are by vectors learned from neither of the two: the start, and trained.

    For that every two folds of people are held out together. Where one of the two was learned from,
    training makes them less alike than two strangers are: limits set on such pairs took 1, 7.5, 0
    and 17.5 % of images of strangers for one of 19 people, these 1, 0, 0 and 1 % (1 % was wanted;
    20 people of orl-faces to learn from, 20 others, four draws).
    """
    present = people.among(rows)
    most = max(FEWEST_FOLDS, recipe.data.folds)
    number = folds(
        np.zeros(len(present), dtype=np.int64),
        people.units[present],
        most if len(rows) <= MOST_COMPARED else FEWEST_FOLDS,
        recipe.data.seed,
        [people.names[k] for k in present],
    )
    fold = number[np.searchsorted(present, people.of[rows])]
    some = np.zeros(len(rows), dtype=bool)
    some[:: -(-len(rows) // MOST_COMPARED)] = True
    count = int(number.max()) + 1
    pairs = [*combinations(range(count), 2)]
    starts, ends = [], []
    for done, (one, other) in enumerate(pairs):
        tell(Stage("cross-validating", done, len(pairs)))
        learn = rows[(fold != one) & (fold != other)]
        first, second = (rows[some & (fold == held)] for held in (one, other))
        # Each fold is compared with itself once: in its pair with the next one.
        asked = [(first, second)]
        asked += [(first, first)] if other == one + 1 else []
        asked += [(second, second)] if (one, other) == (0, count - 1) else []
        head = _start(seen, task, people, learn)
        starts += [_compared(head, seen.vectors, people, *both) for both in asked]
        _refine(head, seen, task, people, learn, recipe.training)
        ends += [_compared(head, seen.vectors, people, *both) for both in asked]
    return _together(starts), _together(ends)


def _start(seen: Seen, task: Match, people: People, rows: Ints) -> MarginHead:
    """A head that linear algebra has set by these rows."""
    vectors, targets = _learnable(seen, people, rows)
    head = task.head(int(targets.max()) + 1)
    head.start_from(vectors, targets)
    return head


def _refine(
    head: MarginHead, seen: Seen, task: Match, people: People, rows: Ints, training: Training
) -> None:
    """Train the head on these rows, in place."""
    vectors, targets = _learnable(seen, people, rows)
    weights = [seen.prepared.used.samples[i].weight for i in rows]
    batches = Batches(
        vectors,
        targets,
        torch.tensor(weights),
        batch_size=training.batch_size,
        seed=training.seed,
    )
    network = Network(seen.backbone, head)
    for _ in train(network, task, batches, training, schedule=make_schedule(training.schedule)):
        pass
    network.to("cpu")


def _shipped(
    seen: Seen, task: Match, people: People, rows: Ints, recipe: Recipe, is_trained: bool
) -> tuple[MarginHead, int]:
    """The chosen head learned from all these rows, without a trace of whose; its parameters."""
    head = _start(seen, task, people, rows)
    if is_trained:
        _refine(head, seen, task, people, rows, recipe.training)
    bare = task.head(0)
    bare.embedding.load_state_dict(head.embedding.state_dict())
    return bare.eval(), sum(p.numel() for p in head.parameters())


def _learnable(seen: Seen, people: People, rows: Ints) -> tuple[torch.Tensor, torch.Tensor]:
    """Cached features (N, D), and who each shows, numbered from 0."""
    _, targets = np.unique(people.of[rows], return_inverse=True)
    return torch.from_numpy(seen.vectors[rows]), torch.from_numpy(targets)


def _embedded(head: MarginHead, vectors: Floats) -> Floats:
    """(N, size) of cached features."""
    with torch.inference_mode():
        return head.likeness(torch.from_numpy(vectors)).numpy()


def _compared(
    head: MarginHead, vectors: Floats, people: People, first: Ints, second: Ints
) -> HeldOut:
    """Each image of the one fold with each of the other, every two images once."""
    alike = _embedded(head, vectors[first]) @ _embedded(head, vectors[second]).T
    same = people.of[first][:, None] == people.of[second]
    is_pair = people.keys[first][:, None] != people.keys[second]
    if first is second:
        is_pair &= np.tri(len(first), k=-1, dtype=bool)
    own = {
        int(k): alike[of][(same & is_pair)[of]].astype(np.float64)
        for k in people.among(first)
        for of in (people.of[first] == k,)
    }
    different = alike[~same & is_pair].astype(np.float64)
    return HeldOut(different, {k: found for k, found in own.items() if len(found)})


def _together(parts: Sequence[HeldOut]) -> HeldOut:
    different = np.concatenate([part.different for part in parts])
    return HeldOut(different, {k: found for part in parts for k, found in part.same.items()})


def _without_itself(
    task: Match, people: People, vectors: Floats, paths: Sequence[str], rows: Ints
) -> list[Compared]:
    """Who each of these images shows, when it and its copies are not enrolled."""
    own = [np.flatnonzero(people.keys == people.keys[i]).tolist() for i in rows]
    return task.recognise(vectors[rows], [paths[i] for i in rows], own)


def _size(seen: Seen) -> int:
    """Numbers a vector, as many as the features allow."""
    return min(Match(()).size, seen.vectors.shape[1])


def _transform(seen: Seen) -> Transform:
    """The root is taken of a waist that is never negative only."""
    waist = seen.vectors[:, -seen.network.widths[-1] :]
    return "layers-root" if float(waist.min()) >= 0 else "layers"


def _said(people: People, parts: Parts) -> str:
    learned, tested = (len(people.among(rows)) for rows in (parts.train, parts.test))
    return f"{learned} people, places or things are learned from, {tested} are held out"

"""Whether a class can be told by something that is not the object, such as the size of its images.

A network learns whatever tells the classes apart. Where the images of one class come from another
camera, hospital or web page than the rest, that is easier to learn than the object, and a score on
held-out images of the same origin does not show it (Geirhos et al. 2020, arXiv:2004.07780).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from kenspeckle.answer import Finding
from kenspeckle.data.batch import Chosen
from kenspeckle.data.checks import Evidence
from kenspeckle.data.checks.classes import FEW
from kenspeckle.data.cues import Cue, cues
from kenspeckle.data.dataset import Dataset, Sample
from kenspeckle.data.duplicates import duplicate_groups, near_groups
from kenspeckle.data.split import folds
from kenspeckle.errors import DataError
from kenspeckle.score import Z95, Score

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MOST = 2000  # images looked at; of more, an even sample
FOLDS = 5
CONTROLS = 10  # permutations of the labels
BESIDE = 0.8  # what lies beside the picture must tell this well, as an interval's lower end
WITHIN = 0.9  # what is seen in the picture, likewise
_SHRINK = 0.1  # of a covariance towards an even one
_NEVER = -1e9  # the score of a class that a fold had no image of to learn from
_ADVICE = (
    "Find out why: another camera, place, person or web page? Take or save the images of all "
    "classes in one way, and test on images from elsewhere before you trust a score."
)
_COPIED = " The classes follow one another by date as by name: it may be the date of copying only."


@dataclass(frozen=True)
class Looked:
    """The N images that take part.

    Args:
        places: (N,) rows of the evidence, ascending.
        targets: (N,) class numbers 0 .. K-1.
        groups: (N,) what is nearly one picture, or belongs together by its owner's word.
        folds: (N,) the fold in which each is answered.
        names: K classes, each of `FEW` images or more.
    """

    places: Ints
    targets: Ints
    groups: Ints
    folds: Ints
    names: tuple[str, ...]


@dataclass(frozen=True)
class Reach:
    """How well a cue tells the classes out of fold, every class counting the same.

    Args:
        overall: balanced accuracy over all K classes; chance is 1 / K.
        first: the class that is told best.
        other: the class that it is told from; None is all the others.
        best: balanced accuracy of that; chance is 0.5.
        rival: the same of the cue's rival; None where there is none.
    """

    overall: Score
    first: int
    other: int | None
    best: Score
    rival: float | None = None


def check_shortcuts(dataset: Dataset, evidence: Evidence) -> Iterator[Finding]:
    """A finding for each cue that tells a class far better than it should.

    What lies beside the picture (pixels a side, file format, date) should tell nothing: it is
    suspicious where it tells two classes apart with a balanced accuracy of `BESIDE`. What is seen
    (border, brightness, bytes) may rightly tell something, as a sea is blue up to its border: it is
    suspicious where it tells one class from all others with `WITHIN`, and better than the object
    does by measures of the same kind (the middle of the picture for the border, the pattern for
    brightness, the detail for bytes). All answers are out of fold, copies in one fold; what counts
    is the lower end of the 95 % interval, so that few images prove little; and with permuted
    labels, the negative control, the same must do worse in each of `CONTROLS` permutations.

    So chest-xray is flagged by size and pacs' photo against sketch by format, brightness and bytes,
    and scenes6, flowers5, grocery, orl-faces, gtsrb, sign-digits, mnist and fashion-mnist are not
    (benchmarks/checks.py). What is missed: a cue that only 8 in 10 images of a class have, a class
    of fewer than about 20 images by what is seen, and a change so strong that the object's own
    measures tell it too (digits 90 levels lighter, whose pattern is bleached).
    """
    looked = look_at(dataset, evidence)
    if looked is None:
        return
    for cue in cues_of(dataset, evidence, looked):
        with threadpool_limits(1):  # systems this small are slower on two threads than on one
            reach = reach_of(cue, looked)
            controls = control(cue, looked) if is_suspicious(reach) else []
        if controls and reach.best.value > max(found.best.value for found in controls):
            yield _finding(cue, reach, controls, looked)


def is_suspicious(reach: Reach) -> bool:
    """Whether a cue that reaches so far tells more than it should, the control apart."""
    if reach.rival is None:
        return reach.best.low >= BESIDE
    return reach.best.low >= WITHIN and reach.best.low > reach.rival


def _finding(cue: Cue, reach: Reach, controls: Sequence[Reach], looked: Looked) -> Finding:
    first = looked.names[reach.first]
    other = None if reach.other is None else looked.names[reach.other]
    most = max(found.best.value for found in controls)
    others = "all other classes" if other is None else f"'{other}'"
    words = (
        f"{cue.words} tells '{first}' from {others} in {_of_100(reach.best)}, where 50 is chance "
        f"and shuffled labels reached {100 * most:.0f} at most"
    )
    if reach.rival is not None:
        words += f"; {cue.rival_words} does in {100 * reach.rival:.0f}"
    if len(looked.names) > 2:
        chance = f"{100 / len(looked.names):.0f} is chance"
        words += f". Among all {len(looked.names)} classes it is right in "
        words += f"{_of_100(reach.overall)}, where {chance}"
    is_copied = cue.name == "date" and _in_order_of_names(cue, looked)
    return Finding(
        check="shortcuts",
        severity="note" if is_copied else "warning",
        words=f"A suspected shortcut: {words}.{_COPIED if is_copied else ''}",
        advice=_ADVICE,
        facts={
            "cue": cue.name,
            "classes": [first] if other is None else [first, other],
            "best": reach.best.as_dict(),
            "balanced_accuracy": reach.overall.as_dict(),
            "chance": 1 / len(looked.names),
            "rival": reach.rival,
            "control": {
                "permutations": len(controls),
                "best": most,
                "balanced_accuracy": float(np.mean([found.overall.value for found in controls])),
            },
        },
    )


def _of_100(score: Score) -> str:
    return f"{100 * score.value:.0f} ({100 * score.low:.0f} to {100 * score.high:.0f}) of 100 cases"


def _in_order_of_names(cue: Cue, looked: Looked) -> bool:
    """Whether the classes follow one another by date as they do by name, none overlapping."""
    days = [cue.features[looked.targets == k, 0] for k in range(len(looked.names))]
    return all(a.max() <= b.min() for a, b in itertools.pairwise(days))


def look_at(dataset: Dataset, evidence: Evidence) -> Looked | None:
    """The images that take part; None where there is nothing to compare.

    Those are all of the classes with `FEW` images or more, up to `MOST`, of more an even sample.
    """
    if evidence.rows is None or dataset.is_tagged:
        return None
    targets = dataset.targets()[evidence.rows]
    counts = np.bincount(targets[targets >= 0], minlength=len(dataset.classes))
    able = np.flatnonzero(counts >= FEW)[: MOST // FEW]
    if len(able) < 2:
        return None
    share = _share(counts[able])
    members = [np.flatnonzero(targets == k) for k in able]
    places = np.sort(np.concatenate([_evenly(rows, share) for rows in members]))
    chosen = np.searchsorted(able, targets[places])
    groups = _groups(dataset, evidence, places)
    try:
        number = folds(chosen, groups, FOLDS, seed=0)
    except DataError:  # every class is one group: it cannot be learned and measured
        return None
    return Looked(places, chosen, groups, number, tuple(dataset.classes[k] for k in able))


def _share(counts: Ints) -> int:
    """The most images that each class may have, so that all have `MOST` together."""
    share = MOST // len(counts)
    while share < counts.max() and np.minimum(counts, share + 1).sum() <= MOST:
        share += 1
    return share


def _evenly(rows: Ints, most: int) -> Ints:
    return rows if len(rows) <= most else rows[np.arange(most) * len(rows) // most]


def _groups(dataset: Dataset, evidence: Evidence, places: Ints) -> Ints:
    """(N,) group numbers; an image is on its own where nothing is known of copies."""
    near: list[list[int]] = []
    if evidence.perceptual is not None and evidence.thumbs is not None:
        sizes = np.maximum(*_sides(evidence, places))
        near = near_groups(evidence.perceptual[places], evidence.thumbs[places], sizes)
    alone = [str(place).encode() for place in range(places.max() + 1)]
    keys = alone if evidence.keys is None else evidence.keys
    owners = [sample.group for sample in _samples(dataset, evidence, places)]
    return duplicate_groups([keys[i] for i in places], near, owners)


def _samples(dataset: Dataset, evidence: Evidence, places: Ints) -> list[Sample]:
    assert evidence.rows is not None  # `look_at` has made sure
    return [dataset.samples[row] for row in evidence.rows[places]]


def _sides(evidence: Evidence, places: Ints) -> tuple[Ints, Ints]:
    """Width and height in pixels; 1 where nobody knows."""
    if evidence.width is None or evidence.height is None:
        return np.ones_like(places), np.ones_like(places)
    return evidence.width[places], evidence.height[places]


def cues_of(dataset: Dataset, evidence: Evidence, looked: Looked) -> Iterator[Cue]:
    """What is known of the images that take part and differs between them."""
    places = looked.places
    sources = [sample.source for sample in _samples(dataset, evidence, places)]
    formats = None if evidence.formats is None else [evidence.formats[i] for i in places]
    images = None
    if evidence.images is not None:
        images = Chosen(evidence.images, torch.from_numpy(places))
    return cues(sources, *_sides(evidence, places), formats, images)


def reach_of(cue: Cue, looked: Looked) -> Reach:
    """How well `cue` tells the classes of `looked`."""
    is_beside = cue.rival is None
    scores = _out_of_fold(cue.features, looked, is_beside)
    counts = _group_counts(looked)
    overall = _balanced(_found(scores, looked), counts)
    if cue.rival is None:
        return Reach(overall, *_best_pair(scores, looked, counts))
    rival = _told(_out_of_fold(cue.rival, looked, is_beside), looked).mean(0)
    return Reach(overall, *_best_class(_told(scores, looked), rival, counts))


def control(cue: Cue, looked: Looked) -> list[Reach]:
    """The negative control: the same with permuted labels, all images of a group having one."""
    firsts = looked.targets[np.unique(looked.groups, return_index=True)[1]]
    found = []
    for seed in range(CONTROLS):
        labels = np.random.default_rng(seed).permutation(firsts)
        found.append(reach_of(cue, replace(looked, targets=labels[looked.groups])))
    return found


def _out_of_fold(features: Floats, looked: Looked, is_beside: bool) -> Floats:
    """(N, K) scores by a classifier that learned from the other folds, classes counting alike."""
    answer = _tree if is_beside else _discriminant
    scores = np.full((len(features), len(looked.names)), _NEVER)
    for fold in np.unique(looked.folds):
        learn, ask = looked.folds != fold, looked.folds == fold
        seen, targets = np.unique(looked.targets[learn], return_inverse=True)
        scores[np.ix_(ask, seen)] = answer(features[learn], targets, features[ask])
    return scores


def _tree(learn: Floats, targets: Ints, ask: Floats) -> Floats:
    """Class shares of a tree's leaves: a class may have two sizes, with another's between them."""
    from sklearn.tree import DecisionTreeClassifier  # 0.5 s that other verbs should not pay

    tree = DecisionTreeClassifier(class_weight="balanced", min_samples_leaf=3, random_state=0)
    return tree.fit(learn, targets).predict_proba(ask)


def _discriminant(learn: Floats, targets: Ints, ask: Floats) -> Floats:
    """Linear discriminant scores, all classes as likely, the covariance shrunk by `_SHRINK`.

    Source: Friedman 1989, JASA 84(405), equation 18 with lambda 1. scikit-learn's own warns of
    every class with one image to learn from.
    """
    centre, scale = learn.mean(0), np.maximum(learn.std(0), 1e-6)
    x = (learn - centre) / scale
    is_of = targets == np.arange(targets.max() + 1)[:, None]
    means = is_of @ x / is_of.sum(1, keepdims=True)
    within = x - means[targets]
    shared = within.T @ within / len(x)
    even = np.trace(shared) / len(shared) + 1e-6
    shrunk = (1 - _SHRINK) * shared + _SHRINK * even * np.eye(len(shared))
    weights = np.linalg.solve(shrunk, means.T)
    return (ask - centre) / scale @ weights - (means.T * weights).sum(0) / 2


def _group_counts(looked: Looked) -> Floats:
    """(K,) groups that have images of each class: what its shares rest on."""
    pairs = np.unique(np.stack([looked.targets, looked.groups]), axis=1)
    # A permutation may leave a class without images: its shares are 0, and rest on nothing.
    return np.maximum(np.bincount(pairs[0], minlength=len(looked.names)), 1).astype(np.float64)


def _found(scores: Floats, looked: Looked) -> Floats:
    """(K,) shares of each class's images that are answered with it."""
    right = scores.argmax(1) == looked.targets
    size = np.bincount(looked.targets, minlength=scores.shape[1])
    return np.bincount(looked.targets, right, scores.shape[1]) / np.maximum(size, 1)


def _told(scores: Floats, looked: Looked) -> Floats:
    """(2, K) shares of each class's images answered with it, and of all others not."""
    classes = scores.shape[1]
    said, size = scores.argmax(1), np.bincount(looked.targets, minlength=classes)
    wrong = np.bincount(said[said != looked.targets], minlength=classes)
    return np.stack([_found(scores, looked), 1 - wrong / np.maximum(len(said) - size, 1)])


def _best_class(told: Floats, rival: Floats, counts: Floats) -> tuple[int, None, Score, float]:
    """The class told from all others: of those told well, the one told better than by the rival."""
    sizes = np.stack([counts, counts.sum() - counts])
    low = _lowest(told, sizes)
    first = int(np.where(low >= WITHIN, 1 + low - rival, low).argmax())
    return first, None, _balanced(told[:, first], sizes[:, first]), float(rival[first])


def _best_pair(scores: Floats, looked: Looked, counts: Floats) -> tuple[int, int, Score]:
    """The two classes told apart best; an image on which they are level counts half."""
    classes = scores.shape[1]
    nearer = np.full((classes, classes), 0.5)
    for k in np.unique(looked.targets):
        own = scores[looked.targets == k]
        nearer[k] = (0.5 + 0.5 * np.sign(own[:, [k]] - own)).mean(0)
    told, sizes = (
        np.stack([nearer, nearer.T]),
        np.stack(np.broadcast_arrays(counts[:, None], counts)),
    )
    low = np.where(np.eye(classes, dtype=bool), 0, _lowest(told, sizes))
    first, other = (int(k) for k in np.unravel_index(low.argmax(), low.shape))
    return first, other, _balanced(told[:, first, other], sizes[:, first, other])


def _lowest(shares: Floats, counts: Floats) -> Floats:
    """The lower end of the interval of the mean of `shares`, over the first axis."""
    square = Z95 * Z95
    spread = np.sqrt(shares * (1 - shares) / counts + square / (4 * counts**2))
    wilson = (shares + square / (2 * counts) - Z95 * spread) / (1 + square / counts)
    below = shares - wilson
    return shares.mean(0) - np.sqrt((below**2).sum(0)) / len(shares)


def _balanced(shares: Floats, counts: Floats) -> Score:
    """The mean of shares (P,), each of `counts` (P,) groups, with its 95 % interval.

    Source: Zou and Donner 2008, Statistics in Medicine 27(10), equation 2, on Wilson's intervals.
    """
    low, high = float(_lowest(shares, counts)), 1 - float(_lowest(1 - shares, counts))
    return Score(float(shares.mean()), low, high, int(counts.sum()), "Wilson, combined")

"""Which augmentations keep the label: a mirrored left arrow is a right arrow, a turned 6 is a 9.

A head answers each image unchanged and changed, out of fold. Two things look alike at first: the
transform makes one class into another, or the network is merely unused to changed images. Three
questions tell them apart, per pair of classes (a, b).

1. Turned: of the images of a that were answered right, how many are answered b when changed?
2. Both ways: does the same transform make a into b and b into a? A swap does; an unused network has
   favourites, and sends many classes to the same one.
3. Learned: a second head is also shown changed images of the other folds under their own labels. If
   they had become images of b, they still cannot be told from b: of 20 mirrored letters and arrows
   turned both ways 3 to 13 were taken for the other, of images that the network was unused to 0 to
   4 (drawn arrows and letters, digits, signs, photographs; 20 images a class).

What cannot be answered is off: a class that the head does not know, or a pair that it cannot tell
apart, would look as though nothing turned it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kenspeckle.data.augment import TRANSFORMS, changed, check_names
from kenspeckle.data.batch import Rows, in_pieces
from kenspeckle.data.split import folds
from kenspeckle.errors import DataError
from kenspeckle.models.runtime import in_parallel
from kenspeckle.score import Score, proportion
from kenspeckle.training.bank import shrinkage_lda
from kenspeckle.training.features import FeatureNetwork
from kenspeckle.trust.label_trial import Answer, Floats, Ints, Learn, Pair, Seen, Trial

HALF_TURN = "half turn"  # what flip and flip_vertical make together, and a large rotation
MIRRORS = ("flip", "flip_vertical", HALF_TURN)  # they leave no part of the picture as it was
FOLDS = 5
UNTESTED = 0.5  # share of classes that may go untested, less than this, where nothing is mirrored
PIECE = 64  # images changed at once
SEEN_PX = 128  # pixels a side for `quarter_vectors`: four places by four in Lite0's waist


@dataclass(frozen=True)
class Safety:
    """Whether one transform keeps the label.

    Args:
        name: of the transform.
        verdict: `keeps`; `swaps`: a class becomes another; `cannot tell`: treated like `swaps`.
        pairs: the pairs that decided it; where it keeps, those that the network had to learn.
        untested: classes of which nothing can be said.
        kept: share of the images answered right unchanged that still are, changed in the worst way.
        words: one sentence for the user.
    """

    name: str
    verdict: Literal["keeps", "swaps", "cannot tell"]
    pairs: tuple[Pair, ...]
    untested: tuple[str, ...]
    kept: Score | None
    words: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def label_safety(
    vectors_of: Callable[[Tensor], Floats],
    learn: Learn,
    images: Rows,
    targets: Ints,
    classes: Sequence[str],
    transforms: Sequence[str],
    *,
    groups: Ints | None = None,
    strength: float = 1.0,
    per_class: int = 20,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Safety]:
    """Ask of each transform, at its most, whether it turns one class into another.

    Costs per_class * K times (1 + the number of ways a transform is at its most, 15 for all)
    forward passes.

    Args:
        vectors_of: images (B, C, S, S) uint8 -> features (B, D). They must know where in the
            picture something is (`quarter_vectors`): averages over the whole picture are nearly the
            same for a picture and its mirror image, so no swap could be seen.
        learn: fits a head, such as `learn_lda`.
        images: N images, as `Batch.images`; those of the training part.
        targets: (N,) class numbers.
        classes: the K names.
        transforms: of `TRANSFORMS`, or "half turn", which is asked by itself where both flips are.
        groups: (N,) images that share one (a burst, a patient) count once; None is all apart.
        strength: as for `augment`.
        per_class: at most so many images of a class are looked at.
        seed: of the choice of images and of the folds.

    Returns:
        One a transform, in the order asked.

    Raises:
        UsageError: there is no such transform.
    """
    check_names(name for name in transforms if name != HALF_TURN)
    asked = list(dict.fromkeys(transforms))
    if {"flip", "flip_vertical"} <= {*asked} and HALF_TURN not in asked:
        asked.append(HALF_TURN)
    groups = np.arange(len(targets)) if groups is None else groups
    rows = _some(targets, groups, per_class, seed)
    targets, groups = targets[rows], groups[rows]
    try:
        fold = folds(targets, groups, FOLDS, seed)
    except DataError:
        why = "no class has two images that were taken apart"
        return [_cannot_tell(name, tuple(classes), why) for name in asked]
    ways = [(name, way) for name in asked for way in _at_most(name)]

    def vectors(way: Mapping[str, tuple[float, ...]], done: int) -> Floats:
        found = []
        for piece in in_pieces(len(rows), PIECE):
            some = images[torch.from_numpy(rows[piece])]
            numbers = {name: torch.tensor([row] * len(some)) for name, row in way.items()}
            found.append(vectors_of(changed(some, numbers, strength) if way else some))
        if progress:
            progress(done, 1 + len(ways))
        return np.concatenate(found)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # of the grain of `noise`
        trial = Trial(vectors({}, 1), targets, fold, learn, classes)
        seen: dict[str, list[Seen]] = {name: [] for name in asked}
        for done, (name, way) in enumerate(ways, 2):
            pairs = len(_at_most(name)) * len(classes) * (len(classes) - 1)
            seen[name].append(trial.ask(vectors(way, done), pairs, name in MIRRORS))
    return [_verdict(name, seen[name], trial) for name in asked]


def allowed(safeties: Sequence[Safety]) -> list[str]:
    """The transforms to train with: those that keep the label, also when they come together.

    >>> said = {"flip": "keeps", "flip_vertical": "keeps", "half turn": "swaps"}
    >>> allowed([Safety(name, verdict, (), (), None, "") for name, verdict in said.items()])
    ['flip']
    """
    kept = [safety.name for safety in safeties if safety.verdict == "keeps"]
    if any(safety.name == HALF_TURN and safety.verdict != "keeps" for safety in safeties) and (
        "flip" in kept
    ):
        kept = [name for name in kept if name != "flip_vertical"]
    return [name for name in kept if name != HALF_TURN]


def quarter_vectors(network: FeatureNetwork, images: Tensor) -> Floats:
    """The four deepest stages averaged over each quarter of the picture, (B, D).

    Pooled over the whole picture, Lite0's features told 60 to 68 % of 40 drawn arrows to the left
    and to the right apart, with three kinds of head; pooled in quarters 95 to 100 %.

    Args:
        images: (B, C, S, S) uint8, brought to 128 px: at 32 px or less the waist has one place.
    """

    def quarters(some: Tensor) -> Tensor:
        some = F.interpolate(some.float(), (SEEN_PX, SEEN_PX), mode="bilinear", antialias=True)
        some = some.add_(0.5).clamp_(0, 255).to(torch.uint8)
        stages = [F.adaptive_avg_pool2d(m.float(), 2).flatten(1) for m in network.stages(some)[-4:]]
        return torch.cat([F.normalize(stage, dim=1) for stage in stages], dim=1)

    return in_parallel(quarters, images, network.precision).numpy()


def learn_lda(vectors: Floats, targets: Ints) -> Answer:
    """Shrinkage LDA (`training/bank.py`): no choice to make, and quick with many features."""
    classes = int(targets.max()) + 1
    weights, bias = shrinkage_lda(vectors.astype(np.float64), targets, classes)
    return lambda asked: asked @ weights.T + bias


def _some(targets: Ints, groups: Ints, per_class: int, seed: int) -> Ints:
    """Rows of up to `per_class` images of each class, one of a group, in their order."""
    order = np.random.default_rng(seed).permutation(len(targets))
    _, first = np.unique(groups[order], return_index=True)
    apart = order[np.sort(first)]
    chosen = [apart[targets[apart] == k][:per_class] for k in np.unique(targets)]
    return np.sort(np.concatenate(chosen))


def _at_most(name: str) -> list[dict[str, tuple[float, ...]]]:
    """The numbers with which a transform changes images most."""
    if name == HALF_TURN:
        return [{"flip": (1.0,), "flip_vertical": (1.0,)}]
    return [{name: numbers} for numbers in TRANSFORMS[name].most]


def _verdict(name: str, seen: Sequence[Seen], trial: Trial) -> Safety:
    swapped = _worst(pair for each in seen for pair in each.swapped)
    left_open = _worst(pair for each in seen for pair in each.open)
    learned = _worst(pair for each in seen for pair in each.learned)
    right = int(trial.is_right.sum())
    kept = proportion(min(each.right for each in seen), right) if right else None
    known = Safety(name, "swaps", swapped, trial.untested, kept, "")
    if swapped:
        return replace(known, words=f"{name} is off: it turns {_say(swapped)}.")
    if left_open:
        words = f"{name} is off: it may turn {_say(left_open)}; more images would tell."
        return replace(known, verdict="cannot tell", pairs=left_open, words=words)
    share = len(trial.untested) / len(trial.classes)
    if trial.untested and (name in MIRRORS or share >= UNTESTED):
        why = "too few of their images are recognised, or they are taken for each other"
        return replace(_cannot_tell(name, trial.untested, why), kept=kept)
    assert kept is not None
    words = f"{name} keeps the label: {kept.percent()} of the images are still recognised"
    if learned:
        words += ", and the pairs it mixes up most can be learned"
    if trial.untested:
        words += f"; not tested on {_names(trial.untested)}"
    return replace(known, verdict="keeps", pairs=learned, words=words + ".")


def _worst(pairs: Iterable[Pair]) -> tuple[Pair, ...]:
    """Each pair once, in the way that turned the largest share of it; the largest first."""
    worst: dict[tuple[str, str], Pair] = {}
    for pair in sorted(pairs, key=lambda pair: -pair.turned / pair.of):
        worst.setdefault((pair.source, pair.answered), pair)
    return tuple(worst.values())


def _cannot_tell(name: str, untested: tuple[str, ...], why: str) -> Safety:
    words = f"{name} is off: cannot tell whether it keeps {_names(untested)} ({why})."
    return Safety(name, "cannot tell", (), untested, None, words)


def _say(pairs: Sequence[Pair]) -> str:
    said = [
        f"'{pair.source}' into '{pair.answered}' ({pair.turned} of {pair.of})" for pair in pairs[:4]
    ]
    more = [f"{len(pairs) - 4} more"] if len(pairs) > 4 else []
    return ", ".join(said + more)


def _names(names: Sequence[str]) -> str:
    more = [f"{len(names) - 3} more"] if len(names) > 4 else []
    return ", ".join([f"'{name}'" for name in names[: 3 if more else 4]] + more)

"""Whether a network learned its training images by heart, the likeliest cause, and one remedy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import median
from typing import Any, Literal

from kenspeckle.score import Score, proportion
from kenspeckle.words import points, times_in_100

Verdict = Literal["none", "overfitting", "underfitting", "cannot tell"]

MARGIN = 0.10  # of the share right; a smaller gap is what every good fit has (see `overfitting`)
FEW = 200  # training images in the middle class; at 102 (flowers5) packaged features won by far
TREND = 4  # epochs; with fewer after the least no rise can be told from chance at 5 %
CHANCE = 0.05  # how often jitter alone may pass for a rise
RISEN = 0.10  # of the least loss; a steadier but smaller rise is not called harmful


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What is known of a run beside its curves.

    Args:
        images_per_class: training images of each class; empty where there are no classes.
        is_frozen: a head on fixed features was learned, not the network.
        parameters: how many numbers were learned.
        has_augmentation, has_weight_decay, has_dropout: what held the network back.
        has_leak: copies of measured images were found among the training images.
        has_label_errors: wrong labels are suspected.
        has_shortcut: the class can be told by border, brightness, size or the like alone.
        things: what is recognised, in words: images, sequences, lines.
    """

    images_per_class: Sequence[int] = ()
    is_frozen: bool = False
    parameters: int = 0
    has_augmentation: bool = False
    has_weight_decay: bool = False
    has_dropout: bool = False
    has_leak: bool = False
    has_label_errors: bool = False
    has_shortcut: bool = False
    things: str = "images"


@dataclass(frozen=True)
class Overfitting:
    """What `overfitting` found.

    Args:
        verdict: in a word.
        is_harmful: training on made answers on new images worse.
        gap: share right on training images minus that on held-out ones; None without images.
        since: the epoch after the least tuning loss, where it rises from there; else None.
        words: the verdict as a sentence, with its numbers.
        cause: the likeliest cause as a sentence; blank for `none`.
        remedy: the one thing to do as a sentence; blank for `none`.
    """

    verdict: Verdict
    is_harmful: bool
    gap: Score | None
    since: int | None
    words: str
    cause: str
    remedy: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def overfitting(
    history: Sequence[Mapping[str, Any]],
    train_right: tuple[int, int],
    test_right: tuple[int, int],
    run: Circumstances,
    rise: Score | None = None,
) -> Overfitting:
    """Name overfitting or underfitting where it is shown, and say when it cannot be told.

    The first rule that holds decides:

    1. Nothing measured on either side: *cannot tell*.
    2. *overfitting*, where the low end of the gap's interval is above 10 points, or where the
       tuning loss rises (below). Every fit answers its own images better: the best head on
       flowers5 had 99.8 % of 599 training images right and 91.3 % of 150 new ones, a gap of 8.5
       points (4.9 to 14.1), and nothing is to be mended there. So a gap is named only beyond that.
    3. *underfitting*, where even on training images the high end of the share right is below the
       middle between guessing (the commonest class) and all right. Losses are not compared, since
       smoothing and mixup raise them on purpose.
    4. *cannot tell*, where copies of measured images or a shortcut were found: the held-out images
       have what the training images have, so no gap can show.
    5. *cannot tell*, where the gap's interval reaches beyond 20 points.
    6. *none*.

    A gap is harmless as long as the tuning loss still falls. It is *harmful* only where training
    on made new answers worse: since the epoch with the least tuning loss the training loss fell,
    the tuning losses after it trend upward (Kendall's tau against time, one-sided 5 %; the least
    itself, which is low by selection, takes no part; at least 4 epochs), and the rise has size:
    `rise.low` above 0, or without `rise` the last three epochs on average 10 % above the least. On
    600 drawn curves that fall to a level with independent jitter of 1, 5 and 10 % of the loss, 0,
    1.3 and 3.3 % were wrongly called rising; jitter that lingers (correlation 0.8, 5 %): 22 %.

    Causes, in this order, since each makes the next one hard to see: suspected label errors, which
    can only be learned by heart; few images a class; more parameters than images with augmentation,
    weight decay or dropout off (the first that is off is the remedy); else too few images.

    Args:
        history: `epoch`, `train_loss` and `tune_loss` of each epoch; empty where no loop trained.
        train_right: right answers and number of images, of images it learned from, with the
            weights that were kept.
        test_right: the same of held-out images.
        rise: last tuning loss minus the least, image by image (`paired_difference`); better than
            the 10 % where the losses of single images are known.

    Source: the gap's interval is Newcombe 1998, Statistics in Medicine 17:873, method 10; the trend
    is Mann 1945, Econometrica 13:245.

    >>> known = Circumstances(images_per_class=[30, 30], parameters=100_000)
    >>> found = overfitting([], (60, 60), (60, 100), known)
    >>> found.verdict, str(found.gap)
    ('overfitting', '0.400 [0.291, 0.498], n = 160')
    """
    gap = _gap(train_right, test_right)
    if gap is None:
        words = (
            f"Whether it overfits cannot be told, since no {run.things} were left to measure on."
        )
        cause = f"The {run.things} are too few to keep some apart."
        return _found("cannot tell", None, None, words, cause, f"Add {run.things} of each class.")
    since = _rises_since(history, rise)
    trained, told = proportion(*train_right), _shares(train_right, test_right, gap, run.things)
    if since is not None or gap.low > MARGIN:
        words = _overfitting_words(told, gap, since, bool(history), run.things)
        return _found("overfitting", gap, since, words, *_cause(run))
    if trained.high < (1 + _guess(run)) / 2:
        words = f"Underfitting: it has not even learned its training {run.things}. {told}"
        return _found("underfitting", gap, None, words, *_too_little(history, run))
    if run.has_leak or run.has_shortcut:
        words = f"Whether it overfits cannot be told. {told}"
        return _found("cannot tell", gap, None, words, *_blinded(run))
    if gap.high > 2 * MARGIN:
        words = f"Whether it overfits cannot be told. {told}"
        cause = f"With {test_right[1]} held-out {run.things} the range is too wide."
        return _found("cannot tell", gap, None, words, cause, f"Measure on more {run.things}.")
    return _found("none", gap, None, f"No overfitting is shown. {told}", "", "")


def difference(first: tuple[int, int], second: tuple[int, int]) -> Score:
    """The share right of `first` minus that of `second`, two samples that share no image.

    Args:
        first, second: right answers and number of images (above 0).

    Source: Newcombe 1998, Statistics in Medicine 17:873, method 10.

    >>> str(difference((56, 70), (48, 80)))   # his table II: 0.0524 to 0.3339
    '0.200 [0.052, 0.334], n = 150'
    """
    one, two = proportion(*first), proportion(*second)
    value = one.value - two.value
    low = value - math.hypot(one.value - one.low, two.high - two.value)
    high = value + math.hypot(one.high - one.value, two.value - two.low)
    return Score(value, low, high, one.n + two.n, f"Newcombe's method 10, {one.n} and {two.n}")


def _found(
    verdict: Verdict, gap: Score | None, since: int | None, words: str, cause: str, remedy: str
) -> Overfitting:
    return Overfitting(verdict, since is not None, gap, since, words, cause, remedy)


def _gap(train_right: tuple[int, int], test_right: tuple[int, int]) -> Score | None:
    return difference(train_right, test_right) if train_right[1] and test_right[1] else None


def _guess(run: Circumstances) -> float:
    """How often always saying the commonest class is right."""
    return max(run.images_per_class) / sum(run.images_per_class) if any(run.images_per_class) else 0


def _rises_since(history: Sequence[Mapping[str, Any]], rise: Score | None) -> int | None:
    """The epoch after the least tuning loss, where it rises from there for good."""
    tuned = [row for row in history if _is_number(row.get("tune_loss"))]
    best = min(range(len(tuned)), key=lambda i: tuned[i]["tune_loss"], default=0)
    later = tuned[best + 1 :]
    if len(later) < TREND or not _is_number(later[-1]["train_loss"]):
        return None
    if not later[-1]["train_loss"] < tuned[best]["train_loss"]:
        return None  # both rise: it diverges, which is another trouble
    losses = [row["tune_loss"] for row in later]
    if rise is None:
        has_size = sum(losses[-3:]) / 3 >= (1 + RISEN) * tuned[best]["tune_loss"]
    else:
        has_size = rise.low > 0
    return int(later[0]["epoch"]) if has_size and _trends_upward(losses) else None


def _trends_upward(losses: Sequence[float]) -> bool:
    from scipy.stats import kendalltau  # takes 0.5 s to import

    if len(set(losses)) == 1:
        return False
    found = kendalltau(range(len(losses)), losses, alternative="greater")
    return bool(found.pvalue < CHANCE)


def _is_number(loss: float | None) -> bool:
    return loss is not None and math.isfinite(loss)


def _shares(
    train_right: tuple[int, int], test_right: tuple[int, int], gap: Score, things: str
) -> str:
    learned, new = (
        times_in_100(proportion(*counted).value) for counted in (train_right, test_right)
    )
    value, low, high = (points(end) for end in (gap.value, gap.low, gap.high))
    return (
        f"It is right on {learned} in 100 of {train_right[1]} training {things} and on {new} in "
        f"100 of {test_right[1]} held-out ones: a gap of {value} points (between {low} and {high})."
    )


def _overfitting_words(
    told: str, gap: Score, since: int | None, is_curve: bool, things: str
) -> str:
    if since is not None:
        shown = "" if gap.low > 0 else " So small a gap may be chance."
        return (
            f"Overfitting: from epoch {since} on the loss on {things} it did not learn from rises "
            f"while that on training {things} still falls, so training on did harm; the weights "
            f"from before were kept. {told.replace('It is', 'With them it is', 1)}{shown}"
        )
    harmless = (
        f" That does no harm so far: the loss on {things} it did not learn from has not risen from "
        "its least by more than chance."
    )
    return f"Overfitting. {told}{harmless if is_curve else ''}"


def _cause(run: Circumstances) -> tuple[str, str]:
    """The likeliest cause of overfitting, and its remedy."""
    if run.has_label_errors:
        return (
            "Some labels are suspected to be wrong, and a wrong label can only be learned by "
            "heart.",
            "Look through the list of suspected labels among the findings, correct them, and train "
            "again.",
        )
    each = median(run.images_per_class) if run.images_per_class else math.inf
    if each < FEW and not run.is_frozen and run.things == "images":
        return (
            f"{each:.0f} training images a class are few for a network that learns all its "
            f"{run.parameters} numbers from them.",
            "Train on packaged features instead: `ken train FOLDER` without --model.",
        )
    if each < FEW:
        return (
            f"{each:.0f} training {run.things} a class are few.",
            f"Add {run.things}, of the classes first that are found least.",
        )
    missing = _missing_regularisation(run)
    if run.parameters > sum(run.images_per_class) and missing and not run.is_frozen:
        return (
            f"It learned {run.parameters} numbers, more than it had {run.things}, and little held "
            "it back.",
            missing,
        )
    return (
        f"It has learned what only its training {run.things} have.",
        f"Add {run.things}, of the classes first that are found least.",
    )


def _missing_regularisation(run: Circumstances) -> str:
    """The first that is off of augmentation, weight decay and dropout."""
    if not run.has_augmentation:
        return "Train again with augmentation, so that no image is seen twice alike."
    if not run.has_weight_decay:
        return "Train again with `--weight-decay 0.05`."
    if not run.has_dropout:
        return "Train again with `--set dropout=0.3`."
    return ""


def _too_little(history: Sequence[Mapping[str, Any]], run: Circumstances) -> tuple[str, str]:
    """The likeliest cause of underfitting, and its remedy."""
    if run.is_frozen:
        return (
            "The fixed features do not tell these classes apart.",
            "Train the network itself: `ken train FOLDER --freeze no`.",
        )
    losses = [row["train_loss"] for row in history if _is_number(row.get("train_loss"))]
    last = losses[-TREND:]
    if len(losses) < TREND or all(after < before for before, after in pairwise(last)):
        return (
            f"The training loss was still falling when it ended, after {len(history)} epochs.",
            f"Train longer, such as `--epochs {max(20, 3 * len(history))}`.",
        )
    return (
        "The training loss no longer falls, so the network is too small for these "
        f"{run.things} or learns too slowly.",
        "Take a larger network: `ken list models` names them.",
    )


def _blinded(run: Circumstances) -> tuple[str, str]:
    if run.has_leak:
        return (
            f"Copies of held-out {run.things} are among the training {run.things}, so the "
            "held-out score is too good.",
            "Remove the copies that the findings list, and train again.",
        )
    return (
        f"The class can be told by a shortcut, and the held-out {run.things} have it too.",
        f"Measure with `ken val` on {run.things} from elsewhere, which do not have it.",
    )

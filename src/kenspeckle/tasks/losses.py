"""What training makes small: cross-entropy and its relatives, for one of K and for any of K."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from kenspeckle.errors import UsageError

LossKind = Literal["auto", "cross-entropy", "balanced", "focal"]
RULED_WORDS = "-log p of what was seen and the rules, which of a class is cross-entropy"
UNEVEN = 3.0  # largest over smallest class; above it a rare class is drowned by the common one
FOCUS = 2.0  # the exponent of focal loss (Lin et al. 2017, table 1b)


@dataclass(frozen=True)
class Loss:
    """A loss that was chosen, and why, in one line.

    Args:
        kind: `cross-entropy`, `balanced` or `focal`.
        class_weights: (K,) how much a class counts, for `balanced`; mean 1 over the images.
        words: for people.
    """

    kind: str = "cross-entropy"
    class_weights: tuple[float, ...] = ()
    words: str = "cross-entropy"


def choose_loss(kind: LossKind, counts: Sequence[int], total: int | None = None) -> Loss:
    """The loss that the data ask for, or the one that was named.

    `auto` is cross-entropy, and balanced where the largest class has more than three times the
    images of the smallest: every class then counts alike. Where any of K labels may be true
    (`total` is given) cross-entropy is that of each label by itself (BCE), and balanced gives those
    who have a label as much weight as those who have not, ten times at most.

    Args:
        counts: (K,) training images of each class; empty classes are left out of account.
        total: of the training images, where an image may have several labels.

    >>> choose_loss("auto", [40, 10]).words
    'balanced cross-entropy, since the largest class has 4 times the images of the smallest'
    """
    name = "cross-entropy" if total is None else "cross-entropy of each label (BCE)"
    if kind == "focal":
        words = f"focal loss, which looks past what is easy (exponent {FOCUS:g}), as asked"
        return Loss("focal", words=words)
    seen = [count for count in counts if count]
    ratio = max(seen) / min(seen) if seen else 1.0
    rare = min(seen) / total if seen and total else 1.0
    if kind == "balanced" or (kind == "auto" and total is None and ratio > UNEVEN):
        weights = _one_of_k(counts) if total is None else _any_of_k(counts, total)
        why = (
            "as asked"
            if kind == "balanced"
            else (f"since the largest class has {ratio:.2g} times the images of the smallest")
        )
        return Loss("balanced", weights, f"balanced {name}, {why}")
    if kind == "auto" and total is not None and rare < 1 / (2 * UNEVEN):
        words = f"balanced {name}, since the rarest label is on {100 * rare:.0f} % of the images"
        return Loss("balanced", _any_of_k(counts, total), words)
    return Loss(words=name)


def _one_of_k(counts: Sequence[int]) -> tuple[float, ...]:
    """Weights n / (K n_k): each class has the same share of the loss."""
    total, classes = sum(counts), sum(count > 0 for count in counts)
    return tuple(total / (classes * count) if count else 0.0 for count in counts)


def _any_of_k(counts: Sequence[int], total: int) -> tuple[float, ...]:
    """Weights (n - n_k) / n_k of the images that have the label, between 1 and 10."""
    return tuple(min(10.0, max(1.0, (total - count) / count)) if count else 1.0 for count in counts)


def one_of_k(logits: Tensor, targets: Tensor, loss: Loss, smoothing: float = 0.0) -> Tensor:
    """(B,) losses of logits (B, K).

    Args:
        targets: (B,) class numbers, or (B, K) shares that sum to 1 (mixed images).
        smoothing: the share that is spread over all classes (Szegedy et al. 2016, section 7).
    """
    losses = F.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)
    if loss.kind == "balanced":
        weights = logits.new_tensor(loss.class_weights)
        losses = losses * (targets @ weights if targets.ndim == 2 else weights[targets])
    if loss.kind == "focal":
        p = logits.softmax(1)
        sure = (p * targets).sum(1) if targets.ndim == 2 else p.gather(1, targets[:, None])[:, 0]
        losses = losses * (1 - sure) ** FOCUS
    return losses


def any_of_k(logits: Tensor, targets: Tensor, loss: Loss, smoothing: float = 0.0) -> Tensor:
    """(B,) losses of logits (B, K) against targets (B, K) in [0, 1], the mean over labels.

    >>> import torch
    >>> any_of_k(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), Loss()).item()  # ln 2
    0.6931471824645996
    """
    targets = targets * (1 - smoothing) + smoothing / 2
    weights = logits.new_tensor(loss.class_weights) if loss.kind == "balanced" else None
    losses = F.binary_cross_entropy_with_logits(
        logits, targets, pos_weight=weights, reduction="none"
    )
    if loss.kind == "focal":
        p = logits.sigmoid()
        losses = losses * (targets * (1 - p) + (1 - targets) * p) ** FOCUS
    return losses.mean(1)


def check_loss(kind: str, smoothing: float) -> None:
    """Refuse choices that do not go together.

    Raises:
        UsageError: focal loss with smoothing.
    """
    if kind == "focal" and smoothing:
        raise UsageError(
            "Focal loss looks past what is easy and smoothing never calls anything easy; choose "
            "one: leave out training.smoothing or --loss focal."
        )

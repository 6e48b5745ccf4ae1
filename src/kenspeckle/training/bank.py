"""Heads that are fitted in well under a second on cached features: the bank.

Every one is a fixed transform of the vector and one linear layer, so that export, explanation and
further training treat all heads alike. No head wins everywhere (TRUST 1.2, benchmarks/heads.py).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from kenspeckle.errors import UsageError, nearest
from kenspeckle.models.heads import FeatureHead, Transform, transformed

Floats = NDArray[np.float64]
Linear = tuple[Floats, Floats]
"""Weights (K, D) and biases (K,)."""

ABSENT = -30.0  # bias of a class that a fold did not see: probability e-30 beside the others
SHARPNESS = 10.0  # unit vectors are this long for logistic regression with C = 1 (TRUST 1.2)
SHRINKAGE = 0.5  # .1 and .5 gave the same (TRUST 2.4); a fixed one needs no validation set


@dataclass(frozen=True)
class Kind:
    """One head of the bank: which transform it reads, and how its linear layer is found."""

    name: str
    transform: Transform
    solve: Callable[[Floats, NDArray[np.int64], int], Linear]
    words: str


def logistic(x: Floats, y: NDArray[np.int64], classes: int) -> Linear:
    """L2 logistic regression, C = 1, on vectors stretched to length 10.

    Where there are more features than images it is solved in the span of the images, which gives
    the same weights: the L2 penalty does not see rotations.
    """
    if len(np.unique(y)) == 1:  # a fold that holds out all images of the others
        return _for_all_classes(np.zeros((1, x.shape[1])), np.zeros(1), y[:1], classes)
    x = x * SHARPNESS
    basis = None
    if len(x) < x.shape[1]:
        basis, triangle = np.linalg.qr(x.T)
        x = triangle.T
    x = x.astype(np.float32)  # 1.7x faster than float64 on 2128 signs of 43 classes, as accurate
    with warnings.catch_warnings():
        # Not converged after 300 steps is still a usable head, and cross-validation judges it.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = LogisticRegression(C=1.0, max_iter=300).fit(x, y)
    weights, bias = fitted.coef_, fitted.intercept_
    if len(fitted.classes_) == 2:  # one row for two classes: split it evenly
        weights = np.concatenate([-weights, weights]) / 2
        bias = np.concatenate([-bias, bias]) / 2
    if basis is not None:
        weights = weights @ basis.T
    return _for_all_classes(weights * SHARPNESS, bias, fitted.classes_, classes)


def shrinkage_lda(x: Floats, y: NDArray[np.int64], classes: int) -> Linear:
    """Linear discriminant analysis with a shrunken covariance, by one linear solve.

    covariance = (1 - s) * within-class scatter / n + s * its mean variance * identity. With fewer
    images than features the solve is (n, n), by the Woodbury identity.

    Source: Friedman 1989, JASA 84(405), equation 18; the same numbers as scikit-learn's
    LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5).
    """
    present, y = np.unique(y, return_inverse=True)
    means = np.stack([x[y == k].mean(0) for k in range(len(present))])
    residuals = x - means[y]
    n, width = x.shape
    ridge = SHRINKAGE * float((residuals**2).sum()) / n / width
    if ridge == 0:  # one image a class: no spread is known, so all directions count alike
        return prototypes(x, present[y], classes)
    scale = (1 - SHRINKAGE) / n
    if n < width:
        inner = np.eye(n) + scale / ridge * (residuals @ residuals.T)
        solved = np.linalg.solve(inner, residuals @ means.T)
        weights = (means.T - scale / ridge * residuals.T @ solved).T / ridge
    else:
        spread = scale * residuals.T @ residuals + ridge * np.eye(width)
        weights = np.linalg.solve(spread, means.T).T
    bias = -0.5 * (means * weights).sum(1) + np.log(np.bincount(y) / n)
    return _for_all_classes(weights, bias, present, classes)


def prototypes(x: Floats, y: NDArray[np.int64], classes: int) -> Linear:
    """Cosine to each class's mean vector: all that one image a class allows.

    Source: Snell, Swersky and Zemel 2017, arXiv:1703.05175, with cosine for distance.
    """
    present = np.unique(y)
    means = np.stack([x[y == k].mean(0) for k in present])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    return _for_all_classes(SHARPNESS * means, np.zeros(len(present)), present, classes)


def _for_all_classes(
    weights: Floats, bias: Floats, present: NDArray[np.int64], classes: int
) -> Linear:
    """The same layer with a row for classes that were not seen, which it never answers."""
    all_weights = np.zeros((classes, weights.shape[1]))
    all_bias = np.full(classes, ABSENT)
    all_weights[present] = weights
    all_bias[present] = bias
    return all_weights, all_bias


_LAYERS = "shrinkage LDA on features of six depths"
# In order of preference where cross-validation finds them equal.
BANK = (
    Kind("logistic", "unit", logistic, "L2 logistic regression on the last features"),
    Kind("lda", "root", shrinkage_lda, "shrinkage LDA on the root of the last features"),
    Kind("layers-lda", "layers-root", shrinkage_lda, _LAYERS),
)
# Where the last features may be negative, as a Transformer's, they have no root.
SIGNED_BANK = (BANK[0], Kind("layers-lda", "layers", shrinkage_lda, _LAYERS))
PROTOTYPES = Kind("prototypes", "unit", prototypes, "nearest class mean (one image a class)")


def candidates(
    name: str,
    targets: NDArray[np.int64],
    vectors: NDArray[np.float32],
    widths: Sequence[int],
) -> Sequence[Kind]:
    """The heads to choose from for these images.

    Args:
        name: `auto`, or one head by name.
        targets: (N,) class numbers.
        vectors: (N, D); the root is left out where the last features have negative values.
        widths: of the stages side by side in a vector.

    Raises:
        UsageError: there is no head of that name.
    """
    bank = SIGNED_BANK if bool((vectors[:, -widths[-1] :] < 0).any()) else BANK
    if name == "auto":
        return [PROTOTYPES] if np.bincount(targets).max() == 1 else bank
    check_head(name)
    chosen = [kind for kind in (*bank, PROTOTYPES) if kind.name == name]
    if not chosen:
        raise UsageError(f"The head '{name}' takes a root, and this network's features are signed.")
    return chosen


def check_head(name: str) -> None:
    """Refuse a name that is neither `auto` nor one of the bank.

    Raises:
        UsageError: naming the nearest.
    """
    known = ["auto", *(kind.name for kind in (*BANK, PROTOTYPES))]
    if name not in known:
        hint = nearest(name, known) or "."
        raise UsageError(f"There is no head '{name}'{hint} Known: {', '.join(known)}.")


def linear_layer(
    kind: Kind,
    vectors: NDArray[np.float32],
    targets: NDArray[np.int64],
    widths: Sequence[int],
    classes: int,
) -> Linear:
    """Weights (K, D') and biases (K,) of `kind` fitted to cached vectors (N, D).

    Args:
        targets: (N,) class numbers, or (N, K) zeros and ones where any of K may be true: then each
            label is told from its absence by itself, and its logit is the difference of the two.
    """
    x = transform_vectors(vectors, widths, kind.transform)
    if targets.ndim == 1:
        return kind.solve(x, targets, classes)
    weights, bias = np.zeros((classes, x.shape[1])), np.zeros(classes)
    for k in range(classes):
        if 0 < targets[:, k].sum() < len(targets):
            pair, offsets = kind.solve(x, targets[:, k], 2)
            weights[k], bias[k] = pair[1] - pair[0], offsets[1] - offsets[0]
        else:  # always or never there: nothing to tell it by
            bias[k] = ABSENT if not targets[:, k].any() else -ABSENT
    return weights, bias


def transform_vectors(
    vectors: NDArray[np.float32], widths: Sequence[int], transform: Transform
) -> Floats:
    """What the linear layer reads, (N, D') float64."""
    return transformed(torch.from_numpy(vectors).double(), widths, transform).numpy()


def as_head(kind: Kind, linear: Linear, widths: Sequence[int]) -> FeatureHead:
    """The fitted layer as a head: parity with the fit is 1e-5 (tests/training/test_bank.py)."""
    weights, bias = linear
    head = FeatureHead(widths, len(bias), kind.transform)
    with torch.no_grad():
        head.linear.weight.copy_(torch.from_numpy(weights))
        head.linear.bias.copy_(torch.from_numpy(bias))
    return head.eval()

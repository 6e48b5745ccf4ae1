"""The bank's heads against slower ways, and against the layer that goes into the model file."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

from kenspeckle.errors import UsageError
from kenspeckle.training.bank import (
    ABSENT,
    BANK,
    PROTOTYPES,
    SHARPNESS,
    SIGNED_BANK,
    as_head,
    candidates,
    linear_layer,
    logistic,
    prototypes,
    shrinkage_lda,
    transform_vectors,
)

WIDTHS = (5, 8)


def world(n: int, width: int, classes: int, seed: int = 0):
    random = np.random.default_rng(seed)
    y = np.arange(n) % classes
    centres = random.normal(size=(classes, width))
    return centres[y] + 0.8 * random.normal(size=(n, width)), y


def answers(linear, x):
    weights, bias = linear
    return x @ weights.T + bias


def same_but_a_constant_a_row(one, other):
    gap = one - other
    return np.abs(gap - gap.mean(1, keepdims=True)).max()


@pytest.mark.parametrize(("n", "width"), [(60, 8), (24, 40), (30, 30)])
@pytest.mark.parametrize("classes", [3, 4])
def test_shrinkage_lda_is_scikit_learns(n, width, classes):
    x, y = world(n, width, classes)
    reference = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5).fit(x, y)
    asked, _ = world(50, width, classes, seed=1)
    ours, theirs = answers(shrinkage_lda(x, y, classes), asked), reference.decision_function(asked)
    assert same_but_a_constant_a_row(ours, theirs) < 1e-8 * np.abs(theirs).max()


def test_shrinkage_lda_of_two_classes_is_scikit_learns():
    x, y = world(40, 6, 2)
    reference = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5).fit(x, y)
    found = answers(shrinkage_lda(x, y, 2), x)
    assert found[:, 1] - found[:, 0] == pytest.approx(reference.decision_function(x))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("n", [18, 80])
def test_logistic_gives_the_probabilities_of_the_full_solution(n, classes):
    x, y = world(n, 40, classes)
    asked, _ = world(30, 40, classes, seed=2)
    x, asked = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, asked))
    full = LogisticRegression(C=1.0, max_iter=5000, tol=1e-10).fit(SHARPNESS * x, y)
    found = softmax(answers(logistic(x, y, classes), asked), axis=1)
    # the bank stops at scikit-learn's default tolerance, 1e-4 of the gradient
    assert found == pytest.approx(full.predict_proba(SHARPNESS * asked), abs=0.02)


def test_logistic_does_not_see_rotations():
    x, y = world(20, 12, 3)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(12, 12)))
    one, other = answers(logistic(x, y, 3), x), answers(logistic(x @ turn, y, 3), x @ turn)
    assert same_but_a_constant_a_row(one, other) < 0.05


def test_prototypes_are_cosines_to_class_means():
    x, y = world(12, 6, 3)
    asked = x / np.linalg.norm(x, axis=1, keepdims=True)
    means = np.stack([x[y == k].mean(0) for k in range(3)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    assert answers(prototypes(x, y, 3), asked) == pytest.approx(SHARPNESS * asked @ means.T)


def test_one_image_a_class_makes_lda_prototypes():
    x, y = world(4, 6, 4)
    for ours, theirs in zip(shrinkage_lda(x, y, 4), prototypes(x, y, 4), strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("solve", [logistic, shrinkage_lda, prototypes])
def test_a_class_that_was_not_seen_is_never_answered(solve):
    x, y = world(30, 8, 3)
    weights, bias = solve(x, np.array([0, 2, 3])[y], 5)
    assert weights.shape == (5, 8)
    assert bias[[1, 4]].tolist() == [ABSENT, ABSENT]
    assert not weights[[1, 4]].any()
    assert set(answers((weights, bias), x).argmax(1)) <= {0, 2, 3}


@pytest.mark.parametrize("solve", [logistic, shrinkage_lda, prototypes])
def test_the_order_of_images_does_not_matter(solve):
    x, y = world(24, 8, 3)
    order = np.random.default_rng(4).permutation(24)
    one, other = answers(solve(x, y, 3), x), answers(solve(x[order], y[order], 3), x)
    assert np.array_equal(one.argmax(1), other.argmax(1))
    assert same_but_a_constant_a_row(one, other) < 0.05


@pytest.mark.parametrize("kind", [*BANK, PROTOTYPES, *SIGNED_BANK], ids=lambda k: k.name)
def test_the_stored_head_answers_as_the_fit(kind):
    random = np.random.default_rng(5)
    vectors = random.random((30, sum(WIDTHS))).astype(np.float32)
    targets = np.arange(30) % 3
    linear = linear_layer(kind, vectors, targets, WIDTHS, 3)
    expected = answers(linear, transform_vectors(vectors, WIDTHS, kind.transform))
    with torch.no_grad():
        found = as_head(kind, linear, WIDTHS).from_vector(torch.from_numpy(vectors)).numpy()
    scale = np.abs(linear[0]).sum(1).max()
    assert np.abs(found - expected).max() < 1e-5 * max(1.0, scale)


def test_where_features_may_be_negative_none_is_rooted():
    targets = np.array([0, 0, 1, 1])
    vectors = np.ones((4, 13), np.float32)
    assert {k.name for k in candidates("auto", targets, vectors, WIDTHS)} == {
        "logistic",
        "lda",
        "layers-lda",
    }
    vectors[0, -1] = -1
    kinds = candidates("auto", targets, vectors, WIDTHS)
    assert all("root" not in k.transform for k in kinds)
    vectors[0, -1], vectors[0, 0] = 1, -1  # an earlier stage may be negative
    assert any("root" in k.transform for k in candidates("auto", targets, vectors, WIDTHS))


def test_one_image_a_class_allows_prototypes_only():
    vectors = np.ones((3, 13), np.float32)
    assert candidates("auto", np.array([0, 1, 2]), vectors, WIDTHS) == [PROTOTYPES]


def test_a_head_is_chosen_by_name_and_a_wrong_name_is_told_the_nearest():
    vectors, targets = np.ones((4, 13), np.float32), np.array([0, 0, 1, 1])
    assert [k.name for k in candidates("lda", targets, vectors, WIDTHS)] == ["lda"]
    with pytest.raises(UsageError, match="did you mean 'logistic'"):
        candidates("logistc", targets, vectors, WIDTHS)


@pytest.mark.parametrize("solve", [logistic, shrinkage_lda, prototypes])
def test_where_a_fold_has_one_class_only_that_one_is_answered(solve):
    x = np.random.default_rng(0).normal(size=(6, 4))
    weights, bias = solve(x, np.full(6, 1), 3)
    said = (x @ weights.T + bias).argmax(1)
    assert said.tolist() == [1] * 6

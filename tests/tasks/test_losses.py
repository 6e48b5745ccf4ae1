"""Losses have their known values, and what is chosen from the data is said in words."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from kenspeckle.errors import UsageError
from kenspeckle.tasks.losses import FOCUS, Loss, any_of_k, check_loss, choose_loss, one_of_k

KINDS = (Loss(), Loss("focal"), Loss("balanced", (0.5, 1.0, 2.0)))
counts = st.lists(st.integers(0, 50), min_size=2, max_size=6).filter(lambda c: sum(c) > 0)


@pytest.mark.parametrize("loss", KINDS, ids=lambda loss: loss.kind)
def test_one_hot_shares_are_as_good_as_hard_targets(loss):
    logits, targets = torch.randn(5, 3), torch.tensor([0, 1, 2, 2, 0])
    hard = one_of_k(logits, targets, loss)
    soft = one_of_k(logits, F.one_hot(targets, 3).float(), loss)
    assert torch.allclose(hard, soft, atol=1e-6)


@pytest.mark.parametrize("loss", KINDS, ids=lambda loss: loss.kind)
def test_the_loss_of_mixed_images_can_be_learned_from(loss):
    logits = torch.randn(2, 3, requires_grad=True)
    one_of_k(logits, torch.tensor([[0.3, 0.7, 0.0], [1.0, 0.0, 0.0]]), loss).sum().backward()
    assert logits.grad.isfinite().all()


def test_cross_entropy_of_a_known_answer():
    logits = torch.tensor([[math.log(9.0), 0.0]])
    assert one_of_k(logits, torch.tensor([0]), Loss()).item() == pytest.approx(-math.log(0.9))


def test_focal_loss_of_a_known_answer():
    logits = torch.tensor([[math.log(9.0), 0.0]])
    expected = 0.1**FOCUS * -math.log(0.9)
    assert one_of_k(logits, torch.tensor([0]), Loss("focal")).item() == pytest.approx(
        expected, rel=1e-4
    )


def test_focal_loss_looks_past_what_is_easy():
    logits, targets = torch.tensor([[4.0, 0.0], [0.0, 4.0]]), torch.tensor([0, 0])
    share = one_of_k(logits, targets, Loss("focal")) / one_of_k(logits, targets, Loss())
    assert share[0] < 0.001
    assert share[1] > 0.9


def test_balanced_loss_counts_an_image_by_its_class():
    logits = torch.zeros(2, 3)
    losses = one_of_k(logits, torch.tensor([0, 2]), Loss("balanced", (0.5, 1.0, 2.0)))
    assert losses.tolist() == pytest.approx([0.5 * math.log(3), 2 * math.log(3)])


@settings(max_examples=50, deadline=None)
@given(counts)
def test_balanced_weights_give_every_class_the_same_share(found):
    weights = choose_loss("balanced", found).class_weights
    shares = [w * n for w, n in zip(weights, found, strict=True) if n]
    assert shares == pytest.approx([sum(found) / len(shares)] * len(shares))
    assert sum(shares) == pytest.approx(sum(found))


@settings(max_examples=50, deadline=None)
@given(counts)
def test_a_label_is_weighted_up_and_never_over_ten_times(found):
    weights = choose_loss("balanced", found, total=60).class_weights
    assert all(1 <= weight <= 10 for weight in weights)


@pytest.mark.parametrize(
    ("found", "total", "kind", "words"),
    [
        ([10, 30], None, "cross-entropy", "cross-entropy"),
        ([10, 31], None, "balanced", "has 3.1 times the images of the smallest"),
        ([0, 10, 12], None, "cross-entropy", "cross-entropy"),
        ([30, 40], 60, "cross-entropy", "cross-entropy of each label (BCE)"),
        ([5, 40], 100, "balanced", "the rarest label is on 5 % of the images"),
    ],
)
def test_auto_chooses_from_the_counts_and_says_so(found, total, kind, words):
    loss = choose_loss("auto", found, total)
    assert loss.kind == kind
    assert loss.words.endswith(words)


@pytest.mark.parametrize("kind", ["cross-entropy", "balanced", "focal"])
@pytest.mark.parametrize("total", [None, 100])
def test_what_is_named_is_taken(kind, total):
    loss = choose_loss(kind, [1, 99], total)
    assert loss.kind == kind


def test_smoothing_of_single_labels_goes_half_way_to_one_half():
    logits = torch.randn(2, 3)
    targets = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    smooth = any_of_k(logits, targets, Loss(), smoothing=0.2)
    by_hand = any_of_k(logits, targets * 0.8 + 0.1, Loss())
    assert torch.allclose(smooth, by_hand)


def test_focal_loss_of_single_labels_is_that_of_two_classes():
    logits, targets = torch.randn(6, 1), torch.tensor([[0.0], [1.0]] * 3)
    two = torch.cat([torch.zeros(6, 1), logits], 1)
    expected = one_of_k(two, targets[:, 0].long(), Loss("focal"))
    assert torch.allclose(any_of_k(logits, targets, Loss("focal")), expected, atol=1e-6)


def test_focal_loss_and_smoothing_do_not_go_together():
    with pytest.raises(UsageError, match="choose one"):
        check_loss("focal", 0.1)
    check_loss("focal", 0.0)
    check_loss("auto", 0.1)

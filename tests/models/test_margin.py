"""A margin head compares by angle, starts from what the features know, and training refines it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torch.nn import functional as F

from kenspeckle.models.heads import pooled, transformed
from kenspeckle.models.margin import MarginHead, margin_loss

WIDTHS = (6, 10)


def features(people: int, images: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Positive features: a direction a person, and one strong direction of light for all."""
    random = np.random.default_rng(seed)
    centres = np.repeat(random.uniform(0.8, 1.2, (people, 16)), images, axis=0)
    light = np.linspace(0.2, 1.0, 16) * random.uniform(0, 6, (people * images, 1))
    values = centres + light + random.uniform(0, 0.1, centres.shape)
    return torch.tensor(values, dtype=torch.float32), torch.arange(people).repeat_interleave(images)


def area(vectors: torch.Tensor, targets: torch.Tensor) -> float:
    """The chance that two images of one person are more alike than two of two people."""
    unit = F.normalize(vectors.detach(), dim=1)
    first, second = np.triu_indices(len(targets), 1)
    alike = (unit @ unit.T).numpy()[first, second]
    return float(roc_auc_score((targets[first] == targets[second]).numpy(), alike))


def test_vectors_have_length_one_and_logits_are_scaled_cosines():
    head = MarginHead(WIDTHS, 3, size=5, scale=8.0)
    vectors = torch.rand(4, 16)
    one = head.likeness(vectors)
    assert one.shape == (4, 5)
    assert torch.allclose(one.norm(dim=1), torch.ones(4))
    expected = 8 * torch.stack([F.cosine_similarity(one, d[None]) for d in head.directions], dim=1)
    assert torch.allclose(head.logits(vectors), expected, atol=1e-5)


def test_a_head_is_its_vector_and_what_follows():
    maps = [torch.rand(2, 3, 8, 8), torch.rand(2, 6, 4, 4), torch.rand(2, 10, 2, 2)]
    head = MarginHead(WIDTHS, 3, size=5)
    assert torch.equal(head.vector(maps), pooled(maps, WIDTHS))
    assert torch.equal(head(maps), head.likeness(head.vector(maps)))


def test_without_a_margin_the_loss_is_cross_entropy():
    logits, targets = 16 * (2 * torch.rand(5, 4) - 1), torch.tensor([0, 1, 2, 3, 0])
    expected = F.cross_entropy(logits, targets, reduction="none")
    assert torch.allclose(margin_loss(logits, targets, 0.0, 16.0), expected, atol=1e-4)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 3.1), st.floats(0.05, 1.0), st.floats(-0.9, 0.9))
def test_the_true_angle_is_made_wider_by_the_margin(angle, margin, other):
    logits = 16 * torch.tensor([[math.cos(angle), other]], dtype=torch.float64)
    found = margin_loss(logits, torch.tensor([0]), margin, 16.0).item()
    wider = math.cos(angle + margin)
    if angle + margin > math.pi:
        wider = math.cos(angle) - margin * math.sin(margin)
    expected = math.log1p(math.exp(16 * (other - wider)))
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 3.1), st.floats(0.01, 3.1), st.floats(0.05, 1.0))
def test_a_nearer_image_never_has_the_greater_loss(one, two, margin):
    logits = torch.tensor([[16 * math.cos(a), 0.0] for a in sorted((one, two))])
    near, far = margin_loss(logits, torch.tensor([0, 0]), margin, 16.0).tolist()
    assert near <= far + 1e-4


def test_a_perfect_image_has_a_finite_slope():
    logits = torch.tensor([[16.0, -16.0], [-16.0, 16.0]], requires_grad=True)
    margin_loss(logits, torch.tensor([0, 0]), 0.5, 16.0).sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_the_start_makes_light_count_less_for_people_never_seen():
    vectors, targets = features(8, 6)
    head = MarginHead(WIDTHS, 8, size=16)
    head.start_from(vectors, targets)
    others, names = features(8, 6, seed=1)
    plain = transformed(others, WIDTHS, "layers-root")
    assert area(plain - plain.mean(0), names) < 0.95
    assert area(head.likeness(others), names) > 0.99


def test_the_start_gives_images_of_one_class_a_round_spread():
    vectors, targets = features(10, 30)
    head = MarginHead(WIDTHS, 10, size=16)
    head.start_from(vectors, targets)
    x = transformed(vectors.double(), WIDTHS, "layers-root")
    weight = head.embedding.weight.detach().double()
    inside = torch.stack([x[targets == k] - x[targets == k].mean(0) for k in range(10)]).flatten(
        0, 1
    )
    scatter = inside.T @ inside / len(x)
    shrunken = 0.9 * scatter + 0.1 * scatter.trace() / 16 * torch.eye(16, dtype=x.dtype)
    after = weight @ shrunken @ weight.T
    assert torch.allclose(
        after, after[0, 0] * torch.eye(16, dtype=x.dtype), atol=1e-4 * float(after[0, 0])
    )


def test_the_start_recognises_its_own_classes():
    vectors, targets = features(8, 6)
    head = MarginHead(WIDTHS, 8, size=12)
    head.start_from(vectors, targets)
    assert (head.logits(vectors).argmax(1) == targets).float().mean() > 0.9
    middle = F.normalize(head.likeness(vectors)[targets == 3].mean(0), dim=0)
    assert torch.allclose(head.directions[3], middle, atol=1e-6)


def test_the_start_is_the_same_each_time():
    vectors, targets = features(4, 3)
    heads = [MarginHead(WIDTHS, 4, size=8) for _ in range(2)]
    for head in heads:
        head.start_from(vectors, targets)
    assert torch.equal(heads[0].likeness(vectors), heads[1].likeness(vectors))


def test_one_image_a_class_starts_as_a_rotation():
    vectors, targets = features(6, 1)
    head = MarginHead(WIDTHS, 6, size=16)
    head.start_from(vectors, targets)
    x = transformed(vectors, WIDTHS, "layers-root")
    expected = F.normalize(x - x.mean(0), dim=1)
    assert torch.allclose(
        head.likeness(vectors) @ head.likeness(vectors).T, expected @ expected.T, atol=1e-4
    )


def test_one_image_alone_has_a_direction():
    vectors, targets = features(1, 1)
    head = MarginHead(WIDTHS, 1, size=4)
    head.start_from(vectors, targets)
    assert head.likeness(vectors).norm().item() == pytest.approx(1, abs=1e-5)


def test_a_class_without_an_image_is_nan_nowhere():
    vectors, targets = features(3, 4)
    head = MarginHead(WIDTHS, 5, size=8)
    head.start_from(vectors, targets)
    assert torch.isfinite(head.logits(vectors)).all()


def test_no_more_numbers_than_features():
    assert MarginHead(WIDTHS, 2, size=512).likeness(torch.rand(1, 16)).shape == (1, 16)
    waist = MarginHead(WIDTHS, 2, size=512, transform="unit")
    assert waist.likeness(torch.rand(1, 16)).shape == (1, 10)


def test_training_refines_the_start():
    vectors, targets = features(6, 8)
    head = MarginHead(WIDTHS, 6, size=16)
    head.start_from(vectors, targets)
    losses = []
    for _ in range(40):
        loss = margin_loss(head.logits(vectors), targets, head.margin, head.scale).mean()
        slopes = torch.autograd.grad(loss, [*head.parameters()])
        with torch.no_grad():
            for parameter, slope in zip(head.parameters(), slopes, strict=True):
                parameter -= 0.1 * slope
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_a_head_without_classes_still_has_vectors():
    vectors, targets = features(3, 4)
    learned, shipped = MarginHead(WIDTHS, 3, size=8), MarginHead(WIDTHS, 0, size=8)
    learned.start_from(vectors, targets)
    shipped.embedding.load_state_dict(learned.embedding.state_dict())
    assert torch.equal(shipped.likeness(vectors), learned.likeness(vectors))
    assert shipped.logits(vectors).shape == (12, 0)

"""Heads read maps as they say, and cached vectors give what whole maps give."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from kenspeckle.models.heads import FeatureHead, FlattenHead, PooledHead, pooled, transformed

WIDTHS = (4, 6)
MAPS = [(2, 3, 8, 8), (2, 4, 4, 4), (2, 6, 2, 2)]


@pytest.fixture
def maps() -> list[torch.Tensor]:
    return [torch.rand(shape) for shape in MAPS]


def test_pooled_takes_the_deepest_maps(maps):
    found = pooled(maps, WIDTHS)
    assert found.shape == (2, 10)
    assert torch.allclose(found[0, 4], maps[2][0, 0].mean())
    assert torch.allclose(found[1, 3], maps[1][1, 3].mean())


@pytest.mark.parametrize("transform", ["unit", "root", "layers", "layers-root"])
def test_a_transform_by_hand(transform):
    vectors = torch.rand(3, 10)
    early, waist = vectors[:, :4], vectors[:, 4:]
    if transform.endswith("root"):
        waist = (waist + 1e-6) ** 0.5
    parts = [early, waist] if transform.startswith("layers") else [waist]
    expected = torch.cat([p / p.pow(2).sum(1, keepdim=True).sqrt() for p in parts], dim=1)
    assert torch.allclose(transformed(vectors, WIDTHS, transform), expected, atol=1e-6)


@pytest.mark.parametrize("transform", ["unit", "root", "layers"])
def test_scale_does_not_matter_to_a_transform(transform):
    vectors = torch.rand(3, 10) + 0.1
    one, ten = (transformed(s * vectors, WIDTHS, transform) for s in (1, 10))
    assert torch.allclose(one, ten, atol=1e-4)


@pytest.mark.parametrize("transform", ["unit", "root", "layers", "layers-root"])
def test_a_feature_head_is_its_transform_and_a_linear_layer(maps, transform):
    head = FeatureHead(WIDTHS, 5, transform)
    logits = head(maps)
    assert logits.shape == (2, 5)
    expected = head.linear(transformed(pooled(maps, WIDTHS), WIDTHS, transform))
    assert torch.equal(logits, expected)


@pytest.mark.parametrize("transform", ["unit", "root", "layers", "layers-root"])
def test_images_are_compared_by_the_waist_alone(maps, transform):
    head = FeatureHead(WIDTHS, 5, transform)
    alike = head.likeness(head.vector(maps))
    assert torch.allclose(alike, F.normalize(maps[-1].mean((2, 3)), dim=1), atol=1e-6)


def test_a_pooled_head_averages_and_drops_out_only_in_training(maps):
    head = PooledHead(6, 5, dropout=0.5)
    expected = F.linear(maps[-1].mean((2, 3)), head.linear.weight, head.linear.bias)
    assert torch.allclose(head.eval()(maps), expected, atol=1e-6)
    assert not torch.allclose(head.train()(maps), expected)


def test_a_flatten_head_is_dense_64_and_dense_k(maps):
    head = FlattenHead(24, 5)
    hidden = F.relu(head.hidden(maps[-1].flatten(1)))
    assert hidden.shape == (2, 64)
    assert torch.allclose(head(maps), head.linear(hidden))


@pytest.mark.parametrize(
    "head", [PooledHead(6, 5), FlattenHead(24, 5), FeatureHead(WIDTHS, 5, "root")]
)
def test_a_head_is_its_vector_and_what_follows(maps, head):
    head.eval()
    assert torch.equal(head(maps), head.from_vector(head.vector(maps)))


def test_an_image_of_nothing_has_no_infinite_slope():
    vectors = torch.zeros(1, 10, requires_grad=True)
    transformed(vectors, WIDTHS, "root").sum().backward()
    assert torch.isfinite(vectors.grad).all()

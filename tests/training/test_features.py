"""Features are computed once an image, and what is remembered is what would be computed."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from kenspeckle.models.heads import pooled
from kenspeckle.models.seed_cnn import SeedCNN
from kenspeckle.training.features import (
    DEEPEST,
    FeatureNetwork,
    extract,
    feature_network,
    weights_hash,
)


class Counting:
    """Images that know which of them were looked at."""

    def __init__(self, images: torch.Tensor) -> None:
        self.images, self.seen = images, []

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: torch.Tensor) -> torch.Tensor:
        self.seen += rows.tolist()
        return self.images[rows]


@pytest.fixture
def network() -> FeatureNetwork:
    torch.manual_seed(0)
    return feature_network(SeedCNN(), "float32")


@pytest.fixture
def images() -> Counting:
    return Counting(torch.rand(7, 1, 28, 28, generator=torch.Generator().manual_seed(1)))


def keys_of(images: Counting) -> list[bytes]:
    return [hashlib.sha256(image.numpy().tobytes()).digest() for image in images.images]


def test_vectors_are_the_pooled_stages_side_by_side(network, images):
    expected = pooled(network.stages(images.images), network.widths)
    assert network.widths == (32, 64, 64)
    assert torch.allclose(network.vectors(images.images), expected)


def test_no_more_than_the_deepest_stages_are_kept():
    from kenspeckle.models.efficientnet_lite import EfficientNetLite

    widths = feature_network(EfficientNetLite().eval(), "float32").widths
    assert widths == (40, 80, 112, 192, 320, 1280)
    assert len(widths) == DEEPEST


def test_a_second_time_nothing_is_looked_at(network, images, tmp_path):
    first = extract(network, images, keys_of(images), "28-pad", tmp_path)
    assert sorted(images.seen) == list(range(7))
    images.seen.clear()
    second = extract(network, images, keys_of(images), "28-pad", tmp_path)
    assert images.seen == []
    assert np.array_equal(first, second)


def test_only_what_is_new_is_computed(network, images, tmp_path):
    some = Counting(images.images[:4])
    extract(network, some, keys_of(some), "28-pad", tmp_path)
    found = extract(network, images, keys_of(images), "28-pad", tmp_path)
    assert sorted(images.seen) == [4, 5, 6]
    assert found == pytest.approx(network.vectors(images.images).detach().numpy(), abs=1e-5)


def test_the_order_of_images_is_kept(network, images, tmp_path):
    keys = keys_of(images)
    straight = extract(network, images, keys, "28-pad", tmp_path)
    turned = extract(network, Counting(images.images.flip(0)), keys[::-1], "28-pad", tmp_path)
    assert np.array_equal(turned, straight[::-1])


@pytest.mark.parametrize("change", ["fit", "weights", "precision"])
def test_another_fit_network_or_precision_is_another_vector(network, images, tmp_path, change):
    extract(network, images, keys_of(images), "28-pad", tmp_path)
    images.seen.clear()
    fit = "28-crop" if change == "fit" else "28-pad"
    if change == "weights":
        torch.manual_seed(9)
        network = feature_network(SeedCNN(), "float32")
    if change == "precision":
        network = feature_network(SeedCNN(), "bfloat16")
    extract(network, images, keys_of(images), fit, tmp_path)
    assert sorted(images.seen) == list(range(7))


def test_without_a_cache_nothing_is_written(network, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = extract(network, images, keys_of(images), "28-pad", None)
    assert found.shape == (7, 160)
    assert list(tmp_path.iterdir()) == []


def test_progress_ends_at_all(network, images, tmp_path):
    seen = []
    told = lambda done, total: seen.append((done, total))  # noqa: E731
    extract(network, images, keys_of(images), "28-pad", tmp_path, told)
    assert seen[-1] == (7, 7)
    assert all(done <= total == 7 for done, total in seen)


def test_the_hash_of_weights_changes_with_any_weight():
    network = SeedCNN()
    before = weights_hash(network)
    assert before == weights_hash(network)
    with torch.no_grad():
        network.conv3.bias[0] += 1e-3
    assert weights_hash(network) != before

"""Attention roll-out: where a transformer looks, against sums written out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kenspeckle.errors import UsageError
from kenspeckle.models.rnn import simple
from kenspeckle.models.seed_cnn import SeedCNN
from kenspeckle.models.transformer import VisionTransformer
from kenspeckle.tasks.classify import Classify
from kenspeckle.tasks.task import Network
from kenspeckle.trust.explain.attention import explain_by_attention

TARGET = torch.tensor([0])


def transformer(depth: int = 2) -> Network:
    return Classify("ab").network(VisionTransformer(16, depth, 2))


def looking_at(network: Network, looked: torch.Tensor, monkeypatch) -> None:
    """Let each block attend as `looked` (depth, N, N) says."""
    monkeypatch.setattr(network.backbone, "attention", lambda images: looked[:, None, None])


@given(st.integers(4, 30), st.integers(4, 30), st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_heat_lies_over_the_image_between_0_and_1(height, width, count):
    images = torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8)
    heat = explain_by_attention(transformer(), images, torch.zeros(count, dtype=torch.long))
    assert heat.shape == (count, height, width)
    assert heat.min() >= 0
    assert heat.max() <= 1


def test_the_roll_out_is_the_sum_over_all_ways_through_the_blocks():
    network, images = transformer(3), torch.rand(1, 3, 8, 8)  # 4 places
    looked = network.backbone.eval().attention(images).mean(2)[:, 0].detach().numpy()
    step = [(block + np.eye(4)) / 2 for block in looked]
    expected = np.zeros(4)
    for end, b, a, start in itertools.product(range(4), repeat=4):
        expected[start] += step[2][end, b] * step[1][b, a] * step[0][a, start] / 4
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    heat = explain_by_attention(network, images, TARGET)[0]
    # Bilinear from 2 x 2 to 8 x 8: the four corners hold the four values.
    corners = heat[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.numpy() == pytest.approx(expected, abs=1e-4)


def test_the_place_that_all_look_at_is_the_hottest(monkeypatch):
    network, looked = transformer(), torch.zeros(2, 9, 9)
    looked[:, :, 5] = 1  # second row, last column
    looking_at(network, looked, monkeypatch)
    heat = explain_by_attention(network, torch.rand(1, 3, 12, 12), TARGET)[0]
    row, column = divmod(int(heat.argmax()), 12)
    assert (row // 4, column // 4) == (1, 2)
    assert heat.max() == 1
    assert heat[:, 0].max() == 0


def test_uniform_attention_gives_a_flat_map():
    network = transformer(4)
    for block in network.backbone.blocks:
        for layer in (block.attention.query, block.attention.key_value):
            torch.nn.init.zeros_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
    heat = explain_by_attention(network, torch.rand(2, 3, 28, 28), torch.tensor([0, 1]))
    assert heat.max() < 0.01


def test_the_class_plays_no_part():
    network, images = transformer(), torch.rand(1, 3, 12, 12)
    one, other = (explain_by_attention(network, images, torch.tensor([k])) for k in (0, 1))
    assert torch.equal(one, other)


def test_images_do_not_see_one_another():
    network, images = transformer(), torch.rand(3, 3, 12, 16)
    together = explain_by_attention(network, images, torch.zeros(3, dtype=torch.long))
    for i in range(3):
        alone = explain_by_attention(network, images[i : i + 1], TARGET)
        assert torch.allclose(together[i], alone[0], atol=1e-4)


@pytest.mark.parametrize("backbone", [SeedCNN, simple])
def test_a_network_without_attention_is_refused(backbone):
    network = Classify("ab").network(backbone())
    with pytest.raises(UsageError, match="Only a transformer has attention"):
        explain_by_attention(network, torch.rand(1, 3, 28, 28), TARGET)

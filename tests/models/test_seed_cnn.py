"""The small network equals its literal layers, without what makes it faster."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from kenspeckle.models.seed_cnn import SeedCNN


def literally(network: SeedCNN, images: torch.Tensor) -> list[torch.Tensor]:
    """Convolution, ReLU, pooling, in the founding text's order, on all pixels."""
    x = network.prepare(images)
    first = F.max_pool2d(F.relu(network.conv1(x)), 2)
    second = F.max_pool2d(F.relu(network.conv2(first)), 2)
    return [first, second, F.relu(network.conv3(second))]


@pytest.mark.parametrize("height", [18, 28, 29, 30, 31, 64])
@pytest.mark.parametrize("width", [19, 28, 33])
def test_it_equals_its_literal_layers(height, width):
    network, images = SeedCNN(), torch.rand(2, 1, height, width)
    waist, expected = network(images), literally(network, images)[-1]
    assert waist.shape == expected.shape
    assert torch.allclose(waist, expected, atol=1e-6)


def test_at_28_px_all_maps_are_the_literal_ones_where_both_have_them():
    network, images = SeedCNN(), torch.rand(3, 1, 28, 28)
    for ours, theirs in zip(network.stages(images), literally(network, images), strict=True):
        height, width = ours.shape[-2:]
        assert torch.allclose(ours, theirs[..., :height, :width], atol=1e-6)


def test_it_has_the_texts_number_of_weights():
    # 320 + 18496 + 36928, as the text's own summary prints them
    assert sum(p.numel() for p in SeedCNN().parameters()) == 55744


def test_gradients_are_those_of_the_literal_layers():
    network, images = SeedCNN(), torch.rand(2, 1, 28, 28)
    grads = []
    for function in (network.stages, lambda x: literally(network, x)):
        network.zero_grad()
        function(images)[-1].pow(2).sum().backward()
        grads.append([p.grad.clone() for p in network.parameters()])
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in zip(*grads, strict=True))


def test_colour_is_seen_as_its_luma():
    network, colour = SeedCNN(), torch.rand(1, 3, 28, 28)
    red, green, blue = colour.unbind(1)
    grey = (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]
    assert torch.allclose(network(colour), network(grey), atol=1e-6)

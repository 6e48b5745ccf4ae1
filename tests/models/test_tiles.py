"""Tiles leave no seam, whatever the size of the image."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from kenspeckle.models.tiles import in_tiles


def blur(image: torch.Tensor) -> torch.Tensor:
    """Reaches 3 pixels, to another number of channels."""
    return F.avg_pool2d(image[:, :2], 7, 1, 3, count_include_pad=False)


@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.integers(3, 9), st.integers(1, 4)
)
@settings(max_examples=50, deadline=None)
def test_any_size_of_image_and_tile_is_equal_to_the_whole(height, width, tiles, overlap, multiple):
    image = torch.rand(1, 3, height, width)
    tiled = in_tiles(blur, image, tiles * multiple, overlap, multiple)
    assert tiled.shape == (1, 2, height, width)
    assert torch.allclose(tiled, blur(image), atol=1e-6)


@given(st.integers(1, 33), st.integers(1, 33))
@settings(max_examples=25, deadline=None)
def test_a_network_that_joins_squares_is_equal_to_the_whole(height, width):
    torch.manual_seed(0)
    inner = nn.Conv2d(4, 4, 3, padding=1)  # one square further: 3 pixels

    def network(image: torch.Tensor) -> torch.Tensor:
        even = F.pad(image, [0, image.shape[3] % 2, 0, image.shape[2] % 2], mode="replicate")
        joined = inner(F.pixel_unshuffle(even, 2))
        return F.pixel_shuffle(joined, 2)[..., : image.shape[2], : image.shape[3]]

    image = torch.rand(1, 1, height, width)
    with torch.no_grad():
        tiled = in_tiles(network, image, tile=6, overlap=3, multiple=2)
        assert torch.allclose(tiled, network(image), atol=1e-6)


def test_too_little_overlap_leaves_seams():
    image = torch.rand(1, 3, 40, 40)
    assert not torch.allclose(in_tiles(blur, image, 10, 2), blur(image), atol=1e-3)


def test_no_window_is_larger_than_a_tile_and_its_surroundings():
    seen = []

    def noted(image: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(image.shape[2:]))
        return image

    image = torch.rand(1, 1, 100, 75)
    assert torch.equal(in_tiles(noted, image, tile=16, overlap=5, multiple=4), image)
    assert len(seen) == 7 * 5
    assert max(max(shape) for shape in seen) <= 16 + 2 * (5 + 3)


def test_windows_begin_and_end_at_a_multiple_or_at_the_edge():
    places = torch.arange(50.0).expand(1, 1, 50, 50)

    def noted(image: torch.Tensor) -> torch.Tensor:
        first, last = image[0, 0, 0, 0].item(), image[0, 0, 0, -1].item() + 1
        assert first % 4 == 0
        assert last % 4 == 0 or last == 50
        return image

    in_tiles(noted, places, tile=12, overlap=5, multiple=4)


def test_an_image_that_one_tile_covers_is_handed_on_whole():
    seen = []
    image = torch.rand(1, 1, 20, 30)
    in_tiles(lambda part: seen.append(part) or part, image, tile=32, overlap=8)
    assert len(seen) == 1
    assert torch.equal(seen[0], image)


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (3, 8, 8)])
def test_anything_but_one_image_is_refused(shape):
    with pytest.raises(ValueError, match="one image"):
        in_tiles(blur, torch.rand(shape), 4, 3)


@pytest.mark.parametrize(("tile", "overlap", "multiple"), [(0, 1, 1), (5, 1, 2), (4, -1, 2)])
def test_numbers_that_do_not_go_together_are_refused(tile, overlap, multiple):
    with pytest.raises(ValueError, match="multiple"):
        in_tiles(blur, torch.rand(1, 3, 8, 8), tile, overlap, multiple)

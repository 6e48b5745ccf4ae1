"""Squares come from where they say, repeatably, whatever the size of the images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kenspeckle.data.batch import Batches
from kenspeckle.data.patches import Patches, within_budget
from kenspeckle.errors import EmptyDataset, UsageError


def numbered(height: int, width: int, number: int = 0) -> NDArray[np.uint8]:
    """(H, W, 3): each pixel says its row, its column and its image."""
    image = np.empty((height, width, 3), np.uint8)
    image[..., 0] = np.arange(height)[:, None]
    image[..., 1] = np.arange(width)
    image[..., 2] = number
    return image


def test_a_square_is_a_part_of_its_image():
    images = [numbered(90, 100, 0), numbered(70, 200, 1)]
    squares = Patches(images, 64, 200)[torch.arange(200)]
    assert squares.dtype == torch.uint8
    for square in squares.numpy():
        top, left, number = square[:, 0, 0]
        part = images[number][top : top + 64, left : left + 64]
        assert np.array_equal(square, part.transpose(2, 0, 1))


def test_squares_lie_everywhere():
    squares = Patches([numbered(67, 67)], 64, 400)[torch.arange(400)]
    assert set(squares[:, 0, 0, 0].tolist()) == {0, 1, 2, 3}
    assert set(squares[:, 1, 0, 0].tolist()) == {0, 1, 2, 3}


@given(st.lists(st.integers(0, 99), min_size=1, max_size=8), st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_a_square_depends_on_the_seed_and_its_number_alone(rows, seed):
    images = [numbered(100, 90), numbered(80, 130)]
    one, two = Patches(images, 32, 100, seed), Patches(images, 32, 100, seed)
    alone = torch.cat([one[torch.tensor([row])] for row in rows])
    assert torch.equal(two[torch.tensor(rows)], alone)


def test_another_seed_gives_other_squares():
    images, rows = [numbered(200, 200)], torch.arange(20)
    one, two = Patches(images, 32, 20, seed=0)[rows], Patches(images, 32, 20, seed=1)[rows]
    assert not torch.equal(one, two)


def test_larger_images_are_seen_more_often():
    images = [numbered(64, 64, 0), numbered(192, 128, 1)]  # one square against six
    squares = Patches(images, 64, 2000)[torch.arange(2000)]
    assert squares[:, 2, 0, 0].float().mean() == pytest.approx(6 / 7, abs=0.03)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (5, 7), (64, 3)])
def test_smaller_images_are_reflected(shape):
    image = numbered(*shape)
    square = Patches([image], 64, 1)[torch.tensor([0])][0].numpy()
    rows, columns = np.arange(64) % (2 * shape[0]), np.arange(64) % (2 * shape[1])
    rows = np.minimum(rows, 2 * shape[0] - 1 - rows)
    columns = np.minimum(columns, 2 * shape[1] - 1 - columns)
    assert np.array_equal(square, image[rows][:, columns].transpose(2, 0, 1))


@pytest.mark.parametrize("shape", [(70, 80), (70, 80, 1)])
def test_grey_has_three_channels_that_are_equal(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    squares = Patches([image], 64, 4)[torch.arange(4)]
    assert squares.shape == (4, 3, 64, 64)
    assert torch.equal(squares, squares[:, :1].expand(-1, 3, -1, -1))


def test_they_can_be_read_from_a_mapped_file(tmp_path):
    image = numbered(90, 100)
    np.save(tmp_path / "image.npy", image)
    mapped = np.load(tmp_path / "image.npy", mmap_mode="r")
    rows = torch.arange(10)
    assert torch.equal(Patches([mapped], 64, 10)[rows], Patches([image], 64, 10)[rows])


def test_they_make_batches():
    patches = Patches([numbered(90, 100)], 64, 10)
    updates = list(Batches(patches, torch.zeros(10), batch_size=4, seed=0).epoch(0))
    assert [len(update[0]) for update in updates] == [4, 4, 2]
    for (batch,) in updates:
        assert torch.equal(batch.images, patches[batch.rows])


def test_within_the_budget_every_image_is_whole():
    images = [numbered(30, 40, number) for number in range(5)]
    kept = within_budget(images.__getitem__, 5, 16, megapixels=5 * 1200 / 1e6)
    assert all(np.array_equal(a, b) for a, b in zip(kept, images, strict=True))


@given(st.integers(1, 12), st.floats(0.001, 0.05))
@settings(max_examples=30, deadline=None)
def test_the_budget_is_kept_and_shared(count, megapixels):
    kept = within_budget(lambda number: numbered(200, 120, number), count, 16, megapixels)
    assert sum(image.shape[0] * image.shape[1] for image in kept) <= megapixels * 1e6
    assert len({image.shape for image in kept}) == 1
    numbers = [int(image[0, 0, 2]) for image in kept]
    assert numbers == sorted(set(numbers))
    assert len(kept) == min(count, int(megapixels * 1e6 // 256))


def test_what_is_kept_is_a_window_and_holds_nothing_else_in_memory():
    image = numbered(200, 120)
    (kept,) = within_budget(lambda _: image, 1, 16, megapixels=0.006)
    top, left = kept[0, 0, :2]
    height, width = kept.shape[:2]
    assert (height, width) == (100, 60)
    assert np.array_equal(kept, image[top : top + height, left : left + width])
    assert kept.base is None


def test_only_what_is_kept_is_read():
    read = []
    within_budget(lambda number: (read.append(number), numbered(64, 64))[1], 100, 64, 0.041)
    assert read == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]


@pytest.mark.parametrize("images", [[], [np.zeros((0, 5), np.uint8)]])
def test_nothing_to_cut_from_is_refused(images):
    with pytest.raises(EmptyDataset):
        Patches(images)


@pytest.mark.parametrize(
    "image", [np.zeros((9, 9, 4), np.uint8), np.zeros(9, np.uint8), np.zeros((9, 9))]
)
def test_images_of_another_kind_are_refused(image):
    with pytest.raises(UsageError, match="image 0"):
        Patches([image])


@pytest.mark.parametrize(("size", "length"), [(0, 5), (5, 0)])
def test_no_squares_are_refused(size, length):
    with pytest.raises(UsageError, match="1 or more"):
        Patches([numbered(9, 9)], size, length)


def test_a_budget_below_one_square_is_refused():
    with pytest.raises(UsageError, match="does not hold one patch of 64 x 64"):
        within_budget(lambda _: numbered(64, 64), 1, 64, megapixels=0.004)


def test_a_folder_of_no_images_is_refused():
    with pytest.raises(EmptyDataset):
        within_budget(lambda _: numbered(9, 9), 0, 64)

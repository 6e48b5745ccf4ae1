"""Boxes survive being written, overlaps are what counting pixels gives, and boxes follow pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kenspeckle.data.augment import TRANSFORMS, changed
from kenspeckle.data.boxes import (
    Box,
    as_boxes,
    as_targets,
    augmented,
    boxes_in,
    clipped,
    iou,
    joined_boxes,
    moved,
    suppressed,
)
from kenspeckle.data.fit import Fit, resized, square
from kenspeckle.errors import DataError, UsageError

FITS = [Fit(32, "pad"), Fit(32, "stretch"), Fit(32, "crop")]
side = st.floats(-1e6, 1e6, allow_nan=False)
word = st.text(st.characters(exclude_characters=";", exclude_categories=["C", "Z"]), min_size=1)
name = st.lists(word, min_size=1, max_size=3).map(" ".join)


@st.composite
def boxes(draw) -> Box:
    left, right = sorted(draw(st.lists(side, min_size=2, max_size=2, unique=True)))
    top, bottom = sorted(draw(st.lists(side, min_size=2, max_size=2, unique=True)))
    return Box(draw(name), left, top, right, bottom)


def corners(rows: int, seed: int = 0) -> np.ndarray:
    """Boxes with whole sides within 20 pixels."""
    random = np.random.default_rng(seed)
    start, length = random.integers(0, 12, (rows, 2)), random.integers(1, 9, (rows, 2))
    return np.concatenate([start, start + length], 1).astype(float)


def painted(box: np.ndarray) -> np.ndarray:
    picture = np.zeros((20, 20), bool)
    left, top, right, bottom = box.astype(int)
    picture[top:bottom, left:right] = True
    return picture


@settings(max_examples=50, deadline=None)
@given(st.lists(boxes(), max_size=5))
def test_boxes_survive_being_written(some):
    label = joined_boxes(some)

    def order(box):
        return box.name, box.corners()

    assert sorted(boxes_in(label), key=order) == sorted(some, key=order)
    assert joined_boxes(boxes_in(label)) == label


@settings(max_examples=50, deadline=None)
@given(st.lists(boxes(), max_size=5), st.randoms())
def test_the_order_in_which_boxes_are_said_does_not_matter(some, random):
    shuffled = random.sample(some, len(some))
    assert joined_boxes(shuffled) == joined_boxes(some)


def test_boxes_are_written_with_the_fewest_digits():
    assert joined_boxes([Box("b 2", -0.0, 0.1, 10.0, 1e3), Box("a", 1, 2, 3, 4)]) == (
        "1 2 3 4 a; 0 0.1 10 1000 b 2"
    )


def test_a_dash_or_nothing_is_no_box():
    assert boxes_in("-") == boxes_in("") == boxes_in(" ; ") == ()
    assert joined_boxes([]) == "-"


@pytest.mark.parametrize("label", ["1 2 3 x", "1 2 3 4", "a b c d e", "1 2 nan 4 x", "1 2 inf 4 x"])
def test_what_is_no_box_is_refused(label):
    with pytest.raises(DataError, match="found"):
        boxes_in(label)


@pytest.mark.parametrize("label", ["3 2 3 4 x", "1 4 3 2 x"])
def test_a_box_without_area_is_refused(label):
    with pytest.raises(DataError, match="from left to right and from top to bottom"):
        boxes_in(label)


@pytest.mark.parametrize("wrong", ["", "  ", "a;b"])
def test_a_name_that_cannot_be_read_again_is_refused(wrong):
    with pytest.raises(DataError, match="cannot be called"):
        joined_boxes([Box(wrong, 0, 0, 1, 1)])


def test_overlap_is_what_counting_pixels_gives():
    first, second = corners(12, 1), corners(9, 2)
    expected = [
        [(painted(a) & painted(b)).sum() / (painted(a) | painted(b)).sum() for b in second]
        for a in first
    ]
    assert np.allclose(iou(first, second), expected)


def test_boxes_without_area_overlap_nothing():
    point = np.array([[1.0, 1.0, 1.0, 1.0]])
    assert iou(point, point).tolist() == [[0.0]]
    assert iou(np.zeros((0, 4)), point).shape == (0, 1)


@pytest.mark.parametrize("seed", range(5))
def test_suppression_leaves_no_two_alike_and_takes_nothing_without_a_reason(seed):
    some = corners(25, seed)
    scores = np.random.default_rng(seed).permutation(25) / 25
    kept = suppressed(some, scores, 0.3)
    overlap = iou(some, some)
    assert (np.diff(scores[kept]) < 0).all()
    among = overlap[np.ix_(kept, kept)] - np.eye(len(kept))
    assert (among <= 0.3).all()
    for gone in set(range(25)) - set(kept.tolist()):
        surer = [k for k in kept if scores[k] > scores[gone]]
        assert overlap[gone, surer].max() > 0.3


def test_of_equal_scores_the_first_is_kept():
    same = np.array([[0.0, 0.0, 4.0, 4.0]] * 3)
    assert suppressed(same, np.ones(3), 0.5).tolist() == [0]
    assert suppressed(np.zeros((0, 4)), np.zeros(0), 0.5).tolist() == []


@pytest.mark.parametrize("fit", FITS, ids=lambda fit: fit.mode)
@pytest.mark.parametrize("shape", [(80, 48), (48, 80), (31, 31), (97, 13)])
def test_a_box_lies_in_the_square_where_its_pixels_do(fit, shape):
    width, height = shape
    pixels = np.zeros((height, width), np.uint8)
    box = np.array([[width * 0.3, height * 0.25, width * 0.6, height * 0.7]]).round()
    left, top, right, bottom = box[0].astype(int)
    pixels[top:bottom, left:right] = 255
    image = resized(Image.fromarray(pixels), fit, (0, 0, width, height))
    seen = square(np.array(image)[..., None], fit)[..., 0] > 160  # the padding is 128
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    expected = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    placed = fit.shares(box, (width, height))[0].clip(0, 1) * 32
    assert np.abs(placed - expected).max() <= 1.0


@pytest.mark.parametrize("fit", FITS[:2], ids=lambda fit: fit.mode)
def test_the_way_into_the_square_leads_back(fit):
    some = corners(20)
    back = fit.pixels(fit.shares(some, (31, 20)), (31, 20))
    assert np.allclose(back, some)


def test_targets_are_class_and_place_with_nan_rows_after():
    some = [(Box("b", 0, 0, 40, 20), Box("a", 10, 0, 20, 20)), ()]
    targets = as_targets(some, [(40, 20), (5, 5)], ("a", "b"), Fit(32))
    assert targets.shape == (2, 2, 5)
    expected = torch.tensor([[1.0, 0.0, 0.25, 1.0, 0.75], [0.0, 0.25, 0.25, 0.5, 0.75]])
    assert torch.allclose(targets[0], expected)
    assert targets[1].isnan().all()


def test_without_any_box_there_is_one_row_for_none():
    assert as_targets([(), ()], [(4, 4)] * 2, ("a",), Fit(32)).shape == (2, 1, 5)


def test_what_a_crop_leaves_out_is_no_target():
    some = [(Box("a", 0, 0, 10, 10), Box("a", 90, 0, 110, 20))]
    targets = as_targets(some, [(200, 100)], ("a",), Fit(32, "crop"))
    assert targets[0, 0].isnan().all()
    assert torch.allclose(targets[0, 1, 1:], torch.tensor([0.4, 0.0, 0.6, 0.2]))


def test_a_class_that_is_not_known_is_refused():
    with pytest.raises(DataError, match="did you mean 'cell'"):
        as_targets([(Box("cel", 0, 0, 1, 1),)], [(4, 4)], ("cell",), Fit(32))


def test_what_was_found_is_said_in_pixels_of_the_original():
    rows = torch.tensor([[1, 0.9, 0.0, 0.25, 0.5, 0.75], [0, 0.4, 0.0, 0.0, 1.0, 0.2]])
    said = as_boxes(rows, ("a", "b"), 400, 200, Fit(32))
    assert said == (Box("b", 0, 0, 200, 200, pytest.approx(0.9)),)  # the other is padding alone


@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize("names", [["flip"], ["flip_vertical"], ["crop"], ["crop", "flip"]])
def test_a_box_moves_with_what_is_in_it(names, strength):
    images = torch.zeros(8, 1, 64, 64)
    images[:, :, 24:40, 20:36] = 1.0
    boxes = torch.tensor([0.0, 20 / 64, 24 / 64, 36 / 64, 40 / 64]).expand(8, 1, 5)
    numbers = {n: torch.rand(8, TRANSFORMS[n].count) * 2 - 1 for n in names}
    pictures = changed(images, numbers, strength) > 0.6
    for picture, box in zip(pictures, moved(boxes, numbers, strength), strict=True):
        rows = picture[0].any(1).nonzero().flatten()
        columns = picture[0].any(0).nonzero().flatten()
        expected = torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        assert (box[0, 1:] * 64 - expected).abs().max() <= 1.0


@pytest.mark.parametrize("name", ["rotate", "shear"])
def test_the_box_of_what_was_turned_is_around_it(name):
    images = torch.zeros(8, 1, 64, 64)
    images[:, :, 24:40, 20:36] = 1.0
    boxes = torch.tensor([0.0, 20 / 64, 24 / 64, 36 / 64, 40 / 64]).expand(8, 1, 5)
    numbers = {name: torch.linspace(-1, 1, 8)[:, None]}
    pictures = changed(images, numbers) > 0.6
    for picture, box in zip(pictures, moved(boxes, numbers), strict=True):
        left, top, right, bottom = (box[0, 1:] * 64).tolist()
        rows, columns = picture[0].nonzero().unbind(1)
        assert left - 1 <= columns.min() <= columns.max() <= right
        assert top - 1 <= rows.min() <= rows.max() <= bottom


def test_boxes_that_leave_the_picture_are_gone_and_none_stays_none():
    boxes = torch.tensor([[0.0, 0.0, 0.4, 0.05, 0.6], [torch.nan] * 5]).expand(1, 2, 5)
    left = moved(boxes, {"crop": torch.tensor([[0.0, 1.0, 0.0]])})  # an eighth to the left
    assert left.isnan().all()


def test_a_box_is_cut_at_the_edge_while_a_quarter_is_seen():
    half = clipped(torch.tensor([[2.0, 0.8, 0.2, 1.2, 0.4]]))
    assert torch.allclose(half, torch.tensor([[2.0, 0.8, 0.2, 1.0, 0.4]]))


def test_images_and_boxes_are_changed_together():
    images = torch.zeros(16, 1, 32, 32)
    images[:, :, 4:12, 2:10] = 1.0
    boxes = torch.tensor([0.0, 2 / 32, 4 / 32, 10 / 32, 12 / 32]).expand(16, 1, 5)
    pictures, places = augmented(images, boxes, ["flip"])
    is_flipped = pictures[:, 0, 8, 31 - 4] > 0
    assert 0 < is_flipped.sum() < 16
    assert torch.equal(is_flipped, places[:, 0, 1] > 0.5)


def test_an_unknown_change_is_refused():
    with pytest.raises(UsageError, match="no augmentation 'flipp'"):
        augmented(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 5), ["flipp"])

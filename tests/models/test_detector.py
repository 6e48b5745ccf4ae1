"""Boxes become heat and come back, the loss is what a loop over boxes gives, and it is learned."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kenspeckle.models import BACKBONES
from kenspeckle.models.backbone import Input
from kenspeckle.models.cnn import CNN
from kenspeckle.models.detector import (
    PRIOR,
    SIZE_WEIGHT,
    DetectHead,
    Detector,
    choose_levels,
    detection_loss,
    found,
    radius,
    targets_of,
)
from kenspeckle.models.pretrained import make_backbone

NAN = [torch.nan] * 5
TWO = torch.tensor([[[1.0, 0.1, 0.2, 0.5, 0.6], [0.0, 0.6, 0.6, 0.9, 1.0], NAN], [NAN, NAN, NAN]])


def drawn(seed: int, images: int = 2, most: int = 5, classes: int = 3) -> torch.Tensor:
    """(B, M, 5) boxes, some of them none."""
    random = torch.Generator().manual_seed(seed)
    number = torch.randint(classes, (images, most, 1), generator=random)
    start = torch.rand(images, most, 2, generator=random) * 0.7
    length = torch.rand(images, most, 2, generator=random) * 0.25 + 0.02
    boxes = torch.cat([number, start, start + length], 2)
    return boxes.masked_fill(torch.rand(images, most, 1, generator=random) < 0.3, torch.nan)


def rows(boxes: torch.Tensor) -> list[list[float]]:
    return [box for box in boxes.tolist() if not math.isnan(box[0])]


def perfect(boxes: torch.Tensor, classes: int, side: int) -> torch.Tensor:
    """Outputs that say exactly these boxes."""
    true = targets_of(boxes, classes, side, side)
    outputs = torch.zeros(len(boxes), classes + 4, side * side)
    outputs[:, :classes] = torch.logit(true.heat, 1e-6).flatten(2)
    said = torch.cat([true.offsets, true.sizes], 1)
    for image in range(len(boxes)):
        for box in true.mask[image].nonzero().flatten().tolist():
            outputs[image, classes:, true.cells[image, box]] = said[image, :, box]
    return outputs.view(len(boxes), -1, side, side)


# The head


@pytest.mark.parametrize(
    ("sides", "wanted", "expected"),
    [
        ([160, 80, 40, 20, 20, 10, 10, 10], 80, (1, 2, 4, 7)),  # EfficientNet-Lite0 at 320
        ([160, 80, 40, 20, 20, 10, 10, 10], 40, (2, 4, 7)),
        ([64, 32, 16, 8], 16, (2, 3)),  # cnn at 64
        ([16, 16, 16], 16, (2,)),  # a Transformer
        ([31, 14, 12], 24, (0, 2)),  # the founding text's, without padding
        ([4], 100, (0,)),
    ],
)
def test_the_finest_map_is_the_one_nearest_to_what_is_wanted(sides, wanted, expected):
    assert choose_levels(sides, wanted) == expected


def test_an_untrained_head_expects_few_centres():
    outputs = DetectHead([8], 3)([torch.rand(2, 8, 4, 4)])
    assert outputs.shape == (2, 7, 4, 4)
    assert outputs[:, :3].sigmoid().mean().item() == pytest.approx(PRIOR, rel=0.5)


def test_every_chosen_map_is_read_and_no_other():
    maps = [torch.rand(1, c, s, s, requires_grad=True) for c, s in ((3, 16), (4, 8), (5, 4))]
    DetectHead([3, 4, 5], 2, 16, (1, 2))(maps).sum().backward()
    assert [x.grad is not None for x in maps] == [False, True, True]


def test_maps_whose_sides_are_not_halves_are_merged():
    maps = [torch.rand(1, 4, 7, 9), torch.rand(1, 4, 4, 5), torch.rand(1, 4, 2, 3)]
    assert DetectHead([4, 4, 4], 1, 16)(maps).shape == (1, 5, 7, 9)


@pytest.mark.parametrize("name", [n for n in BACKBONES if n != "efficientnet-lite0"])
def test_any_backbone_can_be_hung_with_it(name):
    backbone = make_backbone(name, fresh=True, built=Input(image_size=32))
    statistics = {k: v.clone() for k, v in backbone.state_dict().items()}
    detector = Detector(backbone, 2, 32)
    same = all(torch.equal(v, statistics[k]) for k, v in backbone.state_dict().items())
    assert same
    assert backbone.training
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    outputs = detector(images)
    assert outputs.shape[:2] == (2, 6)
    assert 4 <= outputs.shape[2] <= 16
    detection_loss(outputs, drawn(0, classes=2)).mean().backward()


def test_the_packaged_network_gives_a_quarter_or_an_eighth_of_the_side():
    for cell, side in ((4, 16), (8, 8)):
        detector = Detector(make_backbone("efficientnet-lite0", fresh=True), 2, 64, cell).eval()
        assert detector(torch.rand(1, 3, 64, 64)).shape == (1, 6, side, side)


# Targets


@settings(max_examples=50, deadline=None)
@given(st.floats(0.5, 100), st.floats(0.5, 100))
def test_corners_a_radius_off_leave_just_enough_overlap(height, width):
    r = radius(torch.tensor(height), torch.tensor(width)).item()
    area = height * width
    inner = (height - 2 * r) * (width - 2 * r) / area
    outer = area / ((height + 2 * r) * (width + 2 * r))
    shared = (height - r) * (width - r)
    mixed = shared / (2 * area - shared)
    assert min(inner, outer, mixed) == pytest.approx(0.7, abs=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_heat_is_what_a_loop_over_boxes_paints(seed):
    boxes = drawn(seed)
    true = targets_of(boxes, 3, 12, 12)
    heat = torch.zeros(2, 3, 12, 12)
    for image in range(2):
        for number, left, top, right, bottom in rows(boxes[image]):
            x, y = int((left + right) * 6), int((top + bottom) * 6)
            size = torch.tensor([bottom - top, right - left]) * 12
            spread = (2 * radius(*size).item() + 1) / 6
            for i in range(12):
                for j in range(12):
                    bell = math.exp(-((j - x) ** 2 + (i - y) ** 2) / (2 * spread**2))
                    cell = heat[image, int(number), i, j]
                    heat[image, int(number), i, j] = max(cell.item(), bell)
    assert torch.allclose(true.heat, heat, atol=1e-5)
    assert true.mask.sum() == sum(len(rows(b)) for b in boxes)


def test_heat_is_one_at_every_centre_and_nowhere_else():
    true = targets_of(TWO, 2, 10, 10)
    assert (true.heat == 1).nonzero().tolist() == [[0, 0, 8, 7], [0, 1, 4, 3]]
    assert true.cells[0, :2].tolist() == [43, 87]
    assert true.mask.tolist() == [[True, True, False], [False] * 3]
    assert torch.allclose(true.offsets[0, :, 1], torch.tensor([0.5, 0.0]), atol=1e-4)
    assert torch.allclose(true.sizes[0, :, 0], torch.tensor([4.0, 4.0]).log(), atol=1e-4)
    assert not true.heat[1].any()


def test_a_centre_on_the_far_edge_is_in_the_last_cell():
    true = targets_of(torch.tensor([[[0.0, 0.9, 0.9, 1.1, 1.1]]]), 1, 4, 4)
    assert true.cells.item() == 15
    assert torch.allclose(true.offsets.flatten(), torch.ones(2), atol=1e-4)


# The loss


@pytest.mark.parametrize("seed", range(5))
def test_the_loss_is_what_a_loop_over_cells_gives(seed):
    boxes, outputs = drawn(seed), torch.randn(2, 7, 6, 6)
    losses = detection_loss(outputs, boxes)
    for image in range(2):
        heat = targets_of(boxes, 3, 6, 6).heat[image]
        total, count = 0.0, max(1, len(rows(boxes[image])))
        for c in range(3):
            for i in range(6):
                for j in range(6):
                    p, y = outputs[image, c, i, j].sigmoid().item(), heat[c, i, j].item()
                    if y == 1:
                        total -= (1 - p) ** 2 * math.log(p)
                    else:
                        total -= (1 - y) ** 4 * p**2 * math.log(1 - p)
        for _, left, top, right, bottom in rows(boxes[image]):
            x, y = (left + right) * 3, (top + bottom) * 3
            said = outputs[image, 3:, int(y), int(x)].tolist()
            total += abs(said[0] - x % 1) + abs(said[1] - y % 1)
            total += SIZE_WEIGHT * abs(said[2] - math.log((right - left) * 6))
            total += SIZE_WEIGHT * abs(said[3] - math.log((bottom - top) * 6))
        assert losses[image].item() == pytest.approx(total / count, rel=1e-4)


def test_perfect_outputs_cost_least():
    boxes = drawn(1)
    best = detection_loss(perfect(boxes, 3, 24), boxes)
    assert (detection_loss(perfect(boxes.roll(1, 0), 3, 24), boxes) > best).all()
    assert (detection_loss(torch.zeros(2, 7, 24, 24), boxes) > best + 1).all()


def test_the_loss_of_an_image_without_boxes_is_finite_and_only_of_centres():
    outputs = torch.randn(1, 5, 4, 4, requires_grad=True)
    detection_loss(outputs, torch.full((1, 2, 5), torch.nan)).sum().backward()
    assert outputs.grad is not None
    assert outputs.grad[:, 0].abs().min() > 0
    assert not outputs.grad[:, 1:].any()


def test_rows_for_none_and_their_number_do_not_matter():
    outputs, boxes = torch.randn(2, 7, 6, 6), drawn(2)
    more = torch.cat([boxes, torch.full((2, 3, 5), torch.nan)], 1)
    assert torch.allclose(detection_loss(outputs, boxes), detection_loss(outputs, more))


def test_the_loss_of_wild_outputs_is_finite():
    outputs = (torch.randn(2, 7, 6, 6) * 1e4).requires_grad_()
    detection_loss(outputs, drawn(3)).sum().backward()
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()


# What was found


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_what_perfect_outputs_say_is_what_was_there(seed):
    boxes = drawn(seed, images=1, most=4)
    cells = targets_of(boxes, 3, 40, 40).cells[0]
    there = rows(boxes[0])
    centres = torch.stack([cells // 40, cells % 40], 1)[~boxes[0, :, 0].isnan()]
    apart = (centres[:, None] - centres).abs().amax(2) + 9 * torch.eye(len(centres))
    if len(there) and apart.min() < 2:
        return  # two centres side by side cannot both be peaks
    said = found(perfect(boxes, 3, 40))[0]
    sure = said[said[:, 1] > 0.99][:, [0, 2, 3, 4, 5]].tolist()
    assert torch.tensor(sorted(sure)).flatten().tolist() == pytest.approx(
        torch.tensor(sorted(there)).flatten().tolist(), abs=1e-4
    )


def test_a_peak_is_the_largest_of_its_neighbours_of_one_class():
    outputs = torch.full((1, 6, 6, 6), -9.0)
    outputs[0, 0, 2, 2], outputs[0, 0, 2, 3], outputs[0, 1, 2, 3] = 3.0, 2.0, 1.0
    said = found(outputs, most=3)[0]
    assert said[:2, 0].tolist() == [0, 1]
    assert said[:, 1].tolist() == pytest.approx([1 / (1 + math.exp(-v)) for v in (3, 1, -9)])


def test_the_surest_come_first_and_no_more_than_there_are_cells():
    said = found(torch.randn(2, 7, 5, 5), most=500)
    assert said.shape == (2, 75, 6)
    assert (said[:, 1:, 1] <= said[:, :-1, 1]).all()
    assert found(torch.randn(2, 7, 5, 5), most=4).shape == (2, 4, 6)


def test_boxes_stay_in_the_square_however_wild_the_outputs():
    said = found(torch.randn(2, 7, 5, 5) * 1e6)
    assert said.isfinite().all()
    assert ((said[..., 2:] >= 0) & (said[..., 2:] <= 1)).all()


# Learning


def pictures(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Bright and dark squares on grey, one of each, at random places."""
    images = torch.full((count, 1, 32, 32), 128, dtype=torch.uint8)
    boxes = torch.full((count, 2, 5), torch.nan)
    for image in range(count):
        for number, x0 in enumerate((0, 16)):
            x, y = x0 + torch.randint(0, 8, ()).item(), torch.randint(0, 24, ()).item()
            images[image, :, y : y + 8, x : x + 8] = 255 * number
            boxes[image, number] = torch.tensor([number * 32, x, y, x + 8, y + 8]) / 32
    return images, boxes


def test_squares_are_found_after_a_few_updates():
    detector = Detector(CNN(8), 2, 32, width=16)
    optimiser = torch.optim.AdamW(detector.parameters(), 1e-2)
    images, boxes = pictures(16)
    for _ in range(50):
        optimiser.zero_grad()
        detection_loss(detector(images), boxes).mean().backward()
        optimiser.step()
    images, boxes = pictures(16)
    with torch.no_grad():
        said = found(detector.eval()(images), most=2)
    by_class = said.gather(1, said[..., :1].argsort(1).expand_as(said))
    off = (by_class[..., [0, 2, 3, 4, 5]] - boxes).abs().amax((1, 2))
    assert (off < 0.1).float().mean() >= 0.8

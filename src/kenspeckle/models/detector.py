"""Where things are: a heat map of their centres, and the size of the thing at each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kenspeckle.models.backbone import Backbone

PRIOR = 0.01  # share of centres that an untrained head expects (Lin et al. 2017, arXiv:1708.02002)
OVERLAP = 0.7  # of the true box with one whose corners are a radius off
# Of the sizes' loss beside the others: average precision at 0.5 is .617 with 1 and .533 with 0.1
# (the paper's, for sizes in pixels): 20 blood-cell images after 150 updates on 80 others, one seed.
SIZE_WEIGHT = 1.0
LARGEST = 4.0  # times the square's side: no thing is larger, and exp stays finite


class DetectHead(nn.Module):
    """Maps, shallow to deep, go in; (B, K + 4, h, w) comes out at the side of the finest one used.

    The outputs of a cell are K centre logits, the centre's place in the cell (x, y), and log width
    and log height in cells. Each map is brought to the same channels, and going up from the deepest
    it is added to the next finer one and smoothed.

    Args:
        widths: channels of the maps.
        classes: K.
        width: channels inside.
        levels: which of the maps are used, by number, each finer than the next; None is all.

    Source: Lin et al. 2017, Feature pyramid networks, arXiv:1612.03144, section 3; outputs of Zhou
    et al. 2019, Objects as points, arXiv:1904.07850, section 4.
    """

    def __init__(
        self,
        widths: Sequence[int],
        classes: int,
        width: int = 64,
        levels: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.levels = tuple(range(len(widths)) if levels is None else levels)
        self.lateral = nn.ModuleList(nn.Conv2d(widths[i], width, 1) for i in self.levels)
        self.smooth = nn.ModuleList(_smooth(width) for _ in self.levels)
        self.last = nn.Conv2d(width, classes + 4, 1)
        nn.init.normal_(self.last.weight, std=0.01)
        start = torch.zeros(classes + 4)
        start[:classes] = math.log(PRIOR / (1 - PRIOR))
        self.last.bias = nn.Parameter(start)

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """(B, K + 4, h, w)."""
        used = [layer(stages[i]) for layer, i in zip(self.lateral, self.levels, strict=True)]
        x = self.smooth[-1](used[-1])
        for level in reversed(range(len(used) - 1)):
            finer = used[level]
            x = self.smooth[level](finer + F.interpolate(x, finer.shape[2:], mode="nearest"))
        return self.last(x)


def _smooth(width: int) -> nn.Sequential:
    """3x3, normalised over groups of channels: batches are small here."""
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, bias=False), nn.GroupNorm(8, width), nn.ReLU()
    )


class Detector(nn.Module):
    """A backbone and the head that finds centres on its maps.

    Args:
        backbone: any of images.
        classes: K.
        image_size: pixels a side of the square; only tells which maps there are.
        cell: pixels a side of one cell of the output; the map that comes nearest is taken.
        width: channels inside the head.

    >>> from kenspeckle.models.cnn import CNN
    >>> Detector(CNN(24), 3, 64)(torch.rand(2, 3, 64, 64)).shape
    torch.Size([2, 7, 16, 16])
    """

    def __init__(
        self, backbone: Backbone, classes: int, image_size: int, cell: int = 4, width: int = 64
    ) -> None:
        super().__init__()
        shapes = _shapes(backbone, image_size)
        levels = choose_levels([side for _, side in shapes], image_size / cell)
        self.backbone = backbone
        self.head = DetectHead([channels for channels, _ in shapes], classes, width, levels)

    def forward(self, images: Tensor, valid: Tensor | None = None) -> Tensor:
        """Images (B, C, H, H), uint8 or in [0, 1] -> (B, K + 4, h, w)."""
        return self.head(self.backbone.stages(images, valid))


def _shapes(backbone: Backbone, image_size: int) -> list[tuple[int, int]]:
    """Channels and the longer side of each map, for a square image."""
    was_training = backbone.training
    device = backbone.mean.device
    square = torch.zeros(1, backbone.in_channels, image_size, image_size, device=device)
    with torch.no_grad():
        maps = backbone.eval().stages(square)
    backbone.train(was_training)
    return [(x.shape[1], max(x.shape[2:])) for x in maps]


def choose_levels(sides: Sequence[int], wanted: float) -> tuple[int, ...]:
    """The maps to merge, shallow to deep: the last of each size, from the one nearest to `wanted`.

    Args:
        sides: of the maps, shallow to deep.
        wanted: the side of the finest one.

    >>> choose_levels([160, 80, 40, 20, 20, 10, 10, 10], 80)
    (1, 2, 4, 7)
    """
    levels = [len(sides) - 1]
    for level in reversed(range(len(sides) - 1)):
        if sides[level] >= 1.5 * sides[levels[0]]:
            levels.insert(0, level)
    off = [abs(math.log(sides[level] / wanted)) for level in levels]
    return tuple(levels[off.index(min(off)) :])


class Centres(NamedTuple):
    """What the outputs should be.

    Args:
        heat: (B, K, h, w) in [0, 1], 1 at a centre and falling off around it.
        cells: (B, M) which of the h * w cells holds each box's centre, row by row.
        mask: (B, M) whether there is such a box.
        offsets: (B, 2, M) place of the centre in its cell, x and y in [0, 1].
        sizes: (B, 2, M) log width and log height in cells.
    """

    heat: Tensor
    cells: Tensor
    mask: Tensor
    offsets: Tensor
    sizes: Tensor


def targets_of(boxes: Tensor, classes: int, height: int, width: int) -> Centres:
    """Boxes as the outputs that say them.

    Y[c, y, x] = max over boxes of class c of exp(-((x - x_c)^2 + (y - y_c)^2) / (2 s^2)), with the
    cell (x_c, y_c) of the centre and s = (2 r + 1) / 6 for the box's `radius` r.

    Args:
        boxes: (B, M, 5) class, left, top, right, bottom as shares of the square; nan rows for none.
        classes: K.
        height, width: h and w, of the outputs.

    Source: Law and Deng 2018, CornerNet, arXiv:1808.01244, section 3.2; centres: Zhou et al. 2019,
    arXiv:1904.07850, section 3.
    """
    mask = ~boxes.isnan().any(2)
    known = boxes.masked_fill(~mask[..., None], 0)
    cell = boxes.new_tensor([width, height])
    corner, other = known[..., 1:3] * cell, known[..., 3:] * cell  # (B, M, 2) in cells
    centre, size = (corner + other) / 2, (other - corner).clamp(min=1e-3)
    place = centre.floor().clamp(min=0).minimum(cell - 1)
    spread = ((2 * radius(size[..., 1], size[..., 0]) + 1) / 6)[..., None]
    across = _bells(place[..., 0], spread, width)
    down = _bells(place[..., 1], spread, height) * mask[..., None]
    bells = down[..., :, None] * across[..., None, :]  # (B, M, h, w)
    heat = boxes.new_zeros(len(boxes), classes, height, width)
    number = known[..., 0].long()[..., None, None].expand_as(bells)
    heat.scatter_reduce_(1, number, bells, "amax")
    cells = (place[..., 1] * width + place[..., 0]).long()
    return Centres(heat, cells, mask, (centre - place).mT, size.log().mT)


def _bells(place: Tensor, spread: Tensor, side: int) -> Tensor:
    """(B, M) places -> (B, M, side) bells of height 1."""
    cell = torch.arange(side, device=place.device, dtype=place.dtype)
    return (-((cell - place[..., None]) ** 2) / (2 * spread**2)).exp()


def radius(height: Tensor, width: Tensor, overlap: float = OVERLAP) -> Tensor:
    """How far both corners of a box may be off, in x and in y, and still overlap it enough.

    The smallest of three cases: both corners inside the true box, both outside, one of each.

    Source: Law and Deng 2018, CornerNet, arXiv:1808.01244, section 3.2; the roots as solved, not as
    the first release of its code had them.

    >>> r = radius(torch.tensor(10.0), torch.tensor(10.0)).item()
    >>> round((10 - 2 * r) ** 2 / 100, 3)  # both inside
    0.7
    """
    total, area = height + width, height * width
    # (w - r)(h - r) / (2 w h - (w - r)(h - r)) = overlap
    mixed = (total - (total**2 - 4 * area * (1 - overlap) / (1 + overlap)).sqrt()) / 2
    # (w - 2 r)(h - 2 r) / (w h) = overlap
    inner = (total - (total**2 - 4 * area * (1 - overlap)).sqrt()) / 4
    # w h / ((w + 2 r)(h + 2 r)) = overlap
    outer = ((total**2 + 4 * area * (1 / overlap - 1)).sqrt() - total) / 4
    return torch.minimum(torch.minimum(mixed, inner), outer)


def detection_loss(outputs: Tensor, boxes: Tensor, size_weight: float = SIZE_WEIGHT) -> Tensor:
    """(B,) losses: of centres, of their places in the cell, and of sizes.

    For N boxes in an image (N at least 1) with p = sigmoid(centre logits) and Y of `targets_of`:

    L_centre = -1/N sum of (1 - p)^2 log p where Y = 1, else of (1 - Y)^4 p^2 log(1 - p)
    L        = L_centre + 1/N sum |offset - o| + size_weight / N sum |size - s|

    Args:
        outputs: (B, K + 4, h, w).
        boxes: (B, M, 5), as for `targets_of`.

    Source: Zhou et al. 2019, arXiv:1904.07850, equations 1 to 4, with sizes as logarithms, so that
    small and large boxes count alike.
    """
    classes, height, width = outputs.shape[1] - 4, *outputs.shape[2:]
    true = targets_of(boxes, classes, height, width)
    count = true.mask.sum(1).clamp(min=1)
    centres = _focal(outputs[:, :classes], true.heat)
    cells = true.cells[:, None].expand(-1, 4, -1)
    said = outputs[:, classes:].flatten(2).gather(2, cells)  # (B, 4, M)
    off = (said - torch.cat([true.offsets, true.sizes], 1)).abs() * true.mask[:, None]
    return (centres + off[:, :2].sum((1, 2)) + size_weight * off[:, 2:].sum((1, 2))) / count


def _focal(logits: Tensor, heat: Tensor) -> Tensor:
    """(B,) sums over cells and classes."""
    p = logits.sigmoid()
    at_centre = (1 - p) ** 2 * F.logsigmoid(logits)
    elsewhere = (1 - heat) ** 4 * p**2 * F.logsigmoid(-logits)
    return -torch.where(heat == 1, at_centre, elsewhere).sum((1, 2, 3))


def found(outputs: Tensor, most: int = 100) -> Tensor:
    """The surest centres, with their boxes: (B, most, 6), surest first.

    A centre is a cell whose logit is the largest of its 3x3 neighbours of the same class.

    Args:
        outputs: (B, K + 4, h, w).
        most: at most K * h * w.

    Returns:
        Class, score in [0, 1], left, top, right, bottom as shares of the square, cut at its edge;
        where there are fewer centres, the last rows have score 0.

    Source: Zhou et al. 2019, arXiv:1904.07850, section 4.
    """
    classes, height, width = outputs.shape[1] - 4, *outputs.shape[2:]
    logits = outputs[:, :classes]
    is_peak = F.max_pool2d(logits, 3, stride=1, padding=1) == logits
    scores = (logits.sigmoid() * is_peak).flatten(1)
    score, index = scores.topk(min(most, scores.shape[1]), dim=1)  # (B, most)
    number, cell = index // (height * width), index % (height * width)
    place = outputs[:, classes:].flatten(2).gather(2, cell[:, None].expand(-1, 4, -1))
    x, y = cell % width + place[:, 0], cell // width + place[:, 1]
    across = place[:, 2].clamp(max=math.log(LARGEST * width)).exp() / 2
    down = place[:, 3].clamp(max=math.log(LARGEST * height)).exp() / 2
    sides = [(x - across) / width, (y - down) / height, (x + across) / width, (y + down) / height]
    return torch.stack([number.to(score), score, *(side.clamp(0, 1) for side in sides)], dim=2)

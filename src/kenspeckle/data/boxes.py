"""Boxes around things: as a label's text, as numbers, and in the square that a network sees."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kenspeckle.data.augment import TRANSFORMS, changed, check_names
from kenspeckle.data.dataset import natural_key
from kenspeckle.data.fit import Fit
from kenspeckle.errors import DataError, nearest

VISIBLE = 0.25  # share of a box's area that must stay in the picture for the thing to count

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Box:
    """One thing in an image: what it is and where.

    Args:
        name: its class.
        left, top, right, bottom: in pixels of the upright original image, from its left and upper
            edge; left and top are inside, right and bottom just outside.
        score: how sure a network is, in [0, 1]; 1 for what a person said.
    """

    name: str
    left: float
    top: float
    right: float
    bottom: float
    score: float = 1.0

    def corners(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom."""
        return self.left, self.top, self.right, self.bottom


def boxes_in(label: str) -> tuple[Box, ...]:
    """The boxes that a label names, in the order of `joined_boxes`; `-` stands for none.

    Raises:
        DataError: a part is not four finite numbers and a name, or its box has no area.

    >>> boxes_in("10 20 33.5 41 RBC; 5 5 9 9 white cell")[0].name, boxes_in("-")
    ('RBC', ())
    """
    parts = [part.strip() for part in label.split(";")]
    return tuple(sorted((_box(part) for part in parts if part not in ("", "-")), key=_order))


def joined_boxes(boxes: Iterable[Box]) -> str:
    """The one way in which boxes are written: by name, then from left to right; no scores.

    Raises:
        DataError: a name that cannot be written, a number that is not finite, or no area.

    >>> joined_boxes([Box("WBC", 5, 5, 9, 9), Box("RBC", 10, 20, 33.5, 41)])
    '10 20 33.5 41 RBC; 5 5 9 9 WBC'
    """
    checked = sorted((_checked(box) for box in boxes), key=_order)
    return "; ".join(_written(box) for box in checked) or "-"


def _box(part: str) -> Box:
    cells = part.split(None, 4)
    try:
        left, top, right, bottom = (float(cell) for cell in cells[:4])
    except ValueError:
        raise DataError(_expected(part)) from None
    if len(cells) < 5:
        raise DataError(_expected(part))
    return _checked(Box(cells[4], left, top, right, bottom))


def _expected(part: str) -> str:
    return (
        f"A box is written 'left top right bottom name', as in '10 20 33.5 41 cell'; found {part!r}"
    )


def _checked(box: Box) -> Box:
    """The box, if it can be written and read again."""
    if not box.name.strip() or ";" in box.name:
        raise DataError(
            f"A box cannot be called {box.name!r}: a name has a letter and no ';'. Rename it."
        )
    if not all(math.isfinite(side) for side in box.corners()):
        raise DataError(f"The sides of a box should be finite numbers; found {_written(box)!r}.")
    if box.right <= box.left or box.bottom <= box.top:
        raise DataError(
            f"A box should reach from left to right and from top to bottom; found {_written(box)!r}"
        )
    return box


def _written(box: Box) -> str:
    # Shortest digits that give the same number again; adding 0 turns -0 into 0.
    numbers = (repr(float(side) + 0.0).removesuffix(".0") for side in box.corners())
    return f"{' '.join(numbers)} {box.name.strip()}"


def _order(box: Box) -> tuple[object, ...]:
    return natural_key(box.name.strip()), box.corners()


def iou(first: Floats, second: Floats) -> Floats:
    """How much boxes overlap: the area that two share over the area that they cover together.

    Args:
        first, second: (N, 4) and (M, 4), left, top, right, bottom.

    Returns:
        (N, M) in [0, 1]; 0 where two boxes without area meet.

    Source: Everingham et al. 2010, The PASCAL VOC challenge, IJCV 88, equation 4.

    >>> iou(np.array([[0.0, 0.0, 2.0, 2.0]]), np.array([[1.0, 0.0, 3.0, 2.0]])).round(3)
    array([[0.333]])
    """
    corner = np.maximum(first[:, None, :2], second[None, :, :2])
    other = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (other - corner).clip(0).prod(2)
    covered = _areas(first)[:, None] + _areas(second) - shared
    return np.divide(shared, covered, out=np.zeros_like(shared), where=covered > 0)


def _areas(boxes: Floats) -> Floats:
    return (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(1)


def suppressed(boxes: Floats, scores: Floats, limit: float) -> NDArray[np.intp]:
    """The rows of boxes that are left when each takes away those like it with a lower score.

    Args:
        boxes: (N, 4).
        scores: (N,); of equal ones the earlier row wins.
        limit: an overlap (`iou`) above it is a repetition.

    Returns:
        (kept,) rows, the highest score first.

    Source: greedy non-maximum suppression, Felzenszwalb et al. 2010, TPAMI 32(9), section 7.2.
    """
    repeats = iou(boxes, boxes) > limit
    is_gone = np.zeros(len(boxes), dtype=bool)
    kept = []
    for row in np.argsort(-scores, kind="stable"):
        if not is_gone[row]:
            kept.append(row)
            is_gone |= repeats[row]
    return np.array(kept, dtype=np.intp)


def as_targets(
    boxes: Sequence[Sequence[Box]],
    sizes: Sequence[tuple[int, int]],
    classes: Sequence[str],
    fit: Fit,
) -> Tensor:
    """What a network learns from: (N, M, 5), class, left, top, right, bottom, nan rows at the end.

    Places are shares of the square. M is the most boxes of an image, at least 1. A box of which
    less than a quarter is inside the square (`fit` may crop) is left out.

    Args:
        boxes: of N images.
        sizes: width and height of each upright original.

    Raises:
        DataError: a box has a name that is not among `classes`.
    """
    number = {name: i for i, name in enumerate(classes)}
    targets = torch.full((len(boxes), max([1, *map(len, boxes)]), 5), torch.nan)
    for row, (some, (width, height)) in enumerate(zip(boxes, sizes, strict=True)):
        for box in some:
            if box.name not in number:
                hint = nearest(box.name, classes) or "."
                raise DataError(f"The class {box.name!r} of a box is not one of this task{hint}")
        if some:
            corners = fit.shares(np.array([box.corners() for box in some]), (width, height))
            targets[row, : len(some), 0] = torch.tensor([float(number[box.name]) for box in some])
            targets[row, : len(some), 1:] = torch.from_numpy(corners).float()
    return clipped(targets)


def as_boxes(
    found: Tensor, classes: Sequence[str], width: int, height: int, fit: Fit
) -> tuple[Box, ...]:
    """What a network found in one image, in pixels of the original.

    Args:
        found: (M, 6) class, score, left, top, right, bottom as shares of the square.
        width, height: of the upright original.

    Returns:
        In the same order; what lies in the padding alone is left out.
    """
    numbers = found.double().numpy()
    corners = fit.pixels(numbers[:, 2:], (width, height)).round(2)
    rows = np.concatenate([numbers[:, :2], corners], axis=1).tolist()
    return tuple(
        Box(classes[int(number)], left, top, right, bottom, score)
        for number, score, left, top, right, bottom in rows
        if right > left and bottom > top
    )


def augmented(
    images: Tensor, boxes: Tensor, names: Iterable[str], strength: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Images changed as `augment` does, and the boxes moved with them.

    Args:
        images: (B, C, H, H), as for `augment`.
        boxes: (B, M, 5), as `as_targets` makes them.

    Raises:
        UsageError: there is no such transform, or the strength is negative.
    """
    chosen = set(names)
    check_names(chosen)
    numbers = {
        name: (torch.rand(len(images), row.count) * 2 - 1).to(images.device)
        for name, row in TRANSFORMS.items()
        if name in chosen
    }
    return changed(images, numbers, strength), moved(boxes, numbers, strength)


def moved(boxes: Tensor, numbers: Mapping[str, Tensor], strength: float = 1.0) -> Tensor:
    """Boxes (B, M, 5) where `changed` puts what is in them; nan where too little stays inside.

    A box that is turned or slanted becomes the upright box around it, which is larger.

    Args:
        numbers: transform name -> (B, count) in [-1, 1], as for `changed`.

    >>> moved(torch.tensor([[[0.0, 0.0, 0.5, 0.25, 1.0]]]), {"flip": torch.ones(1, 1)})
    tensor([[[0.0000, 0.7500, 0.5000, 1.0000, 1.0000]]])
    """
    places = torch.eye(3, device=boxes.device).expand(len(boxes), 3, 3)
    for name, row in TRANSFORMS.items():
        if row.place and name in numbers:
            places = places @ row.place(numbers[name], strength)
    x, y = 2 * boxes[..., [1, 3, 1, 3]] - 1, 2 * boxes[..., [2, 2, 4, 4]] - 1  # (B, M, 4 corners)
    points = torch.stack([x, y, torch.ones_like(x)], dim=2)
    # Places lead from the result to the image; boxes go the other way.
    there = (torch.linalg.inv(places)[:, None] @ points + 1) / 2
    x, y = there[:, :, 0], there[:, :, 1]
    sides = [boxes[..., 0], x.amin(-1), y.amin(-1), x.amax(-1), y.amax(-1)]
    return clipped(torch.stack(sides, dim=-1))


def clipped(boxes: Tensor) -> Tensor:
    """Boxes (..., 5) cut at the square's edge; nan where less than a quarter of the area is left.

    >>> clipped(torch.tensor([[0.0, -0.5, 0.0, 0.5, 1.0], [0.0, -0.9, 0.0, 0.1, 1.0]]))
    tensor([[0.0000, 0.0000, 0.0000, 0.5000, 1.0000],
            [   nan,    nan,    nan,    nan,    nan]])
    """
    inside = torch.cat([boxes[..., :1], boxes[..., 1:].clamp(0, 1)], dim=-1)
    before, after = (
        (some[..., 3:] - some[..., 1:3]).clamp(min=0).prod(-1) for some in (boxes, inside)
    )
    is_seen = (after >= VISIBLE * before) & (after > 0)
    return inside.masked_fill(~is_seen[..., None], torch.nan)

"""Changes through which a gradient passes, for real and generated images alike.

A critic that sees few images learns them by heart. Here it never sees an image as it is: real and
generated ones are changed by the same rules, and since the changes are differentiable, the
generator still learns from what the critic says. Mirroring is not among them: it would turn digits
and letters into others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from kenspeckle.errors import UsageError, nearest

SHIFT = 0.125  # largest move, of a side: the paper's 1/8
HIDDEN = 0.5  # side of the square that is hidden, of the image's: the paper's 1/2


@dataclass(frozen=True)
class Change:
    """One way of changing images, decided for each by a few numbers in [0, 1).

    Args:
        count: how many numbers an image needs.
        apply: images (B, C, H, W) and numbers (B, count) -> images.
    """

    count: int
    apply: Callable[[Tensor, Tensor], Tensor]


def diff_augment(
    images: Tensor, names: Collection[str] | None = None, share: float = 1.0
) -> Tensor:
    """Each image changed by numbers of its own, drawn from torch's default generator.

    Args:
        images: (B, C, H, W) in [-1, 1]; 0, middle grey, is what comes in from outside.
        names: of `CHANGES`; None is all. They are applied in the order of the table.
        share: of the images that each change is made to, in [0, 1]; 1 is the paper's. Where images
            are many, changes of all of them only slow the learning.

    Returns:
        (B, C, H, W); colours may leave [-1, 1], as in the paper.

    Raises:
        UsageError: there is no such change.

    Source: Zhao et al. 2020, arXiv:2006.10738, section 3.2, with the ranges of the authors' code.

    >>> images = torch.zeros(2, 1, 28, 28, requires_grad=True)
    >>> diff_augment(images).sum().backward()
    >>> images.grad.shape
    torch.Size([2, 1, 28, 28])
    """
    chosen = CHANGES if names is None else names
    for name in chosen:
        if name not in CHANGES:
            hint = nearest(name, CHANGES) or "."
            raise UsageError(f"There is no change '{name}'{hint} Known: {', '.join(CHANGES)}.")
    numbers = {
        name: torch.rand(len(images), change.count).to(images.device)
        for name, change in CHANGES.items()
        if name in chosen
    }
    for name, values in numbers.items():
        is_kept = torch.rand(len(images)).to(images.device) >= share
        images = torch.where(
            is_kept[:, None, None, None], images, CHANGES[name].apply(images, values)
        )
    return images


def changed(images: Tensor, numbers: Mapping[str, Tensor]) -> Tensor:
    """Images changed as the numbers say: `diff_augment` without the draw.

    Args:
        images: (B, C, H, W) in [-1, 1].
        numbers: name of a change -> (B, count) in [0, 1).

    >>> edge = torch.tensor([[[[1.0, -1.0]]]])
    >>> changed(edge, {"colour": torch.tensor([[0.75, 0.5, 0.5]])})
    tensor([[[[ 1.2500, -0.7500]]]])
    """
    for name, change in CHANGES.items():
        if name in numbers:
            images = change.apply(images, numbers[name])
    return images


def _colour(images: Tensor, numbers: Tensor) -> Tensor:
    """Brightness by -.5 to .5, then saturation by 0 to 2, then contrast by .5 to 1.5."""
    brightness, saturation, contrast = numbers.to(images.dtype).view(-1, 3, 1, 1, 1).unbind(1)
    images = images + (brightness - 0.5)
    if images.shape[1] > 1:
        grey = images.mean(1, keepdim=True)
        images = grey + (images - grey) * (2 * saturation)
    middle = images.mean((1, 2, 3), keepdim=True)
    return middle + (images - middle) * (contrast + 0.5)


def _shift(images: Tensor, numbers: Tensor) -> Tensor:
    """Whole pixels down and across, at most an eighth of the side."""
    # Matrices that hold one 1 a row are exact, and faster than indexing where gradients go back.
    down, across = (
        _moved(numbers[:, axis], side).to(images.dtype)
        for axis, side in enumerate(images.shape[2:])
    )
    return down[:, None] @ images @ across[:, None].mT


def _moved(numbers: Tensor, side: int) -> Tensor:
    """(B, side, side): what pixel of the image each pixel of the result shows; none outside."""
    most = int(side * SHIFT + 0.5)
    by = (numbers * (2 * most + 1)).floor() - most
    pixel = torch.arange(side, device=numbers.device)
    return pixel[:, None] == pixel + by[:, None, None]


def _hide(images: Tensor, numbers: Tensor) -> Tensor:
    """A square of half the side turned middle grey; its centre lies anywhere in the image."""
    is_row, is_column = (
        _covered(numbers[:, axis], side) for axis, side in enumerate(images.shape[2:])
    )
    hidden = is_row[:, None, :, None] & is_column[:, None, None, :]
    return images * ~hidden


def _covered(numbers: Tensor, side: int) -> Tensor:
    """(B, side): the stretch of half the side around each place, cut off at the border."""
    length = int(side * HIDDEN + 0.5)
    first = (numbers * (side + 1 - length % 2)).floor() - length // 2
    pixel = torch.arange(side, device=numbers.device)
    return (pixel >= first[:, None]) & (pixel < first[:, None] + length)


CHANGES: dict[str, Change] = {
    "colour": Change(3, _colour),
    "shift": Change(2, _shift),
    "hide": Change(2, _hide),
}

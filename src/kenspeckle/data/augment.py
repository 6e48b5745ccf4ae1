"""Changed copies of whole batches: moved, mirrored, turned, recoloured, blurred, noisy, hidden.

Each image has random numbers of its own, drawn from torch's default generator on the CPU, which the
loop seeds before every update: a resumed run, or one on another device, changes images alike.
All moves of one call are one resampling; what comes into the picture from outside is mid grey.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from kenspeckle.errors import UsageError, nearest

SHIFT = 0.125  # of a side: the 4 pixels of 32 that are usual (He et al. 2016, arXiv:1512.03385)
ZOOM = 0.1
DEGREES = 15.0
SHEAR = 0.2  # sideways, of the height
BRIGHTNESS, CONTRAST, SATURATION = 0.3, 0.3, 0.5
BLUR = 0.015  # largest standard deviation, of a side: 0.4 px of 28, 3.4 px of 224
NOISE = 0.05  # largest standard deviation, of the range from black to white
HIDDEN = 0.2  # largest area (Zhong et al. 2017, arXiv:1708.04896, hides .02 to .4)
# To this side two matrix products are faster than grid_sample: 64 images of 28 px grey are cropped
# in .47 against .85 ms (one thread, median of 60); at 32 px colour they are level.
MATRIX_SIDE = 32


class Levels(NamedTuple):
    """The brightest value an image may have, and the middle grey that fills what is empty."""

    white: float
    grey: float


@dataclass(frozen=True)
class Transform:
    """One way of changing images, decided for each by a few numbers in [-1, 1].

    Args:
        summary: one line for a table.
        count: how many numbers an image needs.
        most: numbers with which it changes an image most: what a test of labels should try.
        place: (B, count) numbers and a strength -> (B, 3, 3): from places in the result to places
            in the image, both in [-1, 1] from edge to edge. None where pixels stay in place.
        paint: images (B, C, H, W) float32, numbers, strength, levels -> images of changed values;
            may work in place.
        is_upright: rows stay rows and columns stay columns.
    """

    summary: str
    count: int
    most: tuple[tuple[float, ...], ...]
    place: Callable[[Tensor, float], Tensor] | None = None
    paint: Callable[[Tensor, Tensor, float, Levels], Tensor] | None = None
    is_upright: bool = True


def augment(images: Tensor, names: Iterable[str], strength: float = 1.0) -> Tensor:
    """Images changed in all the ways that are named, in the order of `TRANSFORMS`.

    Args:
        images: (B, C, H, W); uint8 in 0..255, or floating point in [0, 1]. Not changed in place.
        names: of `TRANSFORMS`, in any order.
        strength: scales every range (flips have none); 0 leaves all but flips as it was.

    Returns:
        (B, C, H, W) of the same kind.

    Raises:
        UsageError: there is no such transform, or the strength is negative.

    >>> images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    >>> changed = augment(images, ["flip", "crop", "colour"])
    >>> changed.shape, changed.dtype
    (torch.Size([8, 3, 32, 32]), torch.uint8)
    """
    chosen = set(names)
    check_names(chosen)
    numbers = {
        name: (torch.rand(len(images), TRANSFORMS[name].count) * 2 - 1).to(images.device)
        for name in TRANSFORMS
        if name in chosen
    }
    return changed(images, numbers, strength)


def check_names(names: Iterable[str]) -> None:
    """Refuse a name that is not in `TRANSFORMS`.

    Raises:
        UsageError: naming the nearest.
    """
    for name in names:
        if name not in TRANSFORMS:
            hint = nearest(name, TRANSFORMS) or "."
            known = ", ".join(TRANSFORMS)
            raise UsageError(f"There is no augmentation '{name}'{hint} Known: {known}.")


def changed(images: Tensor, numbers: Mapping[str, Tensor], strength: float = 1.0) -> Tensor:
    """Images changed as the numbers say: `augment` without the draw.

    What noise looks like is still drawn; the numbers say how much of it there is.

    Args:
        images: as for `augment`.
        numbers: transform name -> (B, count) in [-1, 1].

    Raises:
        UsageError: the strength is negative.

    >>> arrow = torch.tensor([[[[1.0, 2.0, 3.0]]]]) / 10
    >>> changed(arrow, {"flip": torch.ones(1, 1)})
    tensor([[[[0.3000, 0.2000, 0.1000]]]])
    """
    if strength < 0:
        raise UsageError(f"An augmentation's strength cannot be negative; found {strength:g}.")
    moves = [name for name, row in TRANSFORMS.items() if row.place and name in numbers]
    paints = [name for name, row in TRANSFORMS.items() if row.paint and name in numbers]
    if set(moves) <= {"flip", "flip_vertical"}:
        images = _mirrored(images, numbers)
        if not paints:
            return images
    levels = Levels(255.0, 128.0) if images.dtype == torch.uint8 else Levels(1.0, 0.5)
    # A copy of our own, changed in place from here on: fresh memory costs more than arithmetic.
    result = images.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    if not set(moves) <= {"flip", "flip_vertical"}:
        places = torch.eye(3, device=images.device).expand(len(images), 3, 3)
        for name in moves:
            place = TRANSFORMS[name].place
            assert place is not None
            places = places @ place(numbers[name], strength)
        upright = all(TRANSFORMS[name].is_upright for name in moves)
        result = _resampled(result, places, upright, levels.grey)
    for name in paints:
        paint = TRANSFORMS[name].paint
        assert paint is not None
        result = paint(result, numbers[name], strength, levels)
    if images.dtype != torch.uint8:
        return result.clamp_(0, 1).to(images.dtype)
    return result.add_(0.5).clamp_(0, 255).to(torch.uint8)  # truncation after + 0.5 rounds


def _mirrored(images: Tensor, numbers: Mapping[str, Tensor]) -> Tensor:
    for name, axis in (("flip", 3), ("flip_vertical", 2)):
        if name in numbers:
            chosen = (numbers[name] > 0).reshape(-1, 1, 1, 1)
            images = torch.where(chosen, images.flip(axis), images)
    return images


def _resampled(images: Tensor, places: Tensor, upright: bool, grey: float) -> Tensor:
    """The pixels at `places` (B, 3, 3), bilinear, with `grey` around the image."""
    height, width = images.shape[2:]
    images.sub_(grey)  # both ways below fill with 0
    if upright and max(height, width) <= MATRIX_SIDE:
        down = _between(places[:, 1, 1], places[:, 1, 2], height)
        across = _between(places[:, 0, 0], places[:, 0, 2], width)
        return _weighed(images, down, across).add_(grey)
    # A turn is by the same angle in pixels, not in shares of unequal sides.
    aspect = height / width
    squared = places[:, :2].clone()
    squared[:, 0, 1] *= aspect
    squared[:, 1, 0] /= aspect
    grid = F.affine_grid(squared, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False).add_(grey)


def _between(scale: Tensor, shift: Tensor, side: int) -> Tensor:
    """(B, side, side): how much of each pixel of a line goes into each pixel of the result."""
    pixel = torch.arange(side, device=scale.device, dtype=torch.float32)
    place = (2 * pixel + 1) / side - 1
    source = ((scale[:, None] * place + shift[:, None] + 1) * side - 1) / 2
    return (1 - (source[:, :, None] - pixel).abs()).relu_()


def _weighed(images: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Lines (B, H, H) and columns (B, W, W) of weights applied to every channel."""
    batch, channels, height, width = images.shape
    # Channels lie between rows and columns, so that each direction is one product an image:
    # multiplying channel by channel copies the weights for each, twice as slow.
    lines = images.transpose(1, 2).reshape(batch, height, channels * width)
    mixed = torch.bmm(down, lines).view(batch, height * channels, width)
    mixed = torch.bmm(mixed, across.mT).view(batch, height, channels, width)
    return mixed.transpose(1, 2).contiguous()


def _places(numbers: Tensor) -> Tensor:
    """(B, 3, 3) that leave every pixel where it is."""
    return torch.eye(3, device=numbers.device).repeat(len(numbers), 1, 1)


def _crop(numbers: Tensor, strength: float) -> Tensor:
    places = _places(numbers)
    zoom = (ZOOM * strength * numbers[:, 0]).exp()
    places[:, 0, 0] = places[:, 1, 1] = zoom
    places[:, :2, 2] = 2 * SHIFT * strength * numbers[:, 1:]
    return places


def _flip(numbers: Tensor, strength: float) -> Tensor:
    places = _places(numbers)
    places[:, 0, 0] = torch.where(numbers[:, 0] > 0, -1.0, 1.0)
    return places


def _flip_vertical(numbers: Tensor, strength: float) -> Tensor:
    places = _places(numbers)
    places[:, 1, 1] = torch.where(numbers[:, 0] > 0, -1.0, 1.0)
    return places


def _rotate(numbers: Tensor, strength: float) -> Tensor:
    places = _places(numbers)
    angle = math.radians(DEGREES) * strength * numbers[:, 0]
    places[:, 0, 0] = places[:, 1, 1] = angle.cos()
    places[:, 0, 1] = -angle.sin()
    places[:, 1, 0] = angle.sin()
    return places


def _shear(numbers: Tensor, strength: float) -> Tensor:
    places = _places(numbers)
    places[:, 0, 1] = SHEAR * strength * numbers[:, 0]
    return places


def _colour(images: Tensor, numbers: Tensor, strength: float, levels: Levels) -> Tensor:
    """Saturation about each pixel's grey, contrast about the image's mean, then brightness."""
    ranges = torch.tensor([BRIGHTNESS, CONTRAST, SATURATION], device=images.device)
    factors = (1 + strength * ranges * numbers).clamp(min=0)[:, :, None, None]
    brightness, contrast, saturation = factors.unbind(1)
    batch, channels = images.shape[:2]
    # All three are linear: one (C, C) matrix and one offset an image.
    mean = images.mean((1, 2, 3)).reshape(-1, 1, 1)
    kept = torch.eye(channels, device=images.device)
    shared = torch.full_like(kept, 1 / channels)
    matrix = brightness * contrast * (saturation * kept + (1 - saturation) * shared)
    offset = (brightness * (1 - contrast) * mean).expand(batch, channels, 1)
    return torch.baddbmm(offset, matrix, images.flatten(2)).view(images.shape)


def _blur(images: Tensor, numbers: Tensor, strength: float, levels: Levels) -> Tensor:
    """A Gaussian of each image's own width; at the edge the weights are shared among what is in."""
    height, width = images.shape[2:]
    share = (BLUR * strength * (numbers[:, 0] + 1) / 2).reshape(-1, 1, 1)

    def lines(side: int) -> Tensor:
        pixel = torch.arange(side, device=images.device, dtype=torch.float32)
        deviation = (share * max(height, width)).clamp(min=1e-3)
        exponent = ((pixel[:, None] - pixel) / deviation) ** 2 / -2
        return exponent.clamp_(min=-30).exp_()  # smaller ones are denormal: 20 times slower

    down, across = lines(height), lines(width)
    return _weighed(images, down / down.sum(2, True), across / across.sum(2, True))


def _erase(images: Tensor, numbers: Tensor, strength: float, levels: Levels) -> Tensor:
    """A grey rectangle on half of the images: area, shape and place are random."""
    height, width = images.shape[2:]
    area = (HIDDEN * strength * numbers[:, 0]).clamp(0, 1)
    stretch = (math.log(3.0) / 2 * numbers[:, 1]).exp()  # sides between 3:1 and 1:3
    is_hidden = []
    for share, number, side in (
        ((area.sqrt() * stretch).clamp(max=1), numbers[:, 2], height),
        ((area.sqrt() / stretch).clamp(max=1), numbers[:, 3], width),
    ):
        length = (share * side).round()
        start = ((side - length) * (number + 1) / 2).round()
        pixel = torch.arange(side, device=images.device)
        is_hidden.append((pixel >= start[:, None]) & (pixel < (start + length)[:, None]))
    down, across = is_hidden
    return images.masked_fill_(down[:, None, :, None] & across[:, None, None, :], levels.grey)


def _noise(images: Tensor, numbers: Tensor, strength: float, levels: Levels) -> Tensor:
    """Even noise: eight values from 64 random bits, which costs an eighth of Gaussian noise."""
    words = torch.empty(-(-images.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
    values = words.view(torch.uint8)[: images.numel()].view(images.shape).to(images.device)
    deviation = NOISE * strength * (numbers[:, 0] + 1) / 2 * levels.white
    reach = (deviation * math.sqrt(12) / 255).reshape(-1, 1, 1, 1)
    return images.addcmul_(values.float().sub_(127.5), reach)


TRANSFORMS: Mapping[str, Transform] = {
    "crop": Transform(
        f"shifted by up to {SHIFT:.1%} of a side, and up to {ZOOM:.0%} nearer or further",
        3,
        ((-1, 1, 1), (-1, -1, -1), (1, 0, 0)),
        place=_crop,
    ),
    "flip": Transform("half of the images mirrored left to right", 1, ((1,),), place=_flip),
    "flip_vertical": Transform(
        "half of the images mirrored top to bottom", 1, ((1,),), place=_flip_vertical
    ),
    "rotate": Transform(
        f"turned by up to {DEGREES:.0f} degrees either way",
        1,
        ((1,), (-1,)),
        place=_rotate,
        is_upright=False,
    ),
    "shear": Transform(
        f"slanted by up to {SHEAR:.0%} of the height either way",
        1,
        ((1,), (-1,)),
        place=_shear,
        is_upright=False,
    ),
    "colour": Transform(
        "other brightness, contrast and saturation",
        3,
        ((1, 1, 1), (-1, -1, -1)),
        paint=_colour,
    ),
    "blur": Transform("out of focus", 1, ((1,),), paint=_blur),
    "erase": Transform(
        f"half of the images with a grey rectangle over up to {HIDDEN:.0%}",
        4,
        ((1, 0, 0, 0),),
        paint=_erase,
    ),
    "noise": Transform("grain", 1, ((1,),), paint=_noise),
}


def crop(images: Tensor, strength: float = 1.0) -> Tensor:
    """Shifted by up to an eighth of a side and zoomed by up to 10 %; (B, C, H, W) as `augment`."""
    return augment(images, ["crop"], strength)


def flip(images: Tensor) -> Tensor:
    """Half of the images, at random, mirrored left to right, exactly."""
    return augment(images, ["flip"])


def flip_vertical(images: Tensor) -> Tensor:
    """Half of the images, at random, mirrored top to bottom, exactly."""
    return augment(images, ["flip_vertical"])


def rotate(images: Tensor, strength: float = 1.0) -> Tensor:
    """Turned by up to 15 degrees either way."""
    return augment(images, ["rotate"], strength)


def shear(images: Tensor, strength: float = 1.0) -> Tensor:
    """Slanted sideways by up to a fifth of the height."""
    return augment(images, ["shear"], strength)


def colour(images: Tensor, strength: float = 1.0) -> Tensor:
    """Other brightness, contrast (30 % either way) and saturation (50 %)."""
    return augment(images, ["colour"], strength)


def blur(images: Tensor, strength: float = 1.0) -> Tensor:
    """Blurred by a Gaussian of up to 1.5 % of a side."""
    return augment(images, ["blur"], strength)


def erase(images: Tensor, strength: float = 1.0) -> Tensor:
    """A grey rectangle over up to a fifth of the area, on half of the images.

    Source: Zhong et al. 2017, arXiv:1708.04896, algorithm 1, with grey for random values.
    """
    return augment(images, ["erase"], strength)


def noise(images: Tensor, strength: float = 1.0) -> Tensor:
    """Even noise with a standard deviation of up to 5 % of the range."""
    return augment(images, ["noise"], strength)

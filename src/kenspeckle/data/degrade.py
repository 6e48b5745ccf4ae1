"""Good images made worse in known ways: noise, blur, JPEG marks, low resolution, holes.

The same table teaches a network to mend images, tests how a recogniser bears bad ones, and can
change the images it learns from. Each way has an amount in a unit of its own, and 0 of it changes
nothing. Ways are applied in the order of the table, which is that of a camera and its files.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from kenspeckle.errors import UsageError, nearest

GREY = 0.5  # what a hole is filled with
LOSSLESS = 100.0  # the quality that is told of an image that was not compressed
ALSO = 0.25  # share of images that get a second way, for each of the others that are named
CHROMA_420 = 2  # Pillow's number for colours at half resolution, what most programs write
LEVELS = 5


@dataclass(frozen=True)
class Degraded:
    """Images made worse, and what a network that mends them is told about it.

    Args:
        images: (B, 3, H, W) float32. Noise is not cut off at black and white: values may lie
            outside [0, 1].
        sigma: (B,) standard deviation of the noise, in 255ths of the range; 0 is none.
        quality: (B,) of the JPEG, 1..100; 100 stands for no compression.
        mask: (B, 1, H, W) booleans, True where a pixel is hidden.
    """

    images: Tensor
    sigma: Tensor
    quality: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Degradation:
    """One way of making images worse.

    Args:
        summary: one line for a table.
        unit: what its amount is.
        drawn: least and largest amount of the images that a network learns from.
        levels: amounts of the strengths 1..5.
        most: the largest amount that makes sense.
        worsen: the images (B, ...), amounts (B,) above 0, generator -> the images made worse.
    """

    summary: str
    unit: str
    drawn: tuple[float, float]
    levels: tuple[float, float, float, float, float]
    most: float
    worsen: Callable[[Degraded, Tensor, torch.Generator | None], Degraded]


def degraded(
    images: Tensor, names: Iterable[str], generator: torch.Generator | None = None
) -> Degraded:
    """Images made worse at random: what a network that mends them learns from.

    Every image gets one of the named ways, and each of the others with probability 1/4; amounts are
    spread evenly over `drawn`.

    Args:
        images: (B, 3, H, W); uint8 in 0..255, or floating point in [0, 1]. Not changed in place.
        names: of `DEGRADATIONS`, in any order, at least one.
        generator: of the CPU; None is torch's default, which the loop seeds before every update.

    Raises:
        UsageError: no name, or one that is not in the table.

    >>> images = torch.rand(4, 3, 32, 32)
    >>> seen = degraded(images, ["noise", "jpeg"], torch.Generator().manual_seed(0))
    >>> seen.images.shape, seen.sigma.shape, seen.quality.shape, seen.mask.shape
    (torch.Size([4, 3, 32, 32]), torch.Size([4]), torch.Size([4]), torch.Size([4, 1, 32, 32]))
    """
    wanted = set(names)
    _check_names(wanted)
    if not wanted:
        raise UsageError(f"Name at least one way to make images worse: {', '.join(DEGRADATIONS)}.")
    chosen = [name for name in DEGRADATIONS if name in wanted]
    count = len(images)
    sure = torch.randint(len(chosen), (count,), generator=generator)
    amounts = {}
    for number, name in enumerate(chosen):
        least, most = DEGRADATIONS[name].drawn
        amount = least + (most - least) * torch.rand(count, generator=generator)
        is_on = (sure == number) | (torch.rand(count, generator=generator) < ALSO)
        amounts[name] = torch.where(is_on, amount, 0.0)
    return degraded_by(images, amounts, generator)


def degraded_by(
    images: Tensor,
    amounts: Mapping[str, Tensor | float],
    generator: torch.Generator | None = None,
) -> Degraded:
    """Images made worse by given amounts: `degraded` without that draw.

    What noise looks like and where holes are is still drawn; amounts say how much there is.

    Args:
        images, generator: as for `degraded`.
        amounts: name -> one amount, or (B,) of them, each in 0..`most`; 0 leaves an image as it is.

    Raises:
        UsageError: a name that is not in the table, or an amount that makes no sense.

    >>> seen = degraded_by(torch.zeros(1, 3, 8, 8), {"noise": 25.0, "jpeg": 0.0})
    >>> seen.sigma, seen.quality, seen.mask.any().item()
    (tensor([25.]), tensor([100.]), False)
    """
    _check_names(amounts)
    count, device = len(images), images.device
    result = Degraded(
        _scaled(images),
        torch.zeros(count, device=device),
        torch.full((count,), LOSSLESS, device=device),
        torch.zeros(count, 1, *images.shape[2:], dtype=torch.bool, device=device),
    )
    for name, row in DEGRADATIONS.items():
        if name in amounts:
            amount = torch.as_tensor(amounts[name], dtype=torch.float32, device=device)
            _check_amount(name, amount)
            _worsen_some(result, row, amount.expand(count), generator)
    return result


def worsened(
    images: Tensor, name: str, strength: int, generator: torch.Generator | None = None
) -> Tensor:
    """Images made worse in one way, as a file would hold them: a test of robustness.

    | way            | unit                           | 1   | 2   | 3   | 4   | 5   |
    |----------------|--------------------------------|-----|-----|-----|-----|-----|
    | blur           | spread, px                     | 0.5 | 1   | 1.5 | 2   | 3   |
    | low_resolution | times smaller                  | 1.5 | 2   | 3   | 4   | 6   |
    | shot_noise     | deviation at white, in 255ths  | 10  | 20  | 35  | 50  | 75  |
    | noise          | deviation, in 255ths           | 10  | 20  | 35  | 50  | 75  |
    | jpeg           | 100 - quality                  | 20  | 40  | 60  | 80  | 90  |
    | holes          | share of the area              | .02 | .05 | .1  | .2  | .3  |

    Args:
        images: (B, C, H, W), C 1 or 3; uint8 in 0..255, or floating point in [0, 1].
        name: of `DEGRADATIONS`.
        strength: 1..5; 0 changes nothing.
        generator: as for `degraded`.

    Returns:
        (B, C, H, W) of the same kind, in the same range.

    Raises:
        UsageError: there is no such way or strength.

    >>> images = torch.randint(0, 256, (2, 1, 16, 16), dtype=torch.uint8)
    >>> worse = worsened(images, "jpeg", 5)
    >>> worse.shape, worse.dtype, torch.equal(worsened(images, "jpeg", 0), images)
    (torch.Size([2, 1, 16, 16]), torch.uint8, True)
    """
    _check_names([name])
    if strength not in range(LEVELS + 1):
        raise UsageError(f"The strength of '{name}' is one of 0..{LEVELS}; found {strength}.")
    if strength == 0:
        return images.clone()
    channels = images.shape[1]
    amount = DEGRADATIONS[name].levels[strength - 1]
    result = degraded_by(images.expand(-1, 3, -1, -1), {name: amount}, generator).images
    result = result[:, :channels].clamp(0, 1)  # grey stays grey
    if images.dtype != torch.uint8:
        return result.to(images.dtype)
    return _bytes(result)


@cache
def _tables() -> NDArray[np.float64]:
    """(100, 64): the table for brightness of each quality 1..100, as Pillow writes it."""
    rows = []
    for quality in range(1, 101):
        content = _compressed(np.zeros((8, 8, 3), dtype=np.uint8), quality)
        with Image.open(io.BytesIO(content)) as image:
            rows.append(image.quantization[0])  # type: ignore[attr-defined]
    return np.array(rows, dtype=np.float64)


def jpeg_quality(content: bytes) -> int | None:
    """The quality, 1..100, that a JPEG file was written with, by its own table of step sizes.

    Programs with tables of their own (Photoshop, cameras) get the quality whose table is nearest in
    ratio. None for what is not a JPEG, and for one without a table.

    >>> image = Image.new("RGB", (16, 16))
    >>> file = io.BytesIO()
    >>> image.save(file, "JPEG", quality=37)
    >>> jpeg_quality(file.getvalue())
    37
    """
    if not content.startswith(b"\xff\xd8\xff"):
        return None
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            table = image.quantization.get(0)  # type: ignore[attr-defined]
    except Exception:  # damaged files make Pillow raise nearly every built-in error
        return None
    if table is None or len(table) != 64:
        return None
    found = np.log(np.maximum(np.array(table, dtype=np.float64), 1))
    return 1 + int(np.abs(np.log(_tables()) - found).sum(1).argmin())


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if name not in DEGRADATIONS:
            hint = nearest(name, DEGRADATIONS) or "."
            known = ", ".join(DEGRADATIONS)
            raise UsageError(f"Images cannot be made worse by '{name}'{hint} Known: {known}.")


def _check_amount(name: str, amount: Tensor) -> None:
    row = DEGRADATIONS[name]
    is_sound = (amount >= 0) & (amount <= row.most)  # False for nan
    if not is_sound.all():
        found = float(amount[~is_sound].flatten()[0])
        raise UsageError(
            f"The amount of '{name}' ({row.unit}) lies in 0..{row.most:g}; found {found:g}."
        )


def _scaled(images: Tensor) -> Tensor:
    """A copy as float32 in [0, 1]."""
    if images.dtype == torch.uint8:
        return images.to(torch.float32) / 255
    return images.to(torch.float32, copy=True)


def _bytes(images: Tensor) -> Tensor:
    """Values in [0, 1], rounded to uint8."""
    return (255 * images.clamp(0, 1) + 0.5).to(torch.uint8)  # truncation after + 0.5 rounds


def _worsen_some(
    whole: Degraded, row: Degradation, amount: Tensor, generator: torch.Generator | None
) -> None:
    """Change those images in place whose amount is not 0."""
    chosen = amount.nonzero()[:, 0]
    if not len(chosen):
        return
    part = Degraded(*(values[chosen] for values in vars(whole).values()))
    worse = row.worsen(part, amount[chosen], generator)
    for values, changed in zip(vars(whole).values(), vars(worse).values(), strict=True):
        values[chosen] = changed


def _of_each(amount: Tensor) -> Tensor:
    return amount[:, None, None, None]


def _grey_alike(images: Tensor, changed: Tensor) -> Tensor:
    """`changed`, with its first channel for all where the image is grey: grain has no colour."""
    is_grey = (images == images[:, :1]).flatten(1).all(1)
    return torch.where(_of_each(is_grey), changed[:, :1], changed)


def _noise(seen: Degraded, sigma: Tensor, generator: torch.Generator | None) -> Degraded:
    grain = torch.randn(seen.images.shape, generator=generator).to(seen.images.device)
    images = seen.images + _of_each(sigma / 255) * _grey_alike(seen.images, grain)
    return replace(seen, images=images, sigma=(seen.sigma**2 + sigma**2).sqrt())


def _shot_noise(seen: Degraded, sigma: Tensor, generator: torch.Generator | None) -> Degraded:
    """Counted photons: the variance of a value is in proportion to it; told is the mean."""
    photons = _of_each((255 / sigma) ** 2)  # of a white pixel, with this deviation
    light = seen.images.clamp(min=0)
    counts = torch.poisson((light * photons).cpu(), generator=generator).to(light.device)
    variance = sigma**2 * light.mean((1, 2, 3))
    images = _grey_alike(seen.images, counts / photons)
    return replace(seen, images=images, sigma=(seen.sigma**2 + variance).sqrt())


def _blur(seen: Degraded, spread: Tensor, generator: torch.Generator | None) -> Degraded:
    """Half of the images out of focus, half moved along a line; each with the same deviation."""
    batch, channels = seen.images.shape[:2]
    is_moved = torch.rand(batch, generator=generator).to(spread.device) < 0.5
    angle = math.pi * torch.rand(batch, generator=generator).to(spread.device)
    radius = math.ceil(3 * float(spread.max())) + 1
    pixel = torch.arange(-radius, radius + 1, device=spread.device, dtype=torch.float32)
    kernels = torch.where(
        is_moved[:, None, None], _line(pixel, spread, angle), _gaussian(pixel, spread)
    )
    # One group a channel of an image; at the edge the outermost pixels go on.
    padded = F.pad(seen.images.flatten(0, 1)[None], [radius] * 4, mode="replicate")
    weights = kernels.repeat_interleave(channels, 0)[:, None]
    images = F.conv2d(padded, weights, groups=batch * channels).view(seen.images.shape)
    return replace(seen, images=images)


def _gaussian(pixel: Tensor, spread: Tensor) -> Tensor:
    """(B, k, k) weights that sum to 1."""
    weights = torch.exp(-((pixel / spread[:, None]) ** 2) / 2)
    weights = weights / weights.sum(1, keepdim=True)
    return weights[:, :, None] * weights[:, None, :]


def _line(pixel: Tensor, spread: Tensor, angle: Tensor) -> Tensor:
    """(B, k, k) weights of points along a line, each shared by the four pixels around it."""
    place = torch.linspace(-1, 1, 65, device=pixel.device)
    # Even values in [-a, a] have the deviation a / sqrt(3).
    along = math.sqrt(3) * spread[:, None] * place  # (B, 65)

    def shares(position: Tensor) -> Tensor:
        return F.relu(1 - (pixel - position[:, :, None]).abs())  # (B, 65, k)

    down, across = shares(along * angle.sin()[:, None]), shares(along * angle.cos()[:, None])
    return down.transpose(1, 2) @ across / len(place)


def _low_resolution(seen: Degraded, factor: Tensor, generator: torch.Generator | None) -> Degraded:
    """Bicubic down and up again, each as Pillow does it; up to once smaller is no change."""
    height, width = seen.images.shape[2:]
    results = []
    for image, times in zip(seen.images, factor.tolist(), strict=True):
        if times <= 1:
            results.append(image)
            continue
        small = _bicubic(image, max(1, round(height / times)), max(1, round(width / times)))
        results.append(_bicubic(small, height, width))
    return replace(seen, images=torch.stack(results))


def _bicubic(image: Tensor, height: int, width: int) -> Tensor:
    # antialias=True also upwards: with it the curve has Pillow's a = -0.5, without it -0.75.
    resized = F.interpolate(image[None], (height, width), mode="bicubic", antialias=True)
    return resized[0].clamp(0, 1)


def _jpeg(seen: Degraded, amount: Tensor, generator: torch.Generator | None) -> Degraded:
    qualities = [max(1, round(100 - value)) for value in amount.tolist()]
    pixels = _bytes(seen.images).permute(0, 2, 3, 1).cpu().numpy()
    images = []
    for picture, quality in zip(pixels, qualities, strict=True):
        with Image.open(io.BytesIO(_compressed(picture, quality))) as image:
            images.append(np.array(image))
    result = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).to(seen.images.device)
    return replace(
        seen,
        images=result.to(torch.float32) / 255,
        quality=seen.quality.new_tensor(qualities, dtype=torch.float32),
    )


def _compressed(picture: NDArray[np.uint8], quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality, subsampling=CHROMA_420)
    return file.getvalue()


def _holes(seen: Degraded, share: Tensor, generator: torch.Generator | None) -> Degraded:
    height, width = seen.images.shape[2:]
    holes = [_hole(value, height, width, generator) for value in share.tolist()]
    mask = seen.mask | torch.stack(holes)[:, None].to(seen.mask.device)
    return replace(seen, images=seen.images.masked_fill(mask, GREY), mask=mask)


def _hole(share: float, height: int, width: int, generator: torch.Generator | None) -> Tensor:
    """(H, W): boxes and strokes, until they cover the share; at most about twice of it."""
    rows, columns = torch.arange(height)[:, None] + 0.5, torch.arange(width) + 0.5
    hidden = torch.zeros(height, width, dtype=torch.bool)
    while hidden.float().mean() < share:
        kind, top, left, bottom, right, size, stretch = torch.rand(7, generator=generator).tolist()
        if kind < 0.5:
            half = math.sqrt(share) * (0.3 + 0.6 * size) / 2  # .09 to .81 of the area asked for
            shape = math.exp(math.log(2) * (stretch - 0.5))  # sides between 2:1 and 1:2
            tall, wide = max(0.5, half * shape * height), max(0.5, half / shape * width)
            is_in = ((rows - top * height).abs() <= tall) & ((columns - left * width).abs() <= wide)
        else:
            thick = max(0.75, share * min(height, width) * (0.1 + 0.2 * size))
            start, end = (top * height, left * width), (bottom * height, right * width)
            is_in = _distance(rows, columns, start, end) <= thick
        hidden |= is_in
    return hidden


def _distance(
    rows: Tensor, columns: Tensor, start: tuple[float, float], end: tuple[float, float]
) -> Tensor:
    """(H, W): how far each pixel is from the stretch between two points."""
    down, across = end[0] - start[0], end[1] - start[1]
    squared = max(down**2 + across**2, 1e-6)
    share = ((rows - start[0]) * down + (columns - start[1]) * across) / squared
    share = share.clamp(0, 1)
    return torch.hypot(rows - start[0] - share * down, columns - start[1] - share * across)


DEGRADATIONS: Mapping[str, Degradation] = {
    "blur": Degradation(
        "out of focus, or moved along a line",
        "deviation in pixels",
        (0.3, 3.0),
        (0.5, 1.0, 1.5, 2.0, 3.0),
        16.0,
        _blur,
    ),
    "low_resolution": Degradation(
        "made smaller and brought back to its size",
        "times smaller",
        (1.0, 4.0),
        (1.5, 2.0, 3.0, 4.0, 6.0),
        64.0,
        _low_resolution,
    ),
    "shot_noise": Degradation(
        "grain of little light, stronger where it is bright (Poisson)",
        "standard deviation at white, in 255ths",
        (0.0, 75.0),
        (10.0, 20.0, 35.0, 50.0, 75.0),
        255.0,
        _shot_noise,
    ),
    "noise": Degradation(
        "grain, the same everywhere (Gaussian)",
        "standard deviation in 255ths",
        (0.0, 75.0),
        (10.0, 20.0, 35.0, 50.0, 75.0),
        255.0,
        _noise,
    ),
    "jpeg": Degradation(
        "marks of JPEG compression, colours at half resolution",
        "100 - quality",
        (5.0, 90.0),
        (20.0, 40.0, 60.0, 80.0, 90.0),
        99.0,
        _jpeg,
    ),
    "holes": Degradation(
        "hidden by grey boxes and strokes",
        "share of the area",
        (0.02, 0.25),
        (0.02, 0.05, 0.1, 0.2, 0.3),
        0.75,
        _holes,
    ),
}

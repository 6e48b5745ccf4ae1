"""Pictures with far less detail than their size says, enlarged or out of focus, and tiny ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft
import torch
from numpy.typing import NDArray

from kenspeckle.answer import Finding
from kenspeckle.data.batch import Rows
from kenspeckle.data.checks import Evidence
from kenspeckle.data.dataset import Dataset
from kenspeckle.data.fit import GREY, Fit
from kenspeckle.data.layouts.listing import counted, some

BLURRED = 0.4  # of the pixels of a side; `detail` says what real pictures have
MANY = 0.1  # of the pictures that can be judged: from here on blur is a trait of the set
MIN_SIDE = 48  # pixels; a smaller picture has too few frequencies to tell soft from blurred
TINY = 32  # pixels of the longer side, where the network sees four times as many or more
_DROP = 10**-1.5  # of the power at coarse frequencies; what lies below is no detail
_SPREAD = 1.35  # a picture enlarged by bicubic keeps power above _DROP to this times its detail
_COARSE = slice(4, 17)  # cycles a side: the subject, neither its background nor its finest detail
_SMOOTH = np.full(5, 0.2)  # a mean over neighbouring frequencies
_ROUNDING = 2 / 12  # variance in grey levels: rounded to 8 bits in the file and in the square
_BLANK = 4.0  # standard deviation in grey levels; below there is nothing to measure
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_NARROW = 16  # pixels; a side under this has no frequencies worth the name


@dataclass(frozen=True)
class _Soft:
    """A picture with far less detail than pixels, along its longer side."""

    path: str
    detail: int
    side: int
    share: float


def check_resolution(dataset: Dataset, evidence: Evidence) -> Iterator[Finding]:
    """Pictures whose detail fills less than `BLURRED` of their pixels, and tiny originals.

    A picture smaller than the network's square is compared with its own size: that it was enlarged
    here is no fault of its owner. Of a larger one only what is left at the square's size counts.
    Arrays (digits of 28 pixels) have no larger originals that somebody could go and find.
    """
    if evidence.images is None or evidence.width is None or evidence.height is None:
        return
    if not len(evidence.images):
        return
    rows = np.arange(len(dataset)) if evidence.rows is None else evidence.rows
    paths = [dataset.samples[row].path for row in rows.tolist()]
    size = evidence.images[torch.tensor([0])].shape[-1]
    longer = np.maximum(evidence.width, evidence.height)
    if size >= MIN_SIDE:
        yield from _blurred(evidence.images, paths, evidence.width, evidence.height)
    if size >= 4 * TINY:
        formats = np.array(evidence.formats or [""] * len(longer))
        yield from _tiny(paths, np.where(formats == "ARRAY", TINY, longer), size)


def _blurred(
    images: Rows, paths: Sequence[str], width: NDArray[np.int64], height: NDArray[np.int64]
) -> Iterator[Finding]:
    judged, soft = 0, []
    for row in np.flatnonzero(np.maximum(width, height) >= MIN_SIDE).tolist():
        square = images[torch.tensor([row])][0].numpy()
        grey, side = _content(square, int(width[row]), int(height[row]))
        most = min(side, square.shape[-1])
        found = detail(grey, most) if most >= MIN_SIDE else None
        if found is not None:
            judged += 1
            if found < BLURRED * most:
                soft.append(_Soft(paths[row], round(found), side, found / most))
    if soft:
        worst = min(soft, key=lambda one: one.share)
        yield Finding(
            check="resolution",
            severity="warning" if len(soft) >= MANY * judged else "note",
            words=f"{counted(len(soft), 'image')} of {len(paths):,} with far less detail than "
            f"pixels (enlarged or out of focus); {worst.path} contains about {worst.detail} px of "
            f"detail in {worst.side:,} px: {some(one.path for one in soft)}.",
            advice="Use the originals from before they were made small, or take them again: "
            "enlarging brings no detail back, and what is not there cannot be learned.",
            paths=tuple(one.path for one in soft),
            facts={"detail_px": [s.detail for s in soft], "side_px": [s.side for s in soft]},
        )


def _tiny(paths: Sequence[str], longer: NDArray[np.int64], size: int) -> Iterator[Finding]:
    tiny = np.flatnonzero(longer < TINY).tolist()
    if tiny:
        names = tuple(paths[row] for row in tiny)
        yield Finding(
            check="resolution",
            severity="note",
            words=f"{counted(len(tiny), 'image')} of {len(paths):,} smaller than {TINY} px, the "
            f"smallest {int(longer.min())} px, enlarged here to {size}: {some(names)}.",
            advice="Use larger originals if there are any; else nothing needs doing.",
            paths=names,
        )


def _content(square: NDArray[np.uint8], width: int, height: int) -> tuple[NDArray[np.float32], int]:
    """Grey (H, W) of the picture inside its square (C, S, S), and the original side it stands for.

    Where what `pad` would have filled is not grey, the picture was cropped or stretched, and the
    shorter side is the one whose pixels are all there.
    """
    high, wide = square.shape[-2:]
    across, down = Fit(high, across=wide).inner(width, height)
    left, top = (wide - across) // 2, (high - down) // 2
    inside = (slice(top, top + down), slice(left, left + across))
    side = max(width, height)
    rest = (square[:, :top], square[:, top + down :], square[..., :left])
    if all((part == GREY).all() for part in (*rest, square[..., left + across :])):
        square = square[(slice(None), *inside)]
    else:
        side = min(width, height)
    if len(square) == 1:
        return square[0].astype(np.float32), side
    return np.tensordot(_LUMA, square.astype(np.float32), axes=1), side


def detail(grey: NDArray[np.float32], most: int) -> float | None:
    """How many pixels the longer side would need to hold what the picture shows, at most `most`.

    Gradients of sharp pictures have about the same power at all frequencies, and enlarging or
    blurring cuts it off. This is the highest frequency whose power is above 3 % (15 dB below) of
    that at 4 to 16 cycles a side, over 1.35. What rounding to 8 bits adds is taken away first.

    Of 4987 images of 17 real sets (flowers, scenes of 64 px, street words, faces, X-rays, blood
    cells, sketches, edge maps, video, ...) and 764 drawn shapes none has detail for less than 0.4
    of its pixels; the lowest is 0.45. Found below it are all of 150 flowers, groceries and faces
    enlarged from 0.3 of their size and of 150 flowers blurred by 1.5 px or more (standard
    deviation), saved as JPEG of quality 85 or not, 94 % of X-rays enlarged from 0.25, and of
    flowers enlarged from 0.35 of their size 58 %, from 0.42 3 %. Strong compression alone is not
    seen: the blocks of JPEG have edges of their own.

    Args:
        grey: (H, W) levels of 0..255; the longer side is the square's.
        most: pixels of the original's longer side, or of the square's if that is less.

    Returns:
        None where the picture is blank.

    Source: power over frequency squared in natural images, Field 1987, J. Opt. Soc. Am. A 4, 2379.

    >>> noise = np.random.default_rng(0).normal(128, 40, (64, 64)).astype(np.float32)
    >>> detail(noise, 64), detail(noise * 0, 64)
    (64.0, None)
    """
    if float(grey.std()) < _BLANK:
        return None
    power = _gradient_power(grey)
    last = most // 2
    above = np.flatnonzero(power[: last + 1] >= _DROP * power[_COARSE].mean())
    finest = int(above[-1]) if len(above) else 0
    return float(most) if finest == last else min(2 * finest / _SPREAD, float(most))


def _gradient_power(grey: NDArray[np.float32]) -> NDArray[np.float64]:
    """(S // 2 + 1,) mean power of the gradients by cycles a side of S, smoothed."""
    size = max(grey.shape)
    cycles = np.arange(size // 2 + 1) / size
    # A difference of neighbours stands for the gradient up to this factor, 1 at low frequencies.
    scale = np.ones_like(cycles)
    scale[1:] = (np.pi * cycles[1:] / np.sin(np.pi * cycles[1:])) ** 2
    rounding = _uneven(grey) * _ROUNDING * (2 * np.pi * cycles) ** 2
    powers = []
    for lines in (grey, grey.T):
        if lines.shape[1] >= _NARROW:
            window = np.hanning(lines.shape[1] - 1).astype(np.float32)
            waves = scipy.fft.rfft(np.diff(lines, axis=1) * window, n=size, axis=1)
            power = (waves.real**2 + waves.imag**2).mean(axis=0)
            powers.append(scale * power - float(window @ window) * rounding)
    return np.convolve(np.mean(powers, axis=0), _SMOOTH, mode="same")


def _uneven(grey: NDArray[np.float32]) -> float:
    """The share of 8 x 8 cells that are not flat: in a flat one rounding adds nothing."""
    height, width = (side // 8 * 8 for side in grey.shape)
    if not height or not width:
        return 0.0
    cells = grey[:height, :width].reshape(height // 8, 8, width // 8, 8)
    spread = cells.max(axis=(1, 3)) - cells.min(axis=(1, 3))
    return float((spread > 0.5).mean())

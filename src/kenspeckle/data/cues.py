"""What may tell a picture's class though it is not the object: border, brightness, size, file."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from kenspeckle.data.batch import Rows
from kenspeckle.data.fit import GREY, Fit
from kenspeckle.data.source import File, Source, Span, ZipMember

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

GRID = 12  # cells a side; the outermost are the border, a twelfth of the picture on each side
DAY = 86_400  # seconds
COPYING = 2.0  # seconds from file to file in the middle case; faster is a program, not a camera
_PIECE = 64  # pictures fetched at once
_SHARES = torch.tensor([0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98])


@dataclass(frozen=True)
class Cue:
    """Something that may tell the class though it is not the object.

    Args:
        name: short, for tables.
        words: what it is, as the subject of a sentence.
        features: (N, D).
        rival: (N, R) what the object shows by measures of the same kind; None for what lies beside
            the picture, where no object is.
        rival_words: what the rival is.
    """

    name: str
    words: str
    features: Floats
    rival: Floats | None = None
    rival_words: str = ""


def cues(
    sources: Sequence[Source],
    width: Ints,
    height: Ints,
    formats: Sequence[str] | None,
    images: Rows | None,
) -> Iterator[Cue]:
    """Every cue that is known of N images and differs between them.

    Args:
        sources: N, whose file system tells bytes and dates; rows of arrays have neither.
        width, height: (N,) pixels of the originals.
        formats: N names.
        images: N squares, whose padding takes no part.
    """
    for cue in (
        _size(width, height),
        *_format(formats),
        *_date(sources),
        *_seen(sources, width, height, images),
    ):
        if np.ptp(cue.features, axis=0).any():
            yield cue


def _size(width: Ints, height: Ints) -> Cue:
    sides = np.log(np.stack([width, height, width / height], axis=1))
    return Cue("size", "The size of the image in pixels", sides)


def _format(formats: Sequence[str] | None) -> Iterator[Cue]:
    if formats is not None:
        known = sorted(set(formats))
        is_one = [[name == each for each in known] for name in formats]
        yield Cue("format", "The format of the file", np.array(is_one, dtype=np.float64))


def _date(sources: Sequence[Source]) -> Iterator[Cue]:
    """Whole days, and only where the files were not written one after another by a program.

    Copying and unpacking give files the date of the copy, folder by folder, hundreds in a minute.
    """
    try:
        paths = [source.path for source in sources if isinstance(source, File)]
        times = np.array([path.stat().st_mtime for path in paths])
    except OSError:
        return
    if len(times) == len(sources) > 1 and np.median(np.diff(np.sort(times))) >= COPYING:
        yield Cue("date", "The day on which the file was last changed", times[:, None] // DAY)


def _bytes(sources: Sequence[Source]) -> Floats | None:
    """(N,) bytes of each file; None unless all are known."""
    members: dict[Path, dict[str, int]] = {}
    sizes = []
    try:
        for source in sources:
            if isinstance(source, File):
                sizes.append(source.path.stat().st_size)
            elif isinstance(source, Span):
                sizes.append(source.size)
            elif isinstance(source, ZipMember):
                if source.archive not in members:
                    with zipfile.ZipFile(source.archive) as archive:
                        listed = archive.infolist()
                    members[source.archive] = {info.filename: info.file_size for info in listed}
                sizes.append(members[source.archive][source.name])
            else:
                return None
    except (OSError, zipfile.BadZipFile, KeyError):
        return None
    return np.maximum(np.array(sizes, dtype=np.float64), 1)


def _seen(
    sources: Sequence[Source], width: Ints, height: Ints, images: Rows | None
) -> Iterator[Cue]:
    """What the pixels show of the border, of brightness, and of how small the file should be."""
    if images is None:
        return
    found = [_looked_at(content) for content in _contents(images, width, height)]
    border, middle, light, pattern, detail = (
        torch.stack(part).double().numpy() for part in zip(*found, strict=True)
    )
    yield Cue(
        "border", "The border of the picture alone", border, middle, "the middle of the picture"
    )
    yield Cue(
        "brightness",
        "Brightness and contrast alone",
        light,
        pattern,
        "the pattern with brightness and contrast taken out",
    )
    pixels = np.log(width * height.astype(np.float64))
    detail = np.column_stack([detail, pixels])
    if (sizes := _bytes(sources)) is not None and np.ptp(sizes):
        each = np.column_stack([detail, np.log(sizes) - pixels])
        words = "The size of the file in bytes, for the detail that the picture has,"
        yield Cue("bytes", words, each, detail, "the detail alone")


def _contents(images: Rows, width: Ints, height: Ints) -> Iterator[Tensor]:
    """Each picture (C, h, w) in 0..255, without the padding that made it a square."""
    for start in range(0, len(images), _PIECE):
        rows = torch.arange(start, min(start + _PIECE, len(images)))
        for row, square in zip(rows.tolist(), images[rows], strict=True):
            high, wide = square.shape[-2:]
            fit = Fit(high, across=wide)
            across, down = fit.inner(float(width[row]), float(height[row]))
            top, left = (high - down) // 2, (wide - across) // 2
            edges = torch.cat([square[:, :top].flatten(), square[:, :, :left].flatten()])
            if (edges == GREY).all():  # else it was stretched or cropped, and all is content
                square = square[:, top : top + down, left : left + across]
            yield square.float()


def _looked_at(content: Tensor) -> tuple[Tensor, ...]:
    """Border, middle, light, pattern and detail of one picture (C, h, w)."""
    moments = torch.cat([content, content.square()])
    cells = adaptive_avg_pool2d(moments, GRID)  # (2C, GRID, GRID)
    across, down = cells[:, [0, -1]], cells[:, 1:-1, [0, -1]]
    border = _spread(torch.cat([across.flatten(1), down.flatten(1)], dim=1))  # of 44 cells
    inner = slice(GRID // 4, -(GRID // 4))
    middle = _spread(cells[:, inner, inner])  # of 36 cells
    grey = content.mean(0)
    few = grey[
        ::4, ::4
    ].flatten()  # a sixteenth of the pixels: quantiles of all cost ten times that
    light = torch.cat([few.mean()[None], few.std(correction=0)[None], few.quantile(_SHARES)])
    plain = (grey - light[0]) / light[1].clamp(min=1.0)
    pattern = _spread(adaptive_avg_pool2d(torch.stack([plain, plain.square()]), GRID // 2))
    return border, middle, light, pattern, torch.cat([_detail(grey), light[1:2]])


def _spread(moments: Tensor) -> Tensor:
    """Means and standard deviations from means of values and of their squares, (2C, ...)."""
    mean, square = moments.chunk(2)
    return torch.cat([mean, (square - mean.square()).clamp(min=0).sqrt()]).flatten()


def _detail(grey: Tensor) -> Tensor:
    """(6,) logarithms of the mean steps between pixels 1, 2 and 4 apart, across and down."""
    steps = []
    for apart in (1, 2, 4):
        for turned in (grey, grey.mT):
            gaps = (turned[:, apart:] - turned[:, :-apart]).abs()
            steps.append(gaps.mean() if gaps.numel() else gaps.sum())
    return (torch.stack(steps) + 0.1).log()

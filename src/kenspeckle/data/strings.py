"""Strings as numbers: the code points of their characters, filled with zeros to equal length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from kenspeckle.data.cache import Decoded
from kenspeckle.data.dataset import Dataset
from kenspeckle.data.source import content_hash


def code_points(texts: Sequence[str]) -> Tensor:
    """(N, longest) int64; 0, which no text holds, after the end of each.

    >>> code_points(["ab", "c"]).tolist()
    [[97, 98], [99, 0]]
    """
    longest = max((len(text) for text in texts), default=1)
    points = torch.zeros(len(texts), max(1, longest), dtype=torch.int64)
    for row, text in enumerate(texts):
        points[row, : len(text)] = torch.tensor([ord(c) for c in text], dtype=torch.int64)
    return points


def text_of(points: Sequence[int]) -> str:
    """Code points up to the first 0, as text."""
    ended = list(points)
    if 0 in ended:
        ended = ended[: ended.index(0)]
    return "".join(map(chr, ended))


def encoded(dataset: Dataset) -> Decoded:
    """The given strings of a dataset of pairs, as `decode_all` gives pictures."""
    contents = [sample.source.read() for sample in dataset.samples]
    points = code_points([content.decode("utf-8", "surrogatepass") for content in contents])
    count = len(contents)
    lengths = (points > 0).sum(1).numpy()
    return Decoded(
        images=points,
        rows=np.arange(count),
        faults={},
        keys=[content_hash(content) for content in contents],
        width=lengths,
        height=np.ones(count, dtype=np.int64),
        perceptual=np.zeros(count, dtype=np.uint64),
        formats=("TEXT",) * count,
    )

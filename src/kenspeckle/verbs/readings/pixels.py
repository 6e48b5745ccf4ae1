"""A sample is an image at its own size: for tasks that put out pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kenspeckle.bundle.bundle import Bundle
from kenspeckle.data.cache import Decoded
from kenspeckle.data.dataset import Dataset, Means, Sample
from kenspeckle.data.fit import Fit
from kenspeckle.data.patches import MEGAPIXELS, within_budget
from kenspeckle.data.read import read_image
from kenspeckle.data.scan import scan
from kenspeckle.data.source import content_hash
from kenspeckle.errors import UnreadableImage
from kenspeckle.verbs.readings.reading import Columns, Given, Progress, Reading

LEAST_SIDE = 64  # pixels: what is kept of an image holds at least a square of this side


@dataclass(frozen=True)
class Whole:
    """Images of any size as a set of rows; only one at a time can be fetched.

    Args:
        images: N arrays (H, W, 1 or 3).
    """

    images: Sequence[NDArray[np.uint8]]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """(1, C, H, W) uint8."""
        (row,) = rows.tolist()
        return torch.from_numpy(self.images[row]).permute(2, 0, 1)[None]


class Pixels(Reading):
    """Images of which only pixels count; labels are passed over."""

    def look(self, data: Path, columns: Columns | None, means: Means) -> Dataset:
        """All images in all folders, in the parts that folders called train and test make."""
        found = scan(data, columns=columns, labelled=False)
        found = replace(found.meaning("nothing"), reads="pixels")
        return found.noted("only pixels count here, so labels are passed over")

    def decode(self, dataset: Dataset, fit: Fit, progress: Progress) -> tuple[Decoded, int]:
        """Every readable image at its own size; of large ones a window, so that all fit in memory.

        The windows of N images hold 100 megapixels together; nothing is resized.
        """
        images, rows, keys, faults, sizes = [], [], [], {}, []
        each = max(MEGAPIXELS / max(1, len(dataset)), LEAST_SIDE**2 / 1e6)
        cut = 0
        for row, sample in enumerate(dataset.samples):
            progress(row, len(dataset))
            try:
                picture = read_image(sample.source)
                content = sample.source.read()
            except UnreadableImage as fault:
                faults[row] = fault
                continue
            pixels = [picture.pixels]
            (window,) = within_budget(pixels.__getitem__, 1, LEAST_SIDE, each, seed=row)
            cut += window.shape[:2] != picture.pixels.shape[:2]
            images.append(window)
            rows.append(row)
            keys.append(content_hash(content))
            sizes.append((picture.width, picture.height))
        progress(len(dataset), len(dataset))
        width, height = np.array(sizes, dtype=np.int64).reshape(-1, 2).T
        note = f"{cut} large images are used in part, a window each, {MEGAPIXELS:.0f} MP in all"
        decoded = Decoded(
            images=Whole(images),
            rows=np.array(rows, dtype=np.int64),
            faults=faults,
            keys=keys,
            width=width,
            height=height,
            perceptual=np.zeros(len(rows), dtype=np.uint64),
            formats=("PIXELS",) * len(rows),
            notes=(note,) if cut else (),
        )
        return decoded, 0

    def one(self, sample: Sample, bundle: Bundle) -> Given:
        """(C, H, W) uint8 at its own size."""
        picture = read_image(sample.source)
        values = torch.from_numpy(picture.pixels).permute(2, 0, 1)
        return Given(values, (picture.width, picture.height))

    def together(self, given: Sequence[Given]) -> Tensor:
        """(1, C, H, W): images of any size cannot lie side by side."""
        (only,) = given
        return only.values[None]

"""A sample is an image: it becomes a square of pixels, or a rectangle."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kenspeckle.bundle.bundle import Bundle
from kenspeckle.data.cache import Decoded, decode_all
from kenspeckle.data.dataset import Dataset, Sample
from kenspeckle.data.fit import Fit
from kenspeckle.data.read import read_image
from kenspeckle.files import cache_folder
from kenspeckle.verbs.readings.reading import Given, Progress, Reading


class Images(Reading):
    """Images, decoded once and remembered."""

    def decode(self, dataset: Dataset, fit: Fit, progress: Progress) -> tuple[Decoded, int]:
        """Every readable image, fitted."""
        return decode_all(dataset, fit, progress, cache_folder()), 0

    def one(self, sample: Sample, bundle: Bundle) -> Given:
        """(C, H, W) uint8."""
        picture = read_image(sample.source, bundle.config.fit)
        values = torch.from_numpy(picture.pixels).permute(2, 0, 1)
        return Given(values, (picture.width, picture.height))

    def together(self, given: Sequence[Given]) -> Tensor:
        """(B, C, H, W); grey ones become colour beside colour."""
        channels = max(one.values.shape[0] for one in given)
        return torch.stack([one.values.expand(channels, -1, -1) for one in given])

"""A sample is a sequence of steps: numbers in a file."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kenspeckle.bundle.bundle import Bundle
from kenspeckle.data.cache import Decoded
from kenspeckle.data.dataset import Dataset, Sample
from kenspeckle.data.fit import Fit
from kenspeckle.data.sequence import padded, read_all, read_sequence
from kenspeckle.errors import UnreadableImage
from kenspeckle.verbs.readings.reading import Given, Progress, Reading


class Sequences(Reading):
    """Sequences, all with equally many numbers a step."""

    thing = "sequence"

    def decode(self, dataset: Dataset, fit: Fit, progress: Progress) -> tuple[Decoded, int]:
        """Every readable sequence, and its numbers a step."""
        return read_all(dataset, progress)

    def one(self, sample: Sample, bundle: Bundle) -> Given:
        """(T, D) float32."""
        steps = read_sequence(sample.source.read(), sample.path)
        features = bundle.config.features
        if steps.shape[1] != features:
            words = f"a step has {steps.shape[1]} numbers, and the model learned from {features}"
            raise UnreadableImage("unsupported", words)
        return Given(torch.from_numpy(steps))

    def together(self, given: Sequence[Given]) -> Tensor:
        """(B, T, D), nan after the end of each."""
        return padded([one.values.numpy() for one in given])

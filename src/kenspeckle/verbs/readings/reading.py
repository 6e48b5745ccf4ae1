"""What one sample is: how it is found on disk, decoded, and handed to a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from kenspeckle.bundle.bundle import Bundle
from kenspeckle.data.cache import Decoded
from kenspeckle.data.dataset import Dataset, Means, Sample
from kenspeckle.data.fit import Fit
from kenspeckle.data.layouts.archive import is_archive
from kenspeckle.data.scan import scan
from kenspeckle.data.source import File
from kenspeckle.errors import DataError

Columns = Mapping[str, str]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Given:
    """One sample as the network reads it.

    Args:
        values: (C, H, W) bytes, (T, D) steps, or (T,) code points.
        size: width and height of an image's original, in pixels; (1, 1) of others.
    """

    values: Tensor
    size: tuple[int, int] = (1, 1)


class Reading(ABC):
    """One kind of sample."""

    thing = "image"
    """One of them, in words."""

    has_checks = True
    """Whether the checks of the data know what to do with it."""

    def look(self, data: Path, columns: Columns | None, means: Means) -> Dataset:
        """The samples at a path, with what people say about them."""
        return scan(data, columns=columns, means=means)

    def counted(self, dataset: Dataset) -> str:
        """How many there are and how they lie there, as a sentence begins."""
        many = f"{self.thing}s"
        if dataset.layout.startswith(many):
            return f"{len(dataset)} {dataset.layout}"
        return f"{len(dataset)} {many}: {dataset.layout}"

    @abstractmethod
    def decode(self, dataset: Dataset, fit: Fit, progress: Progress) -> tuple[Decoded, int]:
        """All samples, and how many numbers a step of them has (0 where there are no steps)."""

    def named(self, text: str, reads: str) -> list[Sample]:
        """What a name on the command line stands for: a file, a folder, an archive.

        Raises:
            DataError: it leads to nothing, or to other things than a model reads.
        """
        path = Path(text)
        if not path.exists():
            raise DataError(f"There is no {path}. Name a file, a folder or a pattern of {reads}.")
        if path.is_dir() or is_archive(path):
            found = scan(path, labelled=False)
            if found.reads != reads:
                raise DataError(f"{path} holds {found.reads}, and this model reads {reads}.")
            return [replace(sample, path=str(path / sample.path)) for sample in found.samples]
        return [self.at(text)]

    def at(self, text: str) -> Sample:
        """The sample in a file of that name."""
        return Sample(text, File(Path(text)))

    @abstractmethod
    def one(self, sample: Sample, bundle: Bundle) -> Given:
        """One sample as a model file's network reads it.

        Raises:
            UnreadableImage: it cannot be read, or the model has no use for it.
        """

    @abstractmethod
    def together(self, given: Sequence[Given]) -> Tensor:
        """Several of them as one batch."""

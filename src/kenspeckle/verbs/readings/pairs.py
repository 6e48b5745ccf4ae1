"""A sample is a pair of strings: one that is given, one that is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from kenspeckle.bundle.bundle import Bundle
from kenspeckle.data.cache import Decoded
from kenspeckle.data.dataset import Dataset, Means, Sample
from kenspeckle.data.fit import Fit
from kenspeckle.data.layouts.pairs import scan_pairs
from kenspeckle.data.source import Text
from kenspeckle.data.strings import code_points, encoded
from kenspeckle.errors import DataError, UnreadableImage
from kenspeckle.verbs.readings.reading import Columns, Given, Progress, Reading


class Pairs(Reading):
    """Pairs of strings in a TSV file."""

    thing = "line"
    has_checks = False

    def look(self, data: Path, columns: Columns | None, means: Means) -> Dataset:
        """The pairs of a file, a line each."""
        return scan_pairs(data)

    def counted(self, dataset: Dataset) -> str:
        """The layout says how many."""
        return dataset.layout

    def decode(self, dataset: Dataset, fit: Fit, progress: Progress) -> tuple[Decoded, int]:
        """The given strings as code points."""
        return encoded(dataset), 0

    def named(self, text: str, reads: str) -> list[Sample]:
        """The string itself, or the lines of the file that bears it as a name."""
        try:
            is_file = Path(text).is_file()
            lines = Path(text).read_text("utf-8-sig").split("\n") if is_file else [text]
        except UnicodeDecodeError:
            raise DataError(f"{text} is no UTF-8 text; the model answers strings.") from None
        except OSError:  # a string too long for a name
            lines = [text]
        return [self.at(line) for line in lines if line.strip() or line is text]

    def at(self, text: str) -> Sample:
        """The string as a sample."""
        return Sample(text, Text(text))

    def one(self, sample: Sample, bundle: Bundle) -> Given:
        """(T,) code points."""
        text = sample.source.read().decode("utf-8", "replace")
        if not text:
            raise UnreadableImage("empty", "the string is empty")
        if strange := "".join(sorted(set(text) - set(bundle.config.settings["alphabet"]))):
            words = f"it holds characters that were never learned: {strange!r}"
            raise UnreadableImage("unsupported", words)
        return Given(code_points([text])[0])

    def together(self, given: Sequence[Given]) -> Tensor:
        """(B, T), zeros after the end of each."""
        return nn.utils.rnn.pad_sequence([one.values for one in given], batch_first=True)

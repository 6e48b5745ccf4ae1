"""How large images are is told from their headers, the damaged ones left aside."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from kenspeckle.data.dataset import Dataset, Sample
from kenspeckle.data.sides import LOOKED_AT, typical_side
from kenspeckle.data.source import ArrayRow, Text


class Bytes:
    """A source that is its bytes, and counts how often it is read."""

    def __init__(self, content: bytes) -> None:
        self.content, self.reads = content, 0

    def read(self) -> bytes:
        self.reads += 1
        return self.content


def png(width: int, height: int) -> Bytes:
    content = io.BytesIO()
    Image.new("L", (width, height)).save(content, "PNG")
    return Bytes(content.getvalue())


def dataset(sources) -> Dataset:
    samples = tuple(Sample(f"{i}.png", source) for i, source in enumerate(sources))
    return Dataset(None, samples, ())  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(28, 20), (20, 28)])
def test_the_longer_side_counts(size):
    assert typical_side(dataset([png(*size)])) == 28


def test_one_large_image_among_small_ones_changes_nothing():
    assert typical_side(dataset([png(28, 28)] * 4 + [png(900, 900)])) == 28


def test_a_header_is_enough():
    cut = Bytes(png(60, 40).content[:-20])
    assert typical_side(dataset([cut])) == 60


def test_damaged_files_are_left_aside():
    assert typical_side(dataset([Bytes(b"no image"), png(30, 30), Bytes(b"")])) == 30
    assert typical_side(dataset([Bytes(b"no image"), Text("words")])) is None


def test_rows_of_an_array_have_its_size():
    array = np.zeros((5, 8, 12), np.uint8)
    assert typical_side(dataset([ArrayRow(array, row) for row in range(5)])) == 12


def test_of_many_images_only_some_are_looked_at():
    sources = [png(10, 10) for _ in range(200)]
    typical_side(dataset(sources))
    assert sum(source.reads for source in sources) == LOOKED_AT

"""Pairs of strings: a TSV file with what is given and what it should become, a pair a line."""

from __future__ import annotations

from pathlib import Path

from kenspeckle.data.dataset import Dataset, Sample
from kenspeckle.data.layouts.listing import SPLIT_NAMES, counted, read_whole
from kenspeckle.data.source import Text
from kenspeckle.errors import DataError, EmptyDataset

MOST_CHARACTERS = 1000  # of one string: attention costs their square
EXPECTED = "Expected lines `given<TAB>wanted`, with an optional third column train, val or test."


def scan_pairs(path: Path) -> Dataset:
    """The pairs in a TSV file, in its own order.

    Raises:
        DataError: there is no such file, or a line is no pair.
        EmptyDataset: it holds no line.
    """
    if not path.is_file():
        raise DataError(f"There is no file {path}. {EXPECTED}")
    try:
        lines = read_whole(path).decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError:
        raise DataError(f"{path} is no UTF-8 text. {EXPECTED}") from None
    header = [cell.strip().lower() for cell in lines[0].split("\t")]
    begin = 1 if header[:2] in (["source", "target"], ["given", "wanted"]) else 0
    samples = [
        _pair(path, number, line)
        for number, line in enumerate(lines[begin:], begin + 1)
        if line.strip()
    ]
    if not samples:
        raise EmptyDataset(f"{path} holds no pair. {EXPECTED}")
    layout = f"{counted(len(samples), 'pair')} of strings"
    return Dataset(path, tuple(samples), (), layout, reads="pairs", means="text")


def _pair(path: Path, number: int, line: str) -> Sample:
    cells = line.split("\t")
    if len(cells) not in (2, 3):
        raise DataError(f"{path}, line {number}: found {counted(len(cells), 'column')}. {EXPECTED}")
    if not cells[0] or not cells[1]:
        raise DataError(f"{path}, line {number}: one of the two strings is empty. {EXPECTED}")
    if "\0" in line:
        raise DataError(f"{path}, line {number}: it holds a null character; remove it.")
    if max(len(cells[0]), len(cells[1])) > MOST_CHARACTERS:
        raise DataError(f"{path}, line {number}: a string is over {MOST_CHARACTERS} characters.")
    split = cells[2].strip().lower() if len(cells) == 3 else ""
    if split and split not in SPLIT_NAMES:
        raise DataError(f"{path}, line {number}: unknown part '{split}'. {EXPECTED}")
    return Sample(
        f"line {number}",
        Text(cells[0]),
        label=cells[1],
        split=SPLIT_NAMES[split] if split else None,
    )

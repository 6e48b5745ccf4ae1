"""A list of files to leave out: what a person decided after looking at the findings."""

from __future__ import annotations

from pathlib import Path

from kenspeckle.data.dataset import Dataset
from kenspeckle.data.layouts.listing import TABLE_SUFFIXES, counted, read_whole, some, suffix
from kenspeckle.data.layouts.table_text import parse_table
from kenspeckle.errors import DataError, nearest


def excluded(dataset: Dataset, path: Path) -> Dataset:
    """The dataset without the files that a list names: one a line, or the column `filename`.

    A `data_issues.csv` from which the rows of files to keep were deleted is such a list.

    Raises:
        DataError: the list names nothing, or a file that the dataset does not have.
    """
    names = list(dict.fromkeys(_names(path)))
    if not names:
        raise DataError(f"The list {path} names no file. Write one file name a line.")
    known = {sample.path for sample in dataset.samples}
    strangers = [name for name in names if name not in known]
    if strangers:
        raise DataError(
            f"The list {path} names {counted(len(strangers), 'file')} that {dataset.root} does not "
            f"have; the first is '{strangers[0]}'{nearest(strangers[0], known) or '.'} Names are "
            "relative to the folder, as `ken check` prints them."
        )
    left = dataset.without(names)
    if not len(left):
        raise DataError(f"The list {path} names every file of {dataset.root}; nothing is left.")
    note = f"{counted(len(names), 'file')} left out as {path} says: {some(names)}"
    return left.noted(note)


def _names(path: Path) -> list[str]:
    content = read_whole(path)
    if suffix(path.name) in TABLE_SUFFIXES:
        table = parse_table(path.name, content)
        if "filename" in table.header:
            column = table.header.index("filename")
            return [cells[column] for _, cells in table.rows if cells[column]]
    lines = content.decode("utf-8-sig", "surrogateescape").split("\n")
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]

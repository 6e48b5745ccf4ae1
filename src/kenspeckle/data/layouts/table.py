"""A table that names images and their labels: CSV, TSV or JSON lines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from kenspeckle.data.dataset import Reads, Sample, Split, natural_key
from kenspeckle.data.layouts.listing import (
    SPLIT_NAMES,
    TABLE_SUFFIXES,
    Found,
    Listing,
    counted,
    in_order,
    is_image,
    some,
    suffix,
)
from kenspeckle.data.layouts.table_text import Table, parse_table
from kenspeckle.data.sequence import SEQUENCE_SUFFIXES
from kenspeckle.errors import DataError, EmptyDataset, UsageError, nearest
from kenspeckle.files import inside

KNOWN_COLUMNS: dict[str, tuple[str, ...]] = {
    "path": ("image_path", "filename", "file_name", "file", "image", "path"),
    "label": ("label", "labels", "class", "target", "text"),
    "group": ("group",),
    "split": ("split",),
    "weight": ("weight",),
}
FIRST_TABLES = ("labels", "metadata", "annotations")  # win over tables of other names


@dataclass(frozen=True)
class Columns:
    """Which column, by number, holds what; None where none does."""

    path: int | None = None
    label: int | None = None
    group: int | None = None
    split: int | None = None
    weight: int | None = None

    def used(self) -> set[int | None]:
        """The numbers of the columns with a meaning of their own."""
        return {self.path, self.label, self.group, self.split, self.weight}


def find_columns(header: Sequence[str], wanted: Mapping[str, str] | None) -> Columns:
    """Which columns hold what: those the user named, else those of the usual names.

    A column the user named that is not there counts as none; case does not matter.

    >>> find_columns(["File", "species"], {"label": "species"})
    Columns(path=0, label=1, group=None, split=None, weight=None)
    """
    numbers = {column.lower(): number for number, column in enumerate(header)}
    chosen: dict[str, int | None] = {}
    for meaning, usual in KNOWN_COLUMNS.items():
        names = [wanted[meaning]] if wanted and meaning in wanted else usual
        chosen[meaning] = next((numbers[n.lower()] for n in names if n.lower() in numbers), None)
    return Columns(**chosen)


def check_wanted(wanted: Mapping[str, str] | None) -> None:
    """Refuse `--columns` with a meaning that no column can have.

    Raises:
        UsageError: naming the nearest.
    """
    for meaning in wanted or {}:
        if meaning not in KNOWN_COLUMNS:
            hint = nearest(meaning, KNOWN_COLUMNS) or "."
            known = ", ".join(KNOWN_COLUMNS)
            raise UsageError(f"--columns knows no '{meaning}'{hint} Known: {known}.")


def find_table(
    listing: Listing, wanted: Mapping[str, str] | None
) -> tuple[tuple[Table, Columns] | None, tuple[str, ...]]:
    """The table at the top of the listing that names images and labels, if one does.

    The second part holds notes on tables that name images but no label.

    Raises:
        DataError: several tables would do, or none has the columns the user named.
    """
    fitting: dict[str, tuple[Table, Columns]] = {}
    others: list[tuple[Table, Columns]] = []
    for name in _top_tables(listing):
        table = parse_table(name, listing.read(name))
        columns = find_columns(table.header, wanted)
        if columns.path is not None and columns.label is not None:
            fitting[name] = (table, columns)
        else:
            others.append((table, columns))
    if wanted and not fitting:
        raise _no_such_columns(listing, [table for table, _ in others], wanted)
    return _chosen(listing, fitting), tuple(_hints(others))


def _top_tables(listing: Listing) -> list[str]:
    tops = [n for n in listing.files if "/" not in n and suffix(n) in TABLE_SUFFIXES]
    return sorted(tops, key=natural_key)


def _chosen(
    listing: Listing, fitting: Mapping[str, tuple[Table, Columns]]
) -> tuple[Table, Columns] | None:
    """The table of the usual name, or the only one."""
    for stem in FIRST_TABLES:
        named = [name for name in fitting if name.lower().rpartition(".")[0] == stem]
        if len(named) == 1:
            return fitting[named[0]]
    if len(fitting) > 1:
        raise DataError(
            f"{listing.root} holds several tables of images and labels: {some(fitting)}. "
            "Name the one that counts, such as --data FOLDER/labels.csv."
        )
    return next(iter(fitting.values()), None)


def _hints(others: Iterable[tuple[Table, Columns]]) -> Iterator[str]:
    """A note for each table that names images but has no column known to be the label."""
    for table, columns in others:
        if columns.path is not None and len(table.header) > 1:
            candidates = [c for n, c in enumerate(table.header) if n not in columns.used()]
            if candidates:
                yield (
                    f"{table.name} was not used: no column of it is known to be the label "
                    f"(columns: {', '.join(table.header)}); to use one, say for example "
                    f"--columns label={candidates[0]}"
                )


def _no_such_columns(
    listing: Listing, tables: Sequence[Table], wanted: Mapping[str, str]
) -> DataError:
    """The error for `--columns` that no table of the folder answers to."""
    if not tables:
        return DataError(f"--columns names columns, but there is no table in {listing.root}.")
    table = tables[0]
    for meaning in ("path", "label"):
        name = wanted.get(meaning)
        if name is not None and name.lower() not in {column.lower() for column in table.header}:
            hint = nearest(name, table.header) or "."
            columns = ", ".join(table.header)
            return DataError(f"{table.name} has no column '{name}'{hint} Its columns: {columns}.")
    return _unfit(table, find_columns(table.header, wanted), labelled=True)


def _unfit(table: Table, columns: Columns, labelled: bool) -> DataError:
    """The error for a table that lacks a path or a label column."""
    missing = "path" if columns.path is None else "label"
    usual = ", ".join(KNOWN_COLUMNS[missing])
    pairs = " For pairs of strings say --task translate." if suffix(table.name) == ".tsv" else ""
    purpose = "images and their labels" if labelled else "images"
    return DataError(
        f"{table.name} does not say which column holds the {missing}: columns "
        f"{', '.join(table.header)}. To read {purpose} from it, name the column {missing} (or one "
        f"of {usual}), or say --columns {missing}=COLUMN.{pairs}"
    )


def _check_named(table: Table, wanted: Mapping[str, str] | None) -> None:
    """Refuse a column that the user named and the table lacks."""
    lower = {column.lower() for column in table.header}
    for name in (wanted or {}).values():
        if name.lower() not in lower:
            hint = nearest(name, table.header) or "."
            columns = ", ".join(table.header)
            raise DataError(f"{table.name} has no column '{name}'{hint} Its columns: {columns}.")


@dataclass
class _Reading:
    """What has been read of a table so far."""

    listing: Listing
    table: Table
    columns: Columns
    labelled: bool
    seen: dict[str, tuple[int, Sample]] = field(default_factory=dict)  # path -> (line, sample)
    repeated: int = 0
    several: str = ""


def read_table(
    listing: Listing, table: Table, wanted: Mapping[str, str] | None, labelled: bool
) -> Found:
    """One sample a row; a file that is not there becomes a sample that fails to read.

    Raises:
        DataError: a row is wrong (the message has its line), or no column is known to hold the
            path or, where labels are needed, the label.
        EmptyDataset: the table has no rows.
    """
    _check_named(table, wanted)
    columns = find_columns(table.header, wanted)
    if columns.path is None or (labelled and columns.label is None):
        raise _unfit(table, columns, labelled)
    if not table.rows:
        raise EmptyDataset(f"{table.name} names its columns but has no rows.")
    reading = _Reading(listing, table, columns, labelled)
    for line, cells in table.rows:
        _read_row(reading, line, cells)
    samples = in_order(sample for _, sample in reading.seen.values())
    notes = (*table.notes, *_notes(reading, samples))
    is_sequence = all(suffix(sample.path) in SEQUENCE_SUFFIXES for sample in samples)
    reads: Reads = "sequences" if is_sequence else "images"
    return Found(samples, _words(table, columns), notes, reads, reading.several)


def _words(table: Table, columns: Columns) -> str:
    """How the table was read, in words."""
    named = {m: getattr(columns, m) for m in KNOWN_COLUMNS if getattr(columns, m) is not None}
    parts = ", ".join(f"{meaning} from '{table.header[n]}'" for meaning, n in named.items())
    return f"the table {table.name} ({parts})"


def _read_row(reading: _Reading, line: int, cells: Sequence[str]) -> None:
    """Add the row's sample, or find that it says again what an earlier row said."""
    where = f"{reading.table.name}, line {line}"
    sample = _sample(reading, where, cells)
    earlier = reading.seen.get(sample.path)
    if earlier is None:
        reading.seen[sample.path] = (line, sample)
    elif _said(earlier[1]) == _said(sample):
        reading.repeated += 1
    else:
        raise DataError(
            f"{where}: {sample.path} was named before, in line {earlier[0]}, with other facts: "
            f"{_differences(earlier[1], sample)}. Keep one of the two rows."
        )


def _said(sample: Sample) -> tuple[object, ...]:
    return sample.label, sample.group, sample.split, sample.weight


def _differences(first: Sample, second: Sample) -> str:
    names = ("label", "group", "split", "weight")
    pairs = [(name, getattr(first, name), getattr(second, name)) for name in names]
    return ", ".join(f"{name} {a!r} and {b!r}" for name, a, b in pairs if a != b)


def _sample(reading: _Reading, where: str, cells: Sequence[str]) -> Sample:
    """The sample that a row describes."""
    columns = reading.columns
    path = _path(reading.listing.root, where, _cell(cells, columns.path) or "")
    group, weight = _cell(cells, columns.group), _cell(cells, columns.weight)
    return Sample(
        path=path,
        source=reading.listing.source(path),
        label=_label(reading, where, cells) if reading.labelled else None,
        group=group,
        split=_split(where, _cell(cells, columns.split)),
        weight=1.0 if weight is None else _weight(where, weight),
        facts=_facts(reading.table.header, cells, columns),
    )


def _cell(cells: Sequence[str], column: int | None) -> str | None:
    """The cell's text; None when it is blank or there is no such column."""
    return (cells[column] or None) if column is not None else None


def _path(root: Path, where: str, name: str) -> str:
    """The name below the root, with `/` and without `.`.

    Raises:
        DataError: blank, or it leads out of the root.
    """
    if not name:
        raise DataError(f"{where}: the row names no file.")
    inside(root, name, where)
    return PurePosixPath(name.replace("\\", "/")).as_posix()


def _label(reading: _Reading, where: str, cells: Sequence[str]) -> str | None:
    label = _cell(cells, reading.columns.label)
    column = reading.columns.label
    is_several = column is not None and reading.table.header[column].lower() == "labels"
    if label and ";" in label and is_several and not reading.several:
        reading.several = f"{where}: {label!r} holds several labels"
    return label


def _split(where: str, name: str | None) -> Split | None:
    if name is None:
        return None
    if name.lower() not in SPLIT_NAMES:
        raise DataError(f"{where}: unknown split {name!r}; known: {', '.join(SPLIT_NAMES)}.")
    return SPLIT_NAMES[name.lower()]


def _weight(where: str, text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight) or weight < 0:
        raise DataError(f"{where}: the weight should be a number from 0 up, found {text!r}.")
    return weight


_NO_FACTS: Mapping[str, str] = MappingProxyType({})


def _facts(header: Sequence[str], cells: Sequence[str], columns: Columns) -> Mapping[str, str]:
    """The side columns, as text."""
    used = columns.used()
    facts = {header[n]: cells[n] for n in range(len(header)) if n not in used and header[n]}
    return MappingProxyType(facts) if facts else _NO_FACTS


def _notes(reading: _Reading, samples: Sequence[Sample]) -> Iterator[str]:
    """What the table repeats, leaves blank or does not name."""
    if reading.repeated:
        yield f"{counted(reading.repeated, 'row')} named a file again and said the same: merged"
    blank = [s.path for s in samples if s.label is None]
    if reading.labelled and blank:
        yield f"{counted(len(blank), 'image')} without a label in the table: {some(blank)}"
    if reading.listing.is_complete:
        unnamed = [n for n in reading.listing.files if is_image(n) and n not in reading.seen]
        if unnamed:
            noun = counted(len(unnamed), "image")
            yield f"{noun} not named in {reading.table.name}, left out: {some(unnamed)}"
        missing = reading.seen.keys() - set(reading.listing.files)
        if missing:
            gone = sorted(missing, key=natural_key)
            yield f"{counted(len(gone), 'file')} named in the table not there: {some(gone)}"

"""The rows of a text table: CSV in any of its forms, TSV or JSON lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

from kenspeckle.data.layouts.listing import some, suffix
from kenspeckle.errors import DataError


@dataclass(frozen=True)
class Table:
    """A table's content as text.

    Args:
        name: for messages.
        header: the columns' names.
        rows: (line number in the file, cells); cells as many as columns.
        notes: what was guessed while reading.
    """

    name: str
    header: tuple[str, ...]
    rows: list[tuple[int, tuple[str, ...]]]
    notes: tuple[str, ...] = ()


def parse_table(name: str, content: bytes) -> Table:
    """The rows of a CSV, TSV or JSON-lines file.

    Raises:
        DataError: it is no text, has no header, names a column twice, or a row has more cells
            than the header.
    """
    text, notes = _decoded(name, content)
    if suffix(name) == ".jsonl":
        return _parse_json_lines(name, text, notes)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    rows: list[tuple[int, tuple[str, ...]]] = []
    try:
        header = tuple(cell.strip() for cell in next(reader, []))
        _check_header(name, header)
        for row in reader:
            if any(row):
                rows.append((reader.line_num, _fitted(name, reader.line_num, row, len(header))))
    except csv.Error as error:
        raise DataError(f"{name}, line {reader.line_num}: not a table ({error}).") from None
    return Table(name, header, rows, notes)


def _decoded(name: str, content: bytes) -> tuple[str, tuple[str, ...]]:
    """The text, and a note when its encoding had to be guessed."""
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding), ()
    except UnicodeDecodeError:
        pass
    try:
        return content.decode("cp1252"), (f"{name} is not UTF-8 and was read as Windows-1252",)
    except UnicodeDecodeError:
        raise DataError(
            f"{name} is neither UTF-8 nor Windows-1252 text; save it as CSV UTF-8."
        ) from None


def _delimiter(text: str) -> str:
    """The mark that occurs most in the header; a comma when none does."""
    header = text.lstrip("\r\n").partition("\n")[0]
    return max(",\t;", key=header.count)


def _check_header(name: str, header: Sequence[str]) -> None:
    if not any(header):
        raise DataError(f"{name} is empty: its first line should name the columns.")
    twice = {column for column in header if column and header.count(column) > 1}
    if twice:
        raise DataError(f"{name} names the column {some(sorted(twice))} twice; rename one.")


def _fitted(name: str, line: int, row: Sequence[str], width: int) -> tuple[str, ...]:
    """The row's cells, as many as the header has; missing ones at the end are blank."""
    if any(row[width:]):
        raise DataError(
            f"{name}, line {line}: {len(row)} cells, but the header names {width} columns. "
            "Put quotation marks around a cell that holds the delimiter."
        )
    cells = [cell.strip() for cell in row[:width]]
    return tuple(cells + [""] * (width - len(cells)))


def _parse_json_lines(name: str, text: str, notes: tuple[str, ...]) -> Table:
    """One JSON object a line; the columns are all keys in order of appearance."""
    records: list[tuple[int, dict[str, object]]] = []
    header: dict[str, None] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            record = _json_record(name, number, line)
            header.update(dict.fromkeys(record))
            records.append((number, record))
    if not header:
        raise DataError(f"{name} is empty: each line should be a JSON object.")
    rows = [(n, tuple(_as_text(record.get(key)) for key in header)) for n, record in records]
    return Table(name, tuple(header), rows, notes)


def _json_record(name: str, number: int, line: str) -> dict[str, object]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name}, line {number}: not JSON ({error}).") from None
    if not isinstance(record, dict):
        raise DataError(f"{name}, line {number}: should be a JSON object, found {line[:40]!r}.")
    return record


def _as_text(value: object) -> str:
    """A JSON value as a table's cell; a list of labels keeps its `;`."""
    if value is None:
        return ""
    if isinstance(value, list):
        return ";".join(_as_text(item) for item in value)
    return value.strip() if isinstance(value, str) else json.dumps(value)

"""Which images train, which choose, which measure: stratified, with groups kept together."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kenspeckle.data.dataset import Dataset, Split
from kenspeckle.data.layouts.listing import SPLIT_NAMES, counted, some
from kenspeckle.data.layouts.table_text import parse_table
from kenspeckle.errors import DataError
from kenspeckle.files import write_text

_PARTS: tuple[Split, ...] = ("train", "val", "test")  # a tie goes to the first


def _no_rows() -> NDArray[np.int64]:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Parts:
    """Row numbers of a dataset, ascending; every row is in exactly one of the four.

    Args:
        train: what is learned from.
        val: what stopping and temperature are chosen on.
        test: what is measured on, and nothing else.
        dropped: rows the owner put into training (or val) that belong to a group with rows in test
            (or val), such as copies: learning from them would make the score a lie.
        notes: what the reader of a score should know.
    """

    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]
    dropped: NDArray[np.int64] = field(default_factory=_no_rows)
    notes: tuple[str, ...] = ()


@dataclass
class _Group:
    """Rows that stay together, how many of each class, and the place in the seed's order."""

    rows: list[int]
    classes: Counter[int]
    order: bytes


def split(
    targets: NDArray[np.int64],
    groups: NDArray[np.int64],
    *,
    test_share: float,
    tune_share: float,
    seed: int,
    given: Sequence[Split | None] | None = None,
    names: Sequence[str] | None = None,
) -> Parts:
    """Divide rows into train, val and test.

    Groups go one by one, in an order made of the seed and the names alone, to the part that lacks
    their classes most. Every class that has two groups or more is in train, and in test too;
    a class with one group stays in train. Where the owner has put rows into parts, those stay
    (but see `Parts.dropped`), and only a part that nobody has named is taken from train.

    Args:
        targets: (N,) class numbers; -1, no label, counts as a class of its own.
        groups: (N,) group numbers; equal ones never part.
        test_share: of all rows, in [0, 1).
        tune_share: of the rows that are not in test, in [0, 1).
        seed: of the order.
        given: (N,) the owner's parts, or None for rows without one.
        names: (N,) distinct; they make the result independent of the rows' order. Without them the
            row numbers are the names.

    >>> parts = split(np.array([0] * 10 + [1] * 10), np.arange(20), test_share=0.2,
    ...               tune_share=0.0, seed=0)
    >>> len(parts.train), len(parts.val), len(parts.test)
    (16, 0, 4)
    """
    gathered = _groups(targets, groups, names, seed)
    owner: Sequence[Split | None] = given if given is not None else [None] * len(targets)
    chosen: dict[Split, list[int]] = {part: [] for part in _PARTS}
    dropped: list[int] = []
    pool: list[_Group] = []
    for group in gathered:
        part = _strictest(owner[row] for row in group.rows)
        if part is None:
            pool.append(group)
        else:
            stay = [row for row in group.rows if owner[row] == part]
            chosen[part] += stay
            dropped += [row for row in group.rows if owner[row] != part]
    open_parts = [part for part in _PARTS if part == "train" or part not in owner]
    quotas = _quotas(pool, open_parts, test_share, tune_share)
    for group, part in _completed(list(_assigned(pool, quotas)), quotas):
        chosen[part] += group.rows
    train, val, test = (_rows(chosen[part]) for part in _PARTS)
    return Parts(train, val, test, _rows(dropped), tuple(_notes(pool, open_parts, len(dropped))))


def _rows(rows: Sequence[int]) -> NDArray[np.int64]:
    return np.array(sorted(rows), dtype=np.int64)


def _strictest(parts: Iterable[Split | None]) -> Split | None:
    """Test before val; None when the whole group may train."""
    found = set(parts)
    return "test" if "test" in found else "val" if "val" in found else None


def _groups(
    targets: NDArray[np.int64],
    groups: NDArray[np.int64],
    names: Sequence[str] | None,
    seed: int,
) -> list[_Group]:
    """The groups in the seed's order: by a hash of the seed and the group's first name.

    A hash, unlike a shuffle, leaves the others where they are when an image is added.
    """
    called = names if names is not None else [str(row) for row in range(len(targets))]
    members: dict[int, list[int]] = {}
    for row, group in enumerate(groups.tolist()):
        members.setdefault(group, []).append(row)
    labels = targets.tolist()
    gathered = []
    for rows in members.values():
        first = min(called[row] for row in rows)
        text = f"{seed}\x1f{first}".encode("utf-8", "surrogateescape")
        order = hashlib.blake2b(text, digest_size=16).digest()
        # In class order: sums of floats, and so ties, must not depend on the order of the rows.
        counts = Counter(sorted(labels[row] for row in rows))
        gathered.append(_Group(rows, counts, order))
    return sorted(gathered, key=lambda group: group.order)


def _quotas(
    pool: Sequence[_Group], parts: Sequence[Split], test_share: float, tune_share: float
) -> dict[Split, dict[int, float]]:
    """How many images of each class each open part should have."""
    images: Counter[int] = Counter()
    groups: Counter[int] = Counter()
    for group in pool:
        images.update(group.classes)
        groups.update(group.classes.keys())
    quotas: dict[Split, dict[int, float]] = {part: {} for part in parts}
    for number, count in images.items():
        test = _share(count, test_share, groups[number] >= 2) if "test" in parts else 0
        val = _share(count - test, tune_share, groups[number] >= 3) if "val" in parts else 0
        wanted: dict[Split, int] = {"train": count - test - val, "val": val, "test": test}
        for part in parts:
            quotas[part][number] = wanted[part]
    return quotas


def _share(count: int, share: float, can_spare: bool) -> int:
    """The share of `count`, rounded half up; at least one when there is a share to give."""
    if share <= 0 or not can_spare:
        return 0
    return min(max(1, int(count * share + 0.5)), count - 1)


def _assigned(
    pool: Sequence[_Group], quotas: Mapping[Split, Mapping[int, float]]
) -> Iterator[tuple[_Group, Split]]:
    """Each group and its part: the one whose squared distance from its quotas it lessens most."""
    lack = {part: dict(quota) for part, quota in quotas.items()}
    total = {n: sum(quota[n] for quota in quotas.values()) for n in quotas["train"]}
    lone = _lone_classes(pool)
    for group in pool:
        open_parts: list[Split] = ["train"] if lone & group.classes.keys() else list(quotas)
        needs = {
            part: sum(
                count * (lack[part][number] - count / 2) / total[number]
                for number, count in group.classes.items()
            )
            for part in open_parts
        }
        part = max(open_parts, key=needs.__getitem__)
        for number, count in group.classes.items():
            lack[part][number] -= count
        yield group, part


def _completed(
    assigned: list[tuple[_Group, Split]], quotas: Mapping[Split, Mapping[int, float]]
) -> list[tuple[_Group, Split]]:
    """The same, with a group moved to where a class should be measured and has none.

    That happens where groups are large beside a part: a group of 3 brings a part that wants 2 no
    nearer to it than none does.
    """
    part_of = [part for _, part in assigned]
    in_train = Counter(n for (group, part) in assigned if part == "train" for n in group.classes)
    for part in [part for part in ("test", "val") if part in quotas]:
        there = {
            n for (g, _), p in zip(assigned, part_of, strict=True) if p == part for n in g.classes
        }
        for number in sorted(n for n, wanted in quotas[part].items() if wanted and n not in there):
            if number in there:
                continue
            movable = [
                i
                for i, (group, _) in enumerate(assigned)
                if part_of[i] == "train"
                and number in group.classes
                and all(in_train[n] > 1 for n in group.classes)
            ]
            if movable:
                smallest = min(movable, key=lambda i: (len(assigned[i][0].rows), i))
                part_of[smallest] = part
                in_train.subtract(assigned[smallest][0].classes.keys())
                there |= assigned[smallest][0].classes.keys()
    return [(group, part) for (group, _), part in zip(assigned, part_of, strict=True)]


def _lone_classes(pool: Sequence[_Group]) -> set[int]:
    """Classes whose images are all in one group."""
    groups = Counter(number for group in pool for number in group.classes)
    return {number for number, count in groups.items() if count == 1}


def _notes(pool: Sequence[_Group], parts: Sequence[Split], dropped: int) -> Iterator[str]:
    lone = _lone_classes(pool) - {-1}
    if lone and "test" in parts:
        noun = counted(len(lone), "class", "classes")
        yield f"{noun} with a single image (or one group of them) in train alone: not measured"
    if dropped:
        yield (
            f"{counted(dropped, 'image')} left out of training, since a copy or a member of the "
            "same group is in val or test"
        )


def folds(
    targets: NDArray[np.int64],
    groups: NDArray[np.int64],
    n_folds: int,
    seed: int,
    names: Sequence[str] | None = None,
) -> NDArray[np.int64]:
    """The fold, 0 .. F-1, in which each row is measured: stratified, groups kept together.

    F is `n_folds`, or the largest number of groups that a class has, if that is less: look at
    `result.max() + 1`. A class with two groups or more is in at least two folds, so that every fold
    can learn it from the others.

    Args:
        targets: (N,) class numbers.
        groups: (N,) group numbers; equal ones never part.
        n_folds: 2 or more.
        seed: of the order.
        names: (N,) as in `split`.

    Raises:
        DataError: no class has two groups, so nothing can be both learned and measured.
    """
    gathered = _groups(targets, groups, names, seed)
    available = Counter(number for group in gathered for number in group.classes)
    n_folds = min(n_folds, max(available.values(), default=0))
    if n_folds < 2:
        raise DataError(
            "Every class has a single image or a single group of images, so nothing can be both "
            "learned and measured; add images."
        )
    held: list[Counter[int]] = [Counter() for _ in range(n_folds)]
    sizes = [0] * n_folds
    result = np.zeros(len(targets), dtype=np.int64)
    totals = Counter(targets.tolist())
    # Rare classes choose first: with groups of several classes the common ones can still even out.
    for group in sorted(gathered, key=lambda g: min(available[n] for n in g.classes)):
        fold = min(range(n_folds), key=lambda f: (_crowding(group, held[f], totals), sizes[f], f))
        held[fold].update(group.classes)
        sizes[fold] += len(group.rows)
        result[group.rows] = fold
    return result


def _crowding(group: _Group, held: Counter[int], totals: Mapping[int, int]) -> float:
    """How much of the group's classes a fold has already."""
    return sum(count * held[number] / totals[number] for number, count in group.classes.items())


def write_split(path: Path, dataset: Dataset, parts: Parts) -> None:
    """Write `filename,label,split,group`, one row a sample; a dropped row has a blank split.

    Raises:
        StorageError: the disk is full or the folder cannot be written to.
    """
    part_of: dict[int, str] = {}
    for part in _PARTS:
        part_of.update(dict.fromkeys(getattr(parts, part).tolist(), part))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["filename", "label", "split", "group"])
    for row, sample in enumerate(dataset.samples):
        said = [sample.label or "", part_of.get(row, ""), sample.group or ""]
        writer.writerow([sample.path, *said])
    write_text(path, text.getvalue())


def read_split(path: Path, dataset: Dataset) -> list[Split | None]:
    """The part of each sample as `write_split` wrote it; None where the file names none.

    Raises:
        DataError: it is no such file, a row names no image of the dataset, or a part is unknown.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"The split {path} cannot be opened: {error.strerror}.") from None
    table = parse_table(path.name, content)
    if not {"filename", "split"} <= set(table.header):
        raise DataError(
            f"{path} should have the columns filename and split, found {', '.join(table.header)}."
        )
    name_at, split_at = table.header.index("filename"), table.header.index("split")
    named = {cells[name_at]: (line, cells[split_at]) for line, cells in table.rows}
    strangers = named.keys() - {sample.path for sample in dataset.samples}
    if strangers:
        first = min(strangers, key=lambda name: named[name][0])
        raise DataError(
            f"{path} names {counted(len(strangers), 'file')} that {dataset.root} does not have; "
            f"the first is {first} in line {named[first][0]}. Use the split of these images."
        )
    return [_part(path, *named.get(sample.path, (0, ""))) for sample in dataset.samples]


def _part(path: Path, line: int, name: str) -> Split | None:
    if name and name.lower() not in SPLIT_NAMES:
        raise DataError(f"{path}, line {line}: unknown split {name!r}; known: {some(SPLIT_NAMES)}.")
    return SPLIT_NAMES[name.lower()] if name else None

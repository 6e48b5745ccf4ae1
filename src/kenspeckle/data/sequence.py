"""Sequences on disk become steps: (T, D) numbers from .npy, .csv or pen strokes."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kenspeckle.data.cache import Decoded
from kenspeckle.data.dataset import Dataset
from kenspeckle.data.source import ArrayRow, content_hash
from kenspeckle.errors import UnreadableImage

SEQUENCE_SUFFIXES = frozenset({".npy", ".csv", ".txt"})
MOST_STEPS = 5000  # a recurrent network takes about a second a sequence and update here
MOST_FEATURES = 4096
STROKE_FEATURES = 5  # x, y, dx, dy, whether the pen was just set down

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Sequences:
    """N sequences as a set of rows: some of them at once are filled with nan to equal length.

    Args:
        steps: N arrays (T, D).
    """

    steps: Sequence[Floats]

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, rows: Tensor) -> Tensor:
        """(B, T, D) float32, nan after the end of each."""
        return padded([self.steps[int(row)] for row in rows])


def padded(steps: Sequence[Floats]) -> Tensor:
    """Sequences (T, D) of several lengths as one tensor (B, T, D), filled with nan.

    >>> padded([np.ones((1, 2), np.float32), np.ones((3, 2), np.float32)])[:, :, 0]
    tensor([[1., nan, nan],
            [1., 1., 1.]])
    """
    longest = max(len(s) for s in steps)
    filled = torch.full((len(steps), longest, steps[0].shape[1]), torch.nan)
    for row, s in enumerate(steps):
        filled[row, : len(s)] = torch.from_numpy(s)
    return filled


def read_sequence(content: bytes, name: str) -> Floats:
    """The steps (T, D) in a file's bytes; its name's end says how they are written.

    `.npy`: an array (T, D), or (T,) for one number a step. `.csv`: a row a step, numbers alone,
    with or without a header. `.txt`: pen strokes, lines `START`, `BREAK` and `x,y,time`; each point
    gives x and y within the drawing's box, the way from the point before, and whether a stroke
    begins.

    Raises:
        UnreadableImage: no step, too many of them, or something that is not a number.
    """
    if name.lower().endswith(".npy"):
        steps = _from_npy(content)
    elif name.lower().endswith(".csv"):
        steps = _from_csv(content)
    else:
        steps = _from_strokes(content)
    return _checked(steps)


def _checked(steps: NDArray[np.generic]) -> Floats:
    if steps.ndim == 1:
        steps = steps[:, None]
    if steps.ndim != 2:
        shape = " x ".join(map(str, steps.shape))
        raise UnreadableImage("unsupported", f"it is {shape}, and steps by features are needed")
    if steps.dtype.kind not in "fiub":
        raise UnreadableImage("unsupported", f"it holds {steps.dtype}, and numbers are needed")
    if not steps.size:
        raise UnreadableImage("empty", "the sequence has no step")
    if len(steps) > MOST_STEPS:
        raise UnreadableImage(
            "too_long",
            f"the sequence has {len(steps):,} steps and at most {MOST_STEPS:,} are read; "
            "cut it into pieces, or keep every n-th step",
        )
    if steps.shape[1] > MOST_FEATURES:
        raise UnreadableImage(
            "unsupported",
            f"a step has {steps.shape[1]:,} numbers; at most {MOST_FEATURES:,} are read",
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite: refused below
        values = steps.astype(np.float32)
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(1))[0])
        raise UnreadableImage("not_a_number", f"step {row + 1} holds a value that is no number")
    return values


def _from_npy(content: bytes) -> NDArray[np.generic]:
    try:
        loaded = np.load(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # damaged headers raise what zipfile, tokenize and ast raise, too
        raise UnreadableImage("corrupt", f"it is no .npy array ({error})") from None
    if not isinstance(loaded, np.ndarray):
        raise UnreadableImage("unsupported", "it holds several arrays, and one is needed")
    return loaded


def _from_csv(content: bytes) -> NDArray[np.generic]:
    lines = [line for line in _text(content).splitlines() if line.strip()]
    if lines and not _numbers(lines[0]):
        lines = lines[1:]  # a header
    return _table([(number, _numbers(line)) for number, line in enumerate(lines, 1)])


def _from_strokes(content: bytes) -> NDArray[np.generic]:
    points: list[list[float]] = []
    begins: list[bool] = []
    is_new = True
    for number, line in enumerate(_text(content).splitlines(), 1):
        word = line.strip()
        if word in ("START", "BREAK"):
            is_new = True
        elif word:
            values = _numbers(word)
            if values is None or len(values) < 2:
                raise UnreadableImage("corrupt", f"line {number} is no pen stroke: '{word[:40]}'")
            points.append(values[:2])
            begins.append(is_new)
            is_new = False
    if not points:
        raise UnreadableImage("empty", "the drawing has no point")
    return strokes(np.array(points), np.array(begins))


def strokes(points: NDArray[np.float64], begins: NDArray[np.bool_]) -> NDArray[np.generic]:
    """Pen positions (T, 2) and where strokes begin (T,) -> (T, 5) features.

    The larger side of the drawing's box is 2 long and its centre is 0, so that size and place on
    the paper do not count.
    """
    low, high = points.min(0), points.max(0)
    placed = (points - (low + high) / 2) * 2 / max(float((high - low).max()), 1e-6)
    ways = np.diff(placed, axis=0, prepend=placed[:1])
    return np.column_stack([placed, 10 * ways, begins])  # a step is about a tenth of the drawing


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableImage("corrupt", "it is no text") from None


def _numbers(line: str) -> list[float] | None:
    try:
        return [float(cell) for cell in line.replace(";", ",").split(",")]
    except ValueError:
        return None


def _table(rows: Sequence[tuple[int, list[float] | None]]) -> NDArray[np.generic]:
    if not rows:
        return np.zeros((0, 1))
    table: list[list[float]] = []
    for number, values in rows:
        if values is None:
            raise UnreadableImage("corrupt", f"row {number} does not hold numbers alone")
        if table and len(values) != len(table[0]):
            raise UnreadableImage("corrupt", f"row {number} does not hold {len(table[0])} numbers")
        table.append(values)
    return np.array(table)


def read_all(
    dataset: Dataset, progress: Callable[[int, int], None] | None = None
) -> tuple[Decoded, int]:
    """Every readable sequence of a dataset, and how many numbers a step has.

    The commonest number of features is the dataset's; a file with another one is a fault.
    """
    found: dict[int, tuple[bytes, Floats]] = {}
    faults: dict[int, UnreadableImage] = {}
    for row, sample in enumerate(dataset.samples):
        assert not isinstance(sample.source, ArrayRow)
        try:
            content = sample.source.read()
            found[row] = (content_hash(content), read_sequence(content, sample.path))
        except UnreadableImage as fault:
            faults[row] = fault
        if progress is not None and (row % 256 == 255 or row + 1 == len(dataset)):
            progress(row + 1, len(dataset))
    widths = [steps.shape[1] for _, steps in found.values()]
    features = max(set(widths), key=widths.count) if widths else 1
    for row in [row for row, (_, steps) in found.items() if steps.shape[1] != features]:
        width = found.pop(row)[1].shape[1]
        faults[row] = UnreadableImage(
            "unsupported", f"a step has {width} numbers, and {features} in most of the others"
        )
    steps = [s for _, s in found.values()]
    count = len(steps)
    decoded = Decoded(
        images=Sequences(steps),
        rows=np.array(list(found), dtype=np.int64),
        faults=faults,
        keys=[key for key, _ in found.values()],
        width=np.array([len(s) for s in steps], dtype=np.int64),
        height=np.full(count, features, dtype=np.int64),
        perceptual=np.zeros(count, dtype=np.uint64),
        formats=("SEQUENCE",) * count,
    )
    return decoded, features

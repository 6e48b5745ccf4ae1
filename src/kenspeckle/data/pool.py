"""An append-only store of equal-sized records, found again by the hash of what they came from."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from kenspeckle.files import storage_error

if sys.platform != "win32":
    import fcntl

Records: TypeAlias = "NDArray[np.generic]"
KEY_BYTES = 32
_MAGIC = b"kenpool1"
_HEADER = np.dtype([("magic", "S8"), ("entry", "<u8"), ("record", "<u8"), ("layout", "S32")])


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other threads and processes out of the pools of `folder`.

    Raises:
        OSError: the folder cannot be written to, or its system has no file locks.
    """
    if sys.platform == "win32":
        raise OSError("this system has no shared file locks")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # closing the file lets go, also when we are killed
        yield


@dataclass(frozen=True, slots=True)
class _Index:
    """The entries known so far and their order by the first 8 bytes of the key; never changed."""

    entries: NDArray[np.void]
    prefixes: NDArray[np.uint64]
    order: NDArray[np.int64]

    @classmethod
    def of(cls, entries: NDArray[np.void]) -> _Index:
        prefixes = _prefixes(entries["key"])
        order = np.argsort(prefixes, kind="stable")
        return cls(entries, prefixes[order], order)

    def rows(self, keys: NDArray[np.bytes_]) -> NDArray[np.int64]:
        found = np.full(len(keys), -1, dtype=np.int64)
        prefixes = _prefixes(keys)
        at = np.searchsorted(self.prefixes, prefixes)
        open_ = np.arange(len(keys))
        while len(open_):  # a second round only where two keys share 8 bytes
            inside = at[open_] < len(self.prefixes)
            open_ = open_[inside]
            open_ = open_[self.prefixes[at[open_]] == prefixes[open_]]
            rows = self.order[at[open_]]
            same = self.entries["key"][rows] == keys[open_]
            found[open_[same]] = rows[same]
            open_ = open_[~same]
            at[open_] += 1
        return found


class Pool:
    """Records keyed by a 32-byte content hash: `NAME.records` and `NAME.index` in a folder.

    The index begins with a 64-byte header; then one entry a record: the key, then the facts.
    Records are on the disk before their entries are, so a killed process loses at most what it was
    appending. Several processes may append at once; a duplicate costs space, nothing else. Where
    the folder cannot be written to, or the disk is full, what is appended stays in memory and
    `note` says so.

    Args:
        folder: None keeps everything in memory.
        name: of the two files.
        record_shape, dtype: of one record.
        facts: a structured dtype, stored in the index beside each key.
    """

    def __init__(
        self,
        folder: Path | None,
        name: str,
        record_shape: tuple[int, ...],
        dtype: DTypeLike,
        facts: DTypeLike,
    ) -> None:
        self.name, self.note = name, ""
        self.record_shape, self.dtype = record_shape, np.dtype(dtype)
        self.entry = np.dtype([("key", f"S{KEY_BYTES}"), ("facts", np.dtype(facts))])
        self._guard = threading.Lock()
        self._folder = folder
        self._index_file: BinaryIO | None = None
        self._records_file: BinaryIO | None = None
        self._on_disk: Records = np.empty((0, *record_shape), dtype=self.dtype)
        self._in_memory: Records = self._on_disk
        self._index = _Index.of(np.empty(0, dtype=self.entry))
        if folder is not None:
            self._open(folder)

    @classmethod
    def open(
        cls,
        folder: Path | None,
        name: str,
        record_shape: tuple[int, ...],
        dtype: DTypeLike,
        facts_format: DTypeLike,
    ) -> Pool:
        """The pool `name` of `folder`, made if there is none yet."""
        return cls(folder, name, record_shape, dtype, facts_format)

    def __len__(self) -> int:
        return len(self._index.entries)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files; what was read stays readable, further appends stay in memory."""
        for file in (self._index_file, self._records_file):
            if file is not None:
                file.close()
        self._index_file = self._records_file = None

    @property
    def records(self) -> Records:
        """(N, *record_shape), read-only: a memory map, unless some of it lives in memory only."""
        if not len(self._in_memory):
            return self._on_disk
        if not len(self._on_disk):
            return self._in_memory
        return np.concatenate([self._on_disk, self._in_memory])

    @property
    def facts(self) -> NDArray[np.void]:
        """(N,) structured: what was stored beside each record."""
        return self._index.entries["facts"]

    def rows(self, keys: Sequence[bytes]) -> NDArray[np.int64]:
        """Where the record of each key is; -1 where there is none."""
        return self._index.rows(_as_keys(keys))

    def take(self, rows: NDArray[np.int64]) -> Records:
        """The records at `rows`, copied into memory: (len(rows), *record_shape)."""
        disk = len(self._on_disk)
        if not len(self._in_memory):
            return self._on_disk[rows]
        out = np.empty((len(rows), *self.record_shape), dtype=self.dtype)
        on_disk = rows < disk
        out[on_disk] = self._on_disk[rows[on_disk]]
        out[~on_disk] = self._in_memory[rows[~on_disk] - disk]
        return out

    def append(self, keys: Sequence[bytes], records: Records, facts: NDArray[np.void]) -> None:
        """Store (N, *record_shape) `records` and their (N,) `facts` under `keys`.

        Keys that are there already (another process may have been quicker) are left out. Never
        fails for want of space: see `note`.
        """
        if records.shape != (len(keys), *self.record_shape) or len(facts) != len(keys):
            raise ValueError(f"{len(keys)} keys, {len(facts)} facts, records {records.shape}")
        entries = np.empty(len(keys), dtype=self.entry)
        entries["key"], entries["facts"] = _as_keys(keys), facts
        records = np.ascontiguousarray(records, dtype=self.dtype)
        with self._guard:
            if self._folder is not None and self._index_file is not None:
                try:
                    self._append_to_disk(self._folder, entries, records)
                    return
                except OSError as error:
                    self._give_up(error)
            self._append_to_memory(entries, records)

    def _open(self, folder: Path) -> None:
        try:
            with locked(folder):
                self._open_files(folder, "r+b")
                self._repair()
                self._read()
            os.utime(self._path(folder, "index"))  # for `limit`: when the pool was last used
        except OSError as error:
            self._give_up(error)
            with suppress(OSError):  # a folder that can only be read is still worth reading
                self._open_files(folder, "rb")
                self._read()
            self.close()

    def _path(self, folder: Path, part: str) -> Path:
        return folder / f"{self.name}.{part}"

    def _open_files(self, folder: Path, how: Literal["rb", "r+b"]) -> None:
        """Open both files, and make them where they are missing or laid out differently."""
        index, records = self._path(folder, "index"), self._path(folder, "records")
        if how == "r+b" and not _begins_with(index, self._header()):
            for path in (index, records):
                path.unlink(missing_ok=True)  # who still reads the old ones keeps them
            records.touch()
            index.write_bytes(self._header())
        self._index_file = index.open(how, buffering=0)
        self._records_file = records.open(how, buffering=0)

    def _header(self) -> bytes:
        layout = f"{self.record_shape} {self.dtype.descr} {self.entry.descr}"
        header = np.zeros(1, dtype=_HEADER)
        header["magic"], header["layout"] = _MAGIC, hashlib.sha256(layout.encode()).digest()
        header["entry"], header["record"] = self.entry.itemsize, self._record_bytes
        return header.tobytes()

    @property
    def _record_bytes(self) -> int:
        return int(np.prod(self.record_shape, dtype=np.int64)) * self.dtype.itemsize

    def _whole(self) -> int:
        """How many records have both their bytes and their entry."""
        index, records = self._files()
        entries = (os.fstat(index.fileno()).st_size - _HEADER.itemsize) // self.entry.itemsize
        return max(0, min(entries, os.fstat(records.fileno()).st_size // self._record_bytes))

    def _files(self) -> tuple[BinaryIO, BinaryIO]:
        if self._index_file is None or self._records_file is None:
            raise OSError("the pool is closed")
        return self._index_file, self._records_file

    def _repair(self) -> None:
        """Cut off what a killed process left half-written; call it with the lock held."""
        index, records = self._files()
        count = self._whole()
        for file, size in (
            (records, count * self._record_bytes),
            (index, _HEADER.itemsize + count * self.entry.itemsize),
        ):
            if os.fstat(file.fileno()).st_size > size:
                file.truncate(size)

    def _read(self) -> None:
        """Take over what the files hold, ours and other processes'."""
        index, records = self._files()
        if not _begins_with(index, self._header()):
            raise OSError("the index is laid out differently")
        count = self._whole()
        index.seek(_HEADER.itemsize)
        content = index.read(count * self.entry.itemsize)
        entries = np.frombuffer(content, dtype=self.entry)
        if count:
            shape = (count, *self.record_shape)
            self._on_disk = np.memmap(records, dtype=self.dtype, mode="r", shape=shape)
        self._index = _Index.of(entries)

    def _append_to_disk(self, folder: Path, entries: NDArray[np.void], records: Records) -> None:
        index, store = self._files()
        with locked(folder):
            self._repair()
            self._read()
            new = self._unknown(entries)
            try:
                _write_at_end(store, records[new].tobytes())
                _write_at_end(index, entries[new].tobytes())
            except OSError:
                with suppress(OSError):
                    self._repair()
                raise
            self._read()

    def _unknown(self, entries: NDArray[np.void]) -> NDArray[np.int64]:
        """Which entries are not there yet, each key once."""
        first = np.unique(entries["key"], return_index=True)[1]
        first.sort()
        return first[self._index.rows(entries["key"][first]) < 0]

    def _append_to_memory(self, entries: NDArray[np.void], records: Records) -> None:
        new = self._unknown(entries)
        self._in_memory = np.concatenate([self._in_memory, records[new]])
        self._index = _Index.of(np.concatenate([self._index.entries, entries[new]]))

    def _give_up(self, error: OSError) -> None:
        self.close()
        where = self._folder / self.name if self._folder is not None else Path(self.name)
        self.note = f"{storage_error(where, error)} Nothing new is remembered for the next run."


def entries_in(index: Path) -> int:
    """How many records an index file says its pool has.

    Raises:
        OSError: it cannot be read.
    """
    with index.open("rb") as file:
        content = file.read(_HEADER.itemsize)
    if len(content) < _HEADER.itemsize or not content.startswith(_MAGIC):
        return 0
    entry = int(np.frombuffer(content, dtype=_HEADER)["entry"][0])
    return (index.stat().st_size - _HEADER.itemsize) // entry if entry else 0


def _as_keys(keys: Sequence[bytes]) -> NDArray[np.bytes_]:
    if any(len(key) != KEY_BYTES for key in keys):
        raise ValueError(f"a key that is not {KEY_BYTES} bytes long")
    return np.frombuffer(b"".join(keys), dtype=f"S{KEY_BYTES}")


def _prefixes(keys: NDArray[np.bytes_]) -> NDArray[np.uint64]:
    parts = np.ascontiguousarray(keys).view(np.uint64).reshape(-1, KEY_BYTES // 8)
    return np.ascontiguousarray(parts[:, 0])


def _begins_with(file: Path | BinaryIO, header: bytes) -> bool:
    if isinstance(file, Path):
        if not file.is_file():
            return False
        with file.open("rb") as opened:
            return opened.read(len(header)) == header
    file.seek(0)
    return file.read(len(header)) == header


def _write_at_end(file: BinaryIO, content: bytes) -> None:
    """All of `content`, on the disk when this returns."""
    file.seek(0, os.SEEK_END)
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]
    os.fsync(file.fileno())

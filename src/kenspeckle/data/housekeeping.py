"""What the cache holds, and making it smaller."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kenspeckle.data.pool import entries_in, locked
from kenspeckle.files import storage_error


@dataclass(frozen=True, slots=True)
class PoolInfo:
    """One pool of a cache folder.

    Args:
        records: how many it holds.
        bytes: of its two files.
        last_used: seconds since 1970 when a run last opened it.
    """

    name: str
    records: int
    bytes: int
    last_used: float


def usage(folder: Path) -> list[PoolInfo]:
    """The pools of `folder`, the most recently used first; none if there is no such folder."""
    found = []
    for index in folder.glob("*.index"):
        with suppress(OSError):  # another process may be clearing the folder
            status = index.stat()
            size = status.st_size + index.with_suffix(".records").stat().st_size
            found.append(PoolInfo(index.stem, entries_in(index), size, status.st_mtime))
    return sorted(found, key=lambda pool: (-pool.last_used, pool.name))


def clear(folder: Path) -> list[PoolInfo]:
    """Remove every pool of `folder`, and nothing else; the ones that were there.

    A run that is using a pool keeps what it has and notices nothing.

    Raises:
        StorageError: the folder cannot be changed.
    """
    pools = usage(folder)
    _remove(folder, [pool.name for pool in pools])
    return pools


def limit(folder: Path, max_bytes: int) -> list[PoolInfo]:
    """Remove the least recently used pools, whole, until `max_bytes` suffice; the removed ones.

    Raises:
        StorageError: the folder cannot be changed.
    """
    kept, removed = 0, []
    for pool in usage(folder):
        kept += pool.bytes
        if kept > max_bytes:
            removed.append(pool)
    _remove(folder, [pool.name for pool in removed])
    return removed


def _remove(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        try:
            with locked(folder):
                for part in ("index", "records"):
                    (folder / f"{name}.{part}").unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(folder / name, error) from None

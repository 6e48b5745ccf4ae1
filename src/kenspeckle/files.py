"""Files written whole or not at all, and paths that stay in their folder."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from kenspeckle.errors import DataError, StorageError

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another folder",
    errno.EFBIG: "the file is larger than this system allows; choose another folder",
    errno.EROFS: "the folder is read-only; choose another one",
    errno.EACCES: "writing there is not permitted; choose another folder",
    errno.EPERM: "writing there is not permitted; choose another folder",
}


def storage_error(path: Path, error: OSError) -> StorageError:
    """The system's complaint about writing `path`, in words that say what to do."""
    advice = _ADVICE.get(error.errno or 0, error.strerror or str(error))
    return StorageError(f"Cannot write {path}: {advice}.")


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Open a file beside `path`; when the block ends well, sync it and rename it into place.

    A reader sees the old file or the new one, never a part, whatever kills the process.

    Raises:
        StorageError: the disk is full or the folder cannot be written to; `path` is as it was.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # mkstemp gives 0600; a report is for others too
        temporary.replace(path)
        temporary = None
        sync_folder(path.parent)
    except OSError as error:
        raise storage_error(path, error) from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with writing(path) as file:
        file.write(content)


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 `content` to `path`, whole or not at all."""
    write_bytes(path, content.encode("utf-8", errors="surrogateescape"))


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut, where the system can do that."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cache_folder() -> Path:
    """$KENSPECKLE_CACHE, else $XDG_CACHE_HOME/kenspeckle, else ~/.cache/kenspeckle.

    It need not exist, nor be writable: who uses it falls back to memory.
    """
    if own := os.environ.get("KENSPECKLE_CACHE"):
        return Path(own)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "kenspeckle"
    try:
        return Path.home() / ".cache" / "kenspeckle"
    except RuntimeError:  # a user without a home
        return Path(".cache") / "kenspeckle"


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def inside(root: Path, name: str, said_in: str) -> Path:
    """The file `name` (as a table or a form gives it) below `root`; it may not leave `root`.

    Symbolic links inside `root` that the user made are followed: what is refused is a *name* that
    climbs out.

    Raises:
        DataError: `name` is absolute, contains `..` or a NUL byte.
    """
    pure = PurePosixPath(name.replace("\\", "/"))
    has_drive = bool(pure.parts) and pure.parts[0].endswith(":")
    if "\0" in name or pure.is_absolute() or ".." in pure.parts or has_drive:
        raise DataError(f"{said_in} names {name!r}, which is outside {root}; use paths below it.")
    return root / pure

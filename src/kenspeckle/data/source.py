"""Where one image's bytes or pixels are: a file, a piece of an archive, a row of an array."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kenspeckle.errors import UnreadableImage

MAX_FILE_BYTES = 512 * 1024 * 1024  # a 64-megapixel 16-bit colour TIFF is 384 MB


@dataclass(frozen=True, slots=True)
class File:
    """A file on disk."""

    path: Path

    def read(self) -> bytes:
        """The file's bytes.

        Raises:
            UnreadableImage: missing, not a regular file, or larger than `MAX_FILE_BYTES`.
        """
        try:
            if not self.path.is_file():
                raise UnreadableImage("missing", "there is no such file")
            if self.path.stat().st_size > MAX_FILE_BYTES:
                raise UnreadableImage("too_many_pixels", "the file is larger than 512 MB")
            return self.path.read_bytes()
        except OSError as error:
            reason = error.strerror or str(error)
            raise UnreadableImage("missing", f"the file cannot be opened ({reason})") from None


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a file: a member of an uncompressed tar archive."""

    path: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """The member's bytes."""
        if self.size > MAX_FILE_BYTES:
            raise UnreadableImage("too_many_pixels", "the file is larger than 512 MB")
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                return file.read(self.size)
        except OSError as error:
            reason = error.strerror or str(error)
            raise UnreadableImage("missing", f"the archive cannot be read ({reason})") from None


_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    RuntimeError,
    OSError,
    NotImplementedError,
    KeyError,
)


@lru_cache(maxsize=4)
def _opened(archive: Path, changed: int) -> zipfile.ZipFile:
    """An archive whose directory was read once; members may be read by several threads.

    Reading the directory anew for each member would be quadratic in a large archive.
    """
    return zipfile.ZipFile(archive)


@dataclass(frozen=True, slots=True)
class ZipMember:
    """A member of a zip archive, read without being unpacked to disk."""

    archive: Path
    name: str

    def read(self) -> bytes:
        """The member's bytes, no more than its declared size.

        Raises:
            UnreadableImage: damaged, encrypted, or larger than `MAX_FILE_BYTES`.
        """
        try:
            changed = self.archive.stat().st_mtime_ns
            with _opened(self.archive, changed).open(self.name) as member:
                content = member.read(MAX_FILE_BYTES + 1)
        except _ZIP_ERRORS as error:
            raise UnreadableImage("corrupt", f"the archive is damaged here ({error})") from None
        if len(content) > MAX_FILE_BYTES:
            raise UnreadableImage("too_many_pixels", "the file is larger than 512 MB")
        return content


@dataclass(frozen=True, slots=True, eq=False)
class ArrayRow:
    """One image of an array that is already pixels: uint8, (N, H, W) or (N, H, W, 1 or 3)."""

    array: NDArray[np.uint8]
    row: int

    def pixels(self) -> NDArray[np.uint8]:
        """(H, W, C) uint8 with C 1 or 3."""
        image = self.array[self.row]
        return image[..., None] if image.ndim == 2 else image

    def read(self) -> bytes:
        """The pixels' bytes: what a content hash is made of."""
        return self.array[self.row].tobytes()


@dataclass(frozen=True, slots=True)
class Text:
    """A string that is a sample by itself."""

    text: str

    def read(self) -> bytes:
        """Its bytes: what a content hash is made of."""
        return self.text.encode("utf-8", "surrogatepass")


class Source(Protocol):
    """What has bytes of its own: a file, a piece of one, a row of an array, a string, a clip."""

    def read(self) -> bytes:
        """Its bytes: what a content hash is made of."""
        ...


def content_hash(content: bytes) -> bytes:
    """SHA-256 of an image file's bytes, 32 bytes: the key of every cache."""
    return hashlib.sha256(content).digest()

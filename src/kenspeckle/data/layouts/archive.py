"""Zip and tar archives, read in place; a compressed tar is unpacked to one plain tar, once."""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from kenspeckle.data.layouts.listing import (
    Listing,
    counted,
    hidden_note,
    is_hidden,
    some,
)
from kenspeckle.data.source import MAX_FILE_BYTES, File, Source, Span, ZipMember
from kenspeckle.errors import DataError
from kenspeckle.files import cache_folder, sha256, writing

MAX_MEMBERS = 5_000_000
MAX_RATIO = 1000  # deflate reaches 1,032 to 1 on zeros alone
MIN_BOMB_BYTES = 1024 * 1024  # below this a high ratio harms nobody
_CHUNK = 1024 * 1024

_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    NotImplementedError,
    OSError,
    ValueError,
    struct.error,
)


def _open_gzip(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb"))


_OPENERS: dict[str, Callable[[Path], IO[bytes]]] = {
    ".tar.gz": _open_gzip,
    ".tgz": _open_gzip,
    ".tar.xz": lzma.LZMAFile,
    ".txz": lzma.LZMAFile,
    ".tar.bz2": bz2.BZ2File,
    ".tbz2": bz2.BZ2File,
}


def is_archive(path: Path) -> bool:
    """Whether the name ends as an archive's does."""
    return path.name.lower().endswith((".zip", ".tar", *_OPENERS))


def list_archive(path: Path) -> Listing:
    """Everything in an archive, by name.

    Raises:
        DataError: it is damaged, or holds more than `MAX_MEMBERS` members.
        StorageError: a compressed tar cannot be unpacked to the cache folder.
    """
    name = path.name.lower()
    try:
        if name.endswith(".zip"):
            return _list_zip(path)
        if name.endswith(".tar"):
            return _list_tar(path, path)
        opener = next(opener for end, opener in _OPENERS.items() if name.endswith(end))
        return _list_tar(path, _unpacked(path, opener))
    except _DAMAGE as error:
        raise DataError(f"{path} cannot be read as an archive: {error}.") from None


@dataclass
class _Members:
    """What an archive holds, sorted out."""

    files: dict[str, Any] = field(default_factory=dict)  # name -> where it is
    folders: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    special: list[str] = field(default_factory=list)
    too_large: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)

    def add(self, name: str, place: object) -> None:
        """Put a regular file where it belongs; the last of the same name counts."""
        if name in self.files:
            self.repeated.append(name)
        self.files[name] = place

    def accepts(self, name: str) -> bool:
        """Whether the name stays inside and is not hidden; otherwise it is noted."""
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or "\0" in name or name[1:2] == ":":
            self.outside.append(name)
            return False
        if any(is_hidden(part) for part in parts):
            self.hidden.append(name)
            return False
        return bool(parts)

    def notes(self) -> tuple[str, ...]:
        """What was left out, in words."""
        kinds: Iterable[tuple[list[str], str]] = (
            (self.outside, "whose name leads out of the archive, left out"),
            (self.special, "that is a link or a device, left out"),
            (self.too_large, "that would unpack to far more than it holds, left out"),
            (self.repeated, "named more than once, of which the last counts"),
        )
        said = tuple(
            f"{counted(len(names), 'member')} {words}: {some(names)}"
            for names, words in kinds
            if names
        )
        return (*hidden_note(self.hidden), *said)


def _listing(
    root: Path,
    members: _Members,
    source: Callable[[str], Source],
    read: Callable[[str], bytes],
    notes: tuple[str, ...] = (),
) -> Listing:
    return Listing(
        root=root,
        files=list(members.files),
        folders=members.folders,
        source=lambda name: source(name) if name in members.files else File(root / name),
        read=read,
        is_archive=True,
        notes=(*notes, *members.notes()),
    )


def _list_zip(path: Path) -> Listing:
    members = _Members()
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
    if len(infos) > MAX_MEMBERS:
        raise DataError(f"{path} holds more than {MAX_MEMBERS:,} members; split it.")
    for info in infos:
        _sort_zip(info, members)
    return _listing(
        path,
        members,
        source=lambda name: ZipMember(path, members.files[name]),
        read=lambda name: ZipMember(path, members.files[name]).read(),
    )


def _sort_zip(info: zipfile.ZipInfo, members: _Members) -> None:
    """Put a zip's member where it belongs; Windows' backslashes become `/`."""
    raw = info.filename.replace("\\", "/")
    if not members.accepts(raw):
        return
    name = PurePosixPath(raw).as_posix()
    if raw.endswith("/"):
        members.folders.append(name)
    elif stat.S_ISLNK(info.external_attr >> 16):
        members.special.append(name)
    elif _is_bomb(info):
        members.too_large.append(name)
    else:
        members.add(name, info.filename)


def _is_bomb(info: zipfile.ZipInfo) -> bool:
    if info.file_size > MAX_FILE_BYTES:
        return True
    is_large = info.file_size > MIN_BOMB_BYTES
    return is_large and info.file_size > MAX_RATIO * max(info.compress_size, 1)


def _list_tar(root: Path, path: Path) -> Listing:
    """The listing of an uncompressed tar at `path`, called `root` to the user."""
    members = _Members()
    size = path.stat().st_size
    with tarfile.open(path, "r:") as archive:
        for number, info in enumerate(archive):
            if number >= MAX_MEMBERS:
                raise DataError(f"{root} holds more than {MAX_MEMBERS:,} members; split it.")
            if info.isreg() and info.offset_data + info.size > size:
                raise DataError(f"{root} is cut short at {info.name}; fetch it again.")
            _sort_tar(info, path, members)
            archive.members = []  # type: ignore[attr-defined]  # tarfile would keep every one
    notes = () if path == root else (f"{root.name} is unpacked once, to {path}",)
    spans = members.files
    return _listing(root, members, spans.__getitem__, lambda name: spans[name].read(), notes)


def _sort_tar(info: tarfile.TarInfo, path: Path, members: _Members) -> None:
    """Put a tar's member where it belongs."""
    if not members.accepts(info.name):
        return
    name = PurePosixPath(info.name).as_posix()
    if info.isdir():
        members.folders.append(name)
    elif not info.isreg() or info.issparse():
        members.special.append(name)
    elif info.size > MAX_FILE_BYTES:
        members.too_large.append(name)
    else:
        members.add(name, Span(path, info.offset_data, info.size))


def _unpacked(path: Path, opener: Callable[[Path], IO[bytes]]) -> Path:
    """The plain tar inside a compressed one, unpacked unless it was before."""
    target = cache_folder() / "archives" / f"{sha256(path)}.tar"
    if target.exists():
        return target
    limit = max(MAX_FILE_BYTES, MAX_RATIO * path.stat().st_size)
    with opener(path) as packed, writing(target) as plain:
        written = 0
        while chunk := _next_chunk(path, packed):
            written += len(chunk)
            if written > limit:
                raise DataError(f"{path} unpacks to over {MAX_RATIO} times its size; refused.")
            plain.write(chunk)
    return target


def _next_chunk(path: Path, packed: IO[bytes]) -> bytes:
    try:
        return packed.read(_CHUNK)
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DataError(f"{path} is damaged or cut short ({error}); fetch it again.") from None

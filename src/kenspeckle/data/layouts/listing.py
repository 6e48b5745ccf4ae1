"""The names in a folder or an archive, and how to get at each: what every layout looks at."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kenspeckle.data.dataset import Reads, Sample, Split, natural_key
from kenspeckle.data.source import File, Source
from kenspeckle.errors import DataError

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".avif", ".gif", ".bmp", ".dib", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif"}
)
TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".jsonl"})
SYSTEM_NAMES = frozenset({"thumbs.db", "desktop.ini", "__macosx", "$recycle.bin"})
SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Listing:
    """What lies in a folder or an archive.

    Args:
        root: the folder, archive or table that the user named.
        files: names relative to the root, `/` between the parts; nothing hidden among them.
        folders: names of the folders, empty ones included.
        source: where the file of that name is; a name that is not there gives a source that fails
            to read.
        read: a small file's bytes (a table, an array).
        is_archive: it lies in a zip or tar.
        is_complete: `files` holds everything there is, so that what a table leaves out is known.
        notes: what was left out on the way.
    """

    root: Path
    files: Sequence[str]
    folders: Sequence[str]
    source: Callable[[str], Source]
    read: Callable[[str], bytes]
    is_archive: bool = False
    is_complete: bool = True
    notes: tuple[str, ...] = ()

    def below(self, folder: str) -> Listing:
        """What lies below `folder`, named from there."""
        start = f"{folder}/"
        return replace(
            self,
            files=[name[len(start) :] for name in self.files if name.startswith(start)],
            folders=[name[len(start) :] for name in self.folders if name.startswith(start)],
            source=lambda name: self.source(start + name),
            read=lambda name: self.read(start + name),
            notes=(*self.notes, f"everything lies in the folder '{folder}', which was entered"),
        )


@dataclass(frozen=True)
class Found:
    """What a layout makes of a listing.

    Args:
        samples: in natural order of their paths.
        layout: how the data was read, in words.
        notes: what was left out or chosen.
        reads: what a sample is.
        several: where the first label stands that names several classes, in words; else empty.
    """

    samples: list[Sample]
    layout: str
    notes: tuple[str, ...] = ()
    reads: Reads = "images"
    several: str = ""


def in_order(samples: Iterable[Sample]) -> list[Sample]:
    """The samples in natural order of their paths."""
    return sorted(samples, key=lambda sample: natural_key(sample.path))


def read_whole(path: Path) -> bytes:
    """The bytes of a table or an array file.

    Raises:
        DataError: it cannot be opened.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror or error}.") from None


def suffix(name: str) -> str:
    """The part of a name from its last dot on, in lower case; `""` when there is none.

    >>> suffix("birds/Crow.JPG"), suffix("v1.2/README")
    ('.jpg', '')
    """
    last = name.rpartition("/")[2]
    dot = last.rfind(".")
    return last[dot:].lower() if dot > 0 else ""


def is_image(name: str) -> bool:
    """Whether a file's name ends as an image's does."""
    return suffix(name) in IMAGE_SUFFIXES


def is_hidden(part: str) -> bool:
    """Whether one part of a name is hidden or the system's own."""
    return part.startswith(".") or part.lower() in SYSTEM_NAMES


def some(names: Iterable[str], most: int = 5) -> str:
    """The first few names, and how many more there are.

    >>> some(["a", "b", "c"], most=2)
    "'a', 'b' and 1 more"
    """
    listed = list(names)
    shown = ", ".join(f"'{name}'" for name in listed[:most])
    return shown + (f" and {len(listed) - most} more" if len(listed) > most else "")


def counted(number: int, singular: str, plural: str = "") -> str:
    """A number and its noun.

    >>> counted(1, "file"), counted(3, "class", "classes")
    ('1 file', '3 classes')
    """
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def hidden_note(hidden: Sequence[str]) -> tuple[str, ...]:
    """The note on hidden files and folders, or nothing."""
    if not hidden:
        return ()
    kinds = Counter(name.rpartition("/")[2] for name in hidden)
    names = some(kind for kind, _ in kinds.most_common())
    items = counted(len(hidden), "hidden or system file or folder", "hidden or system items")
    return (f"{items} left out: {names}",)


def not_images_note(names: Iterable[str]) -> tuple[str, ...]:
    """The note on files that are not images, or nothing."""
    kinds = Counter(suffix(name) or "no suffix" for name in names)
    if not kinds:
        return ()
    parts = ", ".join(f"{kind} {number}" for kind, number in kinds.most_common(8))
    return (f"{counted(kinds.total(), 'file')} not an image by name, left out: {parts}",)


@dataclass
class _Walk:
    """What a walk through a folder has seen so far."""

    files: list[str]
    folders: list[str]
    hidden: list[str]
    linked: list[tuple[str, str]]  # (path, name) of links to folders, walked when all else is done
    seen: set[tuple[int, int]]  # (device, inode) of every folder entered: a cycle ends here


def list_folder(root: Path) -> Listing:
    """Everything below a folder, links followed; each real folder is entered once.

    Broken links stay in the list, so that they are reported as missing and not overlooked.

    Raises:
        DataError: a folder below cannot be opened.
    """
    walk = _Walk([], [], [], [], set())
    repeated: list[str] = []
    _enter(os.fspath(root), "", walk)
    while walk.linked:
        walk.linked.sort(key=lambda link: natural_key(link[1]))
        path, name = walk.linked.pop(0)
        if not _enter(path, name, walk):
            repeated.append(name)
    notes = hidden_note(walk.hidden)
    if repeated:
        links = counted(len(repeated), "link to a folder", "links to folders")
        notes = (*notes, f"{links} already listed, left out: {some(repeated)}")
    return Listing(
        root=root,
        files=walk.files,
        folders=walk.folders,
        source=lambda name: File(root / name),
        read=lambda name: read_whole(root / name),
        notes=notes,
    )


def _enter(path: str, name: str, walk: _Walk) -> bool:
    """Walk through one folder and those below it; False when it was walked through before."""
    pending = [(path, name)]
    is_new = False
    while pending:
        path, name = pending.pop()
        try:
            status = os.stat(path)  # noqa: PTH116
            if (status.st_dev, status.st_ino) in walk.seen:
                continue
            walk.seen.add((status.st_dev, status.st_ino))
            with os.scandir(path) as entries:
                listed = list(entries)
        except OSError as error:
            raise DataError(f"The folder {path} cannot be opened: {error.strerror}.") from None
        is_new = True
        if name:
            walk.folders.append(name)
        prefix = f"{name}/" if name else ""
        pending += _sort_out(listed, prefix, walk)
    return is_new


def _sort_out(entries: list[os.DirEntry[str]], prefix: str, walk: _Walk) -> list[tuple[str, str]]:
    """Put a folder's entries where they belong; the folders among them are returned."""
    folders = []
    for entry in entries:
        name = prefix + entry.name
        if is_hidden(entry.name):
            walk.hidden.append(name)
        elif not _is_folder(entry):
            walk.files.append(name)
        elif entry.is_symlink():
            walk.linked.append((entry.path, name))
        else:
            folders.append((entry.path, name))
    return folders


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False

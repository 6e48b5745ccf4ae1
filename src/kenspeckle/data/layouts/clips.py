"""Clips: folders of frames, animated images and videos in class folders, or named by a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from kenspeckle.data.clips import Animation, Clip, Reel, Stills, Video, moves
from kenspeckle.data.dataset import Sample, natural_key
from kenspeckle.data.layouts.listing import (
    SPLIT_NAMES,
    Found,
    Listing,
    counted,
    in_order,
    is_image,
    not_images_note,
    some,
    suffix,
)
from kenspeckle.data.layouts.table import find_columns, find_table, read_table
from kenspeckle.data.layouts.table_text import Table
from kenspeckle.data.video import VIDEO_SUFFIXES
from kenspeckle.errors import DataError, EmptyDataset, UnreadableImage

ANIMATED_SUFFIXES = frozenset({".gif", ".webp", ".apng"})
EXPECTED = """Expected one of:
  root/CLASS/CLIP/00.jpg               one folder a clip, one image a frame
  root/CLASS/clip.mp4                  or .gif, .webp, .apng, .avi, .mov, .mkv, .webm
  root/{train,val,test}/CLASS/...      with either of these below
  root/labels.csv                      columns file,label or file,start,end,label"""


def read_clip_folders(
    listing: Listing, columns: Mapping[str, str] | None, labelled: bool
) -> Found | None:
    """Every clip's label is the folder it lies in; None where there is no clip.

    A table at the top that names files and labels wins. Unlabelled, every clip in every folder is
    taken, and images at the top are the frames of one clip, called `.`.

    Raises:
        DataError: there are clips but no class folders, or a table is wrong.
    """
    notes: tuple[str, ...] = ()
    if labelled or columns is not None:
        table, notes = find_table(listing, columns)
        if table is not None:
            found = read_clip_table(listing, table[0], columns, labelled)
            return replace(found, notes=(*notes, *found.notes))
    splits = _splits(listing) if labelled else ()
    reels = find_reels(listing, splits, labelled)
    samples = in_order(_samples(reels, splits, labelled))
    if not samples:
        return None
    _refuse_flat_splits(listing, samples)
    words = "clips without labels"
    if labelled:
        below = f" below {', '.join(sorted(splits, key=natural_key))}" if splits else ""
        words = f"clips in class folders{below}"
    said = (*notes, *_notes(listing, reels, splits, {sample.path for sample in samples}))
    return Found(samples, words, said, reads="clips")


def find_reels(
    listing: Listing, splits: Sequence[str] = (), labelled: bool = False
) -> dict[str, Reel]:
    """Every clip by the name of its folder or file.

    A folder of images is one clip. Files that may move (GIF, WebP, APNG) beside other images are
    left out; where they are alone they are its frames, unless the first of them moves: then each is
    a clip. Directly in a class folder, only files that may move are clips.
    """
    reels: dict[str, Reel] = {}
    images: dict[str, list[str]] = {}
    for name in listing.files:
        if suffix(name) in VIDEO_SUFFIXES:
            reels[name] = Video(listing.source(name))
        elif is_image(name) or suffix(name) in ANIMATED_SUFFIXES:
            images.setdefault(name.rpartition("/")[0], []).append(name)
    for folder, names in images.items():
        moving = [name for name in names if suffix(name) in ANIMATED_SUFFIXES]
        stills = [name for name in names if suffix(name) not in ANIMATED_SUFFIXES]
        if labelled and not _label(folder, splits):
            reels |= {name: Animation(listing.source(name)) for name in moving}
        elif stills:
            reels[folder or "."] = _stills(listing, stills)
        elif moves(listing.source(min(moving, key=natural_key))):
            reels |= {name: Animation(listing.source(name)) for name in moving}
        else:
            reels[folder or "."] = _stills(listing, moving)
    return reels


def _stills(listing: Listing, names: Iterable[str]) -> Stills:
    """The frames of a clip, in natural order of their names."""
    ordered = tuple(sorted(names, key=natural_key))
    return Stills(ordered, tuple(listing.source(name) for name in ordered))


def _label(name: str, splits: Sequence[str]) -> str:
    """The folder that a clip lies in, below its split; empty where it lies in none."""
    top, _, rest = name.partition("/")
    return (rest if top in splits else name).rpartition("/")[0]


def _splits(listing: Listing) -> tuple[str, ...]:
    """The top folders called train, val or test that hold class folders of clips."""
    found: dict[str, None] = {}
    for name in listing.files:
        top, *folders = name.split("/")[:-1] or [""]
        is_file = suffix(name) in VIDEO_SUFFIXES | ANIMATED_SUFFIXES
        is_deep = len(folders) >= (1 if is_file else 2)
        if top.lower() in SPLIT_NAMES and is_deep and (is_file or is_image(name)):
            found[top] = None
    return tuple(found)


def _samples(reels: Mapping[str, Reel], splits: Sequence[str], labelled: bool) -> Iterator[Sample]:
    """A sample for each clip that is where clips are expected."""
    for name, reel in reels.items():
        label, top = _label(name, splits), name.partition("/")[0]
        split = SPLIT_NAMES[top.lower()] if top in splits else None
        if not labelled:
            yield Sample(name, Clip(reel))
        elif label and (split or not splits):
            yield Sample(name, Clip(reel), label=label, split=split)


def _refuse_flat_splits(listing: Listing, samples: Iterable[Sample]) -> None:
    """`train` and `test` with clips directly in them are not two classes to tell apart."""
    labels = {sample.label or "" for sample in samples}
    if len(labels) > 1 and all(label.lower() in SPLIT_NAMES for label in labels):
        raise DataError(
            f"In {listing.root} the folders {some(sorted(labels))} hold clips but no class "
            f"folders, so nobody says what they show. {EXPECTED}"
        )


def _notes(
    listing: Listing, reels: Mapping[str, Reel], splits: Sequence[str], taken: set[str]
) -> Iterator[str]:
    """What was left out, and which clips are a single frame."""
    yield from _single_frames({name: Clip(reels[name]) for name in reels if name in taken})
    of_split = " of a split" if splits else ""
    elsewhere = sorted(reels.keys() - taken, key=natural_key)
    if elsewhere:
        noun = counted(len(elsewhere), "clip")
        yield f"{noun} outside the class folders{of_split}, left out: {some(elsewhere)}"
    frames = {name for reel in reels.values() if isinstance(reel, Stills) for name in reel.names}
    clips = reels.keys() | frames
    rest = sorted((n for n in listing.files if n not in clips), key=natural_key)
    stray = [name for name in rest if is_image(name)]
    if stray:
        yield f"{counted(len(stray), 'image')} in no folder of frames, left out: {some(stray)}"
    yield from not_images_note(name for name in rest if not is_image(name))


def _single_frames(clips: Mapping[str, Clip]) -> Iterator[str]:
    """The note on clips that are known, without being read, to be a single frame."""
    names = [name for name, clip in clips.items() if _is_single(clip)]
    if names:
        verb = "has" if len(names) == 1 else "have"
        yield f"{counted(len(names), 'clip')} {verb} a single frame: {some(names)}"


def _is_single(clip: Clip) -> bool:
    if isinstance(clip.reel, Stills):
        return len(clip.reel.sources[clip.start : clip.end]) == 1
    return clip.end == clip.start + 1


@dataclass
class _Reading:
    """What has been read of a table of clips so far."""

    listing: Listing
    table: Table
    rows: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    clips: dict[str, Clip] = field(default_factory=dict)  # by the sample's path
    whole: dict[str, str] = field(default_factory=dict)  # the sample's path -> its clip's name
    lengths: dict[str, int | None] = field(default_factory=dict)  # of clips; None is unknown
    empty: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)


def read_clip_table(
    listing: Listing, table: Table, columns: Mapping[str, str] | None, labelled: bool
) -> Found:
    """One sample a row: a clip, or with columns `start` and `end` the frames from start to end - 1.

    A stretch is called `clip#start-end`; all stretches of a clip are one group. A clip that is not
    there becomes a sample that fails to read; a stretch with no frame of its clip is left out.

    Args:
        listing: of the folder that the table's names are relative to.

    Raises:
        DataError: a row is wrong (the message has its line), or a clip's stretches stand in
            several splits or groups.
        EmptyDataset: no row is left.
    """
    path = find_columns(table.header, columns).path
    if path is None or not table.rows:
        return read_table(listing, table, columns, labelled)  # raises, saying which
    reading, reels = _Reading(listing, table), _Named(listing)
    for line, cells in table.rows:
        _read_row(reading, reels, line, cells, path)
    if not reading.rows:
        raise EmptyDataset(
            f"No stretch of {table.name} holds a frame of its clip: {some(reading.empty)}. "
            "Frames are numbered from 0, and the last one is the one before `end`."
        )
    there = [p for p, name in reading.whole.items() if name in reels]
    found = read_table(
        replace(listing, files=there, source=lambda name: reading.clips[name]),
        replace(table, rows=reading.rows),
        columns,
        labelled,
    )
    samples = _grouped(reading, found.samples)
    notes = (*found.notes, *_table_notes(reading, reels))
    return replace(
        found, samples=samples, layout=f"clips of {found.layout}", notes=notes, reads="clips"
    )


class _Named:
    """The clips of a listing by the names that a table gives them."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.files = set(listing.files)
        self.folders: dict[str, list[str]] = {}
        for name in listing.files:
            if is_image(name) or suffix(name) in ANIMATED_SUFFIXES:
                self.folders.setdefault(name.rpartition("/")[0] or ".", []).append(name)

    def __contains__(self, name: str) -> bool:
        return name in self.files or name in self.folders

    def __getitem__(self, name: str) -> Reel:
        """The clip of that name; one that is not there fails to read."""
        if name in self.folders and name not in self.files:
            return _stills(self.listing, self.folders[name])
        if suffix(name) in VIDEO_SUFFIXES:
            return Video(self.listing.source(name))
        if is_image(name) and suffix(name) not in ANIMATED_SUFFIXES:
            return Stills((name,), (self.listing.source(name),))
        return Animation(self.listing.source(name))


def _read_row(
    reading: _Reading, reels: _Named, line: int, cells: tuple[str, ...], path: int
) -> None:
    """Keep the row under the name of its clip or stretch, unless the stretch is empty."""
    name = cells[path] and PurePosixPath(cells[path].replace("\\", "/")).as_posix()
    clip = Clip(reels[name])
    sample = name
    stretch = _stretch(reading.table, line, cells)
    if stretch is not None and name:
        start, end = stretch
        sample = f"{name}#{start}-{'' if end is None else end}"
        length = _length(reading, name, clip) if name in reels else None
        if (end is not None and end <= start) or (length is not None and start >= length):
            reading.empty.append(sample)
            return
        if end is not None and length is not None and end > length:
            reading.late.append(sample)
        clip = Clip(clip.reel, start, end)
    reading.clips[sample], reading.whole[sample] = clip, name
    reading.rows.append((line, (*cells[:path], sample, *cells[path + 1 :])))


def _stretch(table: Table, line: int, cells: Sequence[str]) -> tuple[int, int | None] | None:
    """Start and end of a row, or None where neither is given."""
    said: dict[str, int] = {}
    for column, cell in zip(table.header, cells, strict=True):
        if column.lower() in ("start", "end") and cell:
            said[column.lower()] = _frame(f"{table.name}, line {line}", column, cell)
    return (said.get("start", 0), said.get("end")) if said else None


def _frame(where: str, column: str, text: str) -> int:
    """A frame's number; `12.0`, as programs write columns with gaps, is 12."""
    whole = text.removesuffix(".0")
    if not (whole.isascii() and whole.isdigit()):
        raise DataError(f"{where}: {column} should be a frame's number from 0 up, found {text!r}.")
    return int(whole)


def _length(reading: _Reading, name: str, clip: Clip) -> int | None:
    """How many frames a clip has, counted once; None where it cannot be read: said when it is."""
    if name not in reading.lengths:
        try:
            reading.lengths[name] = clip.reel.count()
        except UnreadableImage:
            reading.lengths[name] = None
    return reading.lengths[name]


def _grouped(reading: _Reading, samples: Iterable[Sample]) -> list[Sample]:
    """The samples, all that show one clip in one group.

    Raises:
        DataError: the table puts them in several groups or splits.
    """
    by_clip: dict[str, list[Sample]] = {}
    for sample in samples:
        by_clip.setdefault(reading.whole[sample.path], []).append(sample)
    grouped: list[Sample] = []
    for name, parts in by_clip.items():
        for meaning in ("split", "group"):
            said = {getattr(part, meaning) for part in parts}
            if len(said) > 1:
                raise DataError(
                    f"{reading.table.name}: the stretches of {name} stand in several {meaning}s "
                    f"({', '.join(sorted(map(str, said)))}); a clip is never split, since its "
                    f"frames are alike. Give all its rows one {meaning}."
                )
        is_cut = len(parts) > 1 or parts[0].path != name
        group = (parts[0].group or name) if is_cut else parts[0].group
        grouped += [replace(part, group=group) for part in parts]
    return in_order(grouped)


def _table_notes(reading: _Reading, reels: _Named) -> Iterator[str]:
    """What the table cuts wrongly or does not name, and which samples are a single frame."""
    if reading.empty:
        noun = counted(len(reading.empty), "stretch", "stretches")
        yield f"{noun} without a frame of the clip, left out: {some(reading.empty)}"
    if reading.late:
        noun = counted(len(reading.late), "stretch", "stretches")
        yield f"{noun} said to end after the clip, read to its end: {some(reading.late)}"
    yield from _single_frames(reading.clips)
    if reading.listing.is_complete:
        used = set(reading.whole.values())
        used |= {frame for name in used for frame in reels.folders.get(name, ())}
        unnamed = [
            name
            for name, reel in find_reels(reading.listing).items()
            if not used & {name, *(reel.names if isinstance(reel, Stills) else ())}
        ]
        if unnamed:
            noun = counted(len(unnamed), "clip")
            first = some(sorted(unnamed, key=natural_key))
            yield f"{noun} not named in {reading.table.name}, left out: {first}"

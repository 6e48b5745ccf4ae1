"""What lies on disk becomes a Dataset: the layout is found by itself and said."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kenspeckle.data.dataset import Dataset, Means, Reads, Sample, class_list
from kenspeckle.data.layouts.archive import is_archive, list_archive
from kenspeckle.data.layouts.arrays import find_arrays, read_arrays
from kenspeckle.data.layouts.boxes import EXPECTED as EXPECTED_BOXES
from kenspeckle.data.layouts.boxes import read_boxes
from kenspeckle.data.layouts.clips import EXPECTED as EXPECTED_CLIPS
from kenspeckle.data.layouts.clips import read_clip_folders
from kenspeckle.data.layouts.folders import (
    EXPECTED,
    read_any_images,
    read_class_folders,
    split_folders,
)
from kenspeckle.data.layouts.listing import (
    TABLE_SUFFIXES,
    Found,
    Listing,
    is_image,
    list_folder,
    read_whole,
    suffix,
)
from kenspeckle.data.layouts.sequences import read_sequence_folders
from kenspeckle.data.layouts.table import check_wanted, find_table, read_table
from kenspeckle.data.layouts.table_text import parse_table
from kenspeckle.data.source import File
from kenspeckle.errors import DataError, nearest

Columns = Mapping[str, str]
Layout = Callable[[Listing, Columns | None, bool], Found | None]


def scan(
    data: str | Path,
    *,
    columns: Columns | None = None,
    labelled: bool = True,
    means: Means = "class",
    reads: Reads = "images",
) -> Dataset:
    """The images at `data`: a folder, an archive, a table, an array file or, unlabelled, an image.

    Layouts are tried in this order, and the first that fits is named in `Dataset.layout`: a table
    with a path and a label column; arrays (IDX, npz); sequences in class folders; class folders of
    images, below train, val and test or not.

    Args:
        data: where the images are.
        columns: which column of a table is which: `path`, `label`, `group`, `split`, `weight` ->
            the column's name.
        labelled: False for images whose labels nobody knows; every label is then None, and every
            image in every folder is taken.
        means: what a label is, as in `Dataset`.
        reads: `clips` where folders of frames, animated images and videos are wanted.

    Raises:
        DataError: there is no such place, it has no layout that is known, or there are several
            labels an image and they were not asked for.
        EmptyDataset: there are no images.
        UsageError: `columns` has a meaning that no column can have.
    """
    check_wanted(columns)
    layouts = BOXES if means == "boxes" and labelled else LAYOUTS
    if reads == "clips":
        layouts = CLIPS
    dataset, several = _scanned(Path(data), columns, labelled, layouts)
    if means != "class":
        return dataset.meaning(means)
    if several:
        raise DataError(
            f"{several}. For several labels an image say --task tag; else keep one in each row."
        )
    return dataset


def _scanned(
    path: Path, columns: Columns | None, labelled: bool, layouts: Sequence[Layout]
) -> tuple[Dataset, str]:
    """The dataset, and where the first label with several names stands."""
    if not path.exists():
        raise DataError(f"There is no {path}{_neighbour(path)}")
    if path.is_dir():
        return _from_listing(_unwrapped(list_folder(path)), columns, labelled, layouts)
    if is_archive(path):
        return _from_listing(_unwrapped(list_archive(path)), columns, labelled, layouts)
    return _from_file(path, columns, labelled, layouts)


def _neighbour(path: Path) -> str:
    """`, did you mean 'x'?` for a file beside the one that is not there."""
    parent = path.parent
    if not parent.is_dir():
        return f": the folder {parent} does not exist either."
    return nearest(path.name, (entry.name for entry in parent.iterdir())) or "."


def _unwrapped(listing: Listing) -> Listing:
    """Go into a lone top folder that only wraps what counts.

    An archive's lone folder is a wrapper when it bears the archive's name or holds folders and no
    images; a folder's lone folder only when it holds train, val and test or a table, since
    otherwise its name is a part of the class.
    """
    tops = {name.partition("/")[0] for name in listing.files}
    if len(tops) != 1 or "/" not in listing.files[0]:
        return listing
    top = tops.pop()
    inner = listing.below(top)
    if split_folders(listing):
        return listing
    if listing.is_archive:
        is_flat = any("/" not in name and is_image(name) for name in inner.files)
        is_wrapper = not is_flat or top == listing.root.name.split(".")[0]
    else:
        is_wrapper = False
    has_table = any("/" not in name and suffix(name) in TABLE_SUFFIXES for name in inner.files)
    return inner if is_wrapper or has_table or split_folders(inner) else listing


def _by_table(listing: Listing, columns: Columns | None, labelled: bool) -> Found | None:
    if not labelled and columns is None:
        return None
    table, notes = find_table(listing, columns)
    if table is None:
        return Found([], "", notes)  # no table, but perhaps a reason that the user should hear
    found = read_table(listing, table[0], columns, labelled)
    return replace(found, notes=(*notes, *found.notes))


def _by_arrays(listing: Listing, columns: Columns | None, labelled: bool) -> Found | None:
    return read_arrays(listing, labelled) if find_arrays(listing) else None


def _by_folders(listing: Listing, columns: Columns | None, labelled: bool) -> Found | None:
    return read_class_folders(listing) if labelled else read_any_images(listing)


def _by_sequences(listing: Listing, columns: Columns | None, labelled: bool) -> Found | None:
    return read_sequence_folders(listing, labelled)


def _by_boxes(listing: Listing, columns: Columns | None, labelled: bool) -> Found | None:
    return read_boxes(listing, columns, labelled)


LAYOUTS: tuple[Layout, ...] = (_by_table, _by_arrays, _by_sequences, _by_folders)
BOXES: tuple[Layout, ...] = (_by_boxes,)
CLIPS: tuple[Layout, ...] = (read_clip_folders,)


def _from_listing(
    listing: Listing, columns: Columns | None, labelled: bool, layouts: Sequence[Layout]
) -> tuple[Dataset, str]:
    """The dataset that the first fitting layout finds."""
    notes = listing.notes
    for layout in layouts:
        try:
            found = layout(listing, columns, labelled)
        except DataError as error:
            raise type(error)("\n".join([str(error), *notes])) from None
        if found is not None:
            notes = (*notes, *found.notes)
            if found.samples:
                return _dataset(listing.root, found, notes)
    expected = EXPECTED
    if layouts is BOXES or layouts is CLIPS:
        expected = EXPECTED_BOXES if layouts is BOXES else EXPECTED_CLIPS
    raise DataError(f"{listing.root} has no layout that is known. {expected}")


def _from_file(
    path: Path, columns: Columns | None, labelled: bool, layouts: Sequence[Layout]
) -> tuple[Dataset, str]:
    """The dataset in a single file: a table, an array or an image."""
    listing = Listing(
        root=path.parent,
        files=[path.name],
        folders=[],
        source=lambda name: File(path.parent / name),
        read=lambda name: read_whole(path.parent / name),
        is_complete=False,
    )
    if layouts is BOXES or layouts is CLIPS:
        return _from_listing(listing, columns, labelled, layouts)
    if suffix(path.name) in TABLE_SUFFIXES:
        table = parse_table(path.name, read_whole(path))
        found = read_table(listing, table, columns, labelled)
        return _dataset(path, found, found.notes)
    if find_arrays(listing):
        found = read_arrays(listing, labelled)
        return _dataset(path, found, found.notes)
    if is_image(path.name) and not labelled:
        return _dataset(path, Found([Sample(path.name, File(path))], "one image"), ())
    kind = "is one image" if is_image(path.name) else "is no folder, archive, table or array file"
    raise DataError(f"{path} {kind}; labelled images are needed. {EXPECTED}")


def _dataset(root: Path, found: Found, notes: tuple[str, ...]) -> tuple[Dataset, str]:
    classes = class_list(s.label for s in found.samples if s.label is not None)
    dataset = Dataset(root, tuple(found.samples), classes, found.layout, notes, found.reads)
    return dataset, found.several

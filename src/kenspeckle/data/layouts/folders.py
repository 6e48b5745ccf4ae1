"""Class folders: `root/class/*.jpg`, or the same below train, val and test."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
)
from kenspeckle.errors import DataError, EmptyDataset

EXPECTED = """Expected one of:
  root/CLASS/image.jpg                 one folder a class
  root/{train,val,test}/CLASS/image.jpg
  root/labels.csv                      columns filename,label (name others with --columns)"""


def split_folders(listing: Listing) -> tuple[str, ...]:
    """The top folders called train, val or test that hold class folders (not images alone)."""
    found: dict[str, None] = {}
    for name in listing.files:
        top, _, rest = name.partition("/")
        if "/" in rest and top.lower() in SPLIT_NAMES and top not in found and is_image(name):
            found[top] = None
    return tuple(found)


def read_class_folders(listing: Listing) -> Found:
    """Every image's label is the folder it lies in, relative to the root or to its split.

    Raises:
        EmptyDataset: there is no image at all.
        DataError: there are images but no class folders.
    """
    images = [name for name in listing.files if is_image(name)]
    if not images:
        raise EmptyDataset(nothing_in(listing))
    others = not_images_note(name for name in listing.files if not is_image(name))
    splits = split_folders(listing)
    if splits:
        samples, notes = _split_samples(listing, images, splits)
        words = f"class folders below {', '.join(sorted(splits, key=natural_key))}"
    else:
        samples, notes = _plain_samples(listing, images)
        words = "class folders"
    return Found(in_order(samples), words, (*notes, *_empty_note(listing, images), *others))


def read_any_images(listing: Listing) -> Found:
    """Every image there is, in whatever folder, without labels: what is to be predicted.

    Raises:
        EmptyDataset: there is no image at all.
    """
    samples = [Sample(name, listing.source(name)) for name in listing.files if is_image(name)]
    if not samples:
        raise EmptyDataset(nothing_in(listing))
    others = not_images_note(name for name in listing.files if not is_image(name))
    return Found(in_order(samples), "images without labels", others)


def nothing_in(listing: Listing) -> str:
    """The sentence on a place that holds no image."""
    if not listing.files:
        return f"{listing.root} is empty: there is no image in it."
    kinds = "; ".join(not_images_note(listing.files))
    return f"{listing.root} holds no image by name ({kinds}). Images end in .jpg, .png and so on."


def _split_samples(
    listing: Listing, images: Sequence[str], splits: Iterable[str]
) -> tuple[list[Sample], tuple[str, ...]]:
    """Samples of `split/class/image`; images elsewhere belong to no class and are said."""
    samples, stray = [], []
    known = set(splits)
    for name in images:
        top, _, rest = name.partition("/")
        label = rest.rpartition("/")[0]
        if top in known and label:
            split = SPLIT_NAMES[top.lower()]
            samples.append(Sample(name, listing.source(name), label=label, split=split))
        else:
            stray.append(name)
    note = f"{counted(len(stray), 'image')} outside the class folders of a split, left out: "
    return samples, ((note + some(stray),) if stray else ())


def _plain_samples(listing: Listing, images: Sequence[str]) -> tuple[list[Sample], tuple[str, ...]]:
    """Samples of `class/image`; images directly in the root belong to no class and are said."""
    samples, stray = [], []
    for name in images:
        label = name.rpartition("/")[0]
        if label:
            samples.append(Sample(name, listing.source(name), label=label))
        else:
            stray.append(name)
    if not samples:
        raise DataError(
            f"{listing.root} has {counted(len(images), 'image')} but no class folders, so nobody "
            f"says what they show. {EXPECTED}"
        )
    _refuse_flat_splits(listing, samples)
    note = f"{counted(len(stray), 'image')} beside the class folders, left out: "
    return samples, ((note + some(stray),) if stray else ())


def _refuse_flat_splits(listing: Listing, samples: Iterable[Sample]) -> None:
    """`train` and `test` with images directly in them are not two classes to tell apart."""
    labels = {sample.label or "" for sample in samples}
    if len(labels) > 1 and all(label.lower() in SPLIT_NAMES for label in labels):
        raise DataError(
            f"In {listing.root} the folders {some(sorted(labels))} hold images but no class "
            f"folders, so nobody says what they show. {EXPECTED}"
        )


def _empty_note(listing: Listing, images: Iterable[str]) -> tuple[str, ...]:
    """The note on folders with no image in them or below them."""
    filled: set[str] = set()
    for name in images:
        folder = name.rpartition("/")[0]
        while folder and folder not in filled:
            filled.add(folder)
            folder = folder.rpartition("/")[0]
    empty = sorted((name for name in listing.folders if name not in filled), key=natural_key)
    if not empty:
        return ()
    verb = "has" if len(empty) == 1 else "have"
    noun = counted(len(empty), "folder")
    return (f"{noun} {verb} no images and no class was made of it: {some(empty)}",)

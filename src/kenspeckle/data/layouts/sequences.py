"""Class folders of sequences: `root/class/*.npy`, `.csv` or pen strokes, no image among them."""

from __future__ import annotations

from collections.abc import Iterator

from kenspeckle.data.dataset import Sample
from kenspeckle.data.layouts.listing import (
    SPLIT_NAMES,
    Found,
    Listing,
    in_order,
    is_image,
    not_images_note,
    suffix,
)
from kenspeckle.data.sequence import SEQUENCE_SUFFIXES


def read_sequence_folders(listing: Listing, labelled: bool) -> Found | None:
    """Every sequence's label is the folder it lies in, as with images; None where there are none.

    Only files inside folders count: a table or a README at the top is no sequence.
    """
    if any(is_image(name) for name in listing.files):
        return None
    named = {
        n for n in listing.files if suffix(n) in SEQUENCE_SUFFIXES and ("/" in n or not labelled)
    }
    samples = in_order(_samples(listing, named, labelled))
    if not samples:
        return None
    others = not_images_note(name for name in listing.files if name not in named)
    words = "sequences in class folders" if labelled else "sequences without labels"
    return Found(samples, words, others, reads="sequences")


def _samples(listing: Listing, names: set[str], labelled: bool) -> Iterator[Sample]:
    tops = {name.partition("/")[0].lower() for name in names}
    is_split = bool(tops) and tops <= SPLIT_NAMES.keys()
    for name in names:
        top, _, rest = name.partition("/")
        split = SPLIT_NAMES[top.lower()] if is_split else None
        label = (rest if is_split else name).rpartition("/")[0]
        if label or not labelled:
            yield Sample(name, listing.source(name), label=label if labelled else None, split=split)

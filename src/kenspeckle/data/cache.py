"""Images decoded once and remembered by content, so that the next run starts at once."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kenspeckle.data.batch import Rows
from kenspeckle.data.dataset import Dataset
from kenspeckle.data.housekeeping import PoolInfo, clear, limit, usage
from kenspeckle.data.pixels import Pixels
from kenspeckle.data.pool import Pool
from kenspeckle.data.read import (
    FORMATS,
    NOTES,
    SYNTHETIC,
    Fit,
    Picture,
    decode,
    from_array,
    read_bytes,
)
from kenspeckle.data.source import ArrayRow, Source, content_hash
from kenspeckle.errors import UnreadableImage
from kenspeckle.files import cache_folder

__all__ = [
    "Decoded",
    "Pixels",
    "PoolInfo",
    "clear",
    "decode_all",
    "limit",
    "open_pools",
    "perceptual_hash",
    "usage",
]

DECODER_VERSION = 1  # goes up with any change to the pixels that `decode` gives
FACTS = np.dtype(
    [("width", "<u4"), ("height", "<u4"), ("perceptual", "<u8"), ("format", "u1"), ("notes", "u1")]
)
# A chunk is what a kill may cost and what is held in memory beside the two images being decoded.
_CHUNK_BYTES, _CHUNK_MIN, _CHUNK_MAX = 1 << 24, 64, 1024


@dataclass(frozen=True)
class Decoded:
    """The readable images of a dataset, and what was wrong with the others.

    Args:
        images: N pictures.
        rows: (N,) image i belongs to `dataset.samples[rows[i]]`; rising.
        faults: sample number -> why it cannot be read.
        keys: N content hashes, 32 bytes each.
        width, height: (N,) of the originals, upright.
        perceptual: (N,) uint64 perceptual hashes of the fitted pictures (pHash); 0 for arrays that
            were taken as they are.
        formats: N names from `FORMATS`.
        synthetic: (N,) whether the file says that a network drew it; None where files cannot.
        notes: sentences for people: what was done to how many images, and storage troubles.
    """

    images: Rows
    rows: NDArray[np.int64]
    faults: dict[int, UnreadableImage]
    keys: list[bytes]
    width: NDArray[np.int64]
    height: NDArray[np.int64]
    perceptual: NDArray[np.uint64]
    formats: tuple[str, ...]
    notes: tuple[str, ...] = ()
    synthetic: NDArray[np.bool_] | None = None


def decode_all(
    dataset: Dataset,
    fit: Fit,
    progress: Callable[[int, int], None] | None = None,
    folder: Path | None = None,
) -> Decoded:
    """Every readable image of `dataset` as a square, decoded only where that was never done.

    Sources are read and hashed on all cores each time; a file whose content changed is therefore
    decoded anew. Pixels are kept in `folder` (by default `cache_folder()`).

    Args:
        progress: called with (images done, images in all).
    """
    sources = [sample.source for sample in dataset.samples]
    if (arrays := _ready_arrays(sources, fit)) is not None:
        return _from_arrays(sources, arrays, progress)
    pools = open_pools(fit, folder or cache_folder())
    keys: dict[int, bytes] = {}
    faults: dict[int, UnreadableImage] = {}
    step = max(_CHUNK_MIN, min(_CHUNK_MAX, _CHUNK_BYTES // (3 * math.prod(fit.shape))))
    with pools[0], pools[1], ThreadPoolExecutor(os.cpu_count()) as workers:
        for start in range(0, len(sources), step):
            chunk = sources[start : start + step]
            results = list(workers.map(lambda source: _one(source, fit, pools), chunk))
            _store(results, pools)
            for row, result in enumerate(results, start):
                if isinstance(result, UnreadableImage):
                    faults[row] = result
                else:
                    keys[row] = result.key
            if progress is not None:
                progress(start + len(chunk), len(sources))
    # The pools' files are closed; what is mapped stays mapped.
    return _collected(keys, faults, pools, fit)


def open_pools(fit: Fit, folder: Path | None) -> tuple[Pool, Pool]:
    """The pools of grey and of colour pictures for `fit`."""
    grey, colour = (
        Pool.open(
            folder,
            f"images-{fit.name}-{channels}-v{DECODER_VERSION}",
            (*fit.shape, channels),
            np.uint8,
            FACTS,
        )
        for channels in (1, 3)
    )
    return grey, colour


@dataclass(frozen=True, slots=True)
class _New:
    """One source's key, and its picture and perceptual hash if no pool has it yet."""

    key: bytes
    picture: Picture | None = None
    perceptual: int = 0


def _one(source: Source, fit: Fit, pools: tuple[Pool, Pool]) -> _New | UnreadableImage:
    try:
        content = read_bytes(source)
        key = _key(source, content)
        if any(pool.rows([key])[0] >= 0 for pool in pools):
            return _New(key)
        if isinstance(source, ArrayRow):
            picture = from_array(source.pixels(), fit)
        else:
            picture = decode(content, fit)
    except UnreadableImage as fault:
        return fault
    return _New(key, picture, perceptual_hash(picture.pixels))


def _key(source: Source, content: bytes) -> bytes:
    """Array rows are told apart by shape too: black squares and black strips have equal bytes."""
    if isinstance(source, ArrayRow):
        return content_hash(repr(source.pixels().shape).encode() + content)
    return content_hash(content)


def perceptual_hash(pixels: NDArray[np.uint8]) -> int:
    """64-bit pHash of (H, W, C) pixels: the signs of the low cosine frequencies.

    Alike pictures have hashes that differ in few bits (imagehash.phash; Zauner 2010, section 3.2).
    """
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    bits = np.packbits(imagehash.phash(image).hash.flatten())
    return int.from_bytes(bits.tobytes(), "big")


def _store(results: Sequence[_New | UnreadableImage], pools: tuple[Pool, Pool]) -> None:
    for pool, channels in zip(pools, (1, 3), strict=True):
        new = [
            (result.key, result.picture, result.perceptual)
            for result in results
            if isinstance(result, _New)
            and result.picture is not None
            and result.picture.pixels.shape[2] == channels
        ]
        if new:
            facts = np.array([_facts(picture, hashed) for _, picture, hashed in new], dtype=FACTS)
            pixels = np.stack([picture.pixels for _, picture, _ in new])
            pool.append([key for key, _, _ in new], pixels, facts)


def _facts(picture: Picture, perceptual: int) -> tuple[int, int, int, int, int]:
    notes = sum(1 << NOTES.index(note) for note in picture.notes)
    return picture.width, picture.height, perceptual, FORMATS.index(picture.format), notes


def _collected(
    keys: dict[int, bytes],
    faults: dict[int, UnreadableImage],
    pools: tuple[Pool, Pool],
    fit: Fit,
) -> Decoded:
    names = list(keys.values())
    grey, colour = (pool.rows(names) for pool in pools)
    is_grey = grey >= 0
    facts = np.zeros(len(names), dtype=FACTS)
    facts[is_grey] = pools[0].facts[grey[is_grey]]
    facts[~is_grey] = pools[1].facts[colour[~is_grey]]
    return Decoded(
        images=Pixels(pools, is_grey, np.where(is_grey, grey, colour), fit.shape),
        rows=np.array(list(keys), dtype=np.int64),
        faults=faults,
        keys=names,
        width=facts["width"].astype(np.int64),
        height=facts["height"].astype(np.int64),
        perceptual=facts["perceptual"].astype(np.uint64),
        formats=tuple(FORMATS[code] for code in facts["format"]),
        notes=(*_sentences(facts["notes"]), *_troubles(pools)),
        synthetic=(facts["notes"] >> NOTES.index(SYNTHETIC) & 1).astype(np.bool_),
    )


def _sentences(notes: NDArray[np.uint8]) -> Iterator[str]:
    for bit, note in enumerate(NOTES):
        if count := int((notes >> bit & 1).sum()):
            yield f"{count} {'image' if count == 1 else 'images'}: {note}."


def _troubles(pools: tuple[Pool, Pool]) -> list[str]:
    notes = [pool.note for pool in pools if pool.note]
    return notes[:1]  # both have the same folder


def _ready_arrays(sources: Sequence[Source], fit: Fit) -> list[NDArray[np.uint8]] | None:
    """The distinct arrays behind `sources`, if all are rows of arrays of the wanted size."""
    arrays: dict[int, NDArray[np.uint8]] = {}
    for source in sources:
        if not isinstance(source, ArrayRow):
            return None
        arrays[id(source.array)] = source.array
    if not arrays or any(array.shape[1:3] != fit.shape for array in arrays.values()):
        return None
    return list(arrays.values())


def _from_arrays(
    sources: Sequence[Source],
    arrays: Sequence[NDArray[np.uint8]],
    progress: Callable[[int, int], None] | None,
) -> Decoded:
    """Rows of arrays that need no work: nothing is decoded, nothing goes to the disk."""
    count, (high, wide) = len(sources), arrays[0].shape[1:3]
    rows_of: dict[int, list[tuple[int, int]]] = {}
    for row, source in enumerate(sources):
        if isinstance(source, ArrayRow):
            rows_of.setdefault(id(source.array), []).append((row, source.row))
    channels = max(1 if array.ndim == 3 else array.shape[3] for array in arrays)
    images = np.empty((count, high, wide, channels), dtype=np.uint8)
    for array in arrays:
        to, origin = np.array(rows_of[id(array)]).T
        images[to] = array[origin].reshape(len(to), high, wide, -1)
    keys = [_key(source, source.read()) for source in sources]
    if progress is not None:
        progress(count, count)
    return Decoded(
        images=Pixels.of(images),
        rows=np.arange(count),
        faults={},
        keys=keys,
        width=np.full(count, wide, dtype=np.int64),
        height=np.full(count, high, dtype=np.int64),
        perceptual=np.zeros(count, dtype=np.uint64),
        formats=("ARRAY",) * count,
    )

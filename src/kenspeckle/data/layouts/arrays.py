"""Images that are already arrays: IDX files, as MNIST has them, and `.npz`."""

from __future__ import annotations

import gzip
import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from kenspeckle.data.dataset import Sample, Split, natural_key
from kenspeckle.data.layouts.listing import Found, Listing, counted, is_image, some, suffix
from kenspeckle.data.source import ArrayRow
from kenspeckle.errors import DataError, EmptyDataset

MAX_ARRAY_BYTES = 16 * 1024**3  # the whole set is held in memory
_IDX_IMAGES = re.compile(r"(?:(?P<prefix>.+?)[-_.])?images[-.]idx3-ubyte(?P<gz>\.gz)?$", re.I)
_IDX_SPLITS: dict[str, Split] = {
    "train": "train",
    "t10k": "test",
    "test": "test",
    "val": "val",
    "valid": "val",
    "validation": "val",
}
# (images, labels, split): Keras, MedMNIST, and a file without splits; in order of the first
_NPZ_PAIRS: tuple[tuple[str, str, Split | None], ...] = (
    ("images", "labels", None),
    ("test_images", "test_labels", "test"),
    ("train_images", "train_labels", "train"),
    ("val_images", "val_labels", "val"),
    ("x", "y", None),
    ("x_test", "y_test", "test"),
    ("x_train", "y_train", "train"),
    ("x_val", "y_val", "val"),
)


def find_arrays(listing: Listing) -> list[str]:
    """The IDX image files at the top, else the `.npz` files there when there are no images."""
    top = sorted((name for name in listing.files if "/" not in name), key=natural_key)
    idx = [name for name in top if _IDX_IMAGES.search(name)]
    if idx or any(is_image(name) for name in listing.files):
        return idx
    return [name for name in top if suffix(name) == ".npz"]


def read_arrays(listing: Listing, labelled: bool) -> Found:
    """One sample a row, called `file[row]`.

    Raises:
        DataError: a file is damaged, too large, or not what its name says; the counts of images
            and labels differ; an array is not uint8; there are several `.npz` files.
    """
    names = find_arrays(listing)
    if suffix(names[0]) != ".npz":
        samples = [s for name in names for s in _idx_samples(listing, name, labelled)]
        return _found(listing, samples, f"IDX arrays ({some(names)})")
    if len(names) > 1:
        raise DataError(f"{listing.root} holds several arrays: {some(names)}. Name one of them.")
    return _found(listing, _npz_samples(listing, names[0], labelled), f"the arrays of {names[0]}")


def _found(listing: Listing, samples: list[Sample], words: str) -> Found:
    if not samples:
        raise EmptyDataset(f"The arrays in {listing.root} hold no images.")
    return Found(samples, words)


def _rows(
    path: str, images: NDArray[np.uint8], labels: list[str] | None, split: Split | None
) -> list[Sample]:
    """A sample for each row of an array."""
    said: list[str | None] = list(labels) if labels is not None else [None] * len(images)
    if len(said) != len(images):
        raise DataError(
            f"{path} has {counted(len(images), 'image')} but {counted(len(said), 'label')}; "
            "the two files do not belong together."
        )
    return [
        Sample(f"{path}[{row}]", ArrayRow(images, row), label=label, split=split)
        for row, label in enumerate(said)
    ]


def _idx_samples(listing: Listing, name: str, labelled: bool) -> list[Sample]:
    """The samples of one IDX image file and the label file of the same name."""
    match = _IDX_IMAGES.search(name)
    split = _IDX_SPLITS.get(((match and match["prefix"]) or "").lower())
    images = parse_idx(name, listing.read(name), dimensions=3)
    if not labelled:
        return _rows(name, images, None, split)
    labels_name = _idx_labels(listing, name)
    numbers = parse_idx(labels_name, listing.read(labels_name), dimensions=1)
    return _rows(name, images, [str(number) for number in numbers.tolist()], split)


def _idx_labels(listing: Listing, name: str) -> str:
    """The label file that belongs to an image file, compressed or not."""
    wanted = re.sub("idx3", "idx1", re.sub("images", "labels", name, flags=re.I), flags=re.I)
    plain = wanted.removesuffix(".gz")
    for candidate in (wanted, plain, f"{plain}.gz"):
        if candidate in listing.files:
            return candidate
    raise DataError(f"{listing.root} holds {name} but not its labels; {wanted} is missing.")


def parse_idx(name: str, content: bytes, dimensions: int) -> NDArray[np.uint8]:
    """An IDX array of unsigned bytes, `gzip`-compressed or not.

    The format: two zero bytes, the type (8 is uint8), the number of dimensions, each dimension as
    a big-endian 32-bit number, then the values (http://yann.lecun.com/exdb/mnist).

    Raises:
        DataError: another magic number, truncated, too long, or over `MAX_ARRAY_BYTES`.
    """
    stream = gzip.GzipFile(fileobj=io.BytesIO(content)) if content[:2] == b"\x1f\x8b" else None
    file: io.BufferedIOBase | io.BytesIO = stream or io.BytesIO(content)
    try:
        header = file.read(4 + 4 * dimensions)
        shape = _idx_shape(name, header, dimensions)
        size = math.prod(shape)
        values = file.read(size + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{name} is damaged or cut short ({error}); fetch it again.") from None
    if len(values) != size:
        found = "more" if len(values) > size else f"{len(values):,}"
        raise DataError(f"{name} declares {size:,} values but holds {found}; fetch it again.")
    return np.frombuffer(values, dtype=np.uint8).reshape(shape)


def _idx_shape(name: str, header: bytes, dimensions: int) -> tuple[int, ...]:
    expected = bytes([0, 0, 8, dimensions])
    if header[:4] != expected or len(header) != 4 + 4 * dimensions:
        raise DataError(
            f"{name} is not an IDX file of {counted(dimensions, 'dimension')} of bytes: it should "
            f"begin with {expected.hex()}, found {header[:4].hex() or 'nothing'}."
        )
    shape = struct.unpack(f">{dimensions}I", header[4:])
    if math.prod(shape) > MAX_ARRAY_BYTES:
        raise DataError(f"{name} declares an array of {shape}, more than 16 GB; split it.")
    return shape


def _npz_samples(listing: Listing, name: str, labelled: bool) -> list[Sample]:
    """The samples of every pair of arrays that an `.npz` file holds."""
    arrays = _npz_arrays(name, listing.read(name))
    samples: list[Sample] = []
    for images_key, labels_key, split in _NPZ_PAIRS:
        if images_key in arrays:
            images = _checked_images(f"{name}, {images_key}", arrays[images_key])
            labels = _npz_labels(name, arrays, labels_key) if labelled else None
            samples += _rows(f"{name}/{images_key}", images, labels, split)
    if not samples:
        raise DataError(
            f"{name} holds the arrays {some(arrays) or 'nothing'}; expected x_train and y_train, "
            "images and labels, or x and y."
        )
    return samples


def _npz_arrays(name: str, content: bytes) -> dict[str, NDArray[np.generic]]:
    """The known arrays of an `.npz` file; nothing in it is ever unpickled."""
    known = {key for pair in _NPZ_PAIRS for key in pair[:2]}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_ARRAY_BYTES:
            raise DataError(f"{name} declares arrays of more than 16 GB; split it.")
        with np.load(io.BytesIO(content), allow_pickle=False) as loaded:
            return {key: loaded[key] for key in loaded.files if key in known}
    except (ValueError, OSError, EOFError, MemoryError, KeyError, zlib.error) as error:
        raise DataError(f"{name} cannot be read as arrays of numbers: {error}.") from None
    except zipfile.BadZipFile as error:
        raise DataError(f"{name} is damaged ({error}); fetch it again.") from None


def _checked_images(where: str, array: NDArray[np.generic]) -> NDArray[np.uint8]:
    """The array, when it is uint8 of (N, H, W) or (N, H, W, 1 or 3)."""
    is_grid = array.ndim == 3 or (array.ndim == 4 and array.shape[-1] in (1, 3))
    if array.dtype == np.uint8 and is_grid:
        return array.astype(np.uint8, copy=False)
    raise DataError(
        f"{where} is {array.dtype} {array.shape}; images should be uint8 in 0..255 of shape "
        "(N, H, W) or (N, H, W, 1 or 3). Scale other values yourself, since only you know "
        "their range, for example (255 * x).round().astype('uint8') for values in 0..1."
    )


def _npz_labels(name: str, arrays: Mapping[str, NDArray[np.generic]], key: str) -> list[str]:
    """Labels (N,) or (N, 1), whole numbers or text, as class names."""
    if key not in arrays:
        raise DataError(f"{name} holds images but no labels; the array {key} is missing.")
    labels = arrays[key]
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iubU":
        raise DataError(
            f"{name}, {key} is {labels.dtype} {labels.shape}; labels should be whole numbers or "
            "text of shape (N,)."
        )
    return [str(label) for label in labels.tolist()]

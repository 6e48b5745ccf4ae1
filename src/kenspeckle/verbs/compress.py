"""`compress` and `decompress`: an image in few bytes, and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from kenspeckle.data.formats import NAMES, SUFFIXES, formats, psnr, reaching
from kenspeckle.data.read import read_bytes, read_image
from kenspeckle.data.source import File
from kenspeckle.data.stream import CorruptStream, OtherModel
from kenspeckle.errors import UnreadableImage, UsageError, nearest
from kenspeckle.models.codec import Codec, compressed, decompressed
from kenspeckle.tasks.compress import USUAL, Compress
from kenspeckle.verbs.model import Model

OURS = "ours"
CODECS = ("auto", OURS, *NAMES)
SUFFIX = ".kenc"


@dataclass(frozen=True)
class Compressed:
    """A compressed image.

    Args:
        content: all bytes of the file.
        codec: what wrote it: `ours`, `jpeg`, `webp` or `avif`.
        psnr: how near the image that comes out is to the one that went in, in dB.
        wanted: the same of ours at the quality asked for.
        sizes: bytes of each file that was tried and is as near as wanted, smallest first.
        notes: what was done to the image before, such as turning it upright.
    """

    content: bytes
    codec: str
    psnr: float
    wanted: float
    sizes: Mapping[str, int]
    notes: tuple[str, ...]

    @property
    def ending(self) -> str:
        """Of the file's name; what is no new format says that it is compressed."""
        return SUFFIX if self.codec == OURS else f"-compressed{SUFFIXES[self.codec]}"

    @property
    def words(self) -> str:
        """What it is, in a line."""
        others = [f"{name} {size}" for name, size in self.sizes.items() if name != self.codec]
        words = f"{self.codec}, {len(self.content)} bytes at {self.psnr:.1f} dB"
        if self.psnr < self.wanted and self.codec != OURS:
            words += f", short of the {self.wanted:.1f} dB that were wanted"
        return f"{words} ({', '.join(others)})" if others else words


def compress(model: Model, image: Path, *, quality: int = USUAL, codec: str = "auto") -> Compressed:
    """One image in few bytes. EXIF orientation is applied, and metadata are not kept.

    Args:
        quality: of ours, 1..100. Another format is written at the lowest quality of its own that
            comes as near to the image; at its highest where none does.
        codec: one of `CODECS`; `auto` takes whichever file is smallest.

    Raises:
        UsageError: the model does something else, or there is no such codec or quality.
        UnreadableImage: the file cannot be read.
        MissingExtra: the package constriction is not installed.
    """
    network = _network(model)
    _check(quality, codec)
    try:
        picture = read_image(File(image))
    except UnreadableImage as fault:
        raise UnreadableImage(fault.reason, f"{image}: {fault}") from None
    content = compressed(network, picture.pixels, quality)
    wanted = psnr(picture.pixels, decompressed(network, content))
    files = {OURS: (content, wanted)} if codec in ("auto", OURS) else {}
    for name in {"auto": formats(), OURS: ()}.get(codec, (codec,)):
        file = reaching(picture.pixels, name, wanted)
        if codec == name or file.psnr >= wanted:
            files[name] = (file.content, file.psnr)
    best = min(files, key=lambda name: len(files[name][0]))
    sizes = sorted((len(file), name) for name, (file, _) in files.items())
    return Compressed(
        content=files[best][0],
        codec=best,
        psnr=files[best][1],
        wanted=wanted,
        sizes={name: size for size, name in sizes},
        notes=picture.notes,
    )


def decompress(model: Model, file: Path) -> NDArray[np.uint8]:
    """(H, W, 1 or 3) pixels of a file that `compress` wrote.

    Raises:
        UsageError: the model does something else.
        UnreadableImage: the file cannot be read.
        CorruptStream: a byte was changed, is missing or is too many, or it never was such a file.
        OtherModel: it was written with another model.
        MissingExtra: the package constriction is not installed.
    """
    network = _network(model)
    try:
        return decompressed(network, read_bytes(File(file)))
    except UnreadableImage as fault:
        raise UnreadableImage(fault.reason, f"{file}: {fault}") from None
    except (CorruptStream, OtherModel) as fault:
        raise type(fault)(f"{file}: {fault}") from None


def check_names(files: Sequence[Path]) -> None:
    """Refuse files of which one's result would be written over another's.

    Raises:
        UsageError: two of them have one name, but for the ending.
    """
    stem, count = Counter(file.stem for file in files).most_common(1)[0]
    if count > 1:
        both = " and ".join(str(file) for file in files if file.stem == stem)
        raise UsageError(
            f"{both} would be written to one file {stem}; say them one after the other, each "
            "with a folder of its own (--output)."
        )


def _network(model: Model) -> Codec:
    if not isinstance(model.task, Compress):
        raise UsageError("This model does not compress; train one with --task compress.")
    return cast(Codec, model.network)


def _check(quality: int, codec: str) -> None:
    if not 1 <= quality <= 100:
        raise UsageError(f"The quality should be 1 to 100, found {quality}.")
    if codec not in CODECS:
        hint = nearest(codec, CODECS) or "."
        raise UsageError(f"There is no codec '{codec}'{hint} Known: {', '.join(CODECS)}.")
    if codec in NAMES and codec not in formats():
        raise UsageError(
            f"The Pillow that is installed cannot write {NAMES[codec]}. Say --codec auto."
        )

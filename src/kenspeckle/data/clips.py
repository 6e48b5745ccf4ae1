"""A clip: what lies on disk as a folder of frames, an animated image or a video."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from kenspeckle.data.fit import Fit
from kenspeckle.data.modes import plain
from kenspeckle.data.read import decode, from_array, read_bytes, read_image
from kenspeckle.data.source import Source, content_hash
from kenspeckle.data.video import frame_count, on_disk, video_frames
from kenspeckle.errors import UnreadableImage
from kenspeckle.files import sha256

ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")  # formats whose several pictures are moments
MOST_FRAMES = 10_000  # of an animated image
MOST_PIXELS = 2**32  # of all its frames: a minute of decoding

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Stills:
    """Frames that are images by themselves.

    Args:
        names: of the frames, for people.
        sources: where they are, in the order of time.
    """

    names: tuple[str, ...]
    sources: tuple[Source, ...]

    def count(self) -> int:
        """How many frames there are."""
        return len(self.sources)

    def keys(self, numbers: Sequence[int]) -> list[bytes]:
        """The content hash of each of those frames."""
        keys = []
        for n in numbers:
            with _naming(self.names[n]):
                keys.append(content_hash(read_bytes(self.sources[n])))
        return keys

    def pixels(self, numbers: Sequence[int], fit: Fit) -> list[Pixels]:
        """(size, size, 3) of each of those frames."""
        frames = []
        for n in numbers:
            with _naming(self.names[n]):
                frames.append(_coloured(read_image(self.sources[n], fit).pixels))
        return frames


@dataclass(frozen=True, slots=True)
class Animation:
    """An animated GIF, WebP, PNG or AVIF; an image that does not move has one frame."""

    source: Source

    def count(self) -> int:
        """How many frames there are."""
        content = read_bytes(self.source)
        with _opened(content, decode(content).format) as (_, places):
            return len(places)

    def keys(self, numbers: Sequence[int]) -> list[bytes]:
        """The file's content hash with the frame's number, hashed."""
        return _numbered(content_hash(read_bytes(self.source)), numbers)

    def pixels(self, numbers: Sequence[int], fit: Fit) -> list[Pixels]:
        """(size, size, 3) of each of those frames, as they are seen: drawn over earlier ones."""
        content = read_bytes(self.source)
        first = decode(content, fit)  # refuses what is no image, in the words used for images
        with _opened(content, first.format) as (image, places):
            if len(places) == 1 and not places.start:
                return [_coloured(first.pixels) for _ in numbers]
            bits = content[24] if first.format == "PNG" else 8  # as in read.py
            return [_composed(image, places[n], n, bits, fit) for n in numbers]


@dataclass(frozen=True, slots=True)
class Video:
    """A video file, read by ffmpeg."""

    source: Source

    def count(self) -> int:
        """How many frames there are."""
        with on_disk(self.source) as path:
            return frame_count(path)

    def keys(self, numbers: Sequence[int]) -> list[bytes]:
        """The file's content hash with the frame's number, hashed."""
        with on_disk(self.source) as path:
            try:
                return _numbered(bytes.fromhex(sha256(path)), numbers)
            except OSError as error:
                text = f"the file cannot be opened ({error.strerror or error})"
                raise UnreadableImage("missing", text) from None

    def pixels(self, numbers: Sequence[int], fit: Fit) -> list[Pixels]:
        """(size, size, 3) of each of those frames."""
        with on_disk(self.source) as path:
            frames = video_frames(path, numbers, fit)
            if len(frames) < len(numbers):
                raise UnreadableImage(
                    "truncated", f"its frame {numbers[len(frames)] + 1} cannot be read"
                )
            return frames


Reel = Stills | Animation | Video


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames in the order of time: all that a reel has, or a stretch of them.

    Args:
        reel: where the frames are.
        start: the first frame's number, from 0.
        end: the number after the last one's; None is the reel's end.
    """

    reel: Reel
    start: int = 0
    end: int | None = None

    def numbers(self, count: int | None = None) -> list[int]:
        """Which of the reel's frames are looked at: `count` spread evenly, or all.

        Raises:
            UnreadableImage: the stretch holds none, or the reel cannot be read.
        """
        there = self.reel.count()
        inside = range(there)[self.start : self.end]
        if not inside:
            end = "" if self.end is None else self.end
            raise UnreadableImage(
                "empty", f"the stretch {self.start}-{end} holds none of its {there} frames"
            )
        return [inside[n] for n in spread(len(inside), len(inside) if count is None else count)]

    def read(self) -> bytes:
        """The keys of all frames one after another: what a content hash is made of."""
        return b"".join(self.keys())

    def keys(self, count: int | None = None) -> list[bytes]:
        """What each frame that `frames` gives is remembered by, 32 bytes.

        Raises:
            UnreadableImage: with the reason, and the frame's name where frames have names.
        """
        return self.reel.keys(self.numbers(count))

    def frames(self, fit: Fit, count: int | None = None) -> list[Pixels]:
        """`count` frames spread evenly, or all where there are fewer, each (size, size, 3) uint8.

        Raises:
            UnreadableImage: with the reason, and the frame's name where frames have names.
        """
        return self.reel.pixels(self.numbers(count), fit)


def spread(length: int, count: int) -> list[int]:
    """The middles of `count` equal parts of `length` frames; all of them where there are fewer.

    >>> spread(10, 4), spread(2, 4)
    ([1, 3, 6, 8], [0, 1])
    """
    count = min(count, length)
    return [(2 * part + 1) * length // (2 * count) for part in range(count)]


def moves(source: Source) -> bool:
    """Whether an image file holds several frames; False for one that cannot be read."""
    try:
        return Animation(source).count() > 1
    except UnreadableImage:
        return False


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Put the frame's name before what is wrong with it."""
    try:
        yield
    except UnreadableImage as fault:
        raise UnreadableImage(fault.reason, f"its frame {name}: {fault}") from None


def _numbered(key: bytes, numbers: Sequence[int]) -> list[bytes]:
    return [content_hash(key + n.to_bytes(8, "big")) for n in numbers]


def _coloured(pixels: Pixels) -> Pixels:
    """(H, W, 3) of (H, W, 1 or 3)."""
    return pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)


@contextmanager
def _opened(content: bytes, kind: str) -> Iterator[tuple[Image.Image, range]]:
    """An image that `decode` could read, and where Pillow has its frames."""
    with Image.open(io.BytesIO(content)) as image:
        try:
            count = int(getattr(image, "n_frames", 1)) if kind in ANIMATED else 1
        except Exception as error:  # damaged files make Pillow raise nearly every built-in error
            raise _fault(0, error) from None
        if count > MOST_FRAMES or count * image.width * image.height > MOST_PIXELS:
            raise UnreadableImage(
                "too_many_pixels",
                f"it has {count:,} frames of {image.width} x {image.height} pixels; at most "
                f"{MOST_FRAMES:,} frames and {MOST_PIXELS // 10**6:,} megapixels in all are read",
            )
        # A PNG may have a picture for programs that know no animation: no moment of it.
        yield image, range(1 if image.info.get("default_image") else 0, count)


def _composed(image: Image.Image, place: int, number: int, bits: int, fit: Fit) -> Pixels:
    """One frame as it is seen; frames have to be asked for in rising order."""
    try:
        image.seek(place)
        image.load()
        frame, _ = plain(_upright(image), bits)
    except UnreadableImage:
        raise
    except Exception as error:
        raise _fault(number, error) from None
    pixels = np.array(frame)
    return _coloured(from_array(pixels[..., None] if pixels.ndim == 2 else pixels, fit).pixels)


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF orientation says."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged metadata is no reason to refuse sound pixels
        return image


def _fault(number: int, error: Exception) -> UnreadableImage:
    text = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    broke_off = isinstance(error, EOFError) or "truncated" in text.lower()
    reason = "truncated" if broke_off else "corrupt"
    return UnreadableImage(reason, f"its frame {number + 1} cannot be read ({text[:120]})")

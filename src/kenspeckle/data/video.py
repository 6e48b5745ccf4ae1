"""Frames of a video file, through the system's ffmpeg and ffprobe."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from kenspeckle.data.fit import Fit
from kenspeckle.data.read import MAX_PIXELS, from_array, read_bytes
from kenspeckle.data.source import File, Source
from kenspeckle.errors import UnreadableImage
from kenspeckle.files import storage_error

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm"})
MOST_SECONDS = 300  # for one video; a thread decodes some 500 frames a second at 640 x 480
INSTALL = (
    "install ffmpeg (`apt install ffmpeg`, `brew install ffmpeg`, `winget install ffmpeg`), or "
    "give a folder with the frames as images"
)
# Of containers, only those of the suffixes above: a playlist could name other files of the machine.
_INPUT = (
    *("-protocol_whitelist", "file"),
    *("-format_whitelist", "mov,mp4,matroska,webm,avi"),
)
_CUT_SHORT = (b"ended prematurely", b"partial file")  # what ffprobe says of mkv, webm; mp4, mov

Pixels = NDArray[np.uint8]


@contextmanager
def on_disk(source: Source) -> Iterator[Path]:
    """The path of a video; one that lies in an archive is unpacked for as long as it is needed.

    Raises:
        UnreadableImage: it is not there, or the archive is damaged.
        StorageError: it cannot be unpacked.
    """
    if isinstance(source, File):
        if not source.path.is_file():
            raise UnreadableImage("missing", "there is no such file")
        yield source.path
        return
    content = read_bytes(source)
    with tempfile.TemporaryDirectory(prefix="kenspeckle-") as folder:
        path = Path(folder) / "video"
        try:
            path.write_bytes(content)
        except OSError as error:
            raise storage_error(path, error) from None
        yield path


def frame_count(path: Path) -> int:
    """How many frames the first video stream of a file has, by decoding it once.

    What the container says, or its number of packets, may be a few more than are ever shown.

    Raises:
        UnreadableImage: no video, damaged, or ffprobe is missing or takes over `MOST_SECONDS`.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise UnreadableImage("missing", f"the file cannot be opened ({error.strerror})") from None
    return _counted(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1024)
def _counted(path: Path, changed: int, size: int) -> int:
    """Many stretches of one video ask for the same number."""
    command = [
        *(_program("ffprobe"), "-v", "error", *_INPUT, "-select_streams", "V:0"),
        *("-count_frames", "-show_entries", "stream=nb_read_frames"),
        *("-of", "default=noprint_wrappers=1:nokey=1", _guarded(path)),
    ]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=MOST_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise _too_long() from None
    except OSError as error:
        raise _not_started("ffprobe", error) from None
    if done.returncode:
        raise _damaged(done.stderr)
    if any(sign in done.stderr for sign in _CUT_SHORT):
        raise UnreadableImage("truncated", "the file breaks off before the video is complete")
    words = done.stdout.split()
    if not words or not words[0].isdigit() or int(words[0]) == 0:
        raise UnreadableImage("empty", "the file holds no video frame")
    return int(words[0])


def video_frames(path: Path, numbers: Sequence[int], fit: Fit) -> list[Pixels]:
    """The frames of those numbers (from 0, rising), each (size, size, 3), upright and fitted.

    One frame at a time is held at its full size. A file that breaks off gives fewer.

    Raises:
        UnreadableImage: damaged, frames over 64 megapixels, or ffmpeg is missing or takes over
            `MOST_SECONDS`.
    """
    program = _program("ffmpeg")
    frames: list[Pixels] = []
    # The first since ffmpeg 5.1, the second before: without one, frames would be doubled or
    # dropped to keep an even rate.
    for rate in ("-fps_mode", "-vsync"):
        command = [
            *(
                program,
                "-v",
                "error",
                "-nostdin",
                "-xerror",
                "-threads",
                "1",
                *_INPUT,
                "-i",
                _guarded(path),
            ),
            *("-map", "0:V:0", "-vf", "select=" + "+".join(rf"eq(n\,{n})" for n in numbers)),
            *(rate, "passthrough", "-frames:v", str(len(numbers))),
            # PPM is raw RGB with each frame's own size before it: ffprobe's size is another one
            # where the file says that it is to be turned.
            *("-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "pipe:1"),
        ]
        frames, complaint = _read(command, fit)
        if b"Unrecognized option" not in complaint:
            break
    if complaint and len(frames) < len(numbers):
        raise _damaged(complaint)
    return frames


def _read(command: Sequence[str], fit: Fit) -> tuple[list[Pixels], bytes]:
    """The frames a command writes, and what it complains about where it fails."""
    is_late = threading.Event()
    with tempfile.TemporaryFile() as complaints:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints
            )
        except OSError as error:
            raise _not_started("ffmpeg", error) from None

        def stop() -> None:
            is_late.set()
            process.kill()

        timer = threading.Timer(MOST_SECONDS, stop)
        timer.start()
        with process:
            try:
                assert process.stdout is not None
                frames = [from_array(pixels, fit).pixels for pixels in _pictures(process.stdout)]
            except BaseException:
                process.kill()
                raise
            finally:
                timer.cancel()
        if is_late.is_set():
            raise _too_long()
        complaints.seek(0)
        said = complaints.read(4096) or b"it broke off"
        return frames, said if process.returncode else b""


def _pictures(stream: IO[bytes]) -> Iterator[Pixels]:
    """(H, W, 3) of each whole PPM picture in a stream."""
    while stream.readline(8) == b"P6\n":
        width, height = (int(side) for side in stream.readline(32).split())
        stream.readline(8)  # the highest level, 255
        if width * height > MAX_PIXELS:
            raise UnreadableImage(
                "too_many_pixels",
                f"its frames are {width} x {height} pixels; at most 64 megapixels are read",
            )
        content = stream.read(3 * width * height)
        if len(content) == 3 * width * height:
            yield np.frombuffer(content, np.uint8).reshape(height, width, 3).copy()


def _program(name: str) -> str:
    """Where the system has that program.

    Raises:
        UnreadableImage: nowhere; the text says what to do.
    """
    found = shutil.which(name)
    if found is None:
        raise UnreadableImage(
            "needs_extra", f"a video needs the program {name}, which is not installed: {INSTALL}"
        )
    return found


def _guarded(path: Path) -> str:
    """A name that is neither an option nor a protocol."""
    return f"file:{os.fspath(path)}"


def _not_started(name: str, error: OSError) -> UnreadableImage:
    text = f"the program {name} cannot be started ({error.strerror or error}): {INSTALL}"
    return UnreadableImage("needs_extra", text)


def _too_long() -> UnreadableImage:
    return UnreadableImage(
        "too_long", f"it takes more than {MOST_SECONDS} seconds to read; cut it into shorter videos"
    )


def _damaged(complaint: bytes) -> UnreadableImage:
    """What ffmpeg says first, on one line."""
    lines = complaint.decode("utf-8", "replace").strip().splitlines() or ["no reason was given"]
    first = lines[0].rpartition("] ")[2][:160]  # without which part of ffmpeg says it
    return UnreadableImage("corrupt", f"it cannot be read as a video ({first})")

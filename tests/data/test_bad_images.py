"""Broken, odd and hostile files of public collections, against a second decoder if possible."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import png
import pytest
from numpy.typing import NDArray

from kenspeckle.data.read import Fit, decode
from kenspeckle.errors import UnreadableImage

ARCHIVE = Path(__file__).parents[3] / "shared" / "data" / "bad-images.zip"
EVERY_FILE = r"""
import json, re, sys, zipfile
from pathlib import Path
from kenspeckle.data.read import Fit, decode
from kenspeckle.errors import UnreadableImage
seen = {}
with zipfile.ZipFile(sys.argv[1]) as archive:
    for name in archive.namelist():
        if name.endswith("/"):
            continue
        content = archive.read(name)
        for fit in (None, Fit(64)):
            try:
                reason = decode(content, fit).format
            except UnreadableImage as fault:
                reason = fault.reason
            seen[reason] = seen.get(reason, 0) + 1
# Not getrusage: its maximum is inherited from the process that started this one.
peak = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())
print(json.dumps([seen, int(peak[1])]))
"""
pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def archive() -> Iterator[zipfile.ZipFile]:
    if not ARCHIVE.is_file():
        pytest.skip(f"{ARCHIVE} is not there: it lies beside the checkout, in ../shared/data")
    with zipfile.ZipFile(ARCHIVE) as opened:
        yield opened


def members(archive: zipfile.ZipFile, folder: str, ending: str = "") -> dict[str, bytes]:
    """Number-free file name -> content."""
    names = [n for n in archive.namelist() if f"/{folder}/" in n and n.endswith(ending)]
    return {Path(n).name.partition("_")[2]: archive.read(n) for n in names if not n.endswith("/")}


def by_pypng(content: bytes) -> NDArray[np.uint8]:
    """(H, W, C) as pypng decodes it, brought to 8 bits and over white as `plain` promises."""
    reader = png.Reader(bytes=content)
    reader.preamble()
    reader.sbit = None  # else it drops the bits that sBIT calls insignificant
    width, height, rows, info = reader.asDirect()
    levels = np.array([list(row) for row in rows], dtype=np.int64).reshape(height, width, -1)
    bits, has_alpha = info["bitdepth"], info["alpha"]
    is_deep_grey = bits == 16 and info["greyscale"] and (not has_alpha or reader.trns is not None)
    if is_deep_grey:
        levels = (levels + 128) // 257
    else:  # 16-bit colour and grey with alpha: Pillow keeps the high byte
        levels = levels >> (bits - 8) if bits > 8 else levels * 255 // (2**bits - 1)
    if not has_alpha:
        return levels.astype(np.uint8)
    colour, alpha = levels[..., :-1], levels[..., -1:]
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def test_valid_pngs_agree_with_a_second_decoder(archive):
    compared = 0
    for name, content in members(archive, "pngsuite", ".png").items():
        if name.startswith("x"):
            continue
        difference = np.abs(decode(content).pixels.astype(int) - by_pypng(content))
        # Mixing with white may round differently by one; everything else is equal.
        assert difference.max() <= (1 if by_alpha(content) else 0), name
        compared += 1
    assert compared > 150


def by_alpha(content: bytes) -> bool:
    return content[25] in (4, 6) or b"tRNS" in content


def test_invalid_pngs_are_refused(archive):
    invalid = {n: c for n, c in members(archive, "pngsuite", ".png").items() if n.startswith("x")}
    assert invalid
    for content in invalid.values():
        with pytest.raises(UnreadableImage):
            decode(content)


@pytest.mark.parametrize("shape", ["Landscape", "Portrait"])
def test_all_eight_orientations_show_the_same_scene(archive, shape):
    photos = members(archive, "exif-orientation")
    pictures = [decode(photos[n], Fit(96)) for n in sorted(photos) if n.startswith(shape)]
    assert len(pictures) >= 8
    assert len({(picture.width, picture.height) for picture in pictures}) == 1
    for picture in pictures[1:]:  # each carries its number and was compressed anew
        assert np.abs(picture.pixels.astype(int) - pictures[0].pixels).mean() < 12


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_every_bad_file_gives_a_picture_or_a_reason_in_little_memory_and_silence(archive):
    command = [sys.executable, "-c", EVERY_FILE, str(ARCHIVE)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stderr == ""
    seen, peak_kilobytes = json.loads(run.stdout)
    assert sum(seen.values()) == 2 * 2056
    assert seen["PNG"] > 300
    assert peak_kilobytes < 256 * 1024

"""Clips of images and animated images: which frames, in what state, and what is refused."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kenspeckle.data import clips
from kenspeckle.data.clips import Animation, Clip, Stills, moves, spread
from kenspeckle.data.fit import Fit
from kenspeckle.data.read import read_image
from kenspeckle.data.source import File, content_hash
from kenspeckle.errors import UnreadableImage

COLOURS = ["red", "lime", "blue", "white", "black"]


def stills(folder: Path, colours: Sequence[str] = COLOURS, ending: str = "png") -> Stills:
    names = [f"{number:02d}.{ending}" for number in range(len(colours))]
    for name, colour in zip(names, colours, strict=True):
        Image.new("RGB", (6, 4), colour).save(folder / name)
    return Stills(tuple(names), tuple(File(folder / name) for name in names))


def animated(path: Path, colours: Sequence[str] = COLOURS, **options: object) -> Animation:
    first, *others = [Image.new("RGB", (6, 4), colour) for colour in colours]
    first.save(path, save_all=True, append_images=others, duration=100, **options)
    return Animation(File(path))


def middles(frames: Sequence[np.ndarray]) -> list[tuple[int, ...]]:
    return [tuple(int(v) for v in frame[4, 4]) for frame in frames]


def refused(clip: Clip) -> UnreadableImage:
    with pytest.raises(UnreadableImage) as caught:
        clip.frames(Fit(8))
    return caught.value


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 200), st.integers(1, 50))
def test_frames_are_spread_evenly(length, count):
    places = spread(length, count)
    assert len(places) == min(length, count)
    assert places == sorted(set(places))
    gaps = np.diff(places)
    assert not len(gaps) or gaps.max() - gaps.min() <= 1


def test_one_frame_is_taken_from_the_middle():
    assert spread(9, 1) == [4]


def test_frames_of_a_folder_are_as_images_are_read(tmp_path):
    reel = stills(tmp_path)
    frames = Clip(reel).frames(Fit(8))
    for frame, source in zip(frames, reel.sources, strict=True):
        assert np.array_equal(frame, read_image(source, Fit(8)).pixels)


def test_grey_frames_have_three_channels(tmp_path):
    Image.new("L", (8, 8), 7).save(tmp_path / "a.png")
    (frame,) = Clip(Stills(("a.png",), (File(tmp_path / "a.png"),))).frames(Fit(8), 5)
    assert frame.shape == (8, 8, 3)
    assert (frame == 7).all()


def test_a_stretch_ends_before_its_end(tmp_path):
    clip = Clip(stills(tmp_path), 1, 3)
    assert middles(clip.frames(Fit(8), 9)) == [(0, 255, 0), (0, 0, 255)]
    assert clip.numbers() == [1, 2]


def test_a_stretch_without_an_end_or_beyond_it_ends_with_the_clip(tmp_path):
    reel = stills(tmp_path)
    assert Clip(reel, 3).numbers() == Clip(reel, 3, 99).numbers() == [3, 4]


@pytest.mark.parametrize(("start", "end"), [(5, None), (2, 2), (3, 1)])
def test_a_stretch_that_holds_no_frame_is_refused(tmp_path, start, end):
    fault = refused(Clip(stills(tmp_path), start, end))
    assert fault.reason == "empty"
    assert f"{start}-" in str(fault)
    assert "5 frames" in str(fault)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "empty"), (b"no image", "not_an_image"), (None, "missing")]
)
def test_a_frame_that_cannot_be_read_is_named(tmp_path, content, reason):
    reel = stills(tmp_path)
    (tmp_path / "03.png").unlink()
    if content is not None:
        (tmp_path / "03.png").write_bytes(content)
    fault = refused(Clip(reel))
    assert fault.reason == reason
    assert "03.png" in str(fault)
    assert len(Clip(reel, 0, 3).frames(Fit(8))) == 3


def test_frames_that_are_not_looked_at_are_not_decoded(tmp_path):
    reel = stills(tmp_path)
    (tmp_path / "00.png").write_bytes(b"no image")
    assert middles(Clip(reel).frames(Fit(8), 1)) == [(0, 0, 255)]


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.gif", {}), ("a.webp", {"lossless": True}), ("a.png", {}), ("a.avif", {"quality": 100})],
)
def test_every_frame_of_an_animated_image(tmp_path, name, options):
    clip = Clip(animated(tmp_path / name, **options))
    assert clip.reel.count() == 5
    for frame, colour in zip(clip.frames(Fit(8)), COLOURS, strict=True):
        expected = np.array(Image.new("RGB", (1, 1), colour))[0, 0]
        assert np.abs(frame[4, 4].astype(int) - expected).max() <= 3
    assert len(clip.frames(Fit(8), 2)) == 2
    assert Clip(clip.reel, 1, 3).numbers() == [1, 2]


@pytest.mark.parametrize("disposal", [1, 2, 3])
@pytest.mark.parametrize("kind", ["gif", "png"])
def test_a_frame_is_drawn_over_what_its_disposal_leaves(tmp_path, kind, disposal):
    """A red square that moves over nothing: a trail, or white where it was."""
    frames = []
    for left in (0, 4):
        frame = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
        frame.paste((255, 0, 0, 255), (left, 0, left + 4, 8))
        frames.append(frame)
    path = tmp_path / f"a.{kind}"
    # APNG numbers disposals from 0 and calls blending over what is there 1.
    more = {"disposal": disposal} if kind == "gif" else {"disposal": disposal - 1, "blend": 1}
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, **more)
    first, second = Clip(Animation(File(path))).frames(Fit(8))
    red, white = [255, 0, 0], [255, 255, 255]
    assert first[4, 1].tolist() == red
    assert first[4, 6].tolist() == white
    assert second[4, 6].tolist() == red
    assert second[4, 1].tolist() == (red if disposal == 1 else white)


def test_an_image_that_does_not_move_is_a_clip_of_one_frame(tmp_path):
    for name in ("a.jpg", "a.gif", "a.tif"):
        path = tmp_path / name
        Image.new("RGB", (6, 4), "blue").save(path)
        clip = Clip(Animation(File(path)))
        assert np.array_equal(clip.frames(Fit(8), 4), [read_image(File(path), Fit(8)).pixels])


def test_the_picture_for_programs_that_know_no_animation_is_no_frame(tmp_path):
    path = tmp_path / "a.png"
    cover, *moving = [Image.new("RGB", (6, 4), colour) for colour in ("black", "red", "lime")]
    cover.save(path, save_all=True, append_images=moving, default_image=True)
    assert middles(Clip(Animation(File(path))).frames(Fit(8))) == [(255, 0, 0), (0, 255, 0)]


def test_frames_of_an_image_that_says_it_is_turned_are_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    frames = [Image.new("RGB", (8, 4), colour) for colour in ("red", "lime")]
    for frame in frames:
        frame.paste("white", (0, 0, 4, 4))
    path = tmp_path / "a.webp"
    frames[0].save(path, save_all=True, append_images=frames[1:], exif=exif, lossless=True)
    for frame, colour in zip(
        Clip(Animation(File(path))).frames(Fit(8)), ([255, 0, 0], [0, 255, 0]), strict=True
    ):
        assert frame[1, 4].tolist() == [255] * 3
        assert frame[6, 4].tolist() == colour
        assert frame[4, 0].tolist() == [128] * 3


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_an_animated_image_that_breaks_off_is_refused(tmp_path, name):
    path = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    first, *others = [Image.fromarray(frame) for frame in noise]
    first.save(path, save_all=True, append_images=others)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 7 // 10])
    fault = refused(Clip(Animation(File(path))))
    assert fault.reason in ("truncated", "corrupt")


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_damage_is_refused_or_read_and_never_anything_else(data):
    memory = io.BytesIO()
    first, *others = [Image.new("RGB", (6, 4), colour) for colour in COLOURS]
    kind = data.draw(st.sampled_from(["GIF", "WEBP", "PNG"]))
    first.save(memory, kind, save_all=True, append_images=others)
    content = bytearray(memory.getvalue())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    try:
        frames = Clip(Animation(_Memory(bytes(content)))).frames(Fit(8))
    except UnreadableImage:
        return
    assert all(frame.shape == (8, 8, 3) for frame in frames)


class _Memory:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self) -> bytes:
        return self.content


@pytest.mark.parametrize(("limit", "most"), [("MOST_FRAMES", 4), ("MOST_PIXELS", 5 * 24 - 1)])
def test_more_frames_than_are_allowed_are_refused(tmp_path, monkeypatch, limit, most):
    clip = Clip(animated(tmp_path / "a.gif"))
    monkeypatch.setattr(clips, limit, most)
    fault = refused(clip)
    assert fault.reason == "too_many_pixels"
    assert "5 frames of 6 x 4" in str(fault)


def test_what_moves_is_told_by_content(tmp_path):
    assert moves(animated(tmp_path / "a.webp").source)
    Image.new("RGB", (6, 4)).save(tmp_path / "b.webp")
    (tmp_path / "c.webp").write_bytes(b"no image")
    assert not moves(File(tmp_path / "b.webp"))
    assert not moves(File(tmp_path / "c.webp"))


def test_a_clip_is_told_by_the_frames_it_shows(tmp_path):
    reel = stills(tmp_path)
    expected = b"".join(content_hash(source.read()) for source in reel.sources)
    assert Clip(reel).read() == expected
    assert Clip(reel, 1, 3).read() == expected[32:96]
    assert Clip(reel).keys(1) == [expected[64:96]]
    moving = animated(tmp_path / "a.gif")
    assert Clip(moving, 1, 3).read() == Clip(moving).read()[32:96]
    assert len(set(Clip(moving).keys())) == 5
    other = animated(tmp_path / "b.gif", COLOURS[::-1])
    assert not set(Clip(moving).keys()) & set(Clip(other).keys())


def test_a_missing_frame_has_no_key(tmp_path):
    reel = stills(tmp_path)
    (tmp_path / "02.png").unlink()
    with pytest.raises(UnreadableImage, match=r"02\.png"):
        Clip(reel).read()

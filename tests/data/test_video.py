"""Videos through ffmpeg: what it is asked, what becomes of its answers, and what if it is missing.

A small program stands for ffmpeg and ffprobe. Its "video" is a JSON file that says how many frames
there are, how large, and how the program is to misbehave; frame n is of the one level n.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from kenspeckle.data import video
from kenspeckle.data.clips import Clip, Video
from kenspeckle.data.fit import Fit
from kenspeckle.data.source import File, ZipMember
from kenspeckle.data.video import frame_count, on_disk, video_frames
from kenspeckle.errors import UnreadableImage

PROGRAM = r"""
import json, re, sys, time
from pathlib import Path

given = sys.argv[1:]
name = next(word for word in given if word.startswith("file:"))
with Path(sys.argv[0]).with_suffix(".log").open("a") as log:
    log.write(json.dumps(given) + "\n")
asked = json.loads(Path(name.removeprefix("file:")).read_text())
if asked.get("late"):
    time.sleep(30)
if sys.argv[0].endswith("ffprobe"):
    sys.stderr.write(asked.get("complaint", ""))
    print(asked["frames"])
    sys.exit(asked.get("code", 0))
if asked.get("is_old") and "-fps_mode" in given:
    sys.exit("Unrecognized option 'fps_mode'.")
for number in re.findall(r"eq\(n\\,(\d+)\)", given[given.index("-vf") + 1]):
    if int(number) < asked.get("breaks_at", asked["frames"]):
        size = (asked["width"], asked["height"])
        sys.stdout.buffer.write(b"P6\n%d %d\n255\n" % size)
        sys.stdout.buffer.write(bytes([int(number)]) * (3 * size[0] * size[1]))
if "breaks_at" in asked:
    sys.exit("[h264 @ 0x1] concealing nothing\nmore")
"""


@pytest.fixture
def programs(tmp_path, monkeypatch) -> Path:
    """The folder of the two programs, the only one on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("ffmpeg", "ffprobe"):
        (folder / name).write_text(f"#!{sys.executable} -IS\n{PROGRAM}")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def film(folder: Path, name: str = "a.mp4", **facts: object) -> Path:
    path = folder / name
    path.write_text(json.dumps({"frames": 9, "width": 6, "height": 4, **facts}))
    return path


def given(programs: Path, name: str = "ffmpeg") -> list[list[str]]:
    return [json.loads(line) for line in (programs / f"{name}.log").read_text().splitlines()]


def refused(path: Path) -> UnreadableImage:
    with pytest.raises(UnreadableImage) as caught:
        Clip(Video(File(path))).frames(Fit(8), 3)
    return caught.value


def levels(frames: list[np.ndarray]) -> list[int]:
    return [int(frame[4, 4, 0]) for frame in frames]


def test_the_chosen_frames_come_fitted(programs, tmp_path):
    frames = video_frames(film(tmp_path), [1, 4, 7], Fit(8))
    assert levels(frames) == [1, 4, 7]
    assert all(frame.shape == (8, 8, 3) for frame in frames)
    assert (frames[0][0] == 128).all()  # padding above a frame that is wider than high


def test_a_clip_is_looked_at_at_even_distances(programs, tmp_path):
    clip = Clip(Video(File(film(tmp_path))))
    assert levels(clip.frames(Fit(8), 3)) == [1, 4, 7]
    assert levels(clip.frames(Fit(8))) == list(range(9))
    assert levels(clip.frames(Fit(8), 20)) == list(range(9))


def test_a_stretch_of_a_video(programs, tmp_path):
    assert levels(Clip(Video(File(film(tmp_path))), 3, 6).frames(Fit(8))) == [3, 4, 5]


def test_a_video_of_one_frame(programs, tmp_path):
    assert levels(Clip(Video(File(film(tmp_path, frames=1)))).frames(Fit(8), 10)) == [0]


def test_a_frame_of_the_wanted_size_can_be_written_to(programs, tmp_path):
    (frame,) = video_frames(film(tmp_path, width=8, height=8), [2], Fit(8))
    frame[0] = 0


@pytest.mark.parametrize("name", ["-i.mp4", "http:x.mp4", "a b'c.mp4", "ä%03d.mp4"])
def test_a_name_is_neither_an_option_nor_a_protocol(programs, tmp_path, monkeypatch, name):
    film(tmp_path, name)
    monkeypatch.chdir(tmp_path)
    assert len(Clip(Video(File(Path(name)))).frames(Fit(8), 2)) == 2
    for program in ("ffmpeg", "ffprobe"):
        words = given(programs, program)[0]
        assert f"file:{name}" in words
        assert words[words.index("-protocol_whitelist") + 1] == "file"
        assert "concat" not in words[words.index("-format_whitelist") + 1]
    assert "-nostdin" in given(programs)[0]


def test_an_older_ffmpeg_is_asked_in_its_own_words(programs, tmp_path):
    assert levels(video_frames(film(tmp_path, is_old=True), [0, 8], Fit(8))) == [0, 8]
    assert ["-vsync" in words for words in given(programs)] == [False, True]


def test_frames_are_counted_once_for_all_stretches(programs, tmp_path):
    path = film(tmp_path)
    assert [frame_count(path) for _ in range(3)] == [9] * 3
    assert len(given(programs, "ffprobe")) == 1
    film(tmp_path, frames=12345)
    assert frame_count(path) == 12345


@pytest.mark.parametrize("program", ["ffmpeg", "ffprobe"])
def test_without_the_programs_it_is_said_what_to_do(programs, tmp_path, program):
    (programs / program).unlink()
    fault = refused(film(tmp_path))
    assert fault.reason == "needs_extra"
    assert program in str(fault)
    assert "apt install ffmpeg" in str(fault)
    assert "folder with the frames" in str(fault)


def test_a_program_that_cannot_be_started(programs, tmp_path):
    (programs / "ffprobe").write_text("#!/no/such/program\n")
    fault = refused(film(tmp_path))
    assert fault.reason == "needs_extra"
    assert "cannot be started" in str(fault)


@pytest.mark.parametrize(
    ("facts", "reason", "words"),
    [
        ({"code": 1, "complaint": "[mov @ 0x1] moov atom not found\nx"}, "corrupt", "(moov atom"),
        ({"code": 1}, "corrupt", "no reason was given"),
        ({"frames": 0}, "empty", "no video frame"),
        ({"frames": "N/A"}, "empty", "no video frame"),
        ({"complaint": "[matroska @ 0x1] File ended prematurely"}, "truncated", "breaks off"),
        ({"complaint": "stream 0, offset 0xf811: partial file"}, "truncated", "breaks off"),
        ({"breaks_at": 5}, "corrupt", "(concealing nothing)"),
        ({"width": 70000, "height": 1000}, "too_many_pixels", "70000 x 1000"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_its_reason(programs, tmp_path, facts, reason, words):
    fault = refused(film(tmp_path, **facts))
    assert fault.reason == reason
    assert words in str(fault)


def test_fewer_frames_than_were_counted(programs, tmp_path, monkeypatch):
    monkeypatch.setattr(video, "_counted", lambda *_: 30)
    fault = refused(film(tmp_path))
    assert fault.reason == "truncated"
    assert "frame 16" in str(fault)  # of 5, 15 and 25, counted from 0


def test_a_program_that_does_not_end_is_stopped(programs, tmp_path, monkeypatch):
    monkeypatch.setattr(video, "MOST_SECONDS", 0.2)
    path = film(tmp_path, late=True)
    assert refused(path).reason == "too_long"
    with pytest.raises(UnreadableImage) as caught:
        video_frames(path, [0], Fit(8))
    assert caught.value.reason == "too_long"


def test_a_video_that_is_not_there(programs, tmp_path):
    assert refused(tmp_path / "none.mp4").reason == "missing"


def test_a_video_in_an_archive_is_unpacked_for_as_long_as_it_is_needed(programs, tmp_path):
    film(tmp_path)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a.mp4", "a.mp4")
    inside = ZipMember(tmp_path / "a.zip", "a.mp4")
    assert levels(Clip(Video(inside)).frames(Fit(8), 3)) == [1, 4, 7]
    with on_disk(inside) as path:
        assert path.is_file()
    assert not path.exists()
    assert Clip(Video(inside)).read() == Clip(Video(File(tmp_path / "a.mp4"))).read()

"""Folders of frames, animated images, videos and tables of them become clips."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from PIL import Image

from kenspeckle.data.clips import Animation, Clip, Stills, Video
from kenspeckle.data.fit import Fit
from kenspeckle.data.layouts.archive import list_archive
from kenspeckle.data.layouts.clips import find_reels, read_clip_folders
from kenspeckle.data.layouts.listing import Found, list_folder
from kenspeckle.errors import DataError, EmptyDataset, UnreadableImage

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "fight-clips.zip"


def place(root: Path, *names: str) -> Path:
    """Images by their names: GIF, WebP and APNG with three frames, the others with one."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("RGB", (4, 4), "red")
        if path.suffix in (".gif", ".webp", ".apng"):
            others = [Image.new("RGB", (4, 4), colour) for colour in ("lime", "blue")]
            kind = "PNG" if path.suffix == ".apng" else None
            image.save(path, kind, save_all=True, append_images=others)
        elif path.suffix in (".jpg", ".png"):
            image.save(path)
        else:
            path.write_bytes(b"x")
    return root


def table(root: Path, text: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "labels.csv").write_text(text, "utf-8")
    return root


def read(root: Path, labelled: bool = True, columns: dict[str, str] | None = None) -> Found:
    found = read_clip_folders(list_folder(root), columns, labelled)
    assert found is not None
    assert found.reads == "clips"
    return found


def said(found: Found, word: str) -> str:
    return next((note for note in found.notes if word in note), "")


def labels(found: Found) -> list[tuple[str, str | None]]:
    return [(sample.path, sample.label) for sample in found.samples]


def kinds(found: Found) -> list[type]:
    return [type(sample.source.reel) for sample in found.samples]


def test_a_folder_of_frames_in_a_class_folder_is_a_clip(tmp_path):
    found = read(place(tmp_path, *[f"run/{c}/{n}.jpg" for c in (2, 10) for n in (1, 11, 2)]))
    assert labels(found) == [("run/2", "run"), ("run/10", "run")]
    assert found.samples[0].source.reel.names == ("run/2/1.jpg", "run/2/2.jpg", "run/2/11.jpg")
    assert found.layout == "clips in class folders"
    assert found.notes == ()


def test_animated_images_and_videos_in_a_class_folder_are_clips(tmp_path):
    names = ("run/a.gif", "run/b.webp", "run/c.apng", "run/d.mp4", "sit/e.MKV", "sit/f/1.png")
    found = read(place(tmp_path, *names))
    assert [label for _, label in labels(found)] == ["run"] * 4 + ["sit"] * 2
    assert kinds(found) == [Animation] * 3 + [Video] * 2 + [Stills]


def test_a_nested_class_is_its_relative_path(tmp_path):
    found = read(place(tmp_path, "sport/run/a/1.jpg", "sport/run/b.mp4", "sport/row/c.gif"))
    assert labels(found) == [
        ("sport/row/c.gif", "sport/row"),
        ("sport/run/a", "sport/run"),
        ("sport/run/b.mp4", "sport/run"),
    ]


def test_a_folder_of_webp_is_a_clip_unless_they_move(tmp_path):
    place(tmp_path, "run/moving/1.webp", "run/moving/2.webp")
    for name in ("1.webp", "2.webp"):
        (tmp_path / "run/still").mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "run/still" / name)
    assert labels(read(tmp_path)) == [
        ("run/moving/1.webp", "run/moving"),
        ("run/moving/2.webp", "run/moving"),
        ("run/still", "run"),
    ]


def test_splits_are_known_by_name_and_what_lies_outside_is_said(tmp_path):
    names = ("Train/run/a/1.jpg", "valid/run/b.gif", "test/run/c.mp4", "more/run/d.mp4")
    found = read(place(tmp_path, *names))
    assert [(s.path, s.label, s.split) for s in found.samples] == [
        ("test/run/c.mp4", "run", "test"),
        ("Train/run/a", "run", "train"),
        ("valid/run/b.gif", "run", "val"),
    ]
    assert found.layout == "clips in class folders below test, Train, valid"
    assert "'more/run/d.mp4'" in said(found, "outside the class folders of a split")


def test_a_class_may_be_called_train(tmp_path):
    found = read(place(tmp_path, "bus/1/1.jpg", "train/1/1.jpg"))
    assert labels(found) == [("bus/1", "bus"), ("train/1", "train")]


@pytest.mark.parametrize(
    "names", [("train/1.gif", "test/2.gif"), ("train/a/1.jpg", "test/b/1.jpg")]
)
def test_splits_without_class_folders_are_not_two_classes(tmp_path, names):
    with pytest.raises(DataError, match="no class folders"):
        read(place(tmp_path, *names))


def test_what_is_left_out_is_said(tmp_path):
    names = ("run/a/1.jpg", "run/a/2.jpg", "run/a/preview.gif", "run/loose.jpg", "top.mp4")
    found = read(place(tmp_path, *names, "run/a/notes.txt", "run/a/b.xml"))
    assert labels(found) == [("run/a", "run")]
    assert "'run/a/preview.gif', 'run/loose.jpg'" in said(found, "2 images in no folder of frames")
    assert "'top.mp4'" in said(found, "1 clip outside the class folders,")
    assert ".xml 1, .txt 1" in said(found, "not an image by name")


def test_a_clip_of_a_single_frame_is_taken_and_said(tmp_path):
    found = read(place(tmp_path, "run/a/1.jpg", "run/b/1.jpg", "run/b/2.jpg"))
    assert len(found.samples) == 2
    assert said(found, "single frame") == "1 clip has a single frame: 'run/a'"


def test_where_there_is_no_clip_another_layout_may_fit(tmp_path):
    place(tmp_path, "run/1.jpg", "sit/2.jpg", "notes.txt")
    assert read_clip_folders(list_folder(tmp_path), None, True) is None


def test_unlabelled_clips_are_taken_from_every_folder(tmp_path):
    found = read(place(tmp_path, "a/1.jpg", "a/b/1.jpg", "c.mp4", "d/e.gif", "train/1.jpg"), False)
    assert labels(found) == [(n, None) for n in ("a", "a/b", "c.mp4", "d/e.gif", "train")]
    assert all(sample.split is None for sample in found.samples)


def test_unlabelled_frames_at_the_top_are_one_clip(tmp_path):
    found = read(place(tmp_path, "1.jpg", "2.jpg"), labelled=False)
    assert labels(found) == [(".", None)]
    assert found.samples[0].source.reel.count() == 2


def test_clips_in_an_archive(tmp_path):
    place(tmp_path / "in", "run/a/1.jpg", "run/a/2.jpg", "sit/b.gif")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in sorted((tmp_path / "in").rglob("*.*")):
            archive.write(path, path.relative_to(tmp_path / "in"))
    found = read_clip_folders(list_archive(tmp_path / "a.zip"), None, True)
    assert [len(sample.source.frames(Fit(4))) for sample in found.samples] == [2, 3]


def test_a_table_names_clips(tmp_path):
    names = ("x/a/1.jpg", "x/a/2.jpg", "x/b.gif", "c.mp4", "left/1.jpg", "left/2.jpg", "d.jpg")
    text = "file,label,split\nx\\a/,run,train\n./x/b.gif,sit,test\nc.mp4,run,\nd.jpg,sit,\n"
    found = read(table(place(tmp_path, *names), text))
    assert [(s.path, s.label, s.split, s.group) for s in found.samples] == [
        ("c.mp4", "run", None, None),
        ("d.jpg", "sit", None, None),
        ("x/a", "run", "train", None),
        ("x/b.gif", "sit", "test", None),
    ]
    assert kinds(found) == [Video, Stills, Stills, Animation]
    assert said(found, "not named") == "1 clip not named in labels.csv, left out: 'left'"
    assert "'d.jpg'" in said(found, "single frame")
    assert found.layout.startswith("clips of the table labels.csv (path from 'file'")


def test_a_label_that_names_no_clip_is_said_and_fails_to_read(tmp_path):
    found = read(table(place(tmp_path, "a/1.jpg"), "file,label\na,run\nb,run\nc.mp4,run\n"))
    assert "'b', 'c.mp4'" in said(found, "2 files named in the table not there")
    for sample in found.samples[1:]:
        with pytest.raises(UnreadableImage, match="no such file"):
            sample.source.frames(Fit(4))


def test_stretches_of_a_clip_are_samples_of_one_group(tmp_path):
    place(tmp_path, *[f"a/{n}.jpg" for n in range(10)], "b/1.jpg", "b/2.jpg")
    text = "file,Start,end,label\na,0,4,run\na,4,10,sit\na,8,,run\nb,,,run\n"
    found = read(table(tmp_path, text))
    assert [(s.path, s.label, s.group) for s in found.samples] == [
        ("a#0-4", "run", "a"),
        ("a#4-10", "sit", "a"),
        ("a#8-", "run", "a"),
        ("b", "run", None),
    ]
    assert [s.source.numbers() for s in found.samples[:3]] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7, 8, 9],
        [8, 9],
    ]


def test_stretches_without_frames_are_left_out_and_late_ends_are_said(tmp_path):
    place(tmp_path, "a/1.jpg", "a/2.jpg", "b.gif")
    text = "file,start,end,label\na,0,9,run\na,1,1,run\na,2,4,run\nb.gif,3,5,sit\nb.gif,2.0,3,sit\n"
    found = read(table(tmp_path, text))
    assert [s.path for s in found.samples] == ["a#0-9", "b.gif#2-3"]
    assert "'a#1-1', 'a#2-4', 'b.gif#3-5'" in said(found, "3 stretches without a frame")
    assert "'a#0-9'" in said(found, "1 stretch said to end after")
    assert "'b.gif#2-3'" in said(found, "single frame")


def test_a_table_of_nothing_but_empty_stretches(tmp_path):
    text = "file,start,end,label\na,5,9,run\n"
    with pytest.raises(EmptyDataset, match="numbered from 0"):
        read(table(place(tmp_path, "a/1.jpg"), text))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("a,x,4,run", r"line 2: start should be a frame's number from 0 up, found 'x'"),
        ("a,0,-1,run", "line 2: end should be"),
        ("a,0.5,1,run", "line 2: start should be"),
        (",0,1,run", "line 2: the row names no file"),
        ("../a,0,1,run", "outside"),
        ("a,0,1,run\na,0,1,sit", r"line 3: a#0-1 was named before.*label 'run' and 'sit'"),
    ],
)
def test_a_wrong_row_is_refused(tmp_path, rows, words):
    place(tmp_path, "a/1.jpg", "a/2.jpg")
    with pytest.raises(DataError, match=words):
        read(table(tmp_path, f"file,start,end,label\n{rows}\n"))


@pytest.mark.parametrize(("column", "values"), [("split", ("train", "test")), ("group", "xy")])
def test_a_clip_is_never_split(tmp_path, column, values):
    place(tmp_path, "a/1.jpg", "a/2.jpg")
    rows = f"a,0,1,run,{values[0]}\na,1,2,run,{values[1]}\n"
    with pytest.raises(DataError, match=f"several {column}s"):
        read(table(tmp_path, f"file,start,end,label,{column}\n{rows}"))


def test_the_groups_of_a_table_are_kept(tmp_path):
    text = "file,start,end,label,group\na,0,1,run,p\na,1,2,sit,p\nb,,,run,p\n"
    found = read(table(place(tmp_path, "a/1.jpg", "a/2.jpg", "b/1.jpg"), text))
    assert {sample.group for sample in found.samples} == {"p"}


def test_columns_may_be_named_and_a_table_is_left_alone_where_none_are_wanted(tmp_path):
    table(place(tmp_path, "a/1.jpg", "b/1.jpg"), "clip,label\na,run\n")
    found = read(tmp_path, columns={"path": "clip"})
    assert labels(found) == [("a", "run")]
    assert labels(read(tmp_path, labelled=False)) == [("a", None), ("b", None)]
    assert labels(read(tmp_path, False, {"path": "clip"})) == [("a", None)]


def test_stretches_of_a_video_that_nobody_can_count_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    found = read(table(place(tmp_path, "a.mp4"), "file,start,end,label\na.mp4,5,90,run\n"))
    (sample,) = found.samples
    assert sample.source == Clip(Video(sample.source.reel.source), 5, 90)
    with pytest.raises(UnreadableImage, match="ffmpeg"):
        sample.source.frames(Fit(4))


@pytest.mark.shared
def test_the_clips_of_a_real_set():
    if not SHARED.is_file():
        pytest.skip(f"{SHARED} is not there: it lies beside the checkout, in ../shared/data")
    listing = list_archive(SHARED).below("fight-clips")
    found = read_clip_folders(listing, None, True)
    assert len(found.samples) == 128
    assert {len(sample.source.numbers()) for sample in found.samples} == {10}
    assert said(found, "6 clips outside the class folders of a split")
    assert len(find_reels(listing)) == 134
    assert found.samples[0].source.frames(Fit(32), 3)[0].shape == (32, 32, 3)

"""What lies on disk becomes a Dataset, and whatever is left out is said."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kenspeckle.data.scan import scan
from kenspeckle.data.source import ArrayRow, File, Span, ZipMember
from kenspeckle.errors import DataError, EmptyDataset, UnreadableImage, UsageError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def draw(path: Path, colour: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = "PNG" if path.suffix.lower() != ".jpg" else "JPEG"
    Image.new("RGB", (8, 6), colour).save(path, kind)
    return path


def photos(root: Path, *names: str) -> Path:
    for name in names:
        draw(root / name)
    return root


def table(root: Path, text: str, name: str = "labels.csv") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, "utf-8")
    return root


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def said(dataset, word: str) -> str:
    return next((note for note in dataset.notes if word in note), "")


def labels(dataset) -> list[tuple[str, str | None]]:
    return [(sample.path, sample.label) for sample in dataset.samples]


def test_a_folder_is_a_class_and_a_nested_class_its_relative_path(tmp_path):
    photos(tmp_path, "cat/2.png", "cat/10.png", "birds/crow/a.JPG", "birds/jay/a.png")
    dataset = scan(tmp_path)
    assert labels(dataset) == [
        ("birds/crow/a.JPG", "birds/crow"),
        ("birds/jay/a.png", "birds/jay"),
        ("cat/2.png", "cat"),
        ("cat/10.png", "cat"),
    ]
    assert dataset.classes == ("birds/crow", "birds/jay", "cat")
    assert dataset.samples[0].source == File(tmp_path / "birds/crow/a.JPG")


@pytest.mark.parametrize(
    ("folder", "split"),
    [("Train", "train"), ("training", "train"), ("valid", "val"), ("validation", "val"),
     ("val", "val"), ("TEST", "test"), ("testing", "test")],
)  # fmt: skip
def test_split_folders_are_known_by_name(tmp_path, folder, split):
    dataset = scan(photos(tmp_path, f"{folder}/cat/1.png"))
    assert [(s.label, s.split) for s in dataset.samples] == [("cat", split)]


def test_one_class_list_covers_all_splits(tmp_path):
    dataset = scan(photos(tmp_path, "train/cat/1.png", "test/ape/1.png", "test/cat/2.png"))
    assert dataset.classes == ("ape", "cat")


def test_a_class_may_be_called_train(tmp_path):
    dataset = scan(photos(tmp_path, "bus/1.png", "train/1.png"))
    assert dataset.classes == ("bus", "train")


def test_splits_without_class_folders_are_not_two_classes(tmp_path):
    with pytest.raises(DataError, match="no class folders"):
        scan(photos(tmp_path, "train/1.png", "test/1.png"))


def test_images_outside_the_splits_are_said(tmp_path):
    dataset = scan(photos(tmp_path, "train/cat/1.png", "extra/cat/2.png", "train/3.png"))
    assert len(dataset) == 1
    assert "'extra/cat/2.png'" in said(dataset, "outside")


def test_what_is_left_out_is_counted(tmp_path):
    photos(tmp_path, "cat/1.png", "dog/1.png", "loose.png", ".git/x.png", "__MACOSX/1.png")
    for name in ("cat/a.txt", "cat/b.txt", "dog/c.xml", "cat/Thumbs.db", "dog/.DS_Store"):
        (tmp_path / name).write_text("x")
    dataset = scan(tmp_path)
    assert len(dataset) == 2
    assert ".txt 2, .xml 1" in said(dataset, "not an image by name")
    assert said(dataset, "hidden").startswith("4 ")
    assert "'loose.png'" in said(dataset, "beside the class folders")


def test_an_empty_class_folder_is_said(tmp_path):
    photos(tmp_path, "cat/1.png", "dog/1.png")
    (tmp_path / "owl").mkdir()
    dataset = scan(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert "'owl'" in said(dataset, "no images")


def test_images_without_class_folders_are_refused_only_where_labels_are_needed(tmp_path):
    photos(tmp_path, "1.png", "2.png")
    with pytest.raises(DataError, match="root/CLASS"):
        scan(tmp_path)
    assert labels(scan(tmp_path, labelled=False)) == [("1.png", None), ("2.png", None)]


def test_unlabelled_images_are_taken_from_every_folder_without_labels(tmp_path):
    dataset = scan(photos(tmp_path, "a/1.png", "2.png"), labelled=False)
    assert labels(dataset) == [("2.png", None), ("a/1.png", None)]
    assert dataset.classes == ()


def test_one_image_is_a_dataset_of_one_to_predict(tmp_path):
    path = draw(tmp_path / "x.png")
    assert labels(scan(path, labelled=False)) == [("x.png", None)]
    with pytest.raises(DataError, match="is one image"):
        scan(path)


def test_an_empty_folder_and_a_missing_one(tmp_path):
    with pytest.raises(EmptyDataset, match="is empty"):
        scan(tmp_path)
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match="did you mean 'photos'"):
        scan(tmp_path / "photo")


def test_links_are_followed_and_cycles_end(tmp_path):
    photos(tmp_path / "far", "1.png")
    root = photos(tmp_path / "data", "cat/1.png")
    (root / "dog").symlink_to(tmp_path / "far")
    (root / "cat" / "again").symlink_to(root)
    dataset = scan(root)
    assert labels(dataset) == [("cat/1.png", "cat"), ("dog/1.png", "dog")]
    assert "'cat/again'" in said(dataset, "link")


def test_a_broken_link_stays_to_be_reported(tmp_path):
    photos(tmp_path, "cat/1.png", "dog/1.png")
    (tmp_path / "cat" / "2.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "cat" / "3.png").symlink_to(tmp_path / "cat" / "3.png")
    dataset = scan(tmp_path)
    assert [s.path for s in dataset.samples[:3]] == ["cat/1.png", "cat/2.png", "cat/3.png"]
    with pytest.raises(UnreadableImage):
        dataset.samples[1].source.read()


@pytest.mark.skipif(os.name == "nt", reason="Windows names are Unicode")
def test_names_that_are_not_utf8_survive(tmp_path):
    draw(tmp_path / "cat" / "1.png")
    name = os.fsdecode(b"caf\xe9.png")
    try:
        (tmp_path / "cat" / "1.png").rename(tmp_path / "cat" / name)
    except OSError:
        pytest.skip("this file system refuses names that are not UTF-8")
    dataset = scan(tmp_path)
    assert dataset.samples[0].source.read()
    assert len(dataset.fingerprint()) == 64


def test_a_lone_folder_that_holds_the_splits_is_entered(tmp_path):
    dataset = scan(photos(tmp_path, "flowers/train/rose/1.png", "flowers/test/rose/2.png"))
    assert dataset.classes == ("rose",)
    assert said(dataset, "'flowers'")


# Tables


def test_a_table_wins_over_folders(tmp_path):
    photos(tmp_path, "a/1.png", "a/2.png", "a/3.png")
    table(tmp_path, "Filename,label,site\na/1.png,cat,north\n./a\\2.png,dog,south\n")
    dataset = scan(tmp_path)
    assert labels(dataset) == [("a/1.png", "cat"), ("a/2.png", "dog")]
    assert dataset.samples[0].facts == {"site": "north"}
    assert "labels.csv" in dataset.layout
    assert "'a/3.png'" in said(dataset, "not named")


def test_a_table_without_a_label_column_does_not_win_and_says_how_to_name_one(tmp_path):
    photos(tmp_path, "a/1.png", "b/1.png")
    table(tmp_path, "file,sign_name,track\na/1.png,stop,7\nb/1.png,yield,8\n")
    assert "--columns label=sign_name" in said(scan(tmp_path), "was not used")
    named = scan(tmp_path, columns={"label": "sign_name", "group": "track"})
    assert [(s.label, s.group) for s in named.samples] == [("stop", "7"), ("yield", "8")]


def test_the_hint_reaches_who_has_no_class_folders(tmp_path):
    table(photos(tmp_path, "1.png"), "file,name\n1.png,tench\n")
    with pytest.raises(DataError, match="--columns label=name"):
        scan(tmp_path)


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_the_delimiter_is_found(tmp_path, mark):
    table(tmp_path, "file,label,weight\nx.png,cat,0.5\n".replace(",", mark))
    dataset = scan(tmp_path / "labels.csv")
    assert [(s.path, s.label, s.weight) for s in dataset.samples] == [("x.png", "cat", 0.5)]


def test_json_lines(tmp_path):
    table(tmp_path, '{"file_name": "x.png", "label": 7, "split": "Validation"}\n\n', "m.jsonl")
    sample = scan(tmp_path).samples[0]
    assert (sample.label, sample.split) == ("7", "val")


@pytest.mark.parametrize(("encoding", "note"), [("utf-8-sig", ""), ("cp1252", "Windows-1252")])
def test_encodings(tmp_path, encoding, note):
    (tmp_path / "labels.csv").write_bytes("file,label\nx.png,café\n".encode(encoding))
    dataset = scan(tmp_path)
    assert dataset.classes == ("café",)
    assert bool(said(dataset, "Windows-1252")) == bool(note)


def test_a_blank_label_is_none_and_said(tmp_path):
    dataset = scan(table(tmp_path, "file,label\na.png,cat\nb.png,\n"))
    assert labels(dataset) == [("a.png", "cat"), ("b.png", None)]
    assert "'b.png'" in said(dataset, "without a label")


def test_a_missing_file_stays_to_be_reported(tmp_path):
    dataset = scan(table(tmp_path, "file,label\na.png,cat\n"))
    assert "'a.png'" in said(dataset, "not there")
    with pytest.raises(UnreadableImage, match="no such file"):
        dataset.samples[0].source.read()


def test_the_same_row_twice_is_merged_and_said(tmp_path):
    dataset = scan(table(tmp_path, "file,label\na.png,cat\na.png,cat\n"))
    assert len(dataset) == 1
    assert said(dataset, "merged")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.png,cat\n./a.png,dog\n", r"line 3: a.png was named before, in line 2"),
        ("file,label\n../a.png,cat\n", "line 2 names '../a.png', which is outside"),
        ("file,label\n/etc/a.png,cat\n", "outside"),
        ("file,labels\na.png,cat;dog\n", "say --task tag"),
        ("file,label,split\na.png,cat,holdout\n", "unknown split 'holdout'"),
        ("file,label,weight\na.png,cat,-1\n", "weight should be a number"),
        ("file,label\na.png,cat,dog\n", "line 2: 3 cells"),
        ("file,label\n,cat\n", "line 2: the row names no file"),
        ("file,label,label\na.png,cat,dog\n", "'label' twice"),
        ("file,label\n", "no rows"),
        ("", "empty"),
    ],
)
def test_a_wrong_table_is_refused_with_its_place(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        scan(table(tmp_path, text) / "labels.csv")


def test_columns_that_are_not_there_name_the_nearest(tmp_path):
    table(tmp_path, "file,sign_name\na.png,stop\n")
    with pytest.raises(DataError, match="did you mean 'sign_name'"):
        scan(tmp_path, columns={"label": "signname"})
    with pytest.raises(UsageError, match="did you mean 'label'"):
        scan(tmp_path, columns={"lable": "sign_name"})


def test_two_tables_of_other_names_are_a_question(tmp_path):
    table(tmp_path, "file,label\na.png,cat\n", "one.csv")
    table(tmp_path, "file,label\na.png,dog\n", "two.csv")
    with pytest.raises(DataError, match="several tables"):
        scan(tmp_path)
    table(tmp_path, "file,label\na.png,ape\n", "labels.csv")
    assert scan(tmp_path).classes == ("ape",)


def test_a_table_that_cannot_be_opened_is_refused(tmp_path):
    photos(tmp_path, "cat/1.png")
    (tmp_path / "labels.csv").symlink_to(tmp_path / "gone.csv")
    with pytest.raises(DataError, match="cannot be opened"):
        scan(tmp_path)


# Arrays


def test_idx_files_are_samples_of_their_splits(tmp_path):
    images = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.array([2, 10, 2], np.uint8)))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(images[:1]))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.array([10], np.uint8)))
    dataset = scan(tmp_path)
    assert dataset.classes == ("2", "10")
    last = dataset.samples[-1]
    assert (last.path, last.label, last.split) == ("train-images-idx3-ubyte.gz[2]", "2", "train")
    assert isinstance(last.source, ArrayRow)
    assert (last.source.pixels()[..., 0] == images[2]).all()
    assert dataset.samples[0].split == "test"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: c[:-1], "declares 20 values but holds 19"),
        (lambda c: c + b"x", "holds more"),
        (lambda c: b"\0\0\x0d\x03" + c[4:], "not an IDX file"),
        (lambda c: c[:6], "not an IDX file"),
        (lambda c: gzip.compress(c)[:-12], "cut short"),
        (lambda c: c[:4] + b"\xff" * 12, "more than 16 GB"),
    ],
)
def test_a_damaged_idx_file_is_refused(tmp_path, spoil, message):
    content = idx(np.zeros((1, 4, 5), np.uint8))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(spoil(content))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(1, np.uint8)))
    with pytest.raises(DataError, match=message):
        scan(tmp_path)


def test_idx_counts_must_agree_and_labels_be_there(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((2, 4, 5), np.uint8)))
    with pytest.raises(DataError, match="train-labels-idx1-ubyte is missing"):
        scan(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(3, np.uint8)))
    with pytest.raises(DataError, match="2 images but 3 labels"):
        scan(tmp_path)


def test_npz_arrays_with_names_as_labels(tmp_path):
    images = np.zeros((2, 4, 4, 3), np.uint8)
    path = tmp_path / "set.npz"
    np.savez(path, x_train=images, y_train=np.array(["cat", "dog"]), x_test=images[:1],
             y_test=np.array([["dog"]]))  # fmt: skip
    dataset = scan(path)
    assert [(s.path, s.label, s.split) for s in dataset.samples] == [
        ("set.npz/x_test[0]", "dog", "test"),
        ("set.npz/x_train[0]", "cat", "train"),
        ("set.npz/x_train[1]", "dog", "train"),
    ]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((2, 4, 4), np.float32), "y": np.zeros(2, int)}, "should be uint8"),
        ({"x": np.zeros((2, 4, 4), np.uint8)}, "no labels"),
        ({"x": np.zeros((2, 4, 4), np.uint8), "y": np.zeros((2, 9))}, "whole numbers or text"),
        ({"x": np.array([None, {}]), "y": np.zeros(2, int)}, "cannot be read"),
        ({"spam": np.zeros(2)}, "expected x_train"),
    ],
)
def test_other_npz_arrays_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(DataError, match=message):
        scan(tmp_path)


# Archives


@pytest.fixture
def cats(tmp_path: Path) -> dict[str, bytes]:
    folder = photos(tmp_path / "source", "cat/1.png", "dog/2.png")
    return {f"photos/{n}": (folder / n).read_bytes() for n in ("cat/1.png", "dog/2.png")}


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def make_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_a_zip_is_read_in_place_without_its_top_folder(tmp_path, cats):
    path = make_zip(tmp_path / "a.zip", {**cats, "__MACOSX/x.png": b"", "photos/.DS_Store": b""})
    dataset = scan(path)
    assert labels(dataset) == [("cat/1.png", "cat"), ("dog/2.png", "dog")]
    assert dataset.samples[0].source == ZipMember(path, "photos/cat/1.png")
    assert dataset.samples[0].source.read() == cats["photos/cat/1.png"]


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tgz", "w:gz"), ("a.tar.xz", "w:xz"),
     ("a.tar.bz2", "w:bz2")],
)  # fmt: skip
def test_a_tar_gives_the_bytes_of_its_members(tmp_path, cats, monkeypatch, name, mode):
    monkeypatch.setenv("KENSPECKLE_CACHE", str(tmp_path / "cache"))
    dataset = scan(make_tar(tmp_path / name, cats, mode))
    assert [s.path for s in dataset.samples] == ["cat/1.png", "dog/2.png"]
    assert isinstance(dataset.samples[1].source, Span)
    assert dataset.samples[1].source.read() == cats["photos/dog/2.png"]


def test_a_table_in_an_archive_wins_too(tmp_path, cats):
    text = b"file,label\ncat/1.png,a\ngone.png,b\n"
    dataset = scan(make_zip(tmp_path / "a.zip", {**cats, "photos/labels.csv": text}))
    assert labels(dataset) == [("cat/1.png", "a"), ("gone.png", "b")]
    with pytest.raises(UnreadableImage, match="no such file"):
        dataset.samples[1].source.read()


def test_a_folder_and_its_archive_are_the_same_dataset(tmp_path):
    folder = photos(tmp_path / "set", "train/b/1.png", "train/a/10.png", "test/a/9.png")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(tmp_path))
    assert scan(folder).fingerprint() == scan(tmp_path / "set.zip").fingerprint()


def test_names_that_climb_out_are_left_out_and_said(tmp_path, cats):
    outside = {"../evil.png": b"x", "/abs.png": b"x"}
    zipped = make_zip(tmp_path / "a.zip", cats | outside)
    for path in (zipped, make_tar(tmp_path / "a.tar", cats | outside)):
        dataset = scan(path)
        assert len(dataset) == 2
        assert "2 members" in said(dataset, "leads out")


def test_links_in_a_tar_are_left_out_and_said(tmp_path, cats):
    path = make_tar(tmp_path / "a.tar", cats)
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("photos/cat/3.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    dataset = scan(path)
    assert len(dataset) == 2
    assert "photos/cat/3.png" in said(dataset, "a link")


def test_a_zip_bomb_is_left_out_and_said(tmp_path, cats):
    zeros = {"photos/cat/bomb.bmp": bytes(30_000_000)}
    dataset = scan(make_zip(tmp_path / "a.zip", cats | zeros))
    assert len(dataset) == 2
    assert "bomb.bmp" in said(dataset, "far more than it holds")


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.xz"])
def test_a_damaged_archive_is_refused_and_leaves_nothing(tmp_path, cats, monkeypatch, name):
    monkeypatch.setenv("KENSPECKLE_CACHE", str(tmp_path / "cache"))
    big = {"photos/cat/9.png": np.random.default_rng(0).bytes(60_000)}
    suffix = name.rpartition(".")[2]
    if suffix == "zip":
        path = make_zip(tmp_path / name, cats | big)
    else:
        path = make_tar(tmp_path / name, cats | big, "w" if suffix == "tar" else f"w:{suffix}")
    path.write_bytes(path.read_bytes()[:30_000])
    with pytest.raises(DataError):
        scan(path)
    assert not list((tmp_path / "cache").rglob("*.tar"))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "images", "classes"),
    [("flowers5.zip", 750, 5), ("chest-xray.zip", 330, 3), ("gtsrb-signs.zip", 2614, 43),
     ("flowers5-known-problems.zip", 12, 3), ("orl-faces.zip", 400, 40), ("mnist", 70_000, 10)],
)  # fmt: skip
def test_real_sets(name, images, classes):
    if not SHARED.exists():
        pytest.skip(f"the real image sets are not at {SHARED}")
    dataset = scan(SHARED / name)
    assert (len(dataset), len(dataset.classes)) == (images, classes)

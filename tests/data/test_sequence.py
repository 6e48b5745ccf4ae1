"""Sequences on disk: .npy, .csv and pen strokes, in folders or named by a table."""

from __future__ import annotations

import io
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as some
from PIL import Image

from kenspeckle.data.scan import scan
from kenspeckle.data.sequence import (
    MOST_FEATURES,
    MOST_STEPS,
    Sequences,
    padded,
    read_all,
    read_sequence,
    strokes,
)
from kenspeckle.errors import DataError, UnreadableImage


def npy(array: np.ndarray, allow_pickle: bool = False) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=allow_pickle)
    return file.getvalue()


def ones(*shape: int) -> bytes:
    return npy(np.ones(shape, np.float32))


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def said(dataset) -> list[tuple[str, str | None, str | None]]:
    return [(s.path, s.label, s.split) for s in dataset.samples]


def refused(content: bytes, name: str = "a.npy") -> UnreadableImage:
    with pytest.raises(UnreadableImage) as caught:
        read_sequence(content, name)
    return caught.value


@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "float16", "int64", "uint8", "bool", ">f4"]
)
def test_arrays_of_numbers_are_read_as_steps(dtype):
    array = np.array([[0, 1, 1], [1, 0, 1]], dtype)
    steps = read_sequence(npy(array), "a.NPY")
    assert steps.dtype == np.float32
    assert steps.tolist() == array.astype(float).tolist()


def test_a_row_of_numbers_has_one_number_a_step():
    assert read_sequence(npy(np.arange(3)), "a.npy").tolist() == [[0], [1], [2]]


@settings(max_examples=50, deadline=None)
@given(
    some.arrays(
        np.float32,
        st.tuples(st.integers(1, 6), st.integers(1, 4)),
        elements=st.floats(-1e6, 1e6, width=32),
    )
)
def test_what_was_written_is_read_from_both_kinds_of_file(array):
    assert np.array_equal(read_sequence(npy(array), "a.npy"), array)
    table = "\n".join(",".join(repr(float(v)) for v in row) for row in array)
    assert np.array_equal(read_sequence(table.encode(), "a.csv"), array)


@pytest.mark.parametrize(
    ("array", "reason", "words"),
    [
        (np.ones((2, 3, 4)), "unsupported", "2 x 3 x 4"),
        (np.array(3.0), "unsupported", "steps by features"),
        (np.array([["a", "b"]]), "unsupported", "numbers are needed"),
        (np.ones((2, 2), complex), "unsupported", "complex128"),
        (np.array(["2020-01-01"], "datetime64[D]"), "unsupported", "datetime64"),
        (np.ones((0, 3)), "empty", "no step"),
        (np.ones((3, 0)), "empty", "no step"),
        (np.ones(0), "empty", "no step"),
        (np.ones((MOST_STEPS + 1, 1)), "too_long", "5,001 steps and at most 5,000"),
        (np.ones((10_000, 2)), "too_long", "10,000 steps"),
        (np.ones((1, MOST_FEATURES + 1)), "unsupported", "4,097 numbers"),
        (np.array([[1, 2], [3, np.nan]]), "not_a_number", "step 2"),
        (np.array([[np.inf, 2]]), "not_a_number", "step 1"),
        (np.array([1.0, 1e300]), "not_a_number", "step 2"),
    ],
)  # fmt: skip
def test_what_is_no_sequence_is_refused_with_its_reason(array, reason, words):
    fault = refused(npy(array))
    assert fault.reason == reason
    assert words in str(fault)


def test_the_longest_sequence_that_is_read():
    assert len(read_sequence(ones(MOST_STEPS, 1), "a.npy")) == MOST_STEPS


def test_a_pickled_array_is_never_unpickled():
    fault = refused(npy(np.array([{"a": 1}], dtype=object), allow_pickle=True))
    assert fault.reason == "corrupt"


def test_several_arrays_in_one_file_are_refused():
    file = io.BytesIO()
    np.savez(file, a=np.ones(3), b=np.ones(3))
    assert "several arrays" in str(refused(file.getvalue()))


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"PK\x03\x04 no zip", b"1,2\n3,4\n"])
def test_what_is_no_array_is_refused(content):
    assert refused(content).reason == "corrupt"


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 127), st.integers(0, 255), st.integers(1, 200))
def test_a_damaged_array_is_read_or_refused(place, byte, length):
    content = bytearray(npy(np.ones((6, 2))))
    content[place] = byte
    for damaged in (bytes(content), bytes(content[:length])):
        with suppress(UnreadableImage):
            assert read_sequence(damaged, "a.npy").ndim == 2


@pytest.mark.parametrize(
    "text",
    ["1,2\n3,4\n", "x,y\n1,2\n3,4\n", "1;2\n3;4", "\ufeff1, 2\r\n\r\n3, 4\r\n", "x;y\n1;2\n3;4.0"],
)
def test_tables_are_read_with_and_without_a_header(text):
    assert read_sequence(text.encode(), "a.csv").tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("text", "reason", "words"),
    [
        ("1,2\n3\n", "corrupt", "row 2 does not hold 2 numbers"),
        ("x,y\n1,2\n3,4,5\n", "corrupt", "row 2 does not hold 2 numbers"),
        ("x,y\n1,red\n", "corrupt", "row 1 does not hold numbers alone"),
        ("1,2\n3,\n", "corrupt", "row 2"),
        ("x,y\n", "empty", "no step"),
        ("", "empty", "no step"),
        ("1,2\nnan,4\n", "not_a_number", "step 2"),
        ("1\n" * 5001, "too_long", "5,001"),
    ],
)  # fmt: skip
def test_what_is_no_table_of_steps_is_refused_with_its_reason(text, reason, words):
    fault = refused(text.encode(), "a.csv")
    assert fault.reason == reason
    assert words in str(fault)


def test_a_table_that_is_no_text_is_refused():
    assert refused(b"\xff\xfe\x00", "a.csv").reason == "corrupt"


def test_pen_strokes_become_places_ways_and_beginnings():
    text = "START\n10,-20,0\n14,-20,100\nBREAK\n14,-18,200\n10,-18,300\nBREAK\n"
    assert read_sequence(text.encode(), "1.txt").tolist() == [
        [-1, -0.5, 0, 0, 1],
        [1, -0.5, 20, 0, 0],
        [1, 0.5, 0, 10, 1],
        [-1, 0.5, -20, 0, 0],
    ]


def test_size_and_place_on_the_paper_do_not_count():
    points, begins = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 7 == 0
    moved = strokes(40 * points + [300, -7], begins)
    assert np.allclose(strokes(points, begins), moved, atol=1e-6)


def test_a_single_point_is_a_drawing():
    assert read_sequence(b"START\n5,5,0\nBREAK\n", "1.txt").tolist() == [[0, 0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("text", "reason", "words"),
    [
        ("Hello there\n", "corrupt", "line 1 is no pen stroke: 'Hello there'"),
        ("START\n1,2,0\n3\n", "corrupt", "line 3"),
        ("START\nBREAK\n", "empty", "no point"),
        ("START\nnan,1,0\n2,2,0\n", "not_a_number", "step 1"),
    ],
)
def test_what_is_no_drawing_is_refused_with_its_reason(text, reason, words):
    fault = refused(text.encode(), "1.txt")
    assert fault.reason == reason
    assert words in str(fault)


def test_sequences_are_fetched_filled_to_equal_length():
    steps = [np.full((n, 2), n, np.float32) for n in (1, 3, 2)]
    some_of_them = Sequences(steps)[torch.tensor([2, 0])]
    assert some_of_them.shape == (2, 2, 2)
    assert some_of_them[0].tolist() == [[2, 2], [2, 2]]
    assert some_of_them[1, 0].tolist() == [1, 1]
    assert some_of_them[1, 1].isnan().all()
    assert torch.equal(padded(steps[:1]), torch.ones(1, 1, 2))


def test_a_folder_of_sequences_is_a_class(tmp_path):
    files = {"a/2.npy": ones(2, 1), "a/10.npy": ones(3, 1), "b/c/1.csv": b"1\n2\n"}
    dataset = scan(write(tmp_path, files))
    assert dataset.reads == "sequences"
    assert said(dataset) == [
        ("a/2.npy", "a", None),
        ("a/10.npy", "a", None),
        ("b/c/1.csv", "b/c", None),
    ]
    assert dataset.classes == ("a", "b/c")


def test_parts_are_known_by_name(tmp_path):
    names = ["train/a/1.txt", "train/b/1.txt", "Testing/a/2.txt", "valid/b/3.txt"]
    dataset = scan(write(tmp_path, dict.fromkeys(names, b"START\n1,1,0\n")))
    assert sorted(said(dataset)) == [
        ("Testing/a/2.txt", "a", "test"),
        ("train/a/1.txt", "a", "train"),
        ("train/b/1.txt", "b", "train"),
        ("valid/b/3.txt", "b", "val"),
    ]


def test_a_file_at_the_top_is_no_sequence(tmp_path):
    files = {"README.txt": b"About", "notes.csv": b"x\n1\n", "a/1.npy": ones(2, 1)}
    dataset = scan(write(tmp_path, files))
    assert said(dataset) == [("a/1.npy", "a", None)]
    assert any(".txt 1" in note for note in dataset.notes)


def test_a_readme_beside_images_changes_nothing(tmp_path):
    write(tmp_path, {"README.txt": b"About", "a/notes.txt": b"x", "a/curve.npy": ones(2, 1)})
    Image.new("RGB", (4, 4)).save(tmp_path / "a" / "1.png")
    dataset = scan(tmp_path)
    assert dataset.reads == "images"
    assert said(dataset) == [("a/1.png", "a", None)]


def test_a_folder_without_images_or_sequences_says_so(tmp_path):
    with pytest.raises(DataError, match="no image"):
        scan(write(tmp_path, {"a/1.pdf": b"x", "README.txt": b"x"}))


def test_without_labels_every_sequence_counts(tmp_path):
    files = {"1.npy": ones(2, 1), "a/2.npy": ones(2, 1)}
    dataset = scan(write(tmp_path, files), labelled=False)
    assert dataset.reads == "sequences"
    assert said(dataset) == [("1.npy", None, None), ("a/2.npy", None, None)]


def test_a_table_names_sequences(tmp_path):
    table = b"filename,label,group,split\nx/1.npy,a,g,train\nx/2.csv,b,h,test\n"
    files = {"labels.csv": table, "x/1.npy": ones(2, 2), "x/2.csv": b"1,2\n"}
    dataset = scan(write(tmp_path, files))
    assert dataset.reads == "sequences"
    assert said(dataset) == [("x/1.npy", "a", "train"), ("x/2.csv", "b", "test")]
    assert [s.group for s in dataset.samples] == ["g", "h"]


def test_a_table_of_images_and_sequences_is_one_of_images(tmp_path):
    table = b"filename,label\n1.npy,a\n2.png,b\n"
    dataset = scan(write(tmp_path, {"labels.csv": table, "1.npy": ones(2, 2), "2.png": b""}))
    assert dataset.reads == "images"


def test_a_zip_of_sequences_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "waves.zip", "w") as archive:
        archive.writestr("waves/a/1.npy", ones(2, 1))
        archive.writestr("waves/b/2.npy", ones(3, 1))
    dataset = scan(tmp_path / "waves.zip")
    assert [s.label for s in dataset.samples] == ["a", "b"]
    decoded, features = read_all(dataset)
    assert features == 1
    assert decoded.width.tolist() == [2, 3]


def test_all_are_read_and_what_cannot_be_is_said(tmp_path):
    files = {
        "a/1.npy": ones(3, 2),
        "a/2.npy": ones(4, 3),
        "a/3.npy": b"",
        "b/4.csv": b"1,2\n3,4\n",
    }
    calls: list[tuple[int, int]] = []
    decoded, features = read_all(
        scan(write(tmp_path, files)), lambda done, of: calls.append((done, of))
    )
    assert features == 2
    assert decoded.rows.tolist() == [0, 3]
    assert decoded.width.tolist() == [3, 2]
    assert decoded.height.tolist() == [2, 2]
    assert {row: fault.reason for row, fault in decoded.faults.items()} == {
        1: "unsupported",
        2: "corrupt",
    }
    assert "3 numbers, and 2 in most" in str(decoded.faults[1])
    assert decoded.images[torch.tensor([1])].tolist() == [[[1, 2], [3, 4]]]
    assert calls[-1] == (4, 4)


def test_the_same_content_has_the_same_key(tmp_path):
    files = {"a/1.npy": ones(3, 2), "b/1.npy": ones(3, 2), "b/2.npy": ones(4, 2)}
    keys = read_all(scan(write(tmp_path, files)))[0].keys
    assert keys[0] == keys[1] != keys[2]


def test_none_that_can_be_read_leaves_only_faults(tmp_path):
    decoded, _ = read_all(scan(write(tmp_path, {"a/1.npy": b"", "b/2.npy": b"x"})))
    assert len(decoded.images) == 0
    assert set(decoded.faults) == {0, 1}

"""Pairs of strings are read as they stand, and a wrong line is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from kenspeckle.data.layouts.pairs import MOST_CHARACTERS, scan_pairs
from kenspeckle.data.strings import encoded, text_of
from kenspeckle.errors import DataError, EmptyDataset


def table(folder: Path, content: str | bytes) -> Path:
    path = folder / "pairs.tsv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def given_strings(dataset) -> list[str]:
    return [sample.source.text for sample in dataset.samples]


def test_a_line_is_a_pair(tmp_path):
    dataset = scan_pairs(table(tmp_path, "3 May 1999\t1999-05-03\n\nÜber \tueber\n"))
    assert given_strings(dataset) == ["3 May 1999", "Über "]
    assert [s.label for s in dataset.samples] == ["1999-05-03", "ueber"]
    assert [s.path for s in dataset.samples] == ["line 1", "line 3"]
    assert (dataset.reads, dataset.layout) == ("pairs", "2 pairs of strings")


@pytest.mark.parametrize("header", ["source\ttarget", "Given\tWanted"])
def test_a_header_is_no_pair(tmp_path, header):
    dataset = scan_pairs(table(tmp_path, f"{header}\na\tb\n"))
    assert [s.path for s in dataset.samples] == ["line 2"]


def test_a_third_column_is_the_part(tmp_path):
    dataset = scan_pairs(table(tmp_path, "a\tb\ttrain\nc\td\tvalid\ne\tf\tTEST\ng\th\t\n"))
    assert [s.split for s in dataset.samples] == ["train", "val", "test", None]


def test_windows_line_ends_and_a_byte_order_mark_are_no_characters(tmp_path):
    dataset = scan_pairs(table(tmp_path, b"\xef\xbb\xbfa\tb\r\nc\td\r\n"))
    assert given_strings(dataset) == ["a", "c"]
    assert [s.label for s in dataset.samples] == ["b", "d"]


def test_only_a_line_feed_ends_a_line(tmp_path):
    dataset = scan_pairs(table(tmp_path, "a\x85b\u2028c\td\x0c\n"))
    assert [(s.source.text, s.label) for s in dataset.samples] == [("a\x85b\u2028c", "d\x0c")]


def test_strings_become_numbers_row_by_row(tmp_path):
    decoded = encoded(scan_pairs(table(tmp_path, "ab\tx\né\ty\n")))
    assert [text_of(row.tolist()) for row in decoded.images] == ["ab", "é"]
    assert decoded.width.tolist() == [2, 1]
    assert len(set(decoded.keys)) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a\tb\nalone\n", "line 2: found 1 column"),
        ("a\tb\tc\td\n", "line 1: found 4 columns"),
        ("\tb\n", "line 1: one of the two strings is empty"),
        ("a\t\n", "line 1: one of the two strings is empty"),
        ("a\0b\tc\n", "line 1: it holds a null character"),
        ("a\tb\tsometimes\n", "line 1: unknown part 'sometimes'"),
        ("a" * (MOST_CHARACTERS + 1) + "\tb\n", f"over {MOST_CHARACTERS} characters"),
        (b"\xff\xfe\t\xff\n", "no UTF-8 text"),
    ],
)
def test_a_wrong_line_is_refused_with_its_place(tmp_path, content, words):
    with pytest.raises(DataError) as caught:
        scan_pairs(table(tmp_path, content))
    assert words in str(caught.value)


@pytest.mark.parametrize("content", ["", "\n \n", "source\ttarget\n"])
def test_a_file_without_a_pair_is_empty(tmp_path, content):
    with pytest.raises(EmptyDataset, match="no pair"):
        scan_pairs(table(tmp_path, content))


def test_a_folder_holds_no_pairs(tmp_path):
    with pytest.raises(DataError, match="There is no file"):
        scan_pairs(tmp_path)

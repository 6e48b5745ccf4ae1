"""What a person lists is left out, and a list that cannot be meant is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from kenspeckle.answer import Finding
from kenspeckle.data.checks import write_issues
from kenspeckle.data.dataset import Dataset, Sample
from kenspeckle.data.exclude import excluded
from kenspeckle.data.source import File
from kenspeckle.errors import DataError

PATHS = ("cat/a.png", "cat/b c.png", "dog/ä.png", "dog/caf\udce9.png")


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    samples = tuple(Sample(p, File(tmp_path / p), label=p.partition("/")[0]) for p in PATHS)
    return Dataset(tmp_path, samples, ("cat", "dog"))


def listed(folder: Path, *lines: str, name: str = "out.txt") -> Path:
    path = folder / name
    path.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
    return path


def names(dataset: Dataset) -> list[str]:
    return [sample.path for sample in dataset.samples]


def test_what_is_listed_is_left_out_and_said(dataset, tmp_path):
    left = excluded(dataset, listed(tmp_path, "# seen twice", "cat/b c.png", "", "dog/ä.png"))
    assert names(left) == ["cat/a.png", "dog/caf\udce9.png"]
    assert left.classes == dataset.classes
    assert "2 files left out" in left.notes[-1]
    assert "cat/b c.png" in left.notes[-1]


def test_a_file_named_twice_counts_once(dataset, tmp_path):
    left = excluded(dataset, listed(tmp_path, "cat/a.png", "cat/a.png"))
    assert "1 file left out" in left.notes[-1]


@pytest.mark.parametrize("lines", [(), ("", "  "), ("# nothing yet",)])
def test_a_list_that_names_nothing_is_refused(dataset, tmp_path, lines):
    with pytest.raises(DataError, match="names no file"):
        excluded(dataset, listed(tmp_path, *lines))


def test_a_stranger_is_named_with_what_is_near(dataset, tmp_path):
    with pytest.raises(DataError) as caught:
        excluded(dataset, listed(tmp_path, "cat/a.pgn", "cow/q.png"))
    assert "2 files that" in str(caught.value)
    assert "'cat/a.pgn', did you mean 'cat/a.png'?" in str(caught.value)


def test_everything_cannot_be_left_out(dataset, tmp_path):
    with pytest.raises(DataError, match="nothing is left"):
        excluded(dataset, listed(tmp_path, *PATHS))


def test_the_findings_of_a_check_are_a_list(dataset, tmp_path):
    finding = Finding("duplicates", "warning", "Two are one.", "Keep one.", PATHS[1:3])
    write_issues(tmp_path / "data_issues.csv", [finding])
    left = excluded(dataset, tmp_path / "data_issues.csv")
    assert names(left) == [PATHS[0], PATHS[3]]


def test_findings_without_a_file_name_nothing(dataset, tmp_path):
    write_issues(tmp_path / "data_issues.csv", [])
    with pytest.raises(DataError, match="names no file"):
        excluded(dataset, tmp_path / "data_issues.csv")


def test_a_list_that_is_not_there_is_said(dataset, tmp_path):
    with pytest.raises(DataError, match=r"none\.txt"):
        excluded(dataset, tmp_path / "none.txt")

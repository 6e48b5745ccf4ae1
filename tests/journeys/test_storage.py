"""Folders that cannot be written to and disks that are full: said in one line, nothing in part."""

from __future__ import annotations

import os
import resource
import signal
import stat
from pathlib import Path

import pytest

TINY = ("--model", "seed-cnn", "--epochs", "1", "--set", "training.precision=float32")
ALLOWED = 100_000  # bytes a file: less than a model file, more than the small tables


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_project_below_a_file(ken, small, tmp_path):
    (tmp_path / "file").write_text("in the way")
    words = ken("train", small, *TINY, "--project", tmp_path / "file" / "runs").refused(6)
    assert str(tmp_path / "file") in words
    assert files_below(tmp_path) == [tmp_path / "file"]


@pytest.mark.parametrize("command", ["predict", "check", "explain", "report", "val"])
def test_an_output_below_a_file(ken, small, small_model, tmp_path, command):
    (tmp_path / "file").write_text("in the way")
    image, output = small / "circle" / "circle0.png", tmp_path / "file" / "out"
    arguments = {
        "predict": (image, "-m", small_model),
        "check": (small,),
        "explain": (image, "-m", small_model),
        "report": (small_model,),
        "val": (small, "-m", small_model),
    }[command]
    ken(command, *arguments, "--output", output).refused(6)
    assert files_below(tmp_path) == [tmp_path / "file"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="there is no /proc here")
def test_a_folder_that_nobody_can_write_to(ken, small):
    words = ken("train", small, *TINY, "--project", "/proc/runs").refused(6)
    assert "/proc/runs" in words


@pytest.mark.skipif(os.geteuid() == 0, reason="root is not bound by permission bits")
def test_a_read_only_folder(ken, small, tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        words = ken("train", small, *TINY, "--project", tmp_path / "runs").refused(6)
    finally:
        tmp_path.chmod(stat.S_IRWXU)
    assert "not permitted" in words


def test_a_cache_that_cannot_be_written_to_costs_only_time(ken_process, small, tmp_path):
    (tmp_path / "file").write_text("in the way")
    said = ken_process("check", small, cwd=tmp_path, KENSPECKLE_CACHE="file/cache")
    assert said.code == 0
    assert "Traceback" not in said.err


def _small_files_only() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails with EFBIG, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (ALLOWED, ALLOWED))


def test_no_room_for_the_model_leaves_no_part_of_it(ken_process, small, tmp_path):
    said = ken_process(
        "train", small, *TINY, "--project", tmp_path / "runs", before=_small_files_only
    )
    words = said.refused(6)
    assert "Cannot write" in words
    left = files_below(tmp_path / "runs" / "exp")
    assert not [path for path in left if path.suffix == ".ken"]
    assert not [path for path in left if path.name.startswith(".")]


def test_no_room_for_a_new_report_keeps_the_old_one(ken, ken_process, small_model, tmp_path):
    ken("report", small_model, "-o", tmp_path).went_well()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def nothing_more() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))

    ken_process("report", small_model, "-o", tmp_path, before=nothing_more).refused(6)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

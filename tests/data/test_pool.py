"""Pools: what was appended is found again, whoever was killed and whoever else wrote."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kenspeckle.data.pool import Pool

FACTS = np.dtype([("number", "<u4")])
APPENDER = """
import hashlib, sys
from pathlib import Path
import numpy as np
from kenspeckle.data.pool import Pool
folder, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
pool = Pool.open(folder, "numbers", (64,), np.float32, np.dtype([("number", "<u4")]))
print("ready", flush=True)
for number in range(first, first + count):
    key = hashlib.sha256(str(number).encode()).digest()
    records = np.full((1, 64), number, np.float32)
    pool.append([key], records, np.array([(number,)], [("number", "<u4")]))
"""


def key(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def opened(folder: Path | None) -> Pool:
    return Pool.open(folder, "numbers", (64,), np.float32, FACTS)


def add(pool: Pool, numbers: list[int]) -> None:
    records = np.repeat(np.array(numbers, np.float32)[:, None], 64, axis=1)
    pool.append([key(n) for n in numbers], records, np.array([(n,) for n in numbers], FACTS))


def check(pool: Pool, numbers: list[int]) -> None:
    rows = pool.rows([key(n) for n in numbers])
    assert (rows >= 0).all()
    assert (pool.take(rows) == np.array(numbers)[:, None]).all()
    assert pool.facts["number"][rows].tolist() == numbers


def appender(folder: Path, first: int, count: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", APPENDER, str(folder), str(first), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


@settings(max_examples=25, deadline=None)
@given(batches=st.lists(st.lists(st.integers(0, 30), max_size=5), max_size=6))
def test_what_was_appended_is_found_again(batches, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pools")
    for batch in batches:
        with opened(folder) as pool:
            add(pool, batch)
    seen = sorted({number for batch in batches for number in batch})
    with opened(folder) as pool:
        assert len(pool) == len(seen)  # each key once
        check(pool, seen)
        assert pool.rows([key(99)]).tolist() == [-1]


def test_records_are_a_read_only_memory_map(tmp_path):
    with opened(tmp_path) as pool:
        add(pool, [1, 2])
        assert isinstance(pool.records, np.memmap)
        assert not pool.records.flags.writeable


def test_keys_that_share_their_first_bytes_or_end_in_zeros_are_told_apart():
    keys = [bytes(8) + bytes([n]) * 24 for n in range(20)] + [b"x" * 31 + b"\0", b"x" * 32]
    pool = opened(None)
    numbers = np.arange(len(keys))
    records = np.repeat(numbers[:, None].astype(np.float32), 64, axis=1)
    pool.append(keys, records, np.array([(n,) for n in numbers], FACTS))
    assert pool.rows(keys).tolist() == numbers.tolist()
    assert pool.rows([bytes(8) + b"\xff" * 24]).tolist() == [-1]


@pytest.mark.parametrize("part", ["records", "index"])
@pytest.mark.parametrize("extra", [1, 30, 36, 255, 1000])
def test_a_ragged_tail_is_cut_off(tmp_path, part, extra):
    with opened(tmp_path) as pool:
        add(pool, [1, 2, 3])
    with (tmp_path / f"numbers.{part}").open("ab") as file:
        file.write(b"\xaa" * extra)
    with opened(tmp_path) as pool:
        add(pool, [4])
        check(pool, [1, 2, 3, 4])
    with opened(tmp_path) as pool:
        assert len(pool) == 4


@pytest.mark.parametrize("part", ["records", "index"])
@pytest.mark.parametrize("lost", [1, 100, 300])
def test_a_lost_tail_costs_only_what_was_lost(tmp_path, part, lost):
    with opened(tmp_path) as pool:
        add(pool, list(range(20)))
    path = tmp_path / f"numbers.{part}"
    os.truncate(path, path.stat().st_size - lost)
    with opened(tmp_path) as pool:
        assert len(pool) >= 10
        check(pool, list(range(len(pool))))
        add(pool, list(range(20)))
        check(pool, list(range(20)))


def test_a_pool_of_another_layout_is_begun_anew(tmp_path):
    with opened(tmp_path) as old:
        add(old, [1])
        with Pool.open(tmp_path, "numbers", (32,), np.float32, FACTS) as new:
            assert len(new) == 0
            check(old, [1])  # who had it open keeps it


def test_two_handles_see_what_the_other_wrote_after_their_own_append(tmp_path):
    with opened(tmp_path) as one, opened(tmp_path) as other:
        add(one, [1])
        add(other, [2, 1])
        add(one, [3])
        check(one, [1, 2, 3])
        assert len(one) == 3


def kill_after(folder: Path, seconds: float) -> None:
    process = appender(folder, 0, 100_000)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def survives(folder: Path, seconds: float) -> None:
    kill_after(folder, seconds)
    with opened(folder) as pool:
        check(pool, list(range(len(pool))))
        add(pool, [200_000])
        check(pool, [200_000])


@pytest.mark.parametrize("seconds", [0.02, 0.11])
def test_a_killed_process_leaves_a_sound_pool(tmp_path, seconds):
    survives(tmp_path, seconds)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", np.linspace(0.001, 0.3, 12).tolist())
def test_a_killed_process_leaves_a_sound_pool_at_any_moment(tmp_path, seconds):
    survives(tmp_path, seconds)


def test_two_processes_append_at_once(tmp_path):
    processes = [appender(tmp_path, first, 40) for first in (0, 20)]
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0]
    with opened(tmp_path) as pool:
        assert len(pool) == 60
        check(pool, list(range(60)))


def test_a_full_disk_moves_the_rest_into_memory(tmp_path, monkeypatch):
    pool = opened(tmp_path)
    add(pool, [1])

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    add(pool, [2, 3])
    monkeypatch.undo()
    check(pool, [1, 2, 3])
    assert "the disk is full" in pool.note
    assert pool.records.shape == (3, 64)
    with opened(tmp_path) as again:
        assert len(again) == 1


def test_a_folder_that_cannot_be_made_means_memory_and_a_note(tmp_path):
    (tmp_path / "file").write_text("in the way")
    pool = opened(tmp_path / "file" / "cache")
    add(pool, [1, 2])
    check(pool, [1, 2])
    assert "Nothing new is remembered" in pool.note


def test_a_pool_that_can_only_be_read_is_read(tmp_path, monkeypatch):
    with opened(tmp_path) as pool:
        add(pool, [1, 2])

    def refuse(_: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("kenspeckle.data.pool.locked", refuse)
    pool = opened(tmp_path)
    check(pool, [1, 2])
    add(pool, [3])
    check(pool, [1, 2, 3])
    assert "not permitted" in pool.note

"""What only a process of its own can show: streams, exit codes, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest


def test_help_needs_no_torch(ken_process):
    said = ken_process("--help", PYTHONPROFILEIMPORTTIME="1")
    assert said.code == 0
    imported = {line.rpartition("|")[2].strip() for line in said.err.splitlines()}
    assert "kenspeckle.cli.main" in imported
    assert not imported & {"torch", "torchvision", "sklearn", "matplotlib"}


def test_a_mistake_is_one_line_on_stderr_and_nothing_on_stdout(ken_process):
    said = ken_process("trian", "photos")
    assert said.out == ""
    assert "did you mean 'train'?" in said.refused(2)


def test_json_on_stdout_is_all_there_is(ken_process, small, small_model):
    said = ken_process("predict", small / "circle", "-m", small_model, "--json")
    assert len(json.loads(said.went_well())) == 12


def test_a_list_on_stdin_may_hold_any_name(ken_process, small, small_model):
    names = "\n".join(str(small / "circle" / f"circle{i}.png") for i in (2, 0))
    said = ken_process("predict", "-", "-m", small_model, "-q", stdin=names.encode())
    assert [line.split(": ")[0] for line in said.went_well().splitlines()] == names.splitlines()


@pytest.mark.skipif(os.name == "nt", reason="there are no pipes that break there")
def test_a_reader_that_has_enough_is_no_fault(small, small_model, cache):
    command = [sys.executable, "-m", "kenspeckle", "predict", "-q", "-m", str(small_model)]
    with subprocess.Popen(
        [*command, str(small)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "KENSPECKLE_CACHE": str(cache)},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        complaint = process.stderr.read()
    assert (process.returncode, complaint) == (0, b"")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGINT is another thing there")
def test_ctrl_c_while_training_leaves_a_usable_model(ken, small, cache, tmp_path):
    run = tmp_path / "runs" / "exp"
    command = [sys.executable, "-m", "kenspeckle", "train", str(small), "--model", "seed-cnn"]
    process = subprocess.Popen(
        [*command, "--epochs", "100000", "--patience", "0", "--project", str(tmp_path / "runs")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "KENSPECKLE_CACHE": str(cache), "OMP_NUM_THREADS": "1"},
        # Tests that a shell started in the background ignore it, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not list(run.glob("checkpoints/*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert b"Traceback" not in complaint
    assert process.returncode in (0, 130)
    model = run / "weights" / "best.ken"
    assert model.is_file()
    assert ken("predict", small / "circle", "-m", model, "--json").code == 0


@pytest.mark.slow
def test_the_demo_goes_the_whole_way(ken_process, tmp_path):
    said = ken_process("demo", "--json", cwd=tmp_path)
    told = json.loads(said.went_well())
    assert told["scores"]["accuracy_score"]["low"] > told["majority_share"]
    folder = tmp_path / "runs" / "demo" / "exp"
    assert len(list(folder.rglob("best.ken"))) == 1
    assert len(list(folder.rglob("*-explained.png"))) == 2

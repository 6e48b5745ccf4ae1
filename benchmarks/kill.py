"""Claim: a run that is killed at any moment and resumed ends in the same file, byte by byte.

A run of `ken train --model seed-cnn` (scikit-learn's 1797 digits, 100 updates, the recipe resolved)
is killed with SIGKILL at a moment drawn evenly from the shortest undisturbed run, resumed,
killed again, ten times if it does not end before, and then left to end; 100 kills in all. Its
`best.ken` is compared with the undisturbed run's. Snapshots are taken every 0.2 s instead of every
5 s, so that kills fall into and between them. Run: `python benchmarks/kill.py`.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from bench import Row, Store, table, work_folder
from sklearn.datasets import load_digits

from kenspeckle.recipe import Recipe

KILLS, A_RUN = 100, 10
STEPS = 100
OFTEN = """
import kenspeckle.training.fit as fit
fit.FIRST_SAVE_SECONDS, fit.SAVE_SHARE = 0.2, 0.5
from kenspeckle.cli.main import main
main()
"""


def digits(folder: Path) -> Path:
    """8 x 8 digits as 28 x 28 pixels in an npz."""
    path = folder / "digits.npz"
    if not path.exists():
        found = load_digits()
        large = np.kron(found.images / 16 * 255, np.ones((3, 3)))
        images = np.pad(large, ((0, 0), (2, 2), (2, 2))).astype(np.uint8)
        np.savez(path, images=images, labels=found.target.astype(np.uint8))
    return path


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-c", OFTEN, "train", *(str(x) for x in arguments), "--quiet"]


def digest(run: Path) -> str:
    return hashlib.sha256((run / "weights" / "best.ken").read_bytes()).hexdigest()


def undisturbed(folder: Path) -> Row:
    """Resolve the recipe by a first run, then repeat it for its bytes and its time."""
    data, first = digits(folder), folder / "first"
    shutil.rmtree(first, ignore_errors=True)
    shutil.rmtree(folder / "whole", ignore_errors=True)
    start = ["--model", "seed-cnn", "--set", f"training.steps={STEPS}"]
    subprocess.run(command(data, *start, "--project", folder, "--name", "first"), check=True)
    again = command(data, "--recipe", first / "args.yaml", "--project", folder, "--name", "whole")
    began = time.perf_counter()
    subprocess.run(again, check=True)
    seconds = time.perf_counter() - began
    recipe = Recipe.from_yaml(first / "args.yaml").training
    return {
        "sha256": digest(folder / "whole"),
        "same_as_first": digest(first) == digest(folder / "whole"),
        "seconds": seconds,
        "resolved": [recipe.precision, recipe.channels_last, recipe.threads],
    }


def disturbed(folder: Path, number: int, seconds: float) -> Row:
    """One run with up to ten kills."""
    run = folder / f"killed-{number}"
    shutil.rmtree(run, ignore_errors=True)
    rng = np.random.default_rng(number)
    data, recipe = digits(folder), folder / "first" / "args.yaml"
    moments: list[float] = []
    resumed, failures = 0, []
    length: float | None = None  # of a whole process that was not killed
    while len(moments) < A_RUN:
        began = time.perf_counter()
        has_begun = (run / "start.json").exists()
        resumed += has_begun
        if not has_begun:  # killed before it had written what to resume
            shutil.rmtree(run, ignore_errors=True)
        fresh = [data, "--recipe", recipe, "--project", folder, "--name", run.name]
        process = subprocess.Popen(
            command(*(["--resume", run] if has_begun else fresh)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        moment = float(rng.uniform(0, seconds))
        try:
            _, said = process.communicate(timeout=moment)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            moments.append(round(moment, 2))
            continue
        if not has_begun:
            length = time.perf_counter() - began
        if process.returncode:
            failures.append(said)
        break
    if len(moments) == A_RUN:
        last = ["--resume", run] if (run / "start.json").exists() else fresh
        ended = subprocess.run(command(*last), capture_output=True, text=True, check=False)
        failures += [ended.stderr] if ended.returncode else []
    snapshots = len(list((run / "checkpoints").glob("step-*")))
    same = "" if failures else digest(run)
    shutil.rmtree(run, ignore_errors=True)
    return {
        "kills": len(moments),
        "moments_s": moments,
        "resumed": resumed,
        "snapshots": snapshots,
        "failures": failures,
        "sha256": same,
        "whole_s": length,
    }


def main() -> None:
    folder = work_folder() / "kill"
    folder.mkdir(exist_ok=True)
    store = Store("kill", __doc__ or "")
    whole = store.row("undisturbed", lambda: undisturbed(folder))
    rows: list[Row] = []
    while sum(row["kills"] for row in rows) < KILLS:
        number = len(rows)
        # A busy machine may have slowed the first run: a moment after the end kills nothing.
        lengths = [row.get("whole_s") or whole["seconds"] for row in rows]
        seconds = min([whole["seconds"], *lengths])
        rows.append(store.row(f"run {number}", lambda n=number, s=seconds: disturbed(folder, n, s)))
        print(number, rows[-1]["kills"], rows[-1]["sha256"] == whole["sha256"], flush=True)
    same = [row["sha256"] == whole["sha256"] for row in rows]
    table(
        [("run", "kills", "resumed", "same")]
        + [
            (i, row["kills"], row["resumed"], good)
            for i, (row, good) in enumerate(zip(rows, same, strict=True))
        ]
    )
    store.conclude(
        {
            "kills": sum(row["kills"] for row in rows),
            "runs": len(rows),
            "runs_same": sum(same),
            "kills_in_runs_that_ended_the_same": sum(
                row["kills"] for row, good in zip(rows, same, strict=True) if good
            ),
            "lost": sum(bool(row["failures"]) for row in rows),
            "met": all(same) and whole["same_as_first"],
        }
    )


if __name__ == "__main__":
    main()

"""One small drawn world for all journeys, and two ways to run `ken`: in this process, or a new one.

The world is `photos/`: 3 classes of 14 coloured shapes on noise, 96 px, and with them a file that
breaks off, a Git LFS pointer, and a copy of a circle among the squares.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from kenspeckle.cli.main import run

SHAPES = ("circle", "cross", "square")
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{0:064d}\nsize 12345\n"


@dataclass(frozen=True)
class Said:
    """What a command line left behind."""

    code: int
    out: str
    err: str

    def refused(self, code: int) -> str:
        """The complaint: the one line on stderr, with the exit code that it should have."""
        assert self.code == code, (self.code, self.err, self.out)
        assert "Traceback" not in self.err
        assert self.err.startswith("ken: ")
        assert self.err.count("\n") == 1, self.err
        assert self.err.endswith("\n")
        return self.err.removeprefix("ken: ").strip()

    def went_well(self) -> str:
        """Standard output, where nothing was complained of."""
        assert (self.code, self.err) == (0, ""), (self.code, self.err)
        return self.out


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    """A cache of the journeys' own, so that no test sees what another machine remembers."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def ken(cache, tmp_path_factory) -> Callable[..., Said]:
    """Run one command line in this process, in an empty folder unless `cwd` names another."""

    def call(*arguments: Any, cwd: Path | None = None, stdin: str = "") -> Said:
        out, err = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            patch.setenv("KENSPECKLE_CACHE", str(cache))
            patch.setattr(sys, "stdin", io.StringIO(stdin))
            patch.chdir(cwd or tmp_path_factory.mktemp("cwd"))
            code = run([str(argument) for argument in arguments])
        return Said(code, out.getvalue(), err.getvalue())

    return call


@pytest.fixture(scope="session")
def ken_process(cache) -> Callable[..., Said]:
    """Run one command line as a user does: a new process, real streams, real exit code."""

    def call(
        *arguments: Any,
        cwd: Path | None = None,
        before: Callable[[], None] | None = None,
        stdin: bytes = b"",
        **environment: str,
    ) -> Said:
        own = {"KENSPECKLE_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "kenspeckle", *arguments],
            cwd=cwd,
            env={**os.environ, **own, **environment},
            input=stdin,
            capture_output=True,
            preexec_fn=before,
            timeout=100,
        )
        words = [s.decode("utf-8", "surrogateescape") for s in (done.stdout, done.stderr)]
        return Said(done.returncode, *words)

    return call


def draw(shape: str, random: np.random.Generator, side: int = 96) -> Image.Image:
    """One bright shape of the name `shape` on dark noise."""
    dark, bright = random.integers(0, 90, 3), random.integers(140, 255, 3)
    image = Image.new("RGB", (side, side), tuple(dark.tolist()))
    pen, colour = ImageDraw.Draw(image), tuple(bright.tolist())
    left, top = random.integers(side // 12, side // 3, 2).tolist()
    size = int(random.integers(side // 3, side // 2))
    box = (left, top, left + size, top + size)
    if shape == "circle":
        pen.ellipse(box, fill=colour)
    elif shape == "square":
        pen.rectangle(box, fill=colour)
    else:
        pen.line(box, fill=colour, width=side // 10)
        pen.line((left, top + size, left + size, top), fill=colour, width=side // 10)
    noisy = np.asarray(image).astype(int) + random.integers(-20, 20, (side, side, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def drawn() -> Callable[..., Path]:
    """Draw `folder/NAME/NAME0.png ...` for every NAME=COUNT; names without a shape get crosses."""

    def make(folder: Path, side: int = 96, seed: int = 0, **counts: int) -> Path:
        random = np.random.default_rng(seed)
        for name, count in counts.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                draw(name, random, side).save(folder / name / f"{name}{i}.png")
        return folder

    return make


@pytest.fixture(scope="session")
def photos(drawn, tmp_path_factory) -> Path:
    """The world with its three faults; nobody may write into it."""
    folder = drawn(tmp_path_factory.mktemp("world") / "photos", **dict.fromkeys(SHAPES, 14))
    whole = (folder / "cross" / "cross1.png").read_bytes()
    (folder / "cross" / "broken.png").write_bytes(whole[: len(whole) // 2])
    (folder / "cross" / "pointer.jpg").write_text(POINTER)
    shutil.copy(folder / "circle" / "circle0.png", folder / "square" / "copy.png")
    return folder


@pytest.fixture(scope="session")
def small(drawn, tmp_path_factory) -> Path:
    """28 px images without a fault, for runs of the small network."""
    return drawn(tmp_path_factory.mktemp("small") / "small", side=28, circle=12, square=12)


@pytest.fixture(scope="session")
def trained(ken, photos, tmp_path_factory) -> Path:
    """The folder of a run with all defaults on `photos`."""
    project = tmp_path_factory.mktemp("runs")
    ken("train", photos, "--project", project).went_well()
    return project / "exp"


@pytest.fixture(scope="session")
def model(trained) -> Path:
    """The model file of that run."""
    return trained / "weights" / "best.ken"


@pytest.fixture(scope="session")
def small_run(ken, small, tmp_path_factory) -> Path:
    """The folder of a run that trained the small network for two epochs."""
    project = tmp_path_factory.mktemp("small-runs")
    ken("train", small, "--model", "seed-cnn", "--epochs", "2", "--project", project).went_well()
    return project / "exp"


@pytest.fixture(scope="session")
def small_model(small_run) -> Path:
    """Its model file: a third of a megabyte, for what is done to many copies."""
    return small_run / "weights" / "best.ken"

"""A film: a frame an epoch, the same seeds in each, marked, and found again after a resume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image

from kenspeckle.data.synthetic import MARK, is_marked
from kenspeckle.tasks.generate import Generate
from kenspeckle.verbs.film import NAME, Film
from kenspeckle.verbs.pictures import as_png


@dataclass(frozen=True)
class Found:
    """What of an outcome a film adds to."""

    sheets: Mapping[str, Any] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=lambda: {"sheets": []})


def networks(task):
    torch.manual_seed(0)
    return [task.network(None).eval() for _ in range(2)]


def test_a_film_has_a_frame_an_epoch_and_goes_on_after_a_resume(tmp_path):
    task = Generate(["a", "b"], image_size=28)
    first, second = networks(task)
    Film(task, tmp_path).take(first, 1)
    assert Film(task, tmp_path, resume=True).shown(Found()) == Found()
    resumed = Film(task, tmp_path, resume=True)
    resumed.take(second, 2)
    found = resumed.shown(Found())
    film = found.sheets[NAME]
    assert film.shape == (2, 58, 298, 1)
    assert [row["picture"] for row in found.told["sheets"]] == [NAME]
    assert np.array_equal(film[1, :28, :28], task.drawn(second, [0])[0][0].permute(1, 2, 0))


def test_a_fresh_run_does_not_go_on_with_an_older_film(tmp_path):
    task = Generate(["a", "b"], image_size=28)
    first, _ = networks(task)
    Film(task, tmp_path).take(first, 7)
    Film(task, tmp_path).take(first, 1)
    assert [path.name for path in (tmp_path / "film").iterdir()] == ["0001.png"]


def test_a_film_is_one_animated_marked_file(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 1), dtype=np.uint8)
    as_png(tmp_path / NAME, frames, MARK)
    with Image.open(tmp_path / NAME) as film:
        assert film.n_frames == 3
        assert is_marked(film.text)
        for number in range(3):
            film.seek(number)
            assert np.array_equal(np.asarray(film.convert("L")), frames[number, ..., 0])

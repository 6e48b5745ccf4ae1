"""`sample`: images drawn by a model that learned a class from real ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kenspeckle.data.synthetic import MARK
from kenspeckle.errors import UsageError, nearest
from kenspeckle.models.gan import Gan, interpolated, latents_of
from kenspeckle.tasks.generate import Generate
from kenspeckle.verbs.model import Model
from kenspeckle.verbs.pictures import as_png, grid

ACROSS = 10  # images a row of the sheet, where there is but one class
MOST_ON_SHEET = 1000


@dataclass(frozen=True)
class Drawn:
    """One drawn image.

    Args:
        pixels: (H, W, 1 or 3) uint8.
        label: what it was asked to show.
        name: what tells it from others of its class: its seed, or its place on a way.
    """

    pixels: NDArray[np.uint8]
    label: str
    name: str


def sample(
    model: Model,
    n: int = 100,
    *,
    label: str | None = None,
    seed: int = 0,
    truncation: float = math.inf,
    interpolate: bool = False,
) -> list[Drawn]:
    """Draw images; each has a seed of its own, and the same seed gives the same image.

    Args:
        n: how many; their seeds are `seed`, `seed` + 1, and so on.
        label: the class; None takes class number (seed modulo K) for each.
        truncation: below about 2, images are more typical and more alike.
        interpolate: n steps from the image of `seed` to that of `seed` + 1, all of one class.

    Raises:
        UsageError: the model does something else, there is no such class, or fewer than one image
            (two, on a way) are asked for.
    """
    task, network = model.task, model.network
    if not isinstance(task, Generate) or not isinstance(network, Gan):
        raise UsageError("This model does not draw images; train one with --task generate.")
    if label is not None and label not in task.classes:
        hint = nearest(label, task.classes) or "."
        raise UsageError(
            f"The model has no class '{label}'{hint} Known: {', '.join(task.classes)}."
        )
    if n < 1 + interpolate:
        raise UsageError(f"-n should be {1 + interpolate} or more, found {n}.")
    if seed < 0:
        raise UsageError(f"--seed should be 0 or more, found {seed}.")
    first = seed % len(task.classes) if label is None else task.classes.index(label)
    if interpolate:
        a, b = latents_of([seed, seed + 1], task.latent, truncation)
        latents, numbers = interpolated(a, b, n), [first] * n
        names = [f"{seed:06}-to-{seed + 1:06}-{step:03}" for step in range(n)]
    else:
        seeds = range(seed, seed + n)
        latents = latents_of(seeds, task.latent, truncation)
        numbers = [s % len(task.classes) if label is None else first for s in seeds]
        names = [f"{s:06}" for s in seeds]
    # One by one: in a batch of another size the last bits differ, and with them a grey level.
    return [
        Drawn(_pixels(network, latent, number), task.classes[number], name)
        for latent, number, name in zip(latents, numbers, names, strict=True)
    ]


def _pixels(network: Gan, latent: Tensor, number: int) -> NDArray[np.uint8]:
    image = network.draw(latent[None], torch.tensor([number]))[0]
    return image.permute(1, 2, 0).contiguous().numpy()


def write_drawn(folder: Path, drawn: Sequence[Drawn]) -> tuple[list[Path], Path]:
    """Write CLASS/drawn-SEED.png for each, marked as synthetic, and sheet.png with all of them.

    Returns:
        The files, in order, and the sheet, which shows the first 1000.

    Raises:
        StorageError: the disk is full or the folder cannot be written to.
    """
    paths = [folder / one.label / f"drawn-{one.name}.png" for one in drawn]
    for path, one in zip(paths, drawn, strict=True):
        as_png(path, one.pixels, MARK)
    sheet = folder / "sheet.png"
    as_png(sheet, _sheet(drawn[:MOST_ON_SHEET]), MARK)
    return paths, sheet


def _sheet(drawn: Sequence[Drawn]) -> NDArray[np.uint8]:
    """A row a class; of a single class, rows of ten."""
    rows: dict[str, list[Tensor]] = {}
    for one in drawn:
        rows.setdefault(one.label, []).append(torch.from_numpy(one.pixels).permute(2, 0, 1))
    stacked = [torch.stack(images) for images in rows.values()]
    return grid(stacked if len(stacked) > 1 else [*stacked[0].split(ACROSS)])

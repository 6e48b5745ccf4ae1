"""What an image looked like before it was damaged: noise, blur, JPEG, low resolution, holes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kenspeckle.answer import Answer
from kenspeckle.data.batch import Batch, Rows
from kenspeckle.data.dataset import Dataset
from kenspeckle.data.degrade import DEGRADATIONS, Degraded, degraded, degraded_by
from kenspeckle.errors import UsageError, nearest
from kenspeckle.models.backbone import Backbone
from kenspeckle.models.restorer import Restored, Restorer, distance, restore_loss
from kenspeckle.models.tiles import in_tiles
from kenspeckle.score import Score, bootstrap
from kenspeckle.tasks.facts import Learning, Telling
from kenspeckle.tasks.pixels import PixelTask
from kenspeckle.tasks.task import Choices, Sizes
from kenspeckle.words import Table, Title, where

PATCH = 48  # pixels a side
PATCHES = 8000  # an epoch, at most
TILE = 256  # pixels a side that are mended at once
Z90 = 1.6448536269514722  # two-sided 90 % quantile of the normal distribution
# What is measured: a way of damage, how much of it, and how that reads.
MEASURED: Mapping[str, tuple[tuple[float, str], ...]] = {
    "noise": ((15, "noise 15"), (25, "noise 25"), (50, "noise 50")),
    "shot_noise": ((25, "shot noise 25"),),
    "jpeg": ((90, "JPEG quality 10"), (70, "JPEG quality 30")),
    "blur": ((2, "blur 2"),),
    "low_resolution": ((2, "half resolution"),),
    "holes": ((0.1, "a tenth in holes"),),
}


def _score_name(words: str) -> str:
    return f"{words.lower().replace(' ', '_')}_gain_score"


class Restore(PixelTask[Restorer]):
    """Pixels from pixels; the damage is made on the fly, so any images will do.

    Args:
        classes: the ways of damage that it learned to mend.
        scale: what the stated deviations are multiplied with, so that 90 % intervals hold.
    """

    learning: ClassVar[Learning] = Learning(
        brings="restorer",
        settings={
            "training.epochs": 12,
            "training.batch_size": 8,
            "training.learning_rate": 2e-3,
            "training.weight_decay": 0.0,
            "training.schedule": "cosine",
            "training.averaging": 0.999,
            "training.clip": 0.5,  # norms are .05; a run in bfloat16 came apart in its fourth epoch
            "training.patience": 0,
        },
    )
    telling: ClassVar[Telling] = Telling(
        verb="restore",
        titles={
            _score_name(words): Title(
                f"Gain on {words}",
                "Decibels (PSNR) by which mending brings the image nearer to the undamaged one. "
                "3 dB halve the squared error. Higher is better.",
                False,
            )
            for levels in MEASURED.values()
            for _, words in levels
        }
        | {
            "coverage_score": Title(
                "Pixels inside the stated range",
                "How many pixels lie within the 90 % range that is stated for them. 90 % is right.",
                True,
            )
        },
        topic="image-to-image",
        needed=("mended",),
    )

    def __init__(self, classes: Sequence[str], *, scale: float = 1.0, **_: Any) -> None:
        self.classes, self.scale = tuple(classes), scale

    @classmethod
    def for_data(cls, used: Dataset, learned: Sequence[int], choices: Choices) -> Restore:
        """For the ways of damage that the recipe names.

        Raises:
            UsageError: a way that does not exist.
        """
        for name in choices.degradations:
            if name not in DEGRADATIONS:
                hint = nearest(name, DEGRADATIONS) or "."
                known = ", ".join(DEGRADATIONS)
                raise UsageError(f"There is no degradation '{name}'{hint} Known: {known}.")
        return cls([name for name in DEGRADATIONS if name in choices.degradations])

    @classmethod
    def sentence(cls, report: Mapping[str, Any]) -> str:
        """What it gains, on the first kind of damage that was measured."""
        row = max(report["mended"], key=lambda row: row["words"] == "noise 25")
        score = report["scores"][_score_name(row["words"])]
        return (
            f"On images like these it brings {row['words']} from {row['before']:.1f} to "
            f"{row['after']:.1f} dB, a gain of {score['value']:.1f} dB (between "
            f"{score['low']:.1f} and {score['high']:.1f}, {where(report, score)})."
        )

    @classmethod
    def asks(cls, report: Mapping[str, Any], classes: int) -> str:
        """What it undoes."""
        return "Damaged images mended"

    @classmethod
    def tables(cls, report: Mapping[str, Any]) -> list[Table]:
        """Decibels before and after."""
        rows = [
            [row["words"], f"{row['before']:.2f}", f"{row['after']:.2f}"]
            for row in report["mended"]
        ]
        intro = (
            "How near a damaged image is to the undamaged one, in decibels (PSNR, the mean over "
            "images), and how near after mending."
        )
        return [Table("Mended", intro, ["Damage", "Before", "After"], rows)]

    def network(self, backbone: Backbone | None) -> Restorer:
        """A fresh restorer."""
        return Restorer()

    def patches(self) -> tuple[int, int]:
        """Small ones: what is learned is how pixels hang together nearby."""
        return PATCH, PATCHES

    def loss(self, network: Restorer, batch: Batch, player: str) -> Tensor:
        """How far mended patches are from the undamaged ones, and from what is stated of that.

        In eval mode the first alone, by which weights are chosen.
        """
        clean = batch.images.float() / 255
        chance = None if network.training else torch.Generator().manual_seed(0)
        seen = degraded(clean, self.classes, chance)
        mended = network(seen.images, seen.sigma, seen.quality, seen.mask)
        return (restore_loss if network.training else distance)(mended, clean).mean()

    def answered(
        self, network: Restorer, images: Rows, paths: Sequence[str], sizes: Sizes
    ) -> list[Answer]:
        """Each image damaged in every measured way and amount, and mended."""
        answers = []
        for row, path in enumerate(paths):
            pixels = images[torch.tensor([row])].float() / 255
            clean = pixels.expand(-1, 3, -1, -1)
            figures: dict[str, float] = {}
            for name in self.classes:
                for amount, words in MEASURED[name]:
                    chance = torch.Generator().manual_seed(row)
                    seen = degraded_by(clean, {name: amount}, chance)
                    mended = self.mended(network, seen)
                    figures[f"{words} before"] = _psnr(seen.images, clean)
                    figures[f"{words} after"] = _psnr(mended.images, clean)
                    off = (mended.images - clean).square().mean(1, keepdim=True).sqrt()
                    ratio = (off / mended.deviation).flatten().double().numpy()
                    figures[f"{words} ratio"] = float(np.quantile(ratio, 0.9))
                    inside = ratio <= Z90 * self.scale
                    figures[f"{words} inside"] = float(inside.mean())
            answers.append(Answer(path, None, {}, "", figures=figures))
        return answers

    def mended(self, network: Restorer, seen: Degraded) -> Restored:
        """One image (1, 3, H, W) of any size, mended tile by tile without seams."""

        def function(tile: Tensor) -> Tensor:
            mended = network(tile[:, :3], seen.sigma, seen.quality, tile[:, 3:])
            return torch.cat([mended.images, mended.log_variance], 1)

        whole = torch.cat([seen.images, seen.mask.float()], 1)
        with torch.inference_mode():
            out = in_tiles(function, whole, TILE, network.reach, network.multiple)
        return Restored(out[:, :3].clamp(0, 1), out[:, 3:])

    def settle(self, answers: Sequence[Answer], labels: Sequence[str]) -> None:
        """The factor with which nine in ten pixels of held-out images lie in the stated range."""
        ratios = [v for a in answers for name, v in a.figures.items() if name.endswith(" ratio")]
        self.scale = float(np.mean(ratios)) / Z90

    def score(
        self,
        answers: Sequence[Answer],
        labels: Sequence[str | None],
        groups: Sequence[str] | None = None,
    ) -> Mapping[str, Score]:
        """The gain in decibels for each kind of damage, and the coverage of stated ranges."""
        scores = {}
        for words in self._words():
            gain = np.array(
                [a.figures[f"{words} after"] - a.figures[f"{words} before"] for a in answers]
            )
            scores[_score_name(words)] = _mean(gain, groups)
        inside = np.array(
            [np.mean([a.figures[f"{words} inside"] for words in self._words()]) for a in answers]
        )
        return {**scores, "coverage_score": _mean(inside, groups)}

    def details(
        self,
        answers: Sequence[Answer],
        labels: Sequence[str | None],
        groups: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """`mended`: decibels before and after, for each kind of damage."""
        return {
            "mended": [
                {
                    "words": words,
                    **{
                        end: float(np.mean([a.figures[f"{words} {end}"] for a in answers]))
                        for end in ("before", "after")
                    },
                }
                for words in self._words()
                if answers
            ]
        }

    def kept(self) -> dict[str, Any]:
        """The factor of the stated deviations."""
        return {"scale": self.scale}

    def _words(self) -> list[str]:
        return [words for name in self.classes for _, words in MEASURED[name]]


def _mean(values: np.ndarray, groups: Sequence[str] | None) -> Score:
    return bootstrap(lambda rows: float(values[rows].mean()), len(values), groups)


def _psnr(image: Tensor, clean: Tensor) -> float:
    """10 log10(1 / mean squared error), of images cut to [0, 1]; 100 at most."""
    error = F.mse_loss(image.clamp(0, 1), clean).clamp(min=1e-10)
    return float(-10 * error.log10())

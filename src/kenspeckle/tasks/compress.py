"""Images in few bytes, by a codec that has learned what such images look like."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kenspeckle.answer import Answer
from kenspeckle.data.batch import Batch, Rows
from kenspeckle.data.dataset import Dataset
from kenspeckle.data.formats import NAMES, formats, psnr, written
from kenspeckle.models.backbone import Backbone
from kenspeckle.models.codec import (
    LEVELS,
    Codec,
    bd_rate,
    codec_loss,
    compressed,
    decompressed,
    drawn_levels,
    rate_at,
)
from kenspeckle.models.entropy import require_coder
from kenspeckle.score import Score, bootstrap
from kenspeckle.tasks.facts import Learning, Telling
from kenspeckle.tasks.pixels import PixelTask
from kenspeckle.tasks.task import Choices, Sizes
from kenspeckle.words import Table, Title, where

SMALL = 96  # pixels a side; images below it get stride 8, else a latent would say most of them
SMALL_PATCHES, PATCHES = 4000, 2000  # an epoch at the most, of small patches and of 128 pixels
USUAL = 50  # the quality where nobody says
# Qualities that are measured: enough for a smooth curve through each.
OURS = (1, 25, USUAL, 75, 100)
THEIRS = (5, 20, 35, 50, 65, 80, 95)
Floats = NDArray[np.float64]


class Compress(PixelTask[Codec]):
    """Pixels to bytes and back; any images will do, and labels are passed over.

    Args:
        classes: one, by the name of what comes out.
        image_size: pixels a side of the patches that it learns from.
        stride: pixels a side that a latent stands for, 8 or 16.
        model_bytes: what the network's weights take, which the reader of a file needs too.
    """

    learning: ClassVar[Learning] = Learning(
        brings="codec",
        settles=False,
        most_measured=500,
        measuring_share=0.1,
        settings={
            "training.epochs": 20,
            "training.batch_size": 32,
            "training.learning_rate": 1e-3,
            "training.weight_decay": 0.0,
            "training.schedule": "cosine",
            "training.averaging": 0.999,
            "training.patience": 0,
            # latents of hundreds need steps finer than bfloat16 has
            "training.precision": "float32",
        },
    )
    telling: ClassVar[Telling] = Telling(
        verb="compress",
        titles={
            "bd_rate_jpeg_error": Title(
                "Bytes against JPEG (BD-rate)",
                "How many more bytes its files take than JPEG's at equal quality (PSNR), as a "
                "share: -0.4 is 40 % fewer. Lower is better.",
                False,
            )
        },
        topic="image-to-image",
        caution=(
            "A file that it writes can be opened with this very model only: keep the model as long "
            "as the files. Detail is lost, so keep the original of whatever must stay exact."
        ),
        commands=(
            "ken compress photo.png --model {file}",
            "ken decompress photo.kenc --model {file}",
        ),
        python=(
            "from pathlib import Path\nimport kenspeckle\n"
            "from kenspeckle.verbs.compress import compress\n"
            'print(compress(kenspeckle.load("{file}"), Path("photo.png")).words)'
        ),
        needed=("points", "against", "model_bytes"),
    )

    def __init__(
        self,
        classes: Sequence[str],
        *,
        image_size: int = 128,
        stride: int = 16,
        model_bytes: int = 0,
        **_: Any,
    ) -> None:
        self.classes = tuple(classes)
        self.patch, self.stride, self.model_bytes = image_size, stride, model_bytes

    @classmethod
    def shape_for(cls, typical: tuple[int, int] | None) -> tuple[int, int]:
        """Patches of 32, 64 or 128 pixels, by how large images mostly are."""
        side = min(typical or (SMALL, SMALL))
        patch = 32 if side < 64 else 64 if side < SMALL else 128
        return patch, patch

    @classmethod
    def for_data(cls, used: Dataset, learned: Sequence[int], choices: Choices) -> Compress:
        """For images as large as the patches say.

        Raises:
            MissingExtra: the package that writes the bytes is not installed.
        """
        require_coder()
        patch = choices.fit.size
        return cls(("image",), image_size=patch, stride=8 if patch < SMALL else 16)

    @classmethod
    def sentence(cls, report: Mapping[str, Any]) -> str:
        """How much smaller its files are than JPEG's."""
        score = report["scores"]["bd_rate_jpeg_error"]
        images = next(row["images"] for row in report["against"] if row["codec"] == "jpeg")
        compared = {**report, "measured": {**report["measured"], "n": images}}
        return (
            f"On images like these its files are about {_beside(score['value'])} than JPEG's at "
            f"equal quality (PSNR; {_between(score)}, {where(compared, score)})."
        )

    @classmethod
    def asks(cls, report: Mapping[str, Any], classes: int) -> str:
        """What it does."""
        return "Images in few bytes"

    @classmethod
    def tables(cls, report: Mapping[str, Any]) -> list[Table]:
        """Its bytes against other formats', and bytes and decibels of each."""
        against = [
            [NAMES[row["codec"]], _beside(row["value"]), _between(row), str(row["images"])]
            for row in report["against"]
        ]
        points = [
            [
                f"{NAMES.get(row['codec'], 'this codec')} {row['quality']}",
                f"{row['bytes']:.0f}",
                f"{row['psnr']:.2f}",
            ]
            for row in report["points"]
        ]
        return [
            Table(
                "Against other formats",
                "How large its files are beside others of equal quality (PSNR): the mean over "
                "images of the BD-rate, with its 95 % interval. Whole files are counted. Images "
                "that were JPEG, WebP or AVIF files before make those look better than they are. "
                + _break_even(report),
                ["Format", "Its files are", "Interval", "Images"],
                against,
            ),
            Table(
                "Bytes and quality",
                "Bytes of a whole file, and how near the image that comes out is to the one that "
                "went in (PSNR in decibels): means over images. Files were written and read. JPEG "
                "with half the colours each way (4:2:0) and optimised tables, WebP with method 6, "
                "AVIF tuned for PSNR.",
                ["Format and its quality", "Bytes", "PSNR"],
                points,
            ),
        ]

    def network(self, backbone: Backbone | None) -> Codec:
        """A fresh codec."""
        return Codec(self.stride)

    def patches(self) -> tuple[int, int]:
        """As large as the codec's images; more of small ones."""
        return self.patch, SMALL_PATCHES if self.patch < SMALL else PATCHES

    def loss(self, network: Codec, batch: Batch, player: str) -> Tensor:
        """Bits and weighted squared error, at qualities that are drawn; even ones in eval mode."""
        images = batch.images.float() / 255
        if network.training:
            # Half of them mirrored: 3.57 instead of 3.61 on 314 tuning images of traffic signs,
            # where 1250 updates on 1777 had begun to learn them by heart (one seed).
            mirrored = torch.rand(len(images), device=images.device) < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
            return codec_loss(network, images, drawn_levels(len(images), images.device)).mean()
        levels = torch.linspace(0, LEVELS - 1, len(images), device=images.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # the noise that stands in for rounding
            return codec_loss(network, images, levels).mean()

    def finish(self, network: Codec) -> None:
        """Make the integers by which bytes are written."""
        network.eval()
        network.freeze()
        self.model_bytes = sum(t.numel() * t.element_size() for t in network.state_dict().values())

    def answered(
        self, network: Codec, images: Rows, paths: Sequence[str], sizes: Sizes
    ) -> list[Answer]:
        """Each image written and read back by every codec at several qualities."""
        answers = []
        for row, path in enumerate(paths):
            pixels = images[torch.tensor([row])][0].permute(1, 2, 0).contiguous().numpy()
            figures: dict[str, float] = {}
            for quality in OURS:
                content = compressed(network, pixels, quality)
                figures[f"ours {quality} bytes"] = len(content)
                figures[f"ours {quality} psnr"] = psnr(pixels, decompressed(network, content))
            for name in formats():
                for quality in THEIRS:
                    file = written(pixels, name, quality)
                    figures[f"{name} {quality} bytes"] = len(file.content)
                    figures[f"{name} {quality} psnr"] = file.psnr
            answers.append(Answer(path, None, {}, "", figures=figures))
        return answers

    def score(
        self,
        answers: Sequence[Answer],
        labels: Sequence[str | None],
        groups: Sequence[str] | None = None,
    ) -> Mapping[str, Score]:
        """The BD-rate against JPEG as a share; none where no image reaches a common quality."""
        score, _ = _compared(answers, "jpeg", groups)
        return {} if score is None else {"bd_rate_jpeg_error": score}

    def details(
        self,
        answers: Sequence[Answer],
        labels: Sequence[str | None],
        groups: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """`points`, mean bytes and PSNR; `against`, BD-rates; what the model itself takes."""
        if not answers:
            return {"points": [], "against": [], "model_bytes": self.model_bytes, "saved": None}
        names = formats()
        against = []
        for name in names:
            score, images = _compared(answers, name, groups)
            if score is not None:
                against.append({"codec": name, "images": images, **score.as_dict()})
        return {
            "points": [row for name in ("ours", *names) for row in _points(answers, name)],
            "against": against,
            "model_bytes": self.model_bytes,
            "saved": _saved(answers),
        }

    def kept(self) -> dict[str, Any]:
        """The stride, and what the weights take."""
        return {"stride": self.stride, "model_bytes": self.model_bytes}


def _curve(answer: Answer, name: str) -> tuple[list[float], list[float]]:
    """Bytes and PSNR of one image, a number a quality."""
    bytes_, psnrs = (
        [answer.figures[f"{name} {quality} {what}"] for quality in _qualities(name)]
        for what in ("bytes", "psnr")
    )
    return bytes_, psnrs


def _qualities(name: str) -> tuple[int, ...]:
    return OURS if name == "ours" else THEIRS


def _points(answers: Sequence[Answer], name: str) -> list[dict[str, Any]]:
    bytes_, psnrs = np.mean([_curve(answer, name) for answer in answers], axis=0)
    return [
        {"codec": name, "quality": quality, "bytes": float(size), "psnr": float(height)}
        for quality, size, height in zip(_qualities(name), bytes_, psnrs, strict=True)
    ]


def _compared(
    answers: Sequence[Answer], name: str, groups: Sequence[str] | None
) -> tuple[Score | None, int]:
    """The mean over images of our BD-rate against a format, and of how many images it is."""
    rates = np.array([bd_rate(*_curve(a, name), *_curve(a, "ours")) / 100 for a in answers])
    rows = np.flatnonzero(np.isfinite(rates))
    if not len(rows):
        return None, 0
    kept = None if groups is None else [groups[int(row)] for row in rows]
    return bootstrap(lambda drawn: float(rates[rows][drawn].mean()), len(rows), kept), len(rows)


def _saved(answers: Sequence[Answer]) -> float | None:
    """Mean bytes that a file of usual quality saves against a JPEG of the same PSNR."""
    saved = [
        rate_at(*_curve(a, "jpeg"), a.figures[f"ours {USUAL} psnr"])
        - a.figures[f"ours {USUAL} bytes"]
        for a in answers
    ]
    known = [value for value in saved if math.isfinite(value)]
    return float(np.mean(known)) if known else None


def _break_even(report: Mapping[str, Any]) -> str:
    size, saved = report["model_bytes"] / 1e6, report["saved"]
    words = f"The model itself takes {size:.1f} MB"
    if saved is None or saved <= 0:
        return f"{words}, which no number of images makes up for at quality {USUAL}."
    count = math.ceil(report["model_bytes"] / saved)
    return (
        f"{words}: at quality {USUAL} a file saves {saved:.0f} bytes against JPEG, so that it pays "
        f"from {count} images on."
    )


def _beside(share: float) -> str:
    """How large something is beside another.

    >>> _beside(-0.412), _beside(0.05)
    ('41 % smaller', '5 % larger')
    """
    return f"{100 * abs(share):.0f} % {'smaller' if share < 0 else 'larger'}"


def _between(score: Mapping[str, Any]) -> str:
    """The ends of a BD-rate's interval, the lesser number first.

    >>> _between({"low": -0.44, "high": -0.38}), _between({"low": -0.03, "high": 0.1})
    ('between 38 % and 44 % smaller', 'between 3 % smaller and 10 % larger')
    """
    low, high = score["low"], score["high"]
    if low < 0 <= high:
        return f"between {_beside(low)} and {_beside(high)}"
    near, far = sorted((low, high), key=abs)
    return f"between {100 * abs(near):.0f} % and {_beside(far)}"

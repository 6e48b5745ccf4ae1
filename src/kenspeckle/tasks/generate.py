"""New images of the classes it learned, by two networks that are trained against each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kenspeckle.answer import Answer
from kenspeckle.data.batch import Batch, Chosen, Rows, in_pieces
from kenspeckle.data.dataset import Dataset
from kenspeckle.errors import DataError, UsageError
from kenspeckle.models.backbone import Backbone
from kenspeckle.models.gan import (
    AUGMENTED,
    SIZES,
    Gan,
    critic_loss,
    generator_loss,
    latents_of,
)
from kenspeckle.score import Score, accuracy_score
from kenspeckle.tasks.facts import Learning, Telling
from kenspeckle.tasks.task import Choices, Floats, Sizes, Task
from kenspeckle.words import Table, Title, between, times_in_100, where

USUAL_SIDE = 32  # pixels; an update costs 1.3 times that of 28 pixels, at 64 pixels 5 times
# Images; fewer are changed more often before the critic sees them. On 100 digits, 4000 updates and
# two seeds, 10 000 drawn ones taught a recogniser to be right on 74 and 66 % of digits held out of
# training with a tenth changed, 77 and 73 % with .32, 75 and 72 % with .6; of the drawn ones 2.7
# and 3.4 %, 1.9 and 1.4 %, 1.2 and 1.0 % were as near to a training image as 1 in 100 held out.
# On 1000 and on 50 000 digits .05 and .1 were level.
MANY = 1000
PIECE = 250  # images drawn at once


class Generate(Task[Gan]):
    """Images from a class and chance (R3GAN's losses, DiffAugment; see models/gan.py).

    What it is worth is not to be read off its losses. A small recogniser learns from drawn images
    only and answers real ones; its answers are what is scored here, beside those of one that
    learned from real images. Both are trained by the verb, which hands the answers in.

    Args:
        classes: K names.
        image_size: pixels a side.
        channels: 1 (grey) or 3.
        latent: numbers that decide an image beside its class.
        width, critic_width: how large the two networks are.
        augmented_share: of the images that are changed before the critic sees them.
    """

    judges: ClassVar[bool] = False
    is_measured_again: ClassVar[bool] = False
    learning: ClassVar[Learning] = Learning(
        brings="gan",
        tunes=False,
        measuring_share=0.1,
        most_measured=10_000,
        an_epoch=30_000,  # so that epochs mean alike for few and for many
        settings={
            "training.epochs": 12,
            "training.optimiser": "adam-gan",
            "training.weight_decay": 0.0,
            "training.schedule": "cosine",
            "training.averaging": 0.999,
            "training.patience": 0,
            "training.precision": "float32",  # nobody has measured what bfloat16 does to the critic
        },
    )
    telling: ClassVar[Telling] = Telling(
        verb="sample",
        titles={
            "train_on_generated_score": Title(
                "Right after learning from drawn images",
                "How often a small recogniser that has only ever seen drawn images names the class "
                "of real ones. Higher is better.",
                True,
            ),
            "train_on_real_score": Title(
                "Right after learning from real images",
                "The same recogniser, trained as long on real images: what the line above could "
                "reach.",
                True,
            ),
            "coverage_score": Title(
                "Kinds of images that are drawn at all",
                "How many real images have a drawn one nearby, by the features of a recogniser. "
                "About 97 % is what other real images would reach; low where kinds are missing.",
                True,
            ),
        },
        topic="unconditional-image-generation",
        caution=(
            "Drawn images are invented. They are no evidence of anything, must not be measured on, "
            "and are not private by themselves: what is drawn may resemble what was learned from."
        ),
        commands=("ken sample {file} -n 100 --output drawn",),
        python=(
            "import kenspeckle\nfrom kenspeckle.verbs.sample import sample\n"
            'print(sample(kenspeckle.load("{file}"), 1)[0].pixels.shape)'
        ),
        needed=("likeness", "drawn"),
    )

    def __init__(
        self,
        classes: Sequence[str],
        *,
        image_size: int = USUAL_SIDE,
        channels: int = 1,
        latent: int = 64,
        width: int = 16,
        critic_width: int = 16,
        augmented_share: float = AUGMENTED,
        **_: Any,
    ) -> None:
        self.classes = tuple(classes)
        self.image_size, self.channels, self.latent = image_size, channels, latent
        self.width, self.critic_width = width, critic_width
        self.augmented_share = augmented_share

    @classmethod
    def for_data(cls, used: Dataset, learned: Sequence[int], choices: Choices) -> Generate:
        """For the dataset's classes and channels; few images are changed more often.

        Raises:
            UsageError: rectangles are asked for, or a side that cannot be drawn.
            DataError: the dataset holds no images.
        """
        if used.reads != "images":
            raise DataError(f"{used.root} holds {used.reads}; only images can be drawn.")
        high, wide = choices.fit.shape
        if high != wide:
            raise UsageError(f"Squares are drawn, and --imgsz asks for {high}x{wide}. Say {high}.")
        share = augmented_share(len(learned))
        return cls(
            used.classes,
            image_size=high,
            channels=choices.channels,
            augmented_share=share,
        )

    @classmethod
    def shape_for(cls, typical: tuple[int, int] | None) -> tuple[int, int]:
        """The images' own side up to 32 pixels, rounded up to one that can be drawn.

        >>> Generate.shape_for((28, 28)), Generate.shape_for((300, 400)), Generate.shape_for(None)
        ((28, 28), (32, 32), (32, 32))
        """
        longest = USUAL_SIDE if typical is None else min(USUAL_SIDE, max(typical))
        side = next(side for side in SIZES if side >= longest)
        return side, side

    @classmethod
    def sentence(cls, report: Mapping[str, Any]) -> str:
        """How a recogniser does that learned from drawn images only, beside one of real ones."""
        drawn = report["scores"]["train_on_generated_score"]
        real = report["scores"]["train_on_real_score"]
        return (
            "A small recogniser that learned only from drawn images is right on about "
            f"{times_in_100(drawn['value'])} in 100 real ones ({between(drawn)}, "
            f"{where(report, drawn)}); one that learned from real images on "
            f"{times_in_100(real['value'])}.{_copies(report)}"
        )

    @classmethod
    def asks(cls, report: Mapping[str, Any], classes: int) -> str:
        """What it draws."""
        return f"Images of {classes} classes, drawn"

    @classmethod
    def tables(cls, report: Mapping[str, Any]) -> list[Table]:
        """Class by class, and how far drawn images are from real ones."""
        each = [
            [row["class"], str(row["n"]), *(_percent(row[name]) for name in _EACH)]
            for row in report["drawn"]
        ]
        intro = (
            "Of the test images of a class: how many a recogniser names rightly that learned from "
            "drawn images, one that learned from real images, and how many have a drawn one nearby."
        )
        head = ["Class", "Test images", "From drawn", "From real", "Covered"]
        tables = [Table("Class by class", intro, head, each)]
        return [*tables, _likeness_table(report)] if "frechet" in report["likeness"] else tables

    def network(self, backbone: Backbone | None) -> Gan:
        """A fresh generator and a fresh critic."""
        return Gan(
            len(self.classes),
            self.image_size,
            self.channels,
            latent=self.latent,
            width=self.width,
            critic_width=self.critic_width,
            augmented_share=self.augmented_share,
        )

    def players(self, network: Gan) -> Mapping[str, nn.Module]:
        """The critic takes its step first, then the generator."""
        return {"critic": network.critic, "generator": network.generator}

    def learnable(
        self,
        images: Rows,
        labels: Sequence[str | None],
        weights: Tensor,
        sizes: Sizes,
        seed: int,
    ) -> tuple[Rows, Tensor, Tensor]:
        """The images, as often as it takes to `learning.an_epoch`."""
        times = -(-self.learning.an_epoch // len(images))
        targets = self.collate(labels).repeat(times)
        rows = torch.arange(len(images)).repeat(times)
        return Chosen(images, rows), targets, weights.repeat(times)

    def collate(self, labels: Sequence[str | None], sizes: Sizes | None = None) -> Tensor:
        """(N,) class numbers."""
        return torch.from_numpy(self.strata(labels))

    def strata(self, labels: Sequence[str | None]) -> NDArray[np.int64]:
        """(N,) class numbers."""
        number = {name: i for i, name in enumerate(self.classes)}
        return np.array([number[str(label)] for label in labels], dtype=np.int64)

    def loss(self, network: Gan, batch: Batch, player: str) -> Tensor:
        """The player's loss against latents of torch's default generator, weighted by image."""
        latents = torch.randn(len(batch), self.latent).to(batch.images.device)
        of_player = critic_loss if player == "critic" else generator_loss
        losses = of_player(network, batch.images, batch.targets, latents)
        return (losses * batch.weights).sum() / batch.weights.sum()

    def drawn(self, network: Gan, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The image of each seed: of class seed mod K, from the latent that belongs to the seed.

        Returns:
            (N, C, H, W) uint8, and (N,) class numbers.
        """
        labels = torch.tensor([seed % len(self.classes) for seed in seeds])
        latents = latents_of(seeds, self.latent)
        pieces = [network.draw(latents[p], labels[p]) for p in in_pieces(len(seeds), PIECE)]
        return torch.cat(pieces), labels

    def decode(
        self, outputs: Tensor, paths: Sequence[str], sizes: Sizes | None = None
    ) -> list[Answer]:
        """Images have no answer in words.

        Raises:
            UsageError: always; `ken sample` is meant.
        """
        raise UsageError("This model draws images: use `ken sample FILE`.")

    def score(
        self,
        answers: Sequence[Answer],
        labels: Sequence[str | None],
        groups: Sequence[str] | None = None,
    ) -> Mapping[str, Score]:
        """How often the two recognisers are right, and how much is covered.

        Args:
            answers: of the recogniser that learned from drawn images; `figures` hold whether the
                other one is right (`real_right`) and, where there are two images and more, whether
                the image is `covered`; 1 or 0.
        """
        real_right, covered = (_figures(answers, name) for name in ("real_right", "covered"))
        scores = {
            "train_on_generated_score": accuracy_score(_right(answers, labels), groups),
            "train_on_real_score": accuracy_score(real_right > 0, groups),
        }
        if not np.isnan(covered).any():
            scores["coverage_score"] = accuracy_score(covered > 0, groups)
        return scores

    def details(
        self,
        answers: Sequence[Answer],
        labels: Sequence[str | None],
        groups: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """`drawn`: the same for each class that was measured; None where it could not be."""
        of = self.strata(labels)
        columns = {
            "generated": _right(answers, labels).astype(np.float64),
            **{name: _figures(answers, name) for name in ("real_right", "covered")},
        }
        return {
            "drawn": [
                {
                    "class": name,
                    "n": int((of == k).sum()),
                    **{title: _mean(values[of == k]) for title, values in columns.items()},
                }
                for k, name in enumerate(self.classes)
                if (of == k).any()
            ]
        }

    def kept(self) -> dict[str, Any]:
        """How large the networks are."""
        return {
            "channels": self.channels,
            "latent": self.latent,
            "width": self.width,
            "critic_width": self.critic_width,
        }


_EACH = ("generated", "real_right", "covered")


def augmented_share(images: int) -> float:
    """Of the images the critic sees, how many are changed first: more where there are few.

    >>> augmented_share(60_000), round(augmented_share(100), 2), augmented_share(5)
    (0.1, 0.32, 1.0)
    """
    return float(min(1.0, AUGMENTED * math.sqrt(max(1.0, MANY / images))))


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def _right(answers: Sequence[Answer], labels: Sequence[str | None]) -> NDArray[np.bool_]:
    return np.array([a.label == label for a, label in zip(answers, labels, strict=True)], bool)


def _figures(answers: Sequence[Answer], name: str) -> Floats:
    """(N,) of 1 and 0; nan where an answer has none of that name."""
    return np.array([answer.figures.get(name, np.nan) for answer in answers], np.float64)


def _mean(values: Floats) -> float | None:
    return None if np.isnan(values).any() else float(values.mean())


def _copies(report: Mapping[str, Any]) -> str:
    """The end of the sentence where training images seem to be learned by heart."""
    likeness = report["likeness"]
    if not likeness["is_memorised"]:
        return ""
    share = times_in_100(likeness["memorised"]["value"])
    return f" Beware: {share} in 100 drawn images are all but copies of training images."


def _likeness_table(report: Mapping[str, Any]) -> Table:
    found = report["likeness"]
    copies = found["memorised"]
    rows = [
        ["Frechet distance", *(f"{found[n]:.3g}" for n in ("frechet", "frechet_floor"))],
        ["Kernel distance", *(f"{found[n]:.3g}" for n in ("kernel", "kernel_floor"))],
        ["Density (1 is right)", f"{found['density']:.2f}", f"{found['density_floor']:.2f}"],
        [
            "As near to a training image as 1 in 100 held out",
            f"{100 * copies['value']:.1f} %",
            "1 %",
        ],
    ]
    intro = (
        f"Measured on the features of the recogniser that learned from {found['real_learned']} "
        f"real images, with {found['images']} images on either side. The last column is the same "
        "for real training images in place of drawn ones: what no generator can beat. Distances "
        "by other features cannot be compared with these."
    )
    return Table("How far from real images", intro, ["Measure", "Drawn", "Real"], rows)

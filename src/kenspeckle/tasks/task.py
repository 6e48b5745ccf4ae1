"""What a network is asked: its head, its loss, how its output is said, how it is scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kenspeckle.answer import Answer
from kenspeckle.data.augment import augment
from kenspeckle.data.batch import Batch, Rows
from kenspeckle.data.dataset import Dataset, Means, Reads
from kenspeckle.data.fit import Fit
from kenspeckle.errors import UsageError
from kenspeckle.models.backbone import Backbone, thinned
from kenspeckle.models.heads import FlattenHead, Head, Pool, PooledHead, SigmoidHead
from kenspeckle.score import Score
from kenspeckle.tasks.facts import Learning, Telling
from kenspeckle.tasks.losses import Loss, LossKind, choose_loss
from kenspeckle.words import Table

if TYPE_CHECKING:
    from kenspeckle.knowledge.compiled import Compiled
    from kenspeckle.knowledge.rules import Rules
    from kenspeckle.tasks.under import Under

Net = TypeVar("Net", bound=nn.Module)
Floats = NDArray[np.float64]
Sizes = Sequence[tuple[int, int]]


class Network(nn.Module):
    """A backbone and the head a task hung on it.

    `head` reads all the maps; where features are cached its `from_vector` reads those instead.
    """

    def __init__(self, backbone: Backbone, head: Head) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor, valid: Tensor | None = None) -> Tensor:
        """The task's raw outputs (logits), never probabilities."""
        stages = self.backbone.stages(images, valid)
        return self.head(stages, thinned(valid, self.backbone.stride))


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What a recipe says of a task's head and loss, each as in `Recipe`.

    Args:
        channels: of the images.
        rules: that it obeys, as `Rules.kept` writes them.
    """

    head: str = "pooled"
    fit: Fit = field(default_factory=lambda: Fit(224))
    dropout: float = 0.0
    pool: Pool = "avg"
    smoothing: float = 0.0
    loss: LossKind = "auto"
    degradations: Sequence[str] = ()
    channels: int = 3
    rules: Mapping[str, Any] | None = None

    @property
    def obeyed(self) -> Mapping[str, Any]:
        """The rules as a setting of a task that takes them; nothing where there are none."""
        return {} if self.rules is None else {"rules": self.rules}


class Task(ABC, Generic[Net]):
    """One question that can be asked of any backbone."""

    classes: tuple[str, ...]
    """The names of what it can say."""

    reads: ClassVar[Reads] = "images"
    """What one sample is: `images` (or sequences, which stand for them), `pairs` of strings, ..."""

    means: ClassVar[Means] = "class"
    """What a label is."""

    says_where: ClassVar[bool] = False
    """Whether an answer has places: what stands where in the image."""

    learns_unlabelled: ClassVar[bool] = False
    """Whether samples without a label teach something, since rules say what they may be."""

    judges: ClassVar[bool] = True
    """Whether an answer can be right or wrong; else its images are measured, not its words."""

    is_measured_again: ClassVar[bool] = True
    """Whether `ken val` can measure it on other images, without training anything."""

    compares: ClassVar[bool] = False
    """Whether it answers by comparing with the images whose vectors the model file keeps."""

    learning: ClassVar[Learning] = Learning()
    """How it is trained."""

    rules: Rules | None = None
    """What it was trained under and obeys in every answer."""

    telling: ClassVar[Telling]
    """How it is told to people."""

    @classmethod
    @abstractmethod
    def sentence(cls, report: Mapping[str, Any]) -> str:
        """The first thing to read in a report: how well it does, between what and what.

        Args:
            report: with `scores`, `measured` and what `telling.needed` names.
        """

    @classmethod
    def tables(cls, report: Mapping[str, Any]) -> list[Table]:
        """What a report shows beside scores and examples."""
        return []

    @classmethod
    @abstractmethod
    def asks(cls, report: Mapping[str, Any], classes: int) -> str:
        """What it is asked, in a line: the heading of a model card."""

    @classmethod
    def shape_for(cls, typical: tuple[int, int] | None) -> tuple[int, int]:
        """Height and width of what its network sees, where nobody says.

        Args:
            typical: height and width of the images, as they mostly are.
        """
        return 224, 224

    @classmethod
    @abstractmethod
    def for_data(cls, used: Dataset, learned: Sequence[int], choices: Choices) -> Task[Any]:
        """The task for a dataset.

        Args:
            learned: the rows that are learned from.
        """

    @abstractmethod
    def network(self, backbone: Backbone | None) -> Net:
        """The network that answers it: two named parts, `backbone` and `head`.

        Args:
            backbone: None for a task that brings its own network.
        """

    def learnable(
        self,
        images: Rows,
        labels: Sequence[str | None],
        weights: Tensor,
        sizes: Sizes,
        seed: int,
    ) -> tuple[Rows, Tensor, Tensor]:
        """What an epoch goes over: images, their targets, their weights; others may cut patches."""
        return images, self.collate(labels, sizes), weights

    def answered(
        self, network: Net, images: Rows, paths: Sequence[str], sizes: Sizes
    ) -> list[Answer]:
        """Answers for a few samples that are being measured."""
        return self.decode(network(images[torch.arange(len(paths))]), paths, sizes)

    @abstractmethod
    def collate(self, labels: Sequence[str | None], sizes: Sizes | None = None) -> Tensor:
        """Labels as people write them -> the numbers the loss reads.

        Args:
            sizes: width and height of each image's original, in pixels: for labels that say where.
        """

    @abstractmethod
    def loss(self, network: Net, batch: Batch, player: str) -> Tensor:
        """The mean loss of a batch, weighted by `batch.weights`; a scalar.

        In eval mode it is the plain loss, by which a run is stopped: no smoothing, no balance.
        """

    @abstractmethod
    def decode(
        self, outputs: Tensor, paths: Sequence[str], sizes: Sizes | None = None
    ) -> list[Answer]:
        """Raw outputs (B, ...) -> one answer an image.

        Args:
            sizes: as in `collate`: for answers that say where.
        """

    @abstractmethod
    def score(
        self,
        answers: Sequence[Answer],
        labels: Sequence[str | None],
        groups: Sequence[str] | None = None,
    ) -> Mapping[str, Score]:
        """Named scores with intervals; `*_score` is better higher, `*_error` lower."""

    def features(self, found: int) -> int:
        """How many numbers a step, or different characters, the backbone must be ready for.

        Args:
            found: numbers a step of the samples; 0 for images and strings.
        """
        return found

    def changed(
        self, images: Tensor, targets: Tensor, names: Sequence[str]
    ) -> tuple[Tensor, Tensor]:
        """Images changed in the ways that are named, and their targets, changed along."""
        return augment(images, names), targets

    def players(self, network: Net) -> Mapping[str, nn.Module]:
        """The parts that are trained against each other; for most tasks the network alone."""
        return {"network": network}

    def meant(self, answer: Answer) -> str | None:
        """What an answer would have said had nothing been refused."""
        return answer.label

    def told(self, label: str) -> str:
        """A label as a person would say it."""
        return label

    def is_right(self, answer: Answer, label: str) -> bool:
        """Whether an answer is wholly right."""
        return self.meant(answer) == label

    def finish(self, network: Net) -> None:
        """Make of a trained network what it needs to be used, once, before it is measured."""
        return

    def under(self, rules: Rules, side: Mapping[str, str]) -> Under:
        """Rules that each answer keeps.

        Args:
            rules: a file that names its classes or tags, or says what a line may be.
            side: what is told beside the images: column -> value.

        Raises:
            UsageError: rules do not speak of such answers, or not of all of its classes.
        """
        raise UsageError(
            "Rules speak of classes, tags and lines of characters, and this model says other "
            "things."
        )

    @property
    def own_rules(self) -> Under:
        """Its rules, with what is told of no image but in its own columns."""
        assert self.rules is not None
        return self.under(self.rules, {})

    def alone(
        self, outputs: Tensor, paths: Sequence[str], sizes: Sizes | None = None
    ) -> list[Answer]:
        """What `decode` would say without the rules that the task holds."""
        return self.decode(outputs, paths, sizes)

    def is_whole(self, label: str | None) -> bool:
        """Whether a label says all that an answer says, so that one can be measured by it.

        Without rules every label does.
        """
        return True

    def settle(self, answers: Sequence[Answer], labels: Sequence[str]) -> None:
        """Find out for itself, on held-out samples, what decoding needs: a threshold."""
        return

    def remember(
        self, names: Sequence[str], vectors: NDArray[np.float32], paths: Sequence[str]
    ) -> None:
        """Take over what the model file keeps of images, for a task that compares with them.

        Args:
            names: N, what each shows.
            vectors: (N, D), each of length 1.
            paths: N, where each was.
        """
        return

    def strata(self, labels: Sequence[str | None]) -> NDArray[np.int64]:
        """(N,) numbers by which samples are spread evenly over the parts of a split."""
        return np.zeros(len(labels), dtype=np.int64)

    def details(
        self,
        answers: Sequence[Answer],
        labels: Sequence[str | None],
        groups: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """What a report says beside the scores, as plain values."""
        return {}

    def kept(self) -> dict[str, Any]:
        """What of itself, beside classes and head, belongs into a model file: keyword -> value."""
        return {}


class ClassTask(Task[Network]):
    """A task over a list of K classes, with one logit a class: the base of `classify` and `tag`.

    Args:
        classes: K names; an index into this is a label's number.
        head: which of models/heads.py is hung on the backbone.
        image_size: pixels a side; a flatten head is fixed to it (`fit` says no more here).
        dropout: before the last layer, in [0, 1).
        pool: how a pooled head reads the waist.
        smoothing: of the labels, in [0, 1).
        chosen: the loss.
        temperature: what logits are divided by before they become probabilities.
    """

    is_exclusive: ClassVar[bool] = True
    """Whether exactly one class is true, so that probabilities sum to 1."""

    def __init__(
        self,
        classes: Sequence[str],
        *,
        head: str = "pooled",
        image_size: int = 224,
        dropout: float = 0.0,
        pool: Pool = "avg",
        smoothing: float = 0.0,
        chosen: Loss | None = None,
        temperature: float = 1.0,
        fit: Fit | None = None,
    ) -> None:
        self.classes = tuple(classes)
        self.head, self.image_size, self.dropout, self.pool = head, image_size, dropout, pool
        self.smoothing, self.temperature = smoothing, temperature
        self.chosen = chosen or Loss()

    @classmethod
    def for_data(cls, used: Dataset, learned: Sequence[int], choices: Choices) -> ClassTask:
        """With the dataset's classes, and the loss that the learned images ask for."""
        counts = list(used.subset(learned).counts().values())
        total = None if cls.is_exclusive else len(learned)
        return cls(
            used.classes,
            head=choices.head,
            image_size=choices.fit.size,
            dropout=choices.dropout,
            pool=choices.pool,
            smoothing=choices.smoothing,
            chosen=choose_loss(choices.loss, counts, total),
            **choices.obeyed,
        )

    @property
    def outputs(self) -> tuple[str, ...]:
        """What each logit stands for: the classes, in their order, and whatever rules add."""
        return self.classes

    @property
    def mirrored(self) -> Mapping[int, int | None]:
        """Class -> what it becomes in the mirror, as rules say; None where that is nothing known.

        `changed` heeds it. Of all others the rules say nothing.
        """
        return {}

    def network(self, backbone: Backbone | None) -> Network:
        """The backbone with a fresh head, one logit an output."""
        assert backbone is not None
        count = len(self.outputs)
        head: Head
        if self.head == "flatten":
            square = torch.zeros(1, backbone.in_channels, self.image_size, self.image_size)
            with torch.no_grad():
                places = backbone(square)[0].numel()
            head = FlattenHead(places, count, self.dropout)
        elif self.head == "sigmoid" and self.is_exclusive and count == 2:
            head = SigmoidHead(backbone.channels, self.dropout)
        else:
            head = PooledHead(backbone.channels, count, self.dropout, self.pool)
        return Network(backbone, head)

    def loss(self, network: Network, batch: Batch, player: str) -> Tensor:
        """The chosen loss of the logits, averaged by the images' weights."""
        logits = network(batch.images).float()
        losses = self.losses(logits, batch.targets, network.training)
        return (losses * batch.weights).sum() / batch.weights.sum()

    def kept(self) -> dict[str, Any]:
        """The temperature."""
        return {"temperature": self.temperature}

    @abstractmethod
    def losses(self, logits: Tensor, targets: Tensor, training: bool) -> Tensor:
        """(B,) losses; plain ones where `training` is False."""

    @abstractmethod
    def right(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B,) whether each answer is right as a whole, before any refusal."""

    @abstractmethod
    def shares(self, targets: Tensor) -> Tensor:
        """Targets as (B, K) shares in [0, 1], which images that are mixed can mix."""

    def distribution(self, rules: Rules) -> Compiled:
        """Rules over what it hears."""
        return rules.compile(self.outputs)

    @abstractmethod
    def heard(self, outputs: Tensor) -> Tensor:
        """Logits (B, D) -> what rules are told: log p or log odds, calibrated, float64."""

    @abstractmethod
    def probabilities(self, outputs: Tensor) -> Tensor:
        """Logits (B, K) -> calibrated probabilities (B, K)."""

    @abstractmethod
    def calibrate(self, logits: Floats, targets: NDArray[np.int64]) -> None:
        """Set temperature and thresholds from held-out logits (N, K)."""

    @abstractmethod
    def judge(self, logits: Floats, targets: NDArray[np.int64]) -> tuple[Floats, float]:
        """-log p(truth) of each held-out image after its best temperature, (N,), and a score."""

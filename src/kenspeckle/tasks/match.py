"""Whether images show the same person, place or thing, and who of those that are enrolled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import ceil, log2
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kenspeckle.answer import Answer
from kenspeckle.data.batch import Batch
from kenspeckle.data.dataset import Dataset, Means, class_list
from kenspeckle.data.duplicates import joined
from kenspeckle.errors import BundleError, DataError
from kenspeckle.models.backbone import Backbone
from kenspeckle.models.heads import Transform
from kenspeckle.models.margin import MarginHead, margin_loss
from kenspeckle.models.vectors import unit
from kenspeckle.score import Score
from kenspeckle.tasks.facts import Learning, Telling
from kenspeckle.tasks.gallery import Gallery, Identity
from kenspeckle.tasks.task import Choices, Network, Sizes, Task
from kenspeckle.tasks.verification import RATES, gallery_scores, verification_scores
from kenspeckle.words import FEW, Table, Title, between, percent, times_in_100

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

TOLD = 3  # people whose most similar image is named beside an answer
ANYONE = -2.0  # below every cosine: whoever is nearest, however far
MOST_MEASURED = 3000  # images; every two are compared, 4.5 million pairs


@dataclass(frozen=True)
class Compared(Answer):
    """An answer that was found by comparing.

    Args:
        vector: (D,) of the image, at length 1; no part of what is told.
    """

    vector: Floats = field(
        default_factory=lambda: np.zeros(0, np.float32), compare=False, repr=False
    )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; without the vector."""
        return {name: value for name, value in asdict(self).items() if name != "vector"}


class Match(Task[Network]):
    """Who of a gallery an image shows, or nobody: by the cosine of vectors.

    What is said of people here holds for places and things: a class is one of them.

    Args:
        classes: names of those who are enrolled.
        limits: similarity from which on somebody is named, for galleries of up to 1, 2, 4, ...
            people; the last serves all larger ones.
        widths: channels of the pooled stages that the head reads.
        size: numbers a vector.
        transform: of the stages, as of `MarginHead`.
    """

    compares: ClassVar[bool] = True
    means: ClassVar[Means] = "name"
    learning: ClassVar[Learning] = Learning(
        keeps_backbone=True,
        heads=("margin",),
        # 40 updates of the whole batch: more of them moved nobody (models/margin.py). Counted are
        # people, who are few, so more than a fifth of them is held out.
        settings={
            "data.test_share": 0.3,
            "training.epochs": 40,
            "training.batch_size": "full",
            "training.learning_rate": 3e-4,
            "training.schedule": "cosine",
        },
    )
    telling: ClassVar[Telling] = Telling(
        caution=(
            "Recognising people by their faces or bodies needs their consent, in many places by "
            "law. Enrol nobody who has not agreed, and remove whoever asks for it."
        ),
        commands=(
            "ken identify photo.jpg --model {file}",
            "ken verify photo.jpg other.jpg --model {file}",
            "ken enroll {file} NAME photo.jpg",
            "ken val --model {file} new_photos/",
        ),
        titles={
            "named_score": Title(
                "Named right",
                "How often an image is given the right name when all the others are enrolled; "
                "nobody is a wrong answer here. Higher is better.",
                True,
            ),
            "stranger_error": Title(
                "Strangers taken for somebody",
                "How often an image is given a name when nobody it shows is enrolled, only all the "
                "others. Lower is better.",
                True,
            ),
            "rank_1_score": Title(
                "Nearest is right",
                "How often the most similar other image shows the same one, whatever the limit "
                "(rank-1). Higher is better.",
                True,
            ),
            "roc_auc_score": Title(
                "Same and different told apart",
                "How often two images of the same one are more similar than two of different ones "
                "(area under the ROC curve). Higher is better.",
                True,
            ),
            "equal_error": Title(
                "Equal error",
                "The error at the limit where as many different pairs are accepted as same pairs "
                "are refused. Lower is better.",
                True,
            ),
            "true_accept_score": Title(
                "Same pairs accepted",
                "How many pairs of the same one `ken verify` calls the same. Higher is better.",
                True,
            ),
            "false_accept_error": Title(
                "Different pairs accepted",
                "How many pairs of different ones `ken verify` calls the same. Lower is better.",
                True,
            ),
            **{
                f"true_accept_at_{rate:g}_score": Title(
                    f"Same pairs accepted where {100 * rate:g} % of different ones are",
                    "At the limit that these very images would need for it. Higher is better.",
                    True,
                )
                for rate in RATES
            },
        },
        share="named_score",
        topic="image-feature-extraction",
        needed=("limits", "people"),
    )

    def __init__(
        self,
        classes: Sequence[str],
        *,
        limits: Sequence[float] = (0.5,),
        widths: Sequence[int] = (),
        size: int = 512,
        transform: Transform = "layers-root",
        **_: Any,
    ) -> None:
        self.classes, self.limits, self.widths = tuple(classes), tuple(limits), tuple(widths)
        self.size, self.transform = size, transform
        self.gallery = Gallery()

    @classmethod
    def for_data(cls, used: Dataset, learned: Sequence[int], choices: Choices) -> Match:
        """With everyone of the dataset."""
        return cls(used.classes)

    @classmethod
    def sentence(cls, report: Mapping[str, Any]) -> str:
        """How often the right one is named, and how often a stranger is taken for somebody."""
        named, strange = report["scores"]["named_score"], report["scores"]["stranger_error"]
        n, people = report["measured"]["n"], report["people"]
        few = ", too few to say more exactly" if named["n"] < FEW else ""
        return (
            f"Of {people} people, places or things that it had not learned from, it names the "
            f"right one about {times_in_100(named['value'])} times in 100 ({between(named)}) once "
            "they are enrolled; a stranger is taken for one of them about "
            f"{times_in_100(strange['value'])} times in 100 ({between(strange)}; measured on {n} "
            f"images{few})."
        )

    @classmethod
    def tables(cls, report: Mapping[str, Any]) -> list[Table]:
        """The ROC curve in numbers, and the limits."""
        scores = report["scores"]
        named = [(rate, scores.get(f"true_accept_at_{rate:g}_score")) for rate in RATES]
        curve = [
            [percent(rate), percent(s["value"]), f"{percent(s['low'])} to {percent(s['high'])}"]
            for rate, s in named
            if s is not None
        ]
        curve_intro = (
            "How many pairs of the same one can be accepted, if so many pairs of different ones "
            "may be (the ROC curve). Fewer pairs than one in so many cannot tell a smaller share."
        )
        limits = [
            [f"up to {2**power:,}", f"{limit:.3f}"] for power, limit in enumerate(report["limits"])
        ]
        limits_intro = (
            "The similarity (cosine) from which on somebody is named. The more are enrolled, the "
            "more a stranger may resemble one of them, so the limit rises with their number; "
            "`ken verify` takes the first. The last serves all larger galleries: in those, "
            "strangers are taken for somebody more often than was wanted."
        )
        return [
            Table("Same or different", curve_intro, ["Different", "Same", "Range"], curve),
            Table("When somebody is named", limits_intro, ["Enrolled", "Similarity"], limits),
        ]

    @classmethod
    def asks(cls, report: Mapping[str, Any], classes: int) -> str:
        """Who."""
        return "Whether images show the same person, place or thing"

    def network(self, backbone: Backbone | None) -> Network:
        """The backbone with a head that gives vectors; it keeps no class."""
        assert backbone is not None
        return Network(backbone, self.head(0))

    def head(self, classes: int) -> MarginHead:
        """A fresh head, for training with so many classes."""
        return MarginHead(self.widths, classes, self.size, transform=self.transform)

    def collate(self, labels: Sequence[str | None], sizes: Sizes | None = None) -> Tensor:
        """(N,) class numbers.

        Raises:
            DataError: a label is missing or not a class.
        """
        number = {name: i for i, name in enumerate(self.classes)}
        unknown = [label for label in labels if label not in number]
        if unknown:
            raise DataError(f"{len(unknown)} images show nobody of these; one is {unknown[0]!r}.")
        return torch.tensor([number[str(label)] for label in labels])

    def strata(self, labels: Sequence[str | None]) -> Ints:
        """The class numbers."""
        return self.collate(labels).numpy()

    def players(self, network: Network) -> Mapping[str, nn.Module]:
        """The head alone; `Batch.images` are cached features."""
        return {"head": network.head}

    def loss(self, network: Network, batch: Batch, player: str) -> Tensor:
        """The margin loss of cached features, averaged by the images' weights."""
        head = network.head
        assert isinstance(head, MarginHead)
        logits = head.logits(batch.images)
        each = margin_loss(logits, batch.targets, head.margin, head.scale)
        return (each * batch.weights).sum() / batch.weights.sum()

    def remember(self, names: Sequence[str], vectors: Floats, paths: Sequence[str]) -> None:
        """Those who are enrolled.

        Raises:
            BundleError: the vectors are not such as the network makes.
        """
        if len(names) and vectors.shape[1:] != (self.size,):
            raise BundleError("The model file's gallery and its network do not fit together.")
        self.gallery = Gallery(tuple(names), unit(vectors), tuple(paths)) if names else Gallery()
        self.classes = class_list(names)

    def limit(self, people: int) -> float:
        """The similarity from which on one of so many is named.

        >>> task = Match(("anna",), limits=(0.3, 0.4, 0.5))
        >>> [task.limit(people) for people in (0, 1, 2, 3, 4, 5)]
        [0.3, 0.3, 0.4, 0.5, 0.5, 0.5]
        """
        return self.limits[min(ceil(log2(max(people, 1))), len(self.limits) - 1)]

    def decode(
        self, outputs: Tensor, paths: Sequence[str], sizes: Sizes | None = None
    ) -> list[Answer]:
        """Vectors (B, size) -> who of the gallery each shows."""
        return [*self.recognise(outputs.float().numpy(), paths)]

    def recognise(
        self,
        vectors: Floats,
        paths: Sequence[str],
        without: Sequence[Sequence[int]] | None = None,
    ) -> list[Compared]:
        """Who each image shows.

        Args:
            vectors: (B, size).
            without: B, as in `Gallery.identify`.
        """
        limit = self.limit(len(self.gallery.people))
        found = self.gallery.identify(vectors, ANYONE, TOLD, without)
        return [
            _answer(path, vector, identity, limit)
            for path, vector, identity in zip(paths, unit(vectors), found, strict=True)
        ]

    def is_right(self, answer: Answer, label: str) -> bool:
        """Whether the name is right; nobody is right for whoever is not enrolled."""
        return answer.label == (label if label in self.gallery.names else None)

    def score(
        self,
        answers: Sequence[Answer],
        labels: Sequence[str | None],
        groups: Sequence[str] | None = None,
    ) -> Mapping[str, Score]:
        """All that `telling.titles` names, by comparing these images with each other.

        Who is enrolled in the model file does not matter. Of more than 3000 images some people
        are taken, the same ones each time.

        Raises:
            EmptyDataset: no two images show the same one, or all do.
        """
        names = [str(label) for label in labels]
        rows = _people_up_to(names, MOST_MEASURED)
        vectors = np.stack([_vector(answers[i]) for i in rows])
        names = [names[i] for i in rows]
        units = _units(names, None if groups is None else [groups[i] for i in rows])
        people = len(set(names))
        limits = self.limit(people), self.limit(people - 1)
        return {
            **verification_scores(vectors, names, units, self.limits[0]),
            **gallery_scores(vectors, names, limits, units),
        }

    def details(
        self,
        answers: Sequence[Answer],
        labels: Sequence[str | None],
        groups: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """`people`: how many were measured; `limits`: as in `__init__`."""
        return {"people": len(set(labels)), "limits": [*self.limits]}

    def kept(self) -> dict[str, Any]:
        """How the head is built, and from which similarity on somebody is named."""
        return {
            "limits": [*self.limits],
            "widths": [*self.widths],
            "size": self.size,
            "transform": self.transform,
        }


def _answer(path: str, vector: Floats, found: Identity, limit: float) -> Compared:
    """What is said of one image.

    Args:
        found: whoever is nearest, at the limit or not.
    """
    if found.nearest is None:
        return Compared(path, None, {}, "nobody: no one is enrolled", True, vector=vector)
    first, *others = found.matches
    near = tuple(match.path for match in found.matches[:TOLD])
    distance = (1 - first.similarity) / max(1 - limit, 1e-6)
    if first.similarity < limit:
        words = (
            f"nobody that is enrolled (the nearest is {first.name}, similarity "
            f"{first.similarity:.2f}; {limit:.2f} is needed)"
        )
        return Compared(path, None, {}, words, True, distance, nearest=near, vector=vector)
    words = f"{first.name} (similarity {first.similarity:.2f})"
    if found.is_doubtful:
        words = f"{words} or {others[0].name} ({others[0].similarity:.2f}): too alike to tell"
    return Compared(path, first.name, {}, words, False, distance, nearest=near, vector=vector)


def _vector(answer: Answer) -> Floats:
    assert isinstance(answer, Compared), "what was not compared cannot be measured"
    return answer.vector


def _people_up_to(names: Sequence[str], most: int) -> list[int]:
    """Rows of all images, or of some people with `most` images at most (two people at least)."""
    if len(names) <= most:
        return [*range(len(names))]
    everyone = class_list(names)
    rows: dict[str, list[int]] = {name: [] for name in everyone}
    for row, name in enumerate(names):
        rows[name].append(row)
    chosen: list[int] = []
    for count, person in enumerate(np.random.default_rng(0).permutation(len(everyone))):
        if count >= 2 and len(chosen) + len(rows[everyone[person]]) > most:
            break
        chosen += rows[everyone[person]]
    return sorted(chosen)


def _units(names: Sequence[str], groups: Sequence[str] | None) -> list[int] | None:
    """What is drawn together where some groups hold images of several people; None: people."""
    if groups is None:
        return None
    first: dict[tuple[str, str], int] = {}
    links = [
        (first.setdefault((kind, key), row), row)
        for kind, keys in (("name", names), ("group", groups))
        for row, key in enumerate(keys)
    ]
    units = joined(len(names), links)
    return None if len(set(units.tolist())) == len(set(names)) else units.tolist()

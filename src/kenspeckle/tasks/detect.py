"""What is where in an image, and how many there are of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from kenspeckle.answer import Answer, Place
from kenspeckle.data.batch import Batch
from kenspeckle.data.boxes import (
    Box,
    as_boxes,
    as_targets,
    augmented,
    boxes_in,
    joined_boxes,
    suppressed,
)
from kenspeckle.data.dataset import Dataset, Means, natural_key
from kenspeckle.data.fit import Fit
from kenspeckle.errors import DataError
from kenspeckle.models.backbone import Backbone
from kenspeckle.models.detector import Detector, detection_loss, found
from kenspeckle.score import Score
from kenspeckle.tasks.average_precision import (
    average_precision,
    best_threshold,
    detection_scores,
    matches,
)
from kenspeckle.tasks.facts import Learning, Telling
from kenspeckle.tasks.task import Choices, Sizes, Task
from kenspeckle.words import Table, Title, between, percent, times_in_100, where

REPEATED = 0.5  # overlap from which on two boxes of a class are one thing
LEAST = 0.02  # what is less sure than this is not even considered
MOST = 300  # things of an image


class Detect(Task[Detector]):
    """Boxes around things of K classes, found by their centres.

    Args:
        classes: K names.
        fit: how an image becomes the network's square.
        threshold: how sure it must be to say a box; found on held-out images.
    """

    means: ClassVar[Means] = "boxes"
    says_where: ClassVar[bool] = True
    learning: ClassVar[Learning] = Learning(
        settings={
            "training.epochs": 80,
            "training.batch_size": 8,
            "training.learning_rate": 5e-4,
            "training.weight_decay": 0.05,
            "training.patience": 20,
        },
        augmentations=("crop", "colour"),
    )
    telling: ClassVar[Telling] = Telling(
        titles={
            "average_precision_50_score": Title(
                "Found and ranked",
                "The area under precision over recall, averaged over classes; a box counts when "
                "half of it and the true one together is shared (AP50). Higher is better.",
                True,
            ),
            "precision_score": Title(
                "Right when said",
                "Of the boxes it says, how many lie on a thing of that class. Higher is better.",
                True,
            ),
            "recall_score": Title(
                "Found", "Of the things that are there, how many it says. Higher is better.", True
            ),
            "counting_error": Title(
                "Miscounted an image",
                "By how many things an image is miscounted, all classes together. 0 is perfect; "
                "lower is better.",
                False,
            ),
        },
        topic="object-detection",
        needed=("things",),
    )

    def __init__(
        self,
        classes: Sequence[str],
        *,
        fit: Fit | None = None,
        threshold: float = 0.5,
        **_: Any,
    ) -> None:
        self.classes, self.fit, self.threshold = tuple(classes), fit or Fit(320), threshold

    @classmethod
    def shape_for(cls, typical: tuple[int, int] | None) -> tuple[int, int]:
        """A square of 320 pixels."""
        return 320, 320

    @classmethod
    def for_data(cls, used: Dataset, learned: Sequence[int], choices: Choices) -> Detect:
        """With the classes of the boxes.

        Raises:
            DataError: there is no box to learn from, or images should become rectangles.
        """
        if not any(boxes_in(str(used.samples[i].label)) for i in learned):
            raise DataError(f"No image of {used.root} has a box, so there is none to learn.")
        if choices.fit.across is not None:
            raise DataError("The task detect works on squares; give --imgsz one number.")
        return cls(used.classes, fit=choices.fit)

    @classmethod
    def sentence(cls, report: Mapping[str, Any]) -> str:
        """How many of the boxes are right, how many of the things are found, and the count."""
        scores = report["scores"]
        right, recall = scores.get("precision_score"), scores.get("recall_score")
        off = scores["counting_error"]
        count = f"the count of an image is off by {off['value']:.1f} on average"
        if right is None or recall is None:
            return f"It says no box on images like these; {count} ({where(report, off)})."
        return (
            f"Of the boxes it says, about {times_in_100(right['value'])} in 100 are right "
            f"({between(right)}), and it finds about {times_in_100(recall['value'])} in 100 of the "
            f"things that are there ({between(recall)}); {count} ({where(report, recall)})."
        )

    @classmethod
    def tables(cls, report: Mapping[str, Any]) -> list[Table]:
        """Class by class: how many are there, are said, are right, and AP50."""
        rows = [
            [row["class"], *(str(row[key]) for key in ("there", "said", "right")), _percent(row)]
            for row in report["things"]
        ]
        intro = (
            "How many things of each class are there, how many boxes it says, and how many of "
            "these lie on one. AP50 is the area under precision over recall."
        )
        return [Table("Class by class", intro, ["Class", "There", "Said", "Right", "AP50"], rows)]

    @classmethod
    def asks(cls, report: Mapping[str, Any], classes: int) -> str:
        """What is where."""
        return f"Where things of {classes} classes are in an image"

    def network(self, backbone: Backbone | None) -> Detector:
        """The backbone with a fresh head for K classes."""
        assert backbone is not None
        return Detector(backbone, len(self.classes), self.fit.size)

    def collate(self, labels: Sequence[str | None], sizes: Sizes | None = None) -> Tensor:
        """(N, M, 5) class, left, top, right, bottom as shares of the square; nan rows at the end.

        Raises:
            DataError: a label is missing, or names no class of this task.
        """
        if any(label is None for label in labels):
            raise DataError("An image without a label cannot be learned from; write '-' for none.")
        assert sizes is not None, "places are learned in pixels of the original"
        boxes = [boxes_in(str(label)) for label in labels]
        return as_targets(boxes, sizes, self.classes, self.fit)

    def loss(self, network: Detector, batch: Batch, player: str) -> Tensor:
        """Of centres, places and sizes, averaged by the images' weights."""
        each = detection_loss(network(batch.images).float(), batch.targets)
        return (each * batch.weights).sum() / batch.weights.sum()

    def changed(
        self, images: Tensor, targets: Tensor, names: Sequence[str]
    ) -> tuple[Tensor, Tensor]:
        """Boxes move with what is in them."""
        return augmented(images, targets, names)

    def settle(self, answers: Sequence[Answer], labels: Sequence[str]) -> None:
        """The threshold with the best F1 on held-out images."""
        self.threshold = best_threshold(*_pairs(answers, labels), self.classes)

    def decode(
        self, outputs: Tensor, paths: Sequence[str], sizes: Sizes | None = None
    ) -> list[Answer]:
        """The boxes of each image, surest first."""
        if sizes is None:
            sizes = [(self.fit.size, self.fit.size)] * len(paths)
        answers = []
        for path, boxes in zip(paths, self._considered(outputs, sizes), strict=True):
            said = [box for box in boxes if box.score >= self.threshold]
            answers.append(
                Answer(
                    path,
                    joined_boxes(said),
                    {},
                    self.told(joined_boxes(said)),
                    places=tuple(map(_place, said)),
                    unsaid=tuple(_place(box) for box in boxes if box.score < self.threshold),
                )
            )
        return answers

    def _considered(self, outputs: Tensor, sizes: Sizes) -> list[tuple[Box, ...]]:
        """All boxes that are not hopeless, in pixels of the originals, surest first."""
        every = found(outputs.float(), MOST)
        return [
            _once(as_boxes(some[some[:, 1] >= LEAST], self.classes, *size, self.fit))
            for some, size in zip(every, sizes, strict=True)
        ]

    def told(self, label: str) -> str:
        """How many of each class: `3 RBC, 1 WBC`."""
        counts = Counter(box.name for box in boxes_in(label))
        names = sorted(counts, key=natural_key)
        return ", ".join(f"{counts[name]} {name}" for name in names) or "nothing"

    def is_right(self, answer: Answer, label: str) -> bool:
        """Whether every thing is found, and nothing else."""
        said, true = [list(map(_box, answer.places))], [boxes_in(label)]
        each = [(matches(said, true, name), name) for name in self.classes]
        return all(bool(m.hits.all()) and len(m.hits) == m.true.sum() for m, _ in each)

    def score(
        self,
        answers: Sequence[Answer],
        labels: Sequence[str | None],
        groups: Sequence[str] | None = None,
    ) -> Mapping[str, Score]:
        """AP50, precision and recall of what is said, and the counting error."""
        return detection_scores(
            *_pairs(answers, labels), self.classes, groups, threshold=self.threshold
        )

    def details(
        self,
        answers: Sequence[Answer],
        labels: Sequence[str | None],
        groups: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """`things`: for each class how many there are, were said and are right, and AP50."""
        said, true = _pairs(answers, labels)
        rows = []
        for name in self.classes:
            found_there, right = matches(said, true, name).at(self.threshold)
            area = average_precision(said, true, name)
            there = sum(box.name == name for boxes in true for box in boxes)
            rows.append(
                {
                    "class": name,
                    "there": there,
                    "said": int(found_there.sum()),
                    "right": int(right.sum()),
                    "average_precision_50": area if there else None,
                }
            )
        return {"things": rows}

    def kept(self) -> dict[str, Any]:
        """The threshold."""
        return {"threshold": self.threshold}


def _once(boxes: Sequence[Box]) -> tuple[Box, ...]:
    """Without boxes that a surer one of the same class repeats: large things have several peaks."""
    kept: list[Box] = []
    for name in sorted({box.name for box in boxes}):
        own = [box for box in boxes if box.name == name]
        corners = np.array([box.corners() for box in own])
        rows = suppressed(corners, np.array([box.score for box in own]), REPEATED)
        kept += [own[row] for row in rows]
    return tuple(sorted(kept, key=lambda box: -box.score))


def _percent(row: Mapping[str, Any]) -> str:
    area = row["average_precision_50"]
    return "-" if area is None else percent(area)


def _place(box: Box) -> Place:
    return Place(box.name, box.score, *box.corners())


def _box(place: Place) -> Box:
    corners = place.left, place.top, place.right, place.bottom
    return Box(place.name, *corners, place.probability)


def _pairs(
    answers: Sequence[Answer], labels: Sequence[str | None]
) -> tuple[list[list[Box]], list[tuple[Box, ...]]]:
    """All that was considered, and what is there."""
    said = [[_box(place) for place in (*a.places, *a.unsaid)] for a in answers]
    return said, [boxes_in(str(label)) for label in labels]

"""From a path to images that were read, checked and divided: the first half of several verbs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from kenspeckle.answer import Finding
from kenspeckle.data.alike import Alike
from kenspeckle.data.batch import Chosen, Rows
from kenspeckle.data.cache import Decoded
from kenspeckle.data.checks import Evidence, run_checks
from kenspeckle.data.dataset import Dataset
from kenspeckle.data.duplicates import MIN_SIDE, duplicate_groups, near_groups, thumbnail
from kenspeckle.data.exclude import excluded
from kenspeckle.data.fit import Fit
from kenspeckle.errors import DataError, EmptyDataset
from kenspeckle.tasks import RULED, TASKS
from kenspeckle.tasks.task import Task
from kenspeckle.verbs.progress import Stage, Tell, counter, quiet
from kenspeckle.verbs.readings import READINGS

if TYPE_CHECKING:
    from kenspeckle.knowledge.rules import Rules

MOST_CLASSES = 5000  # an answer holds a probability for each


@dataclass(frozen=True)
class Prepared:
    """Images that were read and checked.

    Args:
        dataset: as it lies on disk, all of it.
        findings: what is wrong with it, the gravest first.
        kept: (N,) rows of the dataset that are used: readable, labelled, not excluded.
        images: the N pictures.
        keys: N content hashes.
        groups: (N,) what must stay on one side of every split: copies and the user's groups.
        notes: what the user should hear.
        features: numbers a step, of sequences; 0 for images.
        lengths: (N,) steps of each sequence; None for images.
        evidence: what the checks were shown.
        alike: pairs of the N that features show to be one picture; None where nobody has looked.
        rules: what every answer obeys, if there are any.
        weak: paths of images that only a rule has labelled: never measured by.
    """

    dataset: Dataset
    findings: Sequence[Finding]
    kept: NDArray[np.int64]
    images: Rows
    keys: Sequence[bytes]
    groups: NDArray[np.int64]
    notes: Sequence[str]
    features: int = 0
    lengths: NDArray[np.int64] | None = None
    evidence: Evidence = field(default_factory=Evidence)
    alike: Sequence[Alike] | None = None
    rules: Rules | None = None
    weak: frozenset[str] = frozenset()

    def measures(self, task: Task[Any]) -> NDArray[np.bool_]:
        """(N,) which images an answer can be measured by: a person labelled them, and wholly."""
        samples = self.used.samples
        sure = [task.is_whole(s.label) and s.path not in self.weak for s in samples]
        return np.array(sure, dtype=bool)

    def kind(self, name: str) -> type[Task[Any]]:
        """The task of that name, in the form that obeys rules where there are rules."""
        kind: type[Task[Any]] = (TASKS if self.rules is None else RULED).load(name)
        return kind

    def task(self, name: str, **settings: Any) -> Any:
        """That task for these images."""
        if self.rules is not None:
            settings["rules"] = self.rules.kept()
        return self.kind(name)(self.used.classes, **settings)  # type: ignore[call-arg]

    @cached_property
    def used(self) -> Dataset:
        """The samples that are used, row by row the `images`."""
        return self.dataset.subset(self.kept.tolist())

    @cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """Width and height of each original, in pixels."""
        rows, width, height = self.evidence.rows, self.evidence.width, self.evidence.height
        if rows is None or width is None or height is None:
            return [(1, 1)] * len(self.kept)
        at = np.searchsorted(rows, self.kept)
        return list(zip(width[at].tolist(), height[at].tolist(), strict=True))

    def only(self, rows: NDArray[np.int64]) -> Prepared:
        """Some of the N images, ascending."""
        return replace(
            self,
            kept=self.kept[rows],
            images=Chosen(self.images, torch.from_numpy(rows)),
            keys=[self.keys[i] for i in rows],
            groups=self.groups[rows],
            lengths=None if self.lengths is None else self.lengths[rows],
            alike=None,
        )

    def groups_of(self, rows: Sequence[int] | NDArray[np.int64]) -> list[int] | None:
        """The groups of some images, or None where no two of them belong together."""
        groups: list[int] = self.groups[np.asarray(rows, dtype=np.int64)].tolist()
        return groups if len(set(groups)) < len(groups) else None

    @cached_property
    def has_groups(self) -> bool:
        """Whether some images belong together, so that intervals must be over groups."""
        return len(np.unique(self.groups)) < len(self.groups)


def look(
    data: str | Path,
    columns: Mapping[str, str] | None = None,
    tell: Tell = quiet,
    *,
    task: str = "classify",
    exclude: Path | None = None,
) -> Dataset:
    """What lies at `data`, as the task reads it, and said.

    Raises:
        DataError, EmptyDataset: nothing is there that the task can read.
    """
    asked: type[Task[Any]] = TASKS.load(task)
    dataset = READINGS[asked.reads].look(Path(data), columns, asked.means)
    if exclude is not None:
        dataset = excluded(dataset, exclude)
    tell(Stage("looking", words=READINGS[dataset.reads].counted(dataset)))
    for note in dataset.notes:
        tell(Stage("looking", words=note))
    return dataset


def prepare(
    dataset: Dataset,
    fit: Fit,
    tell: Tell = quiet,
    *,
    usable_only: bool = True,
    unlabelled: bool = False,
) -> Prepared:
    """Read, check and group the samples of a dataset.

    Args:
        fit: how images become squares; sequences and strings have no use for it.
        unlabelled: samples without a label are used too.
        usable_only: refuse where no image can be used; else hand back the findings alone.

    Raises:
        DataError, EmptyDataset: nothing usable is there.
    """
    reading = READINGS[dataset.reads]
    doing = f"reading {reading.thing}s"
    decoded, features = reading.decode(dataset, fit, counter(tell, doing))
    for note in decoded.notes:
        tell(Stage(doing, words=note))
    is_image = dataset.reads == "images"
    thumbs = thumbnails(decoded) if is_image else None
    evidence = Evidence(rows=decoded.rows, faults=decoded.faults, keys=decoded.keys)
    if is_image:
        evidence = replace(
            evidence,
            perceptual=decoded.perceptual,
            width=decoded.width,
            height=decoded.height,
            thumbs=thumbs,
            formats=decoded.formats,
            synthetic=decoded.synthetic,
            images=decoded.images,
        )
    findings = run_checks(dataset, evidence) if reading.has_checks else []
    left_out = {path for finding in findings if finding.excluded for path in finding.paths}
    if unlabelled:
        without = {sample.path for sample in dataset.samples if sample.label is None}
        findings = [finding for finding in findings if set(finding.paths) != without]
        left_out -= without
    usable = [
        i
        for i, row in enumerate(decoded.rows)
        if dataset.samples[row].path not in left_out
        and (dataset.samples[row].label is not None or dataset.means == "nothing" or unlabelled)
    ]
    if not usable and usable_only:
        # what left images out says more than what is merely grave
        gravest = sorted(findings, key=lambda finding: not finding.excluded)[:1]
        reason = "".join(f" {finding.words}" for finding in gravest)
        raise EmptyDataset(f"No image of {dataset.root} can be used.{reason}")
    kept = _kept(dataset, decoded, thumbs, findings, np.array(usable, dtype=np.int64))
    lengths = decoded.width[np.array(usable, dtype=np.int64)] if features else None
    return replace(kept, features=features, evidence=evidence, lengths=lengths)


def _kept(
    dataset: Dataset,
    decoded: Decoded,
    thumbs: NDArray[np.uint8] | None,
    findings: Sequence[Finding],
    usable: NDArray[np.int64],
) -> Prepared:
    keys = [decoded.keys[i] for i in usable]
    near: list[list[int]] = []
    if thumbs is not None:
        sizes = np.maximum(decoded.width, decoded.height)[usable]
        near = near_groups(decoded.perceptual[usable], thumbs[usable], sizes)
    samples = [dataset.samples[int(decoded.rows[i])] for i in usable]
    groups = duplicate_groups(keys, near, [sample.group for sample in samples])
    kept = decoded.rows[usable]
    images: Rows = decoded.images
    if len(usable) < len(decoded.rows):
        images = Chosen(images, torch.from_numpy(usable))
    return Prepared(dataset, findings, kept, images, keys, groups, [*dataset.notes, *decoded.notes])


def thumbnails(decoded: Decoded) -> NDArray[np.uint8] | None:
    """(N, 32, 32) grey; None where all images are too small for near-duplicates to mean much."""
    if not len(decoded.rows) or int(np.maximum(decoded.width, decoded.height).max()) < MIN_SIDE:
        return None
    thumbs = np.empty((len(decoded.rows), 32, 32), np.uint8)
    for i in range(len(thumbs)):
        pixels = decoded.images[torch.tensor([i])][0].permute(1, 2, 0)
        thumbs[i] = thumbnail(pixels.contiguous().numpy())
    return thumbs


def stop_if_hopeless(prepared: Prepared) -> None:
    """Refuse to train on what no training can mend.

    Raises:
        DataError: the usable images are all of one class, or of more than can be learned.
    """
    used = prepared.used
    if used.means in ("text", "nothing"):
        return
    if len(used.classes) > MOST_CLASSES:
        raise DataError(
            f"{used.root} has {len(used.classes):,} classes for {len(used):,} {used.reads}, and at "
            f"most {MOST_CLASSES:,} can be learned. Was a column of names or numbers taken for the "
            "label? Name the right one with --columns label=COLUMN."
        )
    if used.is_tagged:
        if not used.classes:
            raise DataError(f"No image of {used.root} bears a label, so there is none to learn.")
        return
    labels = {sample.label for sample in used.samples}
    if len(labels) < 2:
        raise DataError(
            f"The usable images of {used.root} are all of one class ({labels.pop()}), "
            "and a recogniser needs at least two to tell apart. Put images of something else in "
            "a second folder."
        )

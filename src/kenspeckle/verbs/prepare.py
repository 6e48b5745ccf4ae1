"""From a path to images that were read, checked and divided: the first half of several verbs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from kenspeckle.answer import Finding
from kenspeckle.data.batch import Chosen, Rows
from kenspeckle.data.cache import Decoded, decode_all
from kenspeckle.data.checks import Evidence, run_checks
from kenspeckle.data.dataset import Dataset
from kenspeckle.data.duplicates import MIN_SIDE, duplicate_groups, near_groups, thumbnail
from kenspeckle.data.fit import Fit
from kenspeckle.data.scan import scan
from kenspeckle.errors import DataError, EmptyDataset
from kenspeckle.files import cache_folder
from kenspeckle.verbs.progress import Stage, Tell, counter, quiet


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
    """

    dataset: Dataset
    findings: Sequence[Finding]
    kept: NDArray[np.int64]
    images: Rows
    keys: Sequence[bytes]
    groups: NDArray[np.int64]
    notes: Sequence[str]

    @cached_property
    def used(self) -> Dataset:
        """The samples that are used, row by row the `images`."""
        return self.dataset.subset(self.kept.tolist())

    def only(self, rows: NDArray[np.int64]) -> Prepared:
        """Some of the N images, ascending."""
        return replace(
            self,
            kept=self.kept[rows],
            images=Chosen(self.images, torch.from_numpy(rows)),
            keys=[self.keys[i] for i in rows],
            groups=self.groups[rows],
        )

    def groups_of(self, rows: Sequence[int] | NDArray[np.int64]) -> list[int] | None:
        """The groups of some images, or None where no two of them belong together."""
        groups: list[int] = self.groups[np.asarray(rows, dtype=np.int64)].tolist()
        return groups if len(set(groups)) < len(groups) else None

    @cached_property
    def has_groups(self) -> bool:
        """Whether some images belong together, so that intervals must be over groups."""
        return len(np.unique(self.groups)) < len(self.groups)


def prepare(
    data: str | Path,
    fit: Fit,
    columns: Mapping[str, str] | None = None,
    tell: Tell = quiet,
    *,
    labelled: bool = True,
    usable_only: bool = True,
) -> Prepared:
    """Scan, read, check and group the images at `data`.

    Args:
        labelled: whether the images have labels.
        usable_only: refuse where no image can be used; else hand back the findings alone.

    Raises:
        DataError, EmptyDataset: nothing usable is there.
    """
    dataset = scan(data, columns=columns, labelled=labelled)
    tell(Stage("looking", words=f"{len(dataset)} images: {dataset.layout}"))
    for note in dataset.notes:
        tell(Stage("looking", words=note))
    decoded = decode_all(dataset, fit, counter(tell, "reading images"), cache_folder())
    for note in decoded.notes:
        tell(Stage("reading images", words=note))
    thumbs = thumbnails(decoded)
    evidence = Evidence(
        rows=decoded.rows,
        faults=decoded.faults,
        keys=decoded.keys,
        perceptual=decoded.perceptual,
        width=decoded.width,
        height=decoded.height,
        thumbs=thumbs,
        formats=decoded.formats,
        images=decoded.images,
    )
    findings = run_checks(dataset, evidence)
    left_out = {path for finding in findings if finding.excluded for path in finding.paths}
    usable = [
        i
        for i, row in enumerate(decoded.rows)
        if dataset.samples[row].path not in left_out
        and (dataset.samples[row].label is not None or not labelled)
    ]
    if not usable and usable_only:
        reason = f" {findings[0].words}" if findings else ""
        raise EmptyDataset(f"No image of {dataset.root} can be used.{reason}")
    return _kept(dataset, decoded, thumbs, findings, np.array(usable, dtype=np.int64))


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
        DataError: the usable images are all of one class.
    """
    labels = {sample.label for sample in prepared.used.samples}
    if len(labels) < 2:
        raise DataError(
            f"The usable images of {prepared.dataset.root} are all of one class ({labels.pop()}), "
            "and a recogniser needs at least two to tell apart. Put images of something else in "
            "a second folder."
        )

"""Faults of a dataset, one file a fault, and what is known about the images while looking."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kenspeckle.answer import Finding
from kenspeckle.catalogue import Catalogue
from kenspeckle.data.alike import Alike
from kenspeckle.data.batch import Rows
from kenspeckle.data.dataset import Dataset
from kenspeckle.data.split import Parts
from kenspeckle.errors import UnreadableImage
from kenspeckle.files import write_text

CHECKS = Catalogue(
    "check",
    {
        "unreadable": (
            "kenspeckle.data.checks.unreadable:check_unreadable",
            "files that cannot be turned into pixels",
            {},
        ),
        "classes": (
            "kenspeckle.data.checks.classes:check_classes",
            "too few classes, or too few images in one",
            {},
        ),
        "imbalance": (
            "kenspeckle.data.checks.imbalance:check_imbalance",
            "classes of very different size",
            {},
        ),
        "names": (
            "kenspeckle.data.checks.names:check_names",
            "class names that may be one class written in two ways",
            {},
        ),
        "parts": (
            "kenspeckle.data.checks.parts:check_parts",
            "given parts: a class that one lacks, groups and copies in two of them",
            {},
        ),
        "synthetic": (
            "kenspeckle.data.checks.synthetic:check_synthetic",
            "pictures that a network drew, as their files say",
            {},
        ),
        "sizes": (
            "kenspeckle.data.checks.sizes:check_sizes",
            "pictures of odd size or shape",
            {},
        ),
        "resolution": (
            "kenspeckle.data.checks.resolution:check_resolution",
            "pictures with far less detail than pixels, and tiny ones",
            {},
        ),
        "duplicates": (
            "kenspeckle.data.checks.duplicates:check_duplicates",
            "copies of an image, and copies with two labels",
            {},
        ),
        "near_duplicates": (
            "kenspeckle.data.checks.near_duplicates:check_near_duplicates",
            "one picture cropped, turned or mirrored, above all across a split",
            {"deep": True},
        ),
        "shortcuts": (
            "kenspeckle.data.checks.shortcuts:check_shortcuts",
            "a class told by border, brightness, size, format or date instead of the object",
            {"deep": True},
        ),
        "label_errors": (
            "kenspeckle.data.checks.label_errors:check_label_errors",
            "labels that a model which had not seen the image contradicts",
            {"deep": True},
        ),
    },
)
_ORDER = ("error", "warning", "note")


@dataclass(frozen=True)
class Evidence:
    """What is known about the images; a check uses what there is.

    Args:
        rows: (M,) which samples of the dataset could be read, ascending; what follows is about
            these, in this order. None while nothing has been read.
        faults: sample number -> why it could not be read.
        keys: (M,) content hashes.
        perceptual: (M,) 64-bit perceptual hashes.
        width: (M,) pixels of the original.
        height: (M,) pixels of the original.
        thumbs: (M, 32, 32) grey thumbnails.
        formats: (M,) names such as `JPEG`.
        synthetic: (M,) whether the file says that a network drew it.
        images: (M,) the pictures as the network sees them, (B, C, S, S) uint8 for rows (B,).
        vectors: (M, D) waist features of a trained network, each of length 1.
        probabilities: (M, K) out of fold, by a model that had not seen the image; a row of nan
            where there was none.
        alike: pairs of the M that show the same picture; None where nobody has looked.
        parts: how the dataset's rows are divided.

    Cheap evidence is there in every run of the checks; `vectors` and `probabilities` cost a
    network's time, and are there in `ken train` with packaged features and `ken check --deep`.
    """

    rows: NDArray[np.int64] | None = None
    faults: Mapping[int, UnreadableImage] = field(default_factory=dict)
    keys: Sequence[bytes] | None = None
    perceptual: NDArray[np.uint64] | None = None
    width: NDArray[np.int64] | None = None
    height: NDArray[np.int64] | None = None
    thumbs: NDArray[np.uint8] | None = None
    formats: Sequence[str] | None = None
    synthetic: NDArray[np.bool_] | None = None
    images: Rows | None = None
    vectors: NDArray[np.float32] | None = None
    probabilities: NDArray[np.float64] | None = None
    alike: Sequence[Alike] | None = None
    parts: Parts | None = None


def run_checks(dataset: Dataset, evidence: Evidence, *, deep: bool = False) -> list[Finding]:
    """What the checks of the catalogue find, the gravest first.

    Args:
        deep: those that look at features, answers or folds, instead of the cheap ones.
    """
    names = [name for name in CHECKS if CHECKS.row(name).facts.get("deep", False) == deep]
    return by_severity(f for name in names for f in CHECKS.load(name)(dataset, evidence))


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """The gravest first, else in their own order."""
    return sorted(findings, key=lambda finding: _ORDER.index(finding.severity))


def write_issues(path: Path, findings: Sequence[Finding]) -> None:
    """Write `filename,issue,severity,excluded,description,advice`, a row for each file concerned.

    A finding about no file in particular has one row with a blank name.

    Raises:
        StorageError: the disk is full or the folder cannot be written to.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["filename", "issue", "severity", "excluded", "description", "advice"])
    for finding in findings:
        excluded = "yes" if finding.excluded else "no"
        said = [finding.check, finding.severity, excluded, finding.words, finding.advice]
        writer.writerows([name, *said] for name in finding.paths or ("",))
    write_text(path, text.getvalue())

"""Claim: photographs of other things are told from the user's own, and few of his are refused.

AUROC of `Answer.distance` >= .90, and at most 10 % of own test images refused. Trained on the
train part of flowers5 (600 images); known are its 150 test images; unknown are the 210 photographs
of pacs-photo-sketch and the 176 of grocery-hierarchy. Other distances on the same vectors are for
information. Run: `python benchmarks/unknown.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from bench import Row, Store, table, unpacked, vectors_of
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.covariance import LedoitWolf

import kenspeckle
from kenspeckle.models.vectors import unit
from kenspeckle.score import proportion

DRAWS = 2000
Floats = NDArray[np.float64]


def auroc(known: Floats, unknown: Floats) -> float:
    """How often an unknown image lies farther than a known one (Mann-Whitney), in [0, 1]."""
    ranks = rankdata(np.concatenate([known, unknown]))[len(known) :]
    pairs = len(known) * len(unknown)
    return float((ranks.sum() - len(unknown) * (len(unknown) + 1) / 2) / pairs)


def with_interval(known: Floats, unknown: Floats) -> Row:
    """AUROC and its 95 % interval: 2000 draws of known and of unknown images, seed 0."""
    rng = np.random.default_rng(0)
    drawn = [
        auroc(rng.choice(known, len(known)), rng.choice(unknown, len(unknown)))
        for _ in range(DRAWS)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {
        "auroc": auroc(known, unknown),
        "low": float(low),
        "high": float(high),
        "known": len(known),
        "unknown": len(unknown),
    }


def pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix == ".jpg")


def product() -> Row:
    """What a user sees: `Answer.distance` and `Answer.unknown` of the trained model."""
    model = kenspeckle.train(unpacked("flowers5"))

    def distances(paths: Sequence[Path]) -> tuple[Floats, int]:
        answers = model.predict(paths)
        return np.array([answer.distance for answer in answers]), sum(a.unknown for a in answers)

    own, refused = distances(pictures(unpacked("flowers5") / "test"))
    photos, photos_refused = distances(pictures(unpacked("pacs-photo-sketch") / "photo"))
    grocery, grocery_refused = distances(pictures(unpacked("grocery-hierarchy") / "images"))
    return {
        "pacs-photo": with_interval(own, photos),
        "grocery": with_interval(own, grocery),
        "both": with_interval(own, np.concatenate([photos, grocery])),
        "own_refused": proportion(refused, len(own)).as_dict(),
        "pacs_refused": proportion(photos_refused, len(photos)).as_dict(),
        "grocery_refused": proportion(grocery_refused, len(grocery)).as_dict(),
    }


def others() -> Row:
    """Other distances on the same unit vectors of the waist, against both unknown sets."""
    own = vectors_of(unpacked("flowers5"))
    photos = vectors_of(unpacked("pacs-photo-sketch"))
    grocery = vectors_of(unpacked("grocery-hierarchy"))
    waist = own.widths[-1]
    learned = unit(own.vectors[own.parts == "train"][:, -waist:])
    labels = own.targets[own.parts == "train"]
    known = unit(own.vectors[own.parts == "test"][:, -waist:])
    is_photo = np.array([path.startswith("photo") for path in photos.paths])
    is_scene = np.array(["iconic" not in path.lower() for path in grocery.paths])
    unknown = np.concatenate([photos.vectors[is_photo], grocery.vectors[is_scene]])[:, -waist:]
    asked = np.concatenate([known, unit(unknown)])
    cosines = -np.sort(-(asked @ learned.T), axis=1)
    found = {f"mean of {k} nearest": 1 - cosines[:, :k].mean(1) for k in (1, 3, 5)}
    found["distance to the 5th"] = 1 - cosines[:, 4]
    found["Mahalanobis"] = _mahalanobis(learned, labels, asked)
    return {
        name: with_interval(distance[: len(known)], distance[len(known) :])
        for name, distance in found.items()
    }


def _mahalanobis(learned: Floats, labels: NDArray[np.int64], asked: Floats) -> Floats:
    """To the nearest class mean; one covariance for all (Lee et al. 2018, arXiv:1807.03888)."""
    means = np.stack([learned[labels == k].mean(0) for k in np.unique(labels)])
    inverse = LedoitWolf().fit(learned - means[labels]).precision_
    gaps = asked[:, None] - means[None]
    squared: Floats = np.einsum("nkd,de,nke->nk", gaps, inverse, gaps, optimize=True)
    return squared.min(1)


def main() -> None:
    store = Store("unknown", __doc__ or "")
    ours = store.row("product", product)
    compared = store.row("other distances", others)
    table(
        [("against", "AUROC", "low", "high", "known", "unknown")]
        + [(name, *ours[name].values()) for name in ("pacs-photo", "grocery", "both")]
        + [(name, *row.values()) for name, row in compared.items() if "auroc" in str(row)]
    )
    refused = ours["own_refused"]
    store.conclude(
        {
            "auroc": ours["both"],
            "own_refused": refused,
            "met": ours["both"]["auroc"] >= 0.90 and refused["value"] <= 0.10,
        }
    )


if __name__ == "__main__":
    main()

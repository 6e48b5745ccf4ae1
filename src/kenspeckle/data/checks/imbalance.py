"""Classes of very different size: the common ones drown the rare ones in training and in scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from kenspeckle.answer import Finding
from kenspeckle.data.checks import Evidence
from kenspeckle.data.checks.classes import FEW
from kenspeckle.data.dataset import Dataset
from kenspeckle.data.layouts.listing import counted, some

UNEVEN = 3  # largest over smallest class, from where on training balances its loss
VERY_UNEVEN = 10


def check_imbalance(dataset: Dataset, evidence: Evidence) -> Iterator[Finding]:
    """A note where the largest class has over `UNEVEN` times the images of the smallest.

    Over `VERY_UNEVEN` times it is a warning. Only images that can be read count, and classes
    without any are left to the check `classes`, which also speaks of sets whose largest class has
    no more than `UNEVEN * FEW` images: there a class is small before it is uneven. Where an image
    may have several labels, rare ones are no fault.
    """
    if dataset.means != "class":
        return
    readable = (s for row, s in enumerate(dataset.samples) if row not in evidence.faults)
    seen = Counter(s.label for s in readable if s.label is not None)
    counts = {name: seen[name] for name in dataset.classes if seen[name]}
    if not counts:
        return
    largest = max(counts, key=counts.__getitem__)
    smallest = min(counts, key=counts.__getitem__)
    ratio = counts[largest] / counts[smallest]
    if ratio <= UNEVEN or counts[largest] <= UNEVEN * FEW:
        return
    limit = VERY_UNEVEN if ratio > VERY_UNEVEN else UNEVEN
    rare = sorted(
        (name for name in counts if counts[largest] > limit * counts[name]),
        key=counts.__getitem__,
    )
    noun = counted(len(rare), "class has", "classes have")
    yield Finding(
        check="imbalance",
        severity="warning" if ratio > VERY_UNEVEN else "note",
        words=f"The classes are uneven: '{largest}' has {counted(counts[largest], 'image')}, "
        f"'{smallest}' {counts[smallest]:,}, {ratio:.1f} times fewer; of {len(counts):,} classes "
        f"{noun} over {limit} times fewer than the largest: {some(rare)}.",
        advice="A network that is trained here learns with the balanced loss, so that every class "
        "counts alike; judge by the recall of each class, which is in the report. More images of "
        "the rare classes help most.",
        facts={"ratio": ratio, "images": {name: counts[name] for name in (largest, *rare)}},
    )

"""Too few classes, too few images in one, and images that nobody named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from kenspeckle.answer import Finding
from kenspeckle.data.checks import Evidence
from kenspeckle.data.dataset import Dataset
from kenspeckle.data.layouts.listing import counted, some

FEW = 5  # below this a class can hardly be both learned and measured


def check_classes(dataset: Dataset, evidence: Evidence) -> Iterator[Finding]:
    """What is wrong with the classes, counting only images that can be read."""
    readable = [s for row, s in enumerate(dataset.samples) if row not in evidence.faults]
    seen = Counter(name for sample in readable for name in dataset.labels_of(sample))
    counts = {name: seen[name] for name in dataset.classes}
    if dataset.means == "nothing":
        return
    if dataset.means in ("text", "name"):
        yield from _unlabelled(dataset)
        return
    yield from _too_few_classes(counts)
    yield from _small_classes(dataset, counts)
    yield from _unlabelled(dataset)


def _too_few_classes(counts: Mapping[str, int]) -> Iterator[Finding]:
    filled = [name for name, count in counts.items() if count]
    if len(filled) < 2:
        found = f"only '{filled[0]}' has any" if filled else "no class has any"
        yield Finding(
            check="classes",
            severity="error",
            words=f"Telling classes apart needs at least two classes with images; {found}.",
            advice="Add images of another class, in a folder of its own or with its own label.",
        )


def _small_classes(dataset: Dataset, counts: Mapping[str, int]) -> Iterator[Finding]:
    """One finding for classes without images, one for single images, one for fewer than FEW."""
    none = [name for name, count in counts.items() if count == 0]
    one = [name for name, count in counts.items() if count == 1]
    few = [name for name, count in counts.items() if 1 < count < FEW]
    add = "Add images, or join the class with another one."
    if one and len(one) + len(none) == len(counts) > 1:
        yield _nothing_to_measure(dataset, one)
        one = []
    if none:
        noun = counted(len(none), "class", "classes")
        words = f"{noun} without a single image that can be read: {some(none)}."
        yield Finding("classes", "warning", words, add)
    if one:
        noun = counted(len(one), "class", "classes")
        words = f"{noun} with one image, which can be learned but not measured: {some(one)}."
        yield Finding("classes", "warning", words, add, _of(dataset, one))
    if few:
        noun = counted(len(few), "class", "classes")
        words = f"{noun} with fewer than {FEW} images, so its score says little: {some(few)}."
        yield Finding("classes", "warning", words, add, _of(dataset, few))


def _nothing_to_measure(dataset: Dataset, one: list[str]) -> Finding:
    """Every class that has any image has a single one."""
    return Finding(
        check="classes",
        severity="warning",
        words=f"None of {counted(len(one), 'class', 'classes')} has a second image, so there is "
        f"nothing to measure on: with so few images a class no score can be given: {some(one)}.",
        advice=f"Add images, {FEW} of each class at least, or join classes.",
        paths=_of(dataset, one),
    )


def _of(dataset: Dataset, names: list[str]) -> tuple[str, ...]:
    wanted = set(names)
    return tuple(s.path for s in dataset.samples if not wanted.isdisjoint(dataset.labels_of(s)))


def _unlabelled(dataset: Dataset) -> Iterator[Finding]:
    paths = tuple(sample.path for sample in dataset.samples if sample.label is None)
    if paths:
        yield Finding(
            check="classes",
            severity="warning",
            words=f"{counted(len(paths), 'image')} of {len(dataset):,} without a label: "
            f"{some(paths)}.",
            advice="Fill in the labels; images without one take no part in training.",
            paths=paths,
            excluded=True,
        )

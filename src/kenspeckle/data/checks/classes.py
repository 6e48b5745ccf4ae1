"""Too few classes, too few images in one, names that differ in case alone, images nobody named."""

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
    seen = Counter(sample.label for sample in readable)
    counts = {name: seen[name] for name in dataset.classes}
    yield from _too_few_classes(counts)
    yield from _small_classes(dataset, counts)
    yield from _same_but_for_case(dataset)
    yield from _never_trained(dataset, evidence)
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


def _of(dataset: Dataset, names: list[str]) -> tuple[str, ...]:
    wanted = set(names)
    return tuple(sample.path for sample in dataset.samples if sample.label in wanted)


def _same_but_for_case(dataset: Dataset) -> Iterator[Finding]:
    alike: dict[str, list[str]] = {}
    for name in dataset.classes:
        alike.setdefault(" ".join(name.casefold().split()), []).append(name)
    for names in alike.values():
        if len(names) > 1:
            yield Finding(
                check="classes",
                severity="warning",
                words=f"The classes {some(names)} differ in case or spaces alone.",
                advice="Rename one, if they are meant to be the same class.",
            )


def _never_trained(dataset: Dataset, evidence: Evidence) -> Iterator[Finding]:
    """Classes that are measured on but never learned."""
    if evidence.parts is None or not len(evidence.parts.train):
        return
    learned = {dataset.samples[row].label for row in evidence.parts.train.tolist()}
    measured = {dataset.samples[row].label for row in evidence.parts.test.tolist()}
    missing = [name for name in dataset.classes if name in measured - learned]
    if missing:
        noun = counted(len(missing), "class", "classes")
        words = f"{noun} in test but not in train, so always answered wrongly: {some(missing)}."
        yield Finding("classes", "error", words, "Put images of each class into train.")


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

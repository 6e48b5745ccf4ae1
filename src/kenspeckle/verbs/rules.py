"""`rules`: begin a rules file for a folder, and check one, alone or against labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kenspeckle.data.dataset import Dataset, Sample, class_list, tags_in
from kenspeckle.errors import UsageError
from kenspeckle.knowledge.formulas import NO, YES, Is
from kenspeckle.knowledge.names import CLASS, hint, some
from kenspeckle.knowledge.problems import Place, Problem, RulesError
from kenspeckle.knowledge.proof import Proof
from kenspeckle.knowledge.rules import Rules
from kenspeckle.tasks import RULED
from kenspeckle.verbs.prepare import look
from kenspeckle.verbs.progress import Stage, Tell, quiet

TRUSTED = 0.02  # share of labels that may break a hard rule before the rule is doubted


@dataclass(frozen=True)
class Checked:
    """A rules file that can be used, and what of it labels contradict.

    Args:
        rules: the file.
        problems: warnings of the file, then what folder and file do not agree on.
        broken: rule number -> paths of images whose label breaks it.
        images: how many were looked at; 0 without a folder.
        doubted: numbers of the hard rules that over 2 % of the labels break.
    """

    rules: Rules
    problems: tuple[Problem, ...]
    broken: Mapping[int, tuple[str, ...]]
    images: int
    doubted: tuple[int, ...]

    @property
    def is_wrong(self) -> bool:
        """Whether training should not begin."""
        return bool(self.doubted) or any(p.severity == "error" for p in self.problems)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        rules = self.rules.rules
        return {
            "file": self.rules.file,
            "classes": list(self.rules.leaves),
            "rules": len(rules),
            "images": self.images,
            "problems": [
                {"code": p.code, "line": p.place.line, "column": p.place.column, "words": p.words}
                for p in self.problems
            ],
            "broken": [
                {"rule": rules[number].name, "words": rules[number].words, "paths": list(paths)}
                for number, paths in self.broken.items()
            ],
        }


def check_rules(
    file: str | Path,
    data: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    tell: Tell = quiet,
    *,
    task: str = "classify",
) -> Checked:
    """Read and prove a rules file, and hold labels against it; no network is needed.

    Args:
        data: a folder or table of labelled images.
        task: `tag` where an image may have several labels.

    Raises:
        RulesError: the file itself is wrong.
    """
    rules = Rules.load(file)
    if data is None:
        return Checked(rules, rules.warnings, {}, 0, ())
    if task not in RULED:
        raise UsageError(f"Rules speak of classes, tags and lines; --task {task} has none.")
    return held_against(rules, look(data, columns, tell, task=task), task)


def obeyed(
    file: Path, dataset: Dataset, task: str, tell: Tell
) -> tuple[Rules, Dataset, frozenset[str]]:
    """Rules that a training may obey; the dataset with what they say of its labels, and the paths
    of images whose label only they have found.

    Raises:
        RulesError: the file is wrong, or labels say that it is.
        UsageError: it has no classes, and classes are asked for.
    """
    rules, weak = Rules.load(file), frozenset[str]()
    if task == "classify":
        if not rules.leaves:
            raise UsageError(f"{rules.file} has no `classes`, so it cannot say which there are.")
        dataset, weak = weakly_labelled(rules, dataset, tell)
        dataset, deduced = narrowed(rules, dataset, tell)
        weak |= deduced
    checked = held_against(rules, dataset, task)
    if checked.is_wrong:
        doubted = {rules.rules[number].place for number in checked.doubted}
        wrong = [p for p in checked.problems if p.severity == "error" or p.place in doubted]
        raise RulesError(rules.file, wrong)
    for problem in checked.problems:
        tell(Stage("checking rules", words=problem.told(rules.file)))
    return rules, dataset, weak


def weakly_labelled(rules: Rules, dataset: Dataset, tell: Tell) -> tuple[Dataset, frozenset[str]]:
    """The dataset with labels for images that have none, and the paths of these.

    The rule with the most trust labels an image; none does where two of that trust disagree. What
    an image counts in training is that trust.
    """
    found: list[Sample] = []
    for sample in dataset.samples:
        if sample.label is None:
            name = sample.path.rsplit("/", 1)[-1]
            speaking = [rule for rule in rules.weak if rule.speaks(name, sample.facts)]
            most = max((rule.trust for rule in speaking), default=0.0)
            said = {rule.label for rule in speaking if rule.trust == most}
            if len(said) == 1:
                sample = replace(sample, label=said.pop(), weight=sample.weight * most)
                found.append(sample)
    if not found:
        return dataset, frozenset()
    by_path = {sample.path: sample for sample in found}
    samples = tuple(by_path.get(sample.path, sample) for sample in dataset.samples)
    classes = class_list([*dataset.classes, *(str(sample.label) for sample in found)])
    tell(Stage("checking rules", words=f"{len(found)} images are labelled by weak rules alone"))
    return replace(dataset, samples=samples, classes=classes), frozenset(by_path)


def narrowed(rules: Rules, dataset: Dataset, tell: Tell) -> tuple[Dataset, frozenset[str]]:
    """The dataset with what columns of its table say of images whose label leaves several classes.

    Where `never beagle and arctic` is a rule, an image labelled `dog` with `arctic` in its table is
    learned from as `husky`, the only dog left. One without a label is learned from as whatever
    its columns leave, where that is not everything. What contradicts the rules, or leaves only
    classes under `unseen`, stays as it is.

    Returns:
        The dataset, and the paths of images whose label is now another one.
    """
    if not rules.known:
        return dataset, frozenset()
    every = frozenset(range(len(rules.leaves)))
    found: dict[tuple[str | None, tuple[Is, ...]], str | None] = {}
    proof = Proof(rules)
    try:
        for sample in dataset.samples:
            key = sample.label, tuple(_told(rules, sample.facts))
            if key in found:
                continue
            seen = _said(rules, dataset, sample.label, "classify") if sample.label else []
            left = seen[0].values if seen else every
            if not key[1] or len(left) == 1 or (sample.label and not seen):
                found[key] = sample.label
                continue
            names = [
                rules.leaves[leaf]
                for leaf in sorted(left)
                if proof.possible(Is(CLASS, frozenset({leaf})), *key[1])
            ]
            learns = len(names) < len(left) and not set(names) <= set(rules.unseen)
            found[key] = "|".join(names) if learns else sample.label
    finally:
        proof.close()
    samples = []
    for sample in dataset.samples:
        label = found[sample.label, tuple(_told(rules, sample.facts))]
        samples.append(sample if label == sample.label else replace(sample, label=label))
    paths = frozenset(
        new.path for new, old in zip(samples, dataset.samples, strict=True) if new is not old
    )
    if not paths:
        return dataset, paths
    words = f"the columns of {len(paths)} images leave fewer classes than their labels do"
    tell(Stage("checking rules", words=words))
    classes = class_list([*dataset.classes, *(str(s.label) for s in samples if s.path in paths)])
    return replace(dataset, samples=tuple(samples), classes=classes), paths


def held_against(rules: Rules, dataset: Dataset, task: str) -> Checked:
    """What labels and rules do not agree on."""
    problems = [*rules.warnings, *_strangers(rules, dataset, task), *_lost(rules, dataset)]
    problems += _no_texts(rules, dataset) if dataset.means == "text" else []
    broken = _broken(rules, dataset, task)
    most = TRUSTED * len(dataset)
    doubted = tuple(number for number, paths in broken.items() if len(paths) > most)
    for number, paths in broken.items():
        rule = rules.rules[number]
        words = f"{len(paths)} of {len(dataset)} labels break '{rule.words}', such as {paths[0]}."
        if number in doubted:
            words += (
                f" Over {100 * TRUSTED:.0f} %: mend the rule or the labels, or give a strength."
            )
        problems.append(Problem("W601", words, rule.place))
    return Checked(rules, tuple(problems), broken, len(dataset), doubted)


def _strangers(rules: Rules, dataset: Dataset, task: str) -> list[Problem]:
    """E103: what the folder has and the file does not know, and classes without images."""
    found = []
    known = list(rules.below)
    if task == "tag":
        known = [choice.name for choice in rules.choices if choice.is_plain]
    of_task = dataset.classes if rules.leaves or task == "tag" else ()
    for name in of_task:
        if any(part not in known for part in _parts(name, task)):
            words = f"'{name}' has images and is not in the rules{hint(name, known)} "
            found.append(Problem("E103", words + "Add it to `classes` or `tags`.", Place(1, 1)))
    spoken = {part for name in dataset.classes for part in _parts(name, task)}
    for leaf in rules.leaves if task == "classify" else ():
        above = [name for name, leaves in rules.below.items() if rules.leaves.index(leaf) in leaves]
        if leaf not in rules.unseen and not set(above) & spoken:
            near = hint(leaf, dataset.classes)
            words = f"'{leaf}' has no images{near} Add some, or move it to `unseen`."
            found.append(Problem("E103", words, rules.places[leaf]))
    learned = {s.label for s in dataset.samples if s.split != "test"}
    for leaf in rules.unseen if task == "classify" else ():
        if leaf in learned:
            words = (
                f"'{leaf}' is under `unseen` and has images to learn from. Move it to `classes`, "
            )
            words += "or its images into a part called test."
            found.append(Problem("E103", words, rules.places[leaf]))
    return found


def _lost(rules: Rules, dataset: Dataset) -> list[Problem]:
    """E501: columns that the file speaks of and the table of the images does not have."""
    known = {name for sample in dataset.samples for name in sample.facts}
    if not known:
        return []  # no table: what is known is told with --side
    asked = {rules.choices[n].name: rules.places[rules.choices[n].name] for n in rules.known}
    asked |= {prior.column: prior.place for prior in rules.priors}
    asked |= {rule.column: rule.place for rule in rules.weak if rule.column}
    found = [
        Problem(
            "E501",
            f"The table of the images has no column '{name}'{hint(name, known)} Name its column "
            f"so, or take this out; it has: {some(sorted(known))}.",
            place,
        )
        for name, place in asked.items()
        if name not in known
    ]
    may_be = {rules.choices[n].name: set(rules.choices[n].values) for n in rules.known}
    may_be |= {p.column: set(p.factors) for p in rules.priors if p.is_whole}
    for name, values in may_be.items():
        strange = sorted({s.facts.get(name, "") for s in dataset.samples} - values - {""})
        if strange:
            words = (
                f"The table of the images has the value '{strange[0]}' in its column '{name}'"
                f"{hint(strange[0], values)} The rules know: {some(sorted(values))}."
            )
            found.append(Problem("E501", words, asked[name]))
    return found


def _no_texts(rules: Rules, dataset: Dataset) -> list[Problem]:
    """Lines that are told and that no text permits: W601, and E304 where they are over 2 %."""
    lines = {s.path: s.label for s in dataset.samples if s.label is not None}
    if not rules.texts or not lines:
        return []
    alphabet = sorted(set("".join(lines.values())))
    automata = [text.automaton(alphabet) for text in rules.texts]
    wrong = [path for path, line in lines.items() if not any(a.accepts(line) for a in automata)]
    if not wrong:
        return []
    words = (
        f"{len(wrong)} of {len(lines)} lines are none of the texts, such as "
        f"'{lines[wrong[0]]}' ({wrong[0]})."
    )
    if len(wrong) <= TRUSTED * len(lines):
        return [Problem("W601", words, rules.texts[0].place)]
    words += f" Over {100 * TRUSTED:.0f} %: mend the pattern or the lines."
    return [Problem("E304", words, rules.texts[0].place)]


def _broken(rules: Rules, dataset: Dataset, task: str) -> dict[int, tuple[str, ...]]:
    """Hard rule -> the images whose label it does not permit beside what their columns say."""
    paths = defaultdict(list)
    for sample in dataset.samples:
        if sample.label is not None:
            paths[sample.label, tuple(_told(rules, sample.facts))].append(sample.path)
    found: dict[int, list[str]] = defaultdict(list)
    proof = Proof(rules)
    try:
        for (label, told), own in paths.items():
            for number in proof.core(*_said(rules, dataset, label, task), *told):
                found[number] += own
    finally:
        proof.close()
    return {number: tuple(sorted(own)) for number, own in sorted(found.items())}


def _said(rules: Rules, dataset: Dataset, label: str, task: str) -> list[Is]:
    """What a label says: a class or a parent; or which tags are so, and that the others are not."""
    if task != "tag":
        known = all(name in rules.below for name in _parts(label, task))
        formula = rules.said(label) if known else None
        return [formula] if isinstance(formula, Is) else []
    names = tags_in(label)
    said = [Is(CLASS, rules.below[name]) for name in names if name in rules.below]
    for number, choice in enumerate(rules.choices):
        if choice.kind == "tag" and choice.name in dataset.classes:
            said.append(Is(number, frozenset({YES if choice.name in names else NO})))
    return said


def _told(rules: Rules, facts: Mapping[str, str]) -> list[Is]:
    """What the columns of an image say; values that the rules do not know say nothing."""
    found = []
    for number in rules.known:
        choice = rules.choices[number]
        value = facts.get(choice.name, "")
        if value in choice.values:
            found.append(Is(number, frozenset({choice.values.index(value)})))
    return found


def _parts(label: str, task: str) -> list[str]:
    """The names in a label: of `!husky` and `husky|malamute` those without the marks."""
    if task == "tag":
        return [label]
    return [part.strip() for part in label.removeprefix("!").split("|")]


def begin_rules(data: str | Path, tell: Tell = quiet, *, task: str = "classify") -> str:
    """A rules file for a folder: its classes filled in, and an example of each form behind `#`."""
    dataset = look(data, None, tell, task=task)
    if not dataset.classes:
        raise UsageError(f"{data} has no classes and no tags, so there is nothing to say of them.")
    names = [_quoted(name) for name in dataset.classes]
    section = "tags" if task == "tag" else "classes"
    one, other = (names * 2)[:2]
    return _EXAMPLE.format(names=_list(names), section=section, one=one, other=other)


def _list(names: list[str]) -> str:
    return "".join(f"\n  - {name}" for name in names)


def _quoted(name: str) -> str:
    """A name as YAML reads it back unchanged."""
    is_plain = name.replace("_", "a").replace(" ", "a").isalnum() and name == name.strip()
    return name if is_plain else "'" + name.replace("'", "''") + "'"


_EXAMPLE = """\
# What people know, obeyed in answers. Check this file with: ken rules check rules.yaml FOLDER
# Lines that begin with # are examples; take the # away and put in your own names.
ken-rules: 1

{section}:{names}

# Kinds may be nested; each image shows one of the innermost:
# classes:
#   animal: {{dog: [beagle, husky], cat: }}
#   vehicle: [car, truck]

# What classes look like; what is not said is unknown:
# attributes:
#   has wings: {{always: [{one}], never: [{other}]}}
#   can be blue: {{usually 0.3: [{one}]}}
#   legs: {{one of: [0, 2, 4], values: {{{one}: 2, {other}: [0, 4]}}}}

# What may be so or not, beside the class:
# tags: [daylight, night, snow, street, field, headlights on, scratch, dent, hole]

# What is told beside the image, in columns of a table:
# columns: {{season: [summer, winter]}}

# What goes with what. Without a strength it is never broken; strength 2 makes breaking it 7 times
# rarer:
# rules:
#   - never: daylight and night
#   - {{if: snow, then: not summer}}
#   - {{if: night and {one}, then: headlights on, strength: 2}}
#   - exactly one of: [street, field]
#   - at most 2 of: [scratch, dent, hole]

# Classes without any image, known by their attributes:
# unseen:
#   zebra: {{has wings: no, legs: 4}}

# Which mistakes are worse, and what it costs to ask a person:
# costs:
#   - {{truth: {one}, answered: {other}, cost: 50}}
#   - {{answered: unsure, cost: 3}}

# What a column makes likelier:
# priors:
#   - {{column: region, value: antarctica, {one}: x20, {other}: x0.01}}

# What a line of characters may be, and which check digit it ends in:
# text:
#   plate: {{pattern: '[A-Z]{{3}}-[0-9]{{4}}'}}
#   serial: {{pattern: '[0-9]{{8}}', check: luhn}}

# In which order the frames of a clip come:
# frames: {{order: [{one}, {other}], lasts at least: {{{one}: 5 frames}}}}

# Numbers in one picture that add up:
# sums: [{{total: left + right}}]

# Labels for images that have none; these are learned from, and never measured by:
# weak:
#   - {{if file name contains: one, then: {one}, trust: 0.9}}

# What a mirrored image shows; `direction matters: [{one}]` where that is nothing known:
# mirror: {{{one}: {other}}}
"""

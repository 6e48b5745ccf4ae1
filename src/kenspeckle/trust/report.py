"""What a run says of itself: one sentence, a model card, and a page for people."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from kenspeckle.errors import BundleError
from kenspeckle.files import write_bytes, write_text
from kenspeckle.tasks import TASKS
from kenspeckle.tasks.task import Task
from kenspeckle.trust.report_page import page
from kenspeckle.trust.report_pictures import Heat, Picture
from kenspeckle.trust.report_words import unknown_words, use
from kenspeckle.words import Title, clean, in_words, others, things, times_in_100

_ALWAYS = ("sentence", "data", "split", "measured", "model", "findings", "history", "scores")


def sentence(report: Mapping[str, Any]) -> str:
    """The first thing to read: how often it is right, between what and what, and against what.

    Args:
        report: with `kind` (`classify` where it is absent), `scores`, `measured` and what the task
            needs.

    >>> sentence({
    ...     "measured": {"n": 150, "how": "150 images held out for the test"},
    ...     "scores": {"accuracy_score": {"value": .867, "low": .798, "high": .914, "n": 150,
    ...                                   "method": "Wilson"}},
    ...     "majority_share": 0.2,
    ... })  # doctest: +NORMALIZE_WHITESPACE
    'On images like these it names the right class about 87 times in 100 (between 80 and 91,
    measured on 150 held-out images); always saying the commonest class would be right 20 times
    in 100.'
    """
    if not report["scores"]:
        return _unmeasured(report)
    return task_of(report).sentence(report)


def task_of(report: Mapping[str, Any]) -> type[Task[Any]]:
    """The task that a report is about."""
    task: type[Task[Any]] = TASKS.load(report.get("kind", "classify"))
    return task


def _unmeasured(report: Mapping[str, Any]) -> str:
    one, several = things(report, 1), things(report)
    if "majority_share" not in task_of(report).telling.needed:
        return f"How well it does could not be measured, since no {one} was kept apart: add more."
    return (
        f"How well it does could not be measured, since every class has a single {one} or a "
        f"single group of {several}: add a second one of each class."
    )


def card(report: Mapping[str, Any], classes: Sequence[str]) -> str:
    """The README.md inside a model file: a model card in Markdown with YAML front matter.

    Args:
        report: as `write_report` takes it.
        classes: K names, in the order of the network's outputs; none where lines are written.

    Source: Mitchell et al. 2019, arXiv:1810.03993; front matter as the Hugging Face Hub reads it.
    """
    task = task_of(report)
    telling = task.telling
    front: dict[str, Any] = {"library_name": "kenspeckle"}
    is_known = telling.topic and things(report) in ("images", "lines")  # the Hub knows no other
    topic = telling.topic if is_known else f"{things(report, 1)}-{report.get('kind', 'classify')}"
    if is_known:
        front["pipeline_tag"] = topic
    front["tags"] = [topic, "kenspeckle", clean(report["model"]["name"])]
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    parts = [
        f"---\n{head}---",
        f"# {task.asks(report, len(classes))} ({_plain(report['data']['name'])})",
        _plain(report["sentence"]),
        _about(report),
        f"## How well it does\n\n{_score_table(report['scores'], telling.titles)}",
        _names_table(report),
        _use(report),
        _limits(report),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _use(report: Mapping[str, Any]) -> str:
    example = use(report, "FILE")
    return (
        f"## How to use it\n\n```\n{example.commands[0]}\n```\n\n```python\n{example.python}\n```"
    )


def _about(report: Mapping[str, Any]) -> str:
    model, split, how = report["model"], report["split"], report["measured"]["how"]
    name = f"the network {_plain(model['name'])}"
    what = f"a linear head on the fixed features of {name}" if model.get("frozen") else name
    size = model.get("image_size")
    reads = "It" if size is None else f"It reads images of {size} pixels a side and"
    return (
        f"It is {what}. {reads} learned from {split['train']} {things(report, split['train'])}. "
        f"{_plain(how[:1].upper() + how[1:])}."
    )


def _score_table(scores: Mapping[str, Mapping[str, Any]], titles: Mapping[str, Title]) -> str:
    lines = ["| Score | Value | 95 % interval | n |", "|---|---|---|---|"]
    for name, score in scores.items():
        title = titles.get(name)
        told = f"{title.title if title else name} (`{name}`)"
        value, low, high = (in_words(title, score[end]) for end in ("value", "low", "high"))
        lines.append(f"| {told} | {value} | {low} to {high} | {score['n']} |")
    return "\n".join(lines)


def _names_table(report: Mapping[str, Any]) -> str:
    """The classes or labels, each with what is measured of it; blank where there are none."""
    rows, name = report.get("classes", []), "Class"
    if report.get("labels"):
        rows, name = report["labels"], "Label"
    if not rows:
        return ""
    head = f"| {name} | Measured {things(report)} | Found (recall) | Right when said (precision) |"
    lines = [f"## {'Labels' if name == 'Label' else 'Classes'}\n", head, "|---|---|---|---|"]
    for row in rows:
        shares = [_share(row["recall"]), _share(row["precision"])]
        lines.append(f"| {_plain(row[name.lower()])} | {row['n']} | {shares[0]} | {shares[1]} |")
    return "\n".join(lines)


def _share(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return "never"
    value, low, high = (times_in_100(score[end]) for end in ("value", "low", "high"))
    return f"{value} % ({low} to {high})"


def _limits(report: Mapping[str, Any]) -> str:
    task = task_of(report)
    lines = [f"- {task.telling.caution}"] if task.telling.caution else []
    lines += [
        f"- The scores hold for {things(report)} like the measured ones only. {others(report)} may "
        f"do worse{': measure again on your own with `ken val`' if task.is_measured_again else ''}."
    ]
    if _names_table(report):
        names = "labels" if report.get("labels") else "classes"
        lines.append(f"- It knows the {names} above and no others.")
    if report.get("unknown") is not None:
        lines.append(f"- {unknown_words(report)}")
    return "## Limits\n\n" + "\n".join(lines)


def _plain(text: str) -> str:
    """Text as Markdown shows it literally, on one line."""
    escaped = "".join(f"\\{c}" if c in "\\`*_[]<>|#&~$" else c for c in clean(text))
    return " ".join(escaped.split())


def write_report(
    folder: Path,
    report: Mapping[str, Any],
    pictures: Mapping[str, Picture],
    heats: Mapping[str, Heat] | None = None,
) -> None:
    """Write `report.json`, `confusion_matrix.png` and `report.html` to `folder`.

    The page is one file that needs no network and no scripts.

    Args:
        report: what `verbs.train` measured, as plain values. Always there: `sentence`, `data`,
            `split`, `measured`, `model`, `findings`, `history`, `scores`, and what the task named
            by `kind` needs. What else may be there is in `report_page.OPTIONAL`.
        pictures: path of an image -> its pixels (H, W, 1 or 3); those without one are listed by
            name.
        heats: path of an image -> where the network looked for the class it said, (H, W) in
            [0, 1]; it is laid over that image's picture.

    Raises:
        BundleError: the model file came with no report, or with one that is not complete.
        StorageError: the disk is full or the folder cannot be written to.
    """
    needed = (*_ALWAYS, *task_of(report).telling.needed)
    missing = [name for name in needed if name not in report]
    if missing and "failed" not in report:
        raise BundleError(
            f"There is no whole report to write: {', '.join(missing)} missing. A packaged network "
            "has none; train a model with `ken train`, or measure this one with `ken val`."
        )
    _write(folder, report, pictures, heats or {})


def write_failed_report(folder: Path, report: Mapping[str, Any]) -> None:
    """Write `report.json` and `report.html` of a run that stopped half-way.

    Args:
        report: `failed`, a sentence that says what happened, and whatever else there is by then:
            `data`, `findings`, `history`, `model`. Numbers that are not finite become null.

    Raises:
        StorageError: the disk is full or the folder cannot be written to.
    """
    assert report["failed"], "a report of a failed run says what happened"
    _write(folder, {name: _finite(value) for name, value in report.items()}, {}, {})


def _write(
    folder: Path,
    report: Mapping[str, Any],
    pictures: Mapping[str, Picture],
    heats: Mapping[str, Heat],
) -> None:
    from kenspeckle.trust.confusion_picture import confusion_png  # matplotlib takes 0.3 s to import

    text = json.dumps(report, ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False)
    write_text(folder / "report.json", text + "\n")
    if report.get("confusion"):
        names = [clean(row["class"]) for row in report["classes"]]
        write_bytes(folder / "confusion_matrix.png", confusion_png(report["confusion"], names))
    write_text(folder / "report.html", page(report, pictures, heats))


def _finite(value: Any) -> Any:
    """The same plain values, with null for numbers that are not finite: JSON has none."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value

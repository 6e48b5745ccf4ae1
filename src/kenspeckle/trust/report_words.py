"""What a report says of unknown images, of rules, and of how the model file is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kenspeckle.tasks import TASKS
from kenspeckle.tasks.task import Task
from kenspeckle.words import Table, a_thing, things, times_in_100

# What a command is given: one of them, and a place with many.
EXAMPLES = {
    "image": ("photo.jpg", "new_photos/"),
    "sequence": ("sequence.npy", "new_sequences/"),
    "line": ("lines.txt", "new_lines.tsv"),
    "clip": ("clip/", "new_clips/"),
}


def unknown_words(report: Mapping[str, Any]) -> str:
    """What the model does with an image unlike all it has seen."""
    unknown, one, several = report["unknown"], things(report, 1), things(report)
    if unknown["threshold"] is None:
        return (
            f"There were too few {several} to say which are unlike the training {several}: it "
            f"names a class for any {one}, even of something else."
        )
    words = (
        f"{a_thing(report).capitalize()} that is very unlike all training {several} is answered "
        f'"unknown". The limit (cosine distance {unknown["threshold"]:.3f} to the nearest training '
        f"{one}) is set so that about {times_in_100(unknown['share_set'])} of 100 {several} like "
        "yours are refused."
    )
    if unknown["refused"] is None:
        return words
    value, low, high = (times_in_100(unknown["refused"][end]) for end in ("value", "low", "high"))
    n = unknown["refused"]["n"]
    return f"{words} Measured on {n} {several}: {value} of 100 (between {low} and {high})."


@dataclass(frozen=True)
class Use:
    """How a model file is used: lines for a shell, and lines of Python."""

    commands: tuple[str, ...]
    python: str


def use(report: Mapping[str, Any], file: str) -> Use:
    """Lines that use the model in `file` on what this report is about.

    >>> use({}, "best.ken").commands[0]
    'ken predict --model best.ken photo.jpg'
    """
    task: type[Task[Any]] = TASKS.load(report.get("kind", "classify"))
    example, more = EXAMPLES.get(things(report, 1), EXAMPLES["image"])
    commands = [f"ken predict --model {file} {example}"]
    if example == "photo.jpg":
        commands.append(f"ken explain --model {file} {example}")
    commands.append(f"ken val --model {file} {more}")
    if task.telling.commands:
        commands = [line.format(file=file) for line in task.telling.commands]
    python = f'import kenspeckle\nprint(kenspeckle.load("{file}").predict("{example}")[0].words)'
    if task.telling.python:
        python = task.telling.python.format(file=file)
    return Use(tuple(commands), python)


def rules_table(report: Mapping[str, Any]) -> list[Table]:
    """What rules did to the measured answers; none where there are no rules."""
    told = report.get("obeyed")
    if not told:
        return []
    rows = [
        ["Rules file", str(report["model"].get("rules", ""))],
        ["How answers are reckoned", "; ".join(told["algorithms"])],
        ["Answers that the rules changed", f"{told['changed']} of {told['answers']}"],
    ]
    if told["changed"]:
        rows.append(["Right of these", str(told["right"])])
    if told["changed"] and told["right_alone"] is not None:
        rows.append(["Right of these had the network answered alone", str(told["right_alone"])])
    intro = "All scores, the calibration too, are those of answers that keep the rules."
    return [Table("Rules", intro, ["Of the rules", "Found"], rows)]

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
from kenspeckle.trust.report_page import page
from kenspeckle.trust.report_pictures import Heat, Picture
from kenspeckle.trust.report_words import (
    SCORES,
    clean,
    in_words,
    measured_on,
    others,
    things,
    times_in_100,
    unknown_words,
    use,
)

FEW = 30  # images or groups; below this Wilson's interval spans 30 points and more
_ALWAYS = ("sentence", "data", "split", "measured", "model", "findings", "history", "scores")
_NEEDED = {
    "classify": (
        *("unknown", "tried", "majority_share", "confusion", "classes", "reliability"),
        "mistakes",
    ),
    "tag": ("labels",),
    "translate": ("examples",),
}


def sentence(report: Mapping[str, Any]) -> str:
    """The first thing to read: how often it is right, between what and what, and against what.

    Args:
        report: with `scores`, `measured`, and by `kind`: `majority_share` (in [0, 1]) where one
            class is named, the scores `micro_precision_score` and `micro_recall_score` where
            labels are given, `exact_match_score` where lines are written.

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
    kind = report.get("kind", "classify")
    if not report["scores"]:
        return _unmeasured(report)
    if kind == "tag":
        return _labels_sentence(report)
    if kind == "translate":
        return _lines_sentence(report)
    score = report["scores"]["accuracy_score"]
    named = f"it names the right class about {times_in_100(score['value'])} times in 100"
    if score["value"] == 1:
        named = "it named the right class every time"
    range_ = f"{_between(score)}, {_where(report, score)}"
    return f"On {things(report)} like these {named} ({range_}){_against(report)}"


def _unmeasured(report: Mapping[str, Any]) -> str:
    one, several = things(report, 1), things(report)
    if report.get("kind", "classify") != "classify":
        return f"How well it does could not be measured, since no {one} was kept apart: add more."
    return (
        f"How well it does could not be measured, since every class has a single {one} or a "
        f"single group of {several}: add a second one of each class."
    )


def _labels_sentence(report: Mapping[str, Any]) -> str:
    """Of several labels an image: how many given ones are right, how many there are found."""
    right = report["scores"].get("micro_precision_score")
    found = report["scores"]["micro_recall_score"]
    where = _where(report, found)
    if right is None:
        return f"On {things(report)} like these it gives no label at all ({where})."
    given = f"about {times_in_100(right['value'])} in 100 are right"
    if right["value"] == 1:
        given = "all were right"
    finds = f"it finds about {times_in_100(found['value'])} in 100 of those that are there"
    if found["value"] == 1:
        finds = "it found all of those that are there"
    return (
        f"Of the labels it gives, {given} ({_between(right)}), and {finds} ({_between(found)}; "
        f"{where})."
    )


def _lines_sentence(report: Mapping[str, Any]) -> str:
    score = report["scores"]["exact_match_score"]
    told = f"It writes the whole line exactly right about {times_in_100(score['value'])} times in"
    told += " 100"
    if score["value"] == 1:
        told = "It wrote the whole line exactly right every time"
    return f"{told} ({_between(score)}, {_where(report, score)})."


def _between(score: Mapping[str, Any]) -> str:
    low, high = times_in_100(score["low"]), times_in_100(score["high"])
    # a bootstrap over groups that are all right, or all wrong, has no width: that is no knowledge
    return f"between {low} and {high}" if low != high else "no range can be told"


def _where(report: Mapping[str, Any], score: Mapping[str, Any]) -> str:
    where = measured_on(report, score)
    return f"{where}, too few to say more exactly" if score["n"] < FEW else where


def _against(report: Mapping[str, Any]) -> str:
    """The end of the sentence: the same against always saying the commonest class."""
    score, share = report["scores"]["accuracy_score"], report["majority_share"]
    guess = f"always saying the commonest class would be right {times_in_100(share)} times in 100"
    if score["high"] < share:
        return f". That is worse than guessing: {guess}."
    if score["low"] <= share:
        return f". That is not shown to be better than guessing: {guess}."
    return f"; {guess}."


def card(report: Mapping[str, Any], classes: Sequence[str]) -> str:
    """The README.md inside a model file: a model card in Markdown with YAML front matter.

    Args:
        report: as `write_report` takes it.
        classes: K names, in the order of the network's outputs; none where lines are written.

    Source: Mitchell et al. 2019, arXiv:1810.03993; front matter as the Hugging Face Hub reads it.
    """
    kind = report.get("kind", "classify")
    front: dict[str, Any] = {"library_name": "kenspeckle"}
    topic = f"{things(report, 1)}-classification" if kind != "translate" else "translation"
    if topic != "sequence-classification":  # the Hub knows no such task
        front["pipeline_tag"] = topic
    front["tags"] = [topic, "kenspeckle", clean(report["model"]["name"])]
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    parts = [
        f"---\n{head}---",
        f"# {_asks(report, len(classes))} ({_plain(report['data']['name'])})",
        _plain(report["sentence"]),
        _about(report),
        f"## How well it does\n\n{_score_table(report['scores'])}",
        _names_table(report),
        _use(report),
        _limits(report),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _asks(report: Mapping[str, Any], classes: int) -> str:
    """What the network is asked."""
    one = things(report, 1)
    article = "an" if one == "image" else "a"
    if report.get("kind", "classify") == "tag":
        return f"Which of {classes} labels {article} {one} has"
    if report.get("kind") == "translate":
        return "Lines written anew"
    return f"Which of {classes} classes {article} {one} {'shows' if one == 'image' else 'is'}"


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


def _score_table(scores: Mapping[str, Mapping[str, Any]]) -> str:
    lines = ["| Score | Value | 95 % interval | n |", "|---|---|---|---|"]
    for name, score in scores.items():
        title = SCORES[name].title if name in SCORES else name
        value, low, high = (in_words(name, score[end]) for end in ("value", "low", "high"))
        lines.append(f"| {title} (`{name}`) | {value} | {low} to {high} | {score['n']} |")
    return "\n".join(lines)


def _names_table(report: Mapping[str, Any]) -> str:
    """The classes or labels, each with what is measured of it; blank where there are none."""
    rows, name = report.get("classes", []), "Class"
    if report.get("kind", "classify") == "tag":
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
    lines = [
        f"- The scores hold for {things(report)} like the measured ones only. {others(report)} may "
        "do worse: measure again on your own with `ken val`."
    ]
    if report.get("kind", "classify") != "translate":
        names = "labels" if report.get("kind") == "tag" else "classes"
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
            `split`, `measured`, `model`, `findings`, `history`, `scores`, and by `kind`: for
            `classify` (the default) `unknown`, `tried`, `majority_share`, `confusion`, `classes`,
            `reliability`, `mistakes`; for `tag` `labels`; for `translate` `examples`. What else
            may be there is in `report_page.OPTIONAL`.
        pictures: path of an image -> its pixels (H, W, 1 or 3); those without one are listed by
            name.
        heats: path of an image -> where the network looked for the class it said, (H, W) in
            [0, 1]; it is laid over that image's picture.

    Raises:
        BundleError: the model file came with no report, or with one that is not complete.
        StorageError: the disk is full or the folder cannot be written to.
    """
    needed = (*_ALWAYS, *_NEEDED[report.get("kind", "classify")])
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

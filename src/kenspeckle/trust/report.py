"""What a run says of itself: one sentence, a model card, and a page for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from kenspeckle.errors import BundleError
from kenspeckle.files import write_bytes, write_text
from kenspeckle.trust.report_page import page
from kenspeckle.trust.report_words import (
    SCORES,
    clean,
    in_words,
    on_images,
    times_in_100,
    unknown_words,
)

FEW = 30  # images or groups; below this Wilson's interval spans 30 points and more
_NEEDED = (
    *("sentence", "data", "split", "measured", "model", "unknown", "tried", "findings", "history"),
    *("scores", "majority_share", "confusion", "classes", "reliability", "mistakes"),
)


def sentence(report: Mapping[str, Any]) -> str:
    """The first thing to read: how often it is right, between what and what, and against what.

    Args:
        report: with `scores`, `measured` and `majority_share` (in [0, 1]).

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
        return (
            "How well it does could not be measured, since every class has a single image or a "
            "single group of images: add a second one of each class."
        )
    score = report["scores"]["accuracy_score"]
    where = on_images(report["measured"], score)
    if score["n"] < FEW:
        where += ", too few to say more exactly"
    low, high = times_in_100(score["low"]), times_in_100(score["high"])
    # a bootstrap over groups that are all right, or all wrong, has no width: that is no knowledge
    between = f"between {low} and {high}" if low != high else "no range can be told"
    named = f"it names the right class about {times_in_100(score['value'])} times in 100"
    if score["value"] == 1:
        named = "it named the right class every time"
    return f"On images like these {named} ({between}, {where}){_against(report)}"


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
        classes: K names, in the order of the network's outputs.

    Source: Mitchell et al. 2019, arXiv:1810.03993; front matter as the Hugging Face Hub reads it.
    """
    front = {
        "library_name": "kenspeckle",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "kenspeckle", clean(report["model"]["name"])],
    }
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    name = _plain(report["data"]["name"])
    parts = [
        f"---\n{head}---",
        f"# Which of {len(classes)} classes an image shows ({name})",
        _plain(report["sentence"]),
        _about(report),
        f"## How well it does\n\n{_score_table(report['scores'])}",
        f"## Classes\n\n{_class_table(report['classes'])}",
        _USE,
        _limits(report),
    ]
    return "\n\n".join(parts) + "\n"


_USE = """## How to use it

```
ken predict --model FILE photo.jpg
```

```python
import kenspeckle
print(kenspeckle.load("FILE").predict("photo.jpg")[0].words)
```"""


def _about(report: Mapping[str, Any]) -> str:
    model, split, how = report["model"], report["split"], report["measured"]["how"]
    name = f"the network {_plain(model['name'])}"
    what = f"a linear head on the fixed features of {name}" if model["frozen"] else name
    return (
        f"It is {what}. It reads images of "
        f"{model['image_size']} pixels a side and learned from {split['train']} images. "
        f"{_plain(how[:1].upper() + how[1:])}."
    )


def _score_table(scores: Mapping[str, Mapping[str, Any]]) -> str:
    lines = ["| Score | Value | 95 % interval | n |", "|---|---|---|---|"]
    for name, score in scores.items():
        title = SCORES[name].title if name in SCORES else name
        value, low, high = (in_words(name, score[end]) for end in ("value", "low", "high"))
        lines.append(f"| {title} (`{name}`) | {value} | {low} to {high} | {score['n']} |")
    return "\n".join(lines)


def _class_table(classes: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| Class | Measured images | Found (recall) | Right when said (precision) |"]
    lines.append("|---|---|---|---|")
    for row in classes:
        shares = [_share(row["recall"]), _share(row["precision"])]
        lines.append(f"| {_plain(row['class'])} | {row['n']} | {shares[0]} | {shares[1]} |")
    return "\n".join(lines)


def _share(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return "never"
    value, low, high = (times_in_100(score[end]) for end in ("value", "low", "high"))
    return f"{value} % ({low} to {high})"


def _limits(report: Mapping[str, Any]) -> str:
    return (
        "## Limits\n\n"
        "- The scores hold for images like the measured ones only: other cameras, places, seasons "
        "or people may do worse. Measure again on your own with `ken val`.\n"
        "- It knows the classes above and no others.\n"
        f"- {unknown_words(report['unknown'])}"
    )


def _plain(text: str) -> str:
    """Text as Markdown shows it literally, on one line."""
    escaped = "".join(f"\\{c}" if c in "\\`*_[]<>|#&~$" else c for c in clean(text))
    return " ".join(escaped.split())


def write_report(
    folder: Path, report: Mapping[str, Any], pictures: Mapping[str, NDArray[np.uint8]]
) -> None:
    """Write `report.json`, `confusion_matrix.png` and `report.html` to `folder`.

    The page is one file that needs no network and no scripts.

    Args:
        report: what `verbs.train` measured, as plain values.
        pictures: path of a mistaken image -> its pixels (H, W, 1 or 3); those without one are
            listed by name.

    Raises:
        BundleError: the model file came with no report, or with one that is not complete.
        StorageError: the disk is full or the folder cannot be written to.
    """
    from kenspeckle.trust.confusion_picture import confusion_png  # matplotlib takes 0.3 s to import

    missing = [name for name in _NEEDED if name not in report]
    if missing:
        raise BundleError(
            f"There is no whole report to write: {', '.join(missing)} missing. A packaged network "
            "has none; train a model with `ken train`, or measure this one with `ken val`."
        )
    text = json.dumps(report, ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False)
    names = [clean(row["class"]) for row in report["classes"]]
    write_text(folder / "report.json", text + "\n")
    write_bytes(folder / "confusion_matrix.png", confusion_png(report["confusion"], names))
    write_text(folder / "report.html", page(report, pictures))

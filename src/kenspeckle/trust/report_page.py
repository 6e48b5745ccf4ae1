"""`report.html`: one page for people that needs no network and no scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from kenspeckle.score import Score, proportion
from kenspeckle.tasks import TASKS
from kenspeckle.tasks.task import Task
from kenspeckle.trust import charts
from kenspeckle.trust.report_pictures import (
    NEAREST,
    Heat,
    Picture,
    Thumbnail,
    thumbnail,
    under_heat,
    whole_picture,
)
from kenspeckle.trust.report_words import rules_table, unknown_words, use
from kenspeckle.words import (
    Title,
    clean,
    in_words,
    is_crossed,
    named,
    others,
    percent,
    points,
    seconds,
    things,
    times_in_100,
)

MOST_IN_GRID = 30  # classes; a grid with more is wider than any screen
MOST_LEVEL = 4  # characters; longer names stand upright above the grid's columns
MOST_OPEN = 12  # pictures shown at once; the others are unfolded
MOST_CONFUSIONS = 15  # listed instead of a grid
MOST_PATHS = 20  # files shown of one finding; data_issues.csv has all
MOST_BESIDE = 8  # classes; a grid with more has the page's width to itself
FACTS = {
    "name": "Network",
    "frozen": "Fixed features",
    "head": "Head",
    "head_words": "What the head is",
    "image_size": "Image size (pixels)",
    "precision": "Number format",
    "temperature": "Temperature of the probabilities",
    "weights_sha256": "SHA-256 of the network's weights",
    "gradients": "Gradients at the start",
    "verdict": "Gradients, in a word",
}

# What a report may lack, and what it is taken for then. `verbs.train` fills what its run has.
OPTIONAL: dict[str, Any] = {
    "failed": "",  # what happened, where the run stopped half-way; then all else may be missing
    "sentence": "",
    "kind": "classify",  # the task
    "thing": "image",  # what is recognised: one of them
    "data": {},
    "split": {"train": 0, "val": 0, "test": 0, "left_out": 0, "grouped": False, "notes": []},
    "measured": {"n": 0, "how": ""},
    "model": {},
    "scores": {},
    "majority_share": None,
    "confusion": [],
    "classes": [],
    "labels": [],  # tag: rows of label, n, threshold and precision, recall, f1 (Scores or None)
    "sheets": [],  # rows of picture (its path), title, words: shown whole, below the sentence
    "examples": [],  # translate: rows of path, label, said
    "reliability": [],
    "mistakes": None,  # rows of path, label, said, probability; may have `nearest`, up to 3 paths
    "best": [],  # the same of right answers
    "overfitting": None,  # `Overfitting.as_dict()`
    "augmentation": [],  # sentences: what was used, what was turned off and why
    "losses": "",  # a sentence: which loss, and why
    "history": [],  # rows of an epoch; may have train_accuracy, tune_accuracy, tune_n
    "tried": [],  # rows may have `words` (why kept or dropped), `gain` (a Score), `seconds`
    "findings": [],
    "unknown": None,
    "use": {"file": "weights/best.ken"},
}
DATA: dict[str, Any] = {  # the same for what is said of the images
    "name": "a run",
    "images": None,
    "layout": "",
    "used": None,
    "classes": {},
    "notes": [],
    "fingerprint": "",
}


@dataclass(frozen=True)
class Confusion:
    """One class taken for another: how often, of how many images of the true class."""

    true: str
    said: str
    count: int
    n: int


@dataclass(frozen=True)
class Shown:
    """One answer among the pictures: its row, the picture, its heat, and training images like it.

    Args:
        row: `path`, `label`, `said`, `probability`.
        nearest: path and small picture (or None) of each.
    """

    row: Mapping[str, Any]
    picture: Thumbnail | None
    heat: Thumbnail | None
    nearest: list[tuple[str, Thumbnail | None]]


def page(
    report: Mapping[str, Any],
    pictures: Mapping[str, Picture],
    heats: Mapping[str, Heat] | None = None,
) -> str:
    """The whole page as HTML; every name in it is escaped.

    Args:
        report: as `write_report` or `write_failed_report` takes it.
        pictures: path of an image -> its pixels (H, W, 1 or 3).
        heats: path of an image -> (H, W) in [0, 1], where it looked for the class it said.
    """
    whole = {**OPTIONAL, **report}
    names = [row["class"] for row in whole["classes"]]
    across, up = charts.share_ticks()
    since = (whole["overfitting"] or {}).get("since")
    heats = heats or {}
    task: type[Task[Any]] = TASKS.load(whole["kind"])
    telling = task.telling
    html = (
        _surroundings()
        .get_template("report.html.jinja")
        .render(
            report=whole,
            data={**DATA, **whole["data"]},
            is_measured_again=task.is_measured_again,
            thing=things(whole, 1),
            things=things(whole),
            others=others(whole),
            names=names,
            cautions=[
                *([telling.caution] if telling.caution else []),
                *_cautions(whole["findings"]),
            ],
            hundred=_hundred(whole, telling.share),
            parts=_parts(whole),
            scores=_score_rows(whole["scores"], telling.titles),
            is_turned=any(len(name) > MOST_LEVEL for name in names),
            is_wide=len(names) > MOST_BESIDE,
            grid=_grid(whole["confusion"]) if len(names) <= MOST_IN_GRID else None,
            confusions=most_confused(whole["confusion"], names)[:MOST_CONFUSIONS],
            bins=_bins(whole),
            share_across=across,
            share_up=up,
            curves=charts.curves(whole["history"], since),
            share_curves=charts.share_curves(whole["history"], since),
            frame=charts,
            tried=_tried(whole),
            mistakes=[_shown(row, pictures, heats) for row in whole["mistakes"] or []],
            best=[_shown(row, pictures, heats) for row in whole["best"]],
            sheets=[(row, whole_picture(pictures.get(row["picture"]))) for row in whole["sheets"]],
            wrong=_wrong(whole),
            examples=sorted(whole["examples"], key=lambda row: row["label"] == row["said"]),
            unknown=unknown_words(whole) if whole["unknown"] else "",
            use=use(whole, whole["use"]["file"]),
            tables=[*task.tables(whole), *rules_table(whole)] if whole["scores"] else [],
            facts=_facts(whole["model"]),
            most_paths=MOST_PATHS,
            most_open=MOST_OPEN,
        )
    )
    return clean(html)


@cache
def _surroundings() -> Environment:
    """What the template may use; made once, since compiling it takes 0.04 s."""
    surroundings = Environment(
        loader=PackageLoader("kenspeckle.trust", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    surroundings.filters |= {
        "percent": percent,
        "times_in_100": times_in_100,
        "points": points,
        "named": named,
        "seconds": seconds,
    }
    return surroundings


def most_confused(counts: Sequence[Sequence[int]], names: Sequence[str]) -> list[Confusion]:
    """Every confusion that happened, the most frequent first.

    Args:
        counts: (K, K); row is the true class, column the class said.

    >>> most_confused([[5, 1], [0, 2]], ["a", "b"])
    [Confusion(true='a', said='b', count=1, n=6)]
    """
    happened = [
        Confusion(names[true], names[said], count, sum(row))
        for true, row in enumerate(counts)
        for said, count in enumerate(row)
        if count and true != said
    ]
    return sorted(happened, key=lambda confusion: -confusion.count)


def _shown(
    row: Mapping[str, Any], pictures: Mapping[str, Picture], heats: Mapping[str, Heat]
) -> Shown:
    picture = pictures.get(row["path"])
    near = [(path, thumbnail(pictures.get(path), NEAREST)) for path in row.get("nearest", ())]
    heat = under_heat(picture, heats.get(row["path"]))
    return Shown(row, thumbnail(picture), thumbnail(heat), near)


def _cautions(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    """What was found in the data that may spoil the result and was not put right by itself."""
    grave = [row for row in findings if row["severity"] != "note" and not row["excluded"]]
    return [row["words"] for row in grave]


def _hundred(report: Mapping[str, Any], name: str) -> list[charts.Square]:
    """The share of right answers as a hundred squares; none where two numbers are needed."""
    return charts.hundred(report["scores"][name]) if name in report["scores"] else []


def _bins(report: Mapping[str, Any]) -> list[charts.Bin]:
    rows = report["reliability"]
    return charts.reliability_bins(rows, report["measured"]["n"])


def _score_rows(
    scores: Mapping[str, Mapping[str, Any]], titles: Mapping[str, Title]
) -> list[dict[str, Any]]:
    order = [name for name in titles if name in scores] + [n for n in scores if n not in titles]
    rows = []
    for name, score in ((name, scores[name]) for name in order):
        title = titles.get(name, Title(name, "", False))
        said = {end: in_words(title, score[end]) for end in ("value", "low", "high")}
        about = {"name": name, "title": title, "n": score["n"], "method": score["method"]}
        rows.append({**about, **said})
    return rows


def _parts(report: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """Name, number of images and purpose of each part that holds any."""
    split = report["split"]
    learned = "the model learned from them"
    if is_crossed(report["measured"]):
        learned += "; each was also answered once by a model that had not seen it, to measure"
    parts = (
        ("train", learned),
        ("val", "they told when to stop"),
        ("test", "kept apart, to measure on"),
        ("left_out", "in no part"),
    )
    return [
        (name.replace("_", " "), split[name], purpose) for name, purpose in parts if split[name]
    ]


def _grid(counts: Sequence[Sequence[int]]) -> list[list[tuple[int, float]]]:
    """(count, share of the row in [0, 1]) of every cell."""
    return [[(count, round(count / max(sum(row), 1), 3)) for count in row] for row in counts]


def _wrong(report: Mapping[str, Any]) -> int:
    """How many answers were not wholly right."""
    if report["confusion"]:
        counts = report["confusion"]
        return sum(sum(row) for row in counts) - sum(row[k] for k, row in enumerate(counts))
    exact = report["scores"].get("exact_match_score")
    return 0 if exact is None else round((1 - exact["value"]) * report["measured"]["n"])


def _tried(report: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], Score]]:
    """What was compared, each with the interval of its out-of-fold accuracy."""
    n = report["split"]["train"]
    if not n:
        return []
    rows = [{"words": "", "gain": None, "seconds": None, **row} for row in report["tried"]]
    return [(row, proportion(round(row["accuracy"] * n), n)) for row in rows]


def _facts(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is known of the model: a title and its value in words, named facts first."""
    order = [name for name in FACTS if name in model] + [n for n in model if n not in FACTS]
    return [(FACTS.get(name, name), _fact(model[name])) for name in order]


def _fact(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)

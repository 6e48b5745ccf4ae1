from __future__ import annotations

import numpy as np
import pytest

from kenspeckle.answer import Answer
from kenspeckle.score import proportion
from kenspeckle.tasks.classify import Classify
from kenspeckle.trust.measure import measure
from kenspeckle.trust.overfitting import Circumstances, overfitting
from kenspeckle.trust.report import sentence

HOSTILE = "<img src=x onerror=alert(1)>"


def _answers(classes, labels, right_share, seed):
    random = np.random.default_rng(seed)
    answers = []
    for i, label in enumerate(labels):
        likely = random.random(len(classes)) * 0.2
        said = classes.index(label) if random.random() < right_share else random.integers(0, 2)
        likely[int(said)] += 1
        likely /= likely.sum()
        told = {classes[k]: float(likely[k]) for k in np.argsort(-likely)}
        answers.append(Answer(f"{label}/{i}.png", next(iter(told)), told, ""))
    return answers


@pytest.fixture
def make_report():
    """A report as `train` makes it, on invented answers about `n` images of `classes`."""

    def make(classes=("cat", "dog", "owl"), n=60, right_share=0.8, epochs=0, seed=0):
        labels = [classes[i % len(classes)] for i in range(n)]
        answers = _answers(classes, labels, right_share, seed)
        history = [
            {"epoch": e, "step": e, "train_loss": 2 / e, "tune_loss": 1 / e, "learning_rate": 0.1}
            for e in range(1, epochs + 1)
        ]
        report = {
            "data": {
                "name": HOSTILE,
                "layout": "class folders",
                "images": n,
                "used": n,
                "classes": {name: labels.count(name) for name in classes},
                "notes": ["a hidden file was passed over"],
                "fingerprint": "0" * 64,
            },
            "split": {
                "train": 2 * n,
                "val": 0,
                "test": n,
                "left_out": 0,
                "grouped": False,
                "notes": [],
            },
            "measured": {"n": n, "how": f"{n} images held out for the test"},
            "model": {"name": "seed-cnn", "frozen": False, "image_size": 28, "temperature": 1.5},
            "unknown": {
                "threshold": 0.25,
                "share_set": 0.05,
                "refused": proportion(n // 20, n).as_dict(),
            },
            "tried": [{"name": "lda", "loss": 0.5, "accuracy": 0.75, "chosen": True}],
            "findings": [
                {
                    "check": "unreadable",
                    "severity": "error",
                    "words": f"{HOSTILE}.png cannot be read.",
                    "advice": "Remove it.",
                    "paths": [f"{HOSTILE}.png"],
                    "excluded": True,
                    "facts": {},
                }
            ],
            "history": history,
            **measure(Classify(classes), answers, labels, None),
        }
        return {"sentence": sentence(report), **report}

    return make


@pytest.fixture
def make_full_report(make_report):
    """The same with every optional key: curves that overfit, best answers, nearest images."""

    def make(classes=("cat", "dog", "owl"), n=60):
        report = make_report(classes, n=n, epochs=12)
        for row in report["history"]:
            epoch = row["epoch"]
            row |= {"tune_loss": 1 / epoch + max(0, epoch - 4) * 0.2, "tune_n": 40}
            row |= {"train_accuracy": 1 - 0.5 / epoch, "tune_accuracy": 0.7 - 0.3 / epoch}
        for row in report["mistakes"]:
            row["nearest"] = ["train/1.png", f"train/{HOSTILE}.png"]
        first = classes[0]
        best = {"path": "best/1.png", "label": first, "said": first, "probability": 0.99}
        known = Circumstances(images_per_class=[20] * len(classes), parameters=10**6)
        gain = proportion(1, 50).as_dict() | {"value": -0.02, "low": -0.05, "high": 0.01}
        return report | {
            "best": [best],
            "overfitting": overfitting(report["history"], (60, 60), (40, 60), known).as_dict(),
            "augmentation": ["Flips are off, since they swap b and d."],
            "losses": "Cross-entropy, since the classes are alike in number.",
            "tried": [
                report["tried"][0] | {"seconds": 2.0},
                report["tried"][0]
                | {"name": "logistic", "chosen": False, "words": "Dropped: no better."}
                | {"gain": gain, "seconds": 75.0},
            ],
            "use": {"file": "weights/best.ken"},
        }

    return make


@pytest.fixture
def tag_report():
    """A report of a run that gives several labels, by hand."""
    score = proportion(40, 50).as_dict()
    return {
        **_about("photos"),
        "kind": "tag",
        "sentence": "Of the labels it gives ...",
        "scores": {
            "mean_average_precision_score": score,
            "micro_precision_score": proportion(91, 100).as_dict(),
            "micro_recall_score": proportion(84, 100).as_dict() | {"n": 50},
            "micro_f1_score": score,
            "macro_f1_score": score,
            "exact_match_score": score,
        },
        "labels": [
            {"label": "ночь", "n": 30, "threshold": 0.4, "precision": score, "recall": score}
            | {"f1": score},
            {"label": HOSTILE, "n": 0, "threshold": 0.5, "precision": None, "recall": None}
            | {"f1": None},
        ],
        "mistakes": [{"path": "a.png", "label": ["ночь"], "said": [], "probability": 0.4}],
    }


@pytest.fixture
def translate_report():
    """A report of a run that writes lines, by hand."""
    return {
        **_about("dates"),
        "kind": "translate",
        "thing": "line",
        "sentence": "It writes the whole line ...",
        "scores": {
            "exact_match_score": proportion(49, 50).as_dict(),
            "character_error": proportion(1, 500).as_dict(),
        },
        "examples": [
            {"path": "3 May 1999", "label": "1999-05-03", "said": "1999-05-03"},
            {"path": HOSTILE, "label": "2001-05-01", "said": "2001-05-10"},
        ],
    }


def _about(name):
    return {
        "data": {"name": name, "layout": "a table", "images": 200, "used": 200},
        "split": {"train": 150, "val": 0, "test": 50, "left_out": 0, "grouped": False, "notes": []},
        "measured": {"n": 50, "how": "50 held out for the test"},
        "model": {"name": "cnn"},
        "findings": [],
        "history": [],
    }

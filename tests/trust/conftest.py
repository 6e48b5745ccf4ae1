from __future__ import annotations

import numpy as np
import pytest

from kenspeckle.answer import Answer
from kenspeckle.score import proportion
from kenspeckle.tasks.classify import Classify
from kenspeckle.trust.measure import measure
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

"""Which one of K classes a clip shows: an action, something that happens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from kenspeckle.data.dataset import Reads
from kenspeckle.tasks.classify import Classify
from kenspeckle.tasks.facts import Learning, Telling


class Watch(Classify):
    """One of K over the frames of a clip, each a step: mean, RNN, LSTM, GRU or Transformer.

    What the network sees is how the packaged network's view of a frame differs from that of the
    frame before: of 96 clips of people who fight or do not, networks over the frames themselves
    learned the places (34 % right on other clips, 32 of them), over changes the fight (80 %).
    """

    reads: ClassVar[Reads] = "clips"
    learning: ClassVar[Learning] = Learning(
        settings={
            "training.epochs": 6,  # the tuning loss rises after 2 to 8
            "training.batch_size": 16,
            "training.learning_rate": 1e-3,
            "training.weight_decay": 0.05,
            "training.clip": 1.0,
            "dropout": 0.3,
        },
    )
    telling: ClassVar[Telling] = replace(Classify.telling, topic="")

    @classmethod
    def asks(cls, report: Mapping[str, Any], classes: int) -> str:
        """Which class."""
        return f"Which of {classes} classes a clip shows"

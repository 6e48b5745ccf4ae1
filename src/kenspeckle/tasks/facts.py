"""What is fixed about a task beside its methods: how it is trained, how it is told to people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kenspeckle.words import Title


@dataclass(frozen=True, kw_only=True)
class Learning:
    """How a task is trained.

    Args:
        model: the network that answers it where none is named; None is the packaged one.
        brings: the name of the network that it brings with it; None where backbones carry it.
        heads: what `--head` may name; blank where the bank of heads on fixed features is meant.
        tunes: whether its loss on held-out images says when to stop; else no images are kept for
            that.
        settles: whether it finds something out for itself on answers to held-out images.
        measuring_share: of a time budget, what measuring takes beside the tenth that every run
            keeps back.
        an_epoch: images that an epoch goes over at least, the same ones several times where they
            are few.
        most_measured: held-out images that are measured at the most, where each takes long; None
            is all.
        keeps_backbone: whether it learns on the fixed features of a trained network, and never
            trains one.
        settings: where its recipe starts from, by dotted name, instead of what is usual.
        augmentations: changes of its images that leave its labels true, whatever they show.
    """

    model: str | None = None
    brings: str | None = None
    heads: tuple[str, ...] = ()
    tunes: bool = True
    settles: bool = True
    measuring_share: float = 0.0
    an_epoch: int = 0
    most_measured: int | None = None
    keeps_backbone: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    augmentations: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Telling:
    """How a task is told to people.

    Args:
        titles: how each of its scores is said, in the order of a report.
        share: the score that says how often it is right; blank where no single one does.
        verb: the command that asks a model of this task.
        topic: the Hugging Face Hub's name for this job on images; blank where it has none.
        caution: what whoever uses it must know first, as a sentence or two; blank where there is
            nothing.
        commands: lines that use the model in `{file}`, where they are not the usual ones.
        python: the same in Python.
        needed: what `details` puts into a report, without which it is not whole.
    """

    titles: Mapping[str, Title]
    share: str = ""
    verb: str = "predict"
    topic: str = ""
    caution: str = ""
    commands: tuple[str, ...] = ()
    python: str = ""
    needed: tuple[str, ...] = ()

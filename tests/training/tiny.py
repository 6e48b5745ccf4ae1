"""A tiny world: coloured squares, a small network, its task; and a run that can be killed."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import typing
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from kenspeckle.data.batch import Batches
from kenspeckle.files import write_bytes
from kenspeckle.recipe import Training
from kenspeckle.tasks.facts import Telling
from kenspeckle.tasks.task import Task
from kenspeckle.training import fit as fit_module
from kenspeckle.training.checkpoint import to_bytes


class Classes(Task):
    """Cross-entropy over 3 classes, weighted by image; images are bytes or vectors."""

    telling: typing.ClassVar = Telling(titles={})

    @classmethod
    def for_data(cls, used, learned, choices):
        return cls()

    @classmethod
    def sentence(cls, report):
        return ""

    @classmethod
    def asks(cls, report, classes):
        return ""

    def network(self, backbone):
        return backbone

    def collate(self, labels, sizes=None):
        return torch.tensor([int(label) for label in labels])

    def loss(self, network, batch, player):
        images = batch.images.float() / 255 if batch.images.dtype == torch.uint8 else batch.images
        losses = functional.cross_entropy(network(images), batch.targets, reduction="none")
        return (losses * batch.weights).sum() / batch.weights.sum()

    def decode(self, outputs, paths, sizes=None):
        return []

    def score(self, answers, labels, groups=None):
        return {}


def cnn(seed=0, dropout=0.25):
    """(B, 3, 8, 8) -> (B, 3)."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(72, 3),
    )


def mlp(seed=0, inputs=4):
    """(B, inputs) -> (B, 3); nothing in it depends on the rest of the batch."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, 3))


def images(count=40):
    """Squares whose strongest colour is the class."""
    random = torch.Generator().manual_seed(1)
    targets = torch.arange(count) % 3
    pixels = torch.randint(0, 200, (count, 3, 8, 8), generator=random)
    pixels[torch.arange(count), targets] += 55
    return pixels.to(torch.uint8), targets


def vectors(count=40, inputs=4):
    random = torch.Generator().manual_seed(2)
    points = torch.randn(count, inputs, generator=random)
    return points, (points[:, 0] > 0).long() + (points[:, 1] > 0).long()


def batches(data, batch_size=8, seed=0, weights=None, piece=256):
    return Batches(*data, weights, batch_size=batch_size, seed=seed, piece=piece)


def tuning(data):
    """A tuning loss on `data`."""

    def tune(network):
        inputs = data[0].float() / 255 if data[0].dtype == torch.uint8 else data[0]
        return functional.cross_entropy(network(inputs), data[1]).item()

    return tune


def train_once(folder: Path, result: Path) -> None:
    """Train with everything that has a state, snapshots as often as can be; write the weights."""
    fit_module.FIRST_SAVE_SECONDS, fit_module.SAVE_SHARE = 0.0, 0.5
    recipe = Training(steps=90, batch_size=8, averaging=0.9, weight_decay=0.1, threads=1)
    network = cnn()
    for _ in fit_module.fit(
        network, Classes(), batches(images()), tuning(images(21)), recipe, folder, resume=True
    ):
        pass
    write_bytes(result, to_bytes(dict(network.state_dict())))


def train_killed(folder: Path, result: Path, kills: int, moments: random.Random) -> int:
    """Start `train_once` again and again; kill -9 it at random moments, then let it finish."""
    killed = 0
    while not result.exists():
        before = set(folder.glob("step-*"))
        child = os.fork()  # a new interpreter each time would take seconds to import torch
        if child == 0:
            train_once(folder, result)
            os._exit(0)
        ended = 0
        if killed < kills:
            while not ended and set(folder.glob("step-*")) <= before:
                time.sleep(0.001)
                ended = os.waitpid(child, os.WNOHANG)[0]
            time.sleep(moments.uniform(0, 0.1))
            ended = ended or os.waitpid(child, os.WNOHANG)[0]
            if not ended:
                os.kill(child, signal.SIGKILL)
                killed += 1
        if not ended:
            os.waitpid(child, 0)
    return killed


def main(folder: Path, kills: int) -> None:
    """Write `whole.bytes`, and `killed-N.bytes` of runs killed up to 4 times, `kills` in all."""
    torch.set_num_threads(1)
    train_killed(folder / "whole", folder / "whole.bytes", 0, random.Random(0))
    number = 0
    while kills > 0:
        result, moments = folder / f"killed-{number}.bytes", random.Random(number)
        kills -= train_killed(folder / f"snapshots-{number}", result, min(4, kills), moments)
        number += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

"""Claim: `seed-cnn` is at 99.0 % of MNIST's test images after two epochs, 1.6x as fast as Keras.

Two things are measured. The loop: `fit` over `Batches` with the recipe that `ken train --model
seed-cnn` resolves (precision, memory order and threads are chosen outside of the time), beside
Keras 3 on TensorFlow training the same network (`peers/keras_mnist.py`): both on the same images
(`--images`, all 60 000 unless said) for two epochs, equal batch, data in memory, no test and no
tuning images in the time, by turns in processes of their own. The command: `ken train mnist --model
seed-cnn --epochs 2` as a whole process, which also reads, checks, tunes, tests and reports.

Run: `python benchmarks/mnist_seed_cnn.py [--peer-python PYTHON] [--rounds 5] [--images N]`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch
from bench import DATA, Row, Store, ken, middle, ran, table, work_folder

from kenspeckle.data.batch import Batches
from kenspeckle.data.cache import decode_all
from kenspeckle.data.fit import Fit
from kenspeckle.data.scan import scan
from kenspeckle.models.pretrained import make_backbone
from kenspeckle.recipe import Recipe
from kenspeckle.tasks.classify import Classify
from kenspeckle.training.fit import fit
from kenspeckle.verbs.settle import settled
from kenspeckle.verbs.train_loop import _resolved

MNIST = DATA / "mnist"
BATCH, EPOCHS = 64, 2
PEER = Path(__file__).with_name("peers") / "keras_mnist.py"


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def loop(seed: int, count: int) -> Row:
    """Train on the first `count` images for two epochs in this process."""
    changes = {
        "model": "seed-cnn",
        "training.epochs": EPOCHS,
        "training.batch_size": BATCH,
        "training.seed": seed,
    }
    recipe = settled(Recipe(), None, changes)
    dataset = scan(MNIST)
    decoded = decode_all(dataset, Fit(recipe.data.image_size or 28), None, work_folder() / "cache")
    samples = [dataset.samples[int(i)] for i in decoded.rows]
    is_train = np.array([sample.split == "train" for sample in samples])
    targets = torch.from_numpy(dataset.targets()[decoded.rows])
    images = decoded.images[torch.from_numpy(np.flatnonzero(is_train)[:count])]
    torch.manual_seed(seed)
    task = Classify(dataset.classes, head="flatten", image_size=images.shape[-1])
    network = task.network(make_backbone("seed-cnn", fresh=True))
    batches = Batches(images, targets[is_train][:count], batch_size=BATCH, seed=seed)
    training = _resolved(recipe, network, task, batches).training
    start, cpu = time.perf_counter(), cpu_seconds()
    for _ in fit(network, task, batches, None, training, None):
        pass
    seconds, cpu = time.perf_counter() - start, cpu_seconds() - cpu
    network = network.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    test = decoded.images[torch.from_numpy(np.flatnonzero(~is_train))]
    with torch.inference_mode():
        answers = torch.cat([network(piece).argmax(1) for piece in test.split(256)])
    return {
        "seconds": seconds,
        "cpu_s": cpu,
        "images_per_s": len(images) * EPOCHS / seconds,
        "test_accuracy": float((answers == targets[~is_train]).double().mean()),
        "resolved": {
            key: value
            for key, value in dataclasses.asdict(training).items()
            if key in ("batch_size", "optimiser", "precision", "channels_last", "threads")
        },
    }


def answered(command: list[str | Path]) -> Row:
    done = ran(command)
    if done.code:
        sys.exit(f"{command} ended with {done.code}: {done.output}")
    row: Row = json.loads(done.output.splitlines()[-1])
    return {**row, "process": done.as_row()}


def pair(seed: int, count: int, peer_python: Path) -> Row:
    """Both by turns; which is first changes with the seed."""
    ours: list[str | Path] = [sys.executable, __file__, "--loop", str(seed), "--images", str(count)]
    theirs: list[str | Path] = [
        peer_python,
        PEER,
        MNIST,
        *(str(x) for x in (BATCH, EPOCHS, seed, count)),
    ]
    found = {}
    for name in ("ours", "keras") if seed % 2 == 0 else ("keras", "ours"):
        found[name] = answered(ours if name == "ours" else theirs)
    ratio = found["ours"]["images_per_s"] / found["keras"]["images_per_s"]
    cpu_ratio = found["keras"]["cpu_s"] / found["ours"]["cpu_s"]
    return {**found, "ratio": ratio, "cpu_ratio": cpu_ratio}


def command() -> Row:
    """The whole command, and what its report says of the test images."""
    folder = work_folder() / "mnist-run"
    options = ("--model", "seed-cnn", "--epochs", str(EPOCHS), "--json", "--name", "one")
    done = ran(
        [*ken("train", MNIST, *options), "--project", folder, "--exist-ok"],
        {"KENSPECKLE_CACHE": str(work_folder() / "mnist-cache")},
    )
    report = json.loads(done.output[done.output.index("{") :])
    return {**done.as_row(), "scores": report["scores"]}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer-python", type=Path, help="a Python that has keras and tensorflow")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loop", type=int, help="train once with this seed and print JSON")
    parser.add_argument("--images", type=int, default=60_000, help="of each epoch of a pair")
    given = parser.parse_args()
    if given.loop is not None:
        print(json.dumps(loop(given.loop, given.images)))
        return
    store = Store("mnist_seed_cnn", __doc__ or "")
    one = store.row("loop", lambda: loop(0, 60_000))
    whole = store.row("command", command)
    rows: list[Row] = []
    if given.peer_python is not None:
        for seed in range(given.rounds):
            rows.append(
                store.row(
                    f"pair {seed} of {given.images}",
                    lambda s=seed: pair(s, given.images, given.peer_python),
                )
            )
            print(seed, rows[-1]["ratio"], flush=True)
    table(
        [("round", "ours img/s", "keras img/s", "ratio", "CPU ratio", "ours %", "keras %", "load")]
        + [
            (
                i,
                row["ours"]["images_per_s"],
                row["keras"]["images_per_s"],
                row["ratio"],
                row["cpu_ratio"],
                100 * row["ours"]["test_accuracy"],
                100 * row["keras"]["test_accuracy"],
                str(row["load"]),
            )
            for i, row in enumerate(rows)
        ]
    )
    summary: Row = {"command": whole, "loop": one}
    if rows:
        summary["ratio"] = middle(row["ratio"] for row in rows)
        summary["cpu_ratio"] = middle(row["cpu_ratio"] for row in rows)
        summary["met"] = summary["ratio"]["median"] >= 1.6 and one["test_accuracy"] >= 0.99
    store.conclude(summary)


if __name__ == "__main__":
    main()

"""Claim: learning from sums costs a small part of what it costs in frameworks for such learning.

| time per pair of MNIST digits of which the sum is told, same network and batch | reach |
|---|---|
| DeepProbLog 2.1.0, exact engine with its cache, batches of 2 (its default) | >= 10 times as fast |
| LTNtorch 1.0.2, batches of 32, as public examples write it | >= 5 times as fast |
| the same where the network sees each image once | >= 5 times as fast |

CPU seconds of the training loop alone, one thread each, in turn, five rounds, after a warm-up; the
network is LeNet's. What is learned meanwhile is not compared: DeepProbLog's loss is ours, and that
of LTNtorch is another one. The peers run in an environment of their own:
`pip install --no-deps deepproblog==2.1.0 problog==2.3.0 pysdd==1.0.6 LTNtorch==1.0.2`, beside the
torch, numpy and pillow of ours. Who goes first changes from round to round.
Run: `python benchmarks/addition_peers.py E/bin/python [--rounds N]`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from addition import RATE, digits, lenet, log_p_sum
from bench import Row, Store, middle, table, work_folder

PEERS = Path(__file__).with_name("peers")
WARM = 64
# row -> peer, its options, pairs, pairs an update, how many times as fast ours should be
ROWS: dict[str, tuple[str, list[str], int, int, float]] = {
    "deepproblog": ("deepproblog", [], 1000, 2, 10.0),
    "ltn": ("ltn", [], 3200, 32, 5.0),
    "ltn, each image once": ("ltn", ["once"], 3200, 32, 5.0),
}


def file_of_pairs() -> Path:
    """Images, their digits and 10 000 pairs, for all of them."""
    path = work_folder() / "addition-pairs.npz"
    if not path.exists():
        images, labels = digits("train")
        some = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:20_000]
        pairs = np.arange(20_000).reshape(-1, 2)
        np.savez(path, images=images[some].numpy(), digits=labels[some].numpy(), pairs=pairs)
    return path


def ours(file: Path, pairs: int, batch: int) -> None:
    """What `addition.py` does for the first pairs; prints the same line of JSON as the peers."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    given = np.load(file)
    images, rows = torch.from_numpy(given["images"]), torch.from_numpy(given["pairs"])
    totals = torch.from_numpy(given["digits"][given["pairs"]].sum(1))
    network = lenet()
    optimiser = torch.optim.AdamW(network.parameters(), RATE)
    began = 0.0
    for start in range(0, WARM + pairs, batch):
        if start == WARM:
            began = time.process_time()
        some = slice(start, start + batch)
        log_p = network(images[rows[some].flatten()]).log_softmax(1)
        one, other = log_p.view(batch, 2, 1, 10).unbind(1)
        optimiser.zero_grad()
        (-log_p_sum(one, other, totals[some]).mean()).backward()
        optimiser.step()
    print(json.dumps({"pairs": pairs, "cpu_s": time.process_time() - began}))


def round_of(name: str, number: int, python: str) -> Row:
    """Milliseconds a pair, ours and the peer's."""
    peer, options, pairs, batch, _ = ROWS[name]
    given = [str(file_of_pairs()), str(pairs), str(batch)]
    asked = {
        "ours": [sys.executable, __file__, "--ours", *given],
        "peer": [python, str(PEERS / f"addition_{peer}.py"), *given, *options],
    }
    found = {}
    for way, command in list(asked.items())[:: 1 if number % 2 else -1]:
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{ran.stderr}")
        said = json.loads(ran.stdout.splitlines()[-1])
        found[f"{way}_ms"] = 1000 * said["cpu_s"] / said["pairs"]
    return {**found, "times_as_fast": found["peer_ms"] / found["ours_ms"]}


def main() -> None:
    if sys.argv[1:2] == ["--ours"]:
        ours(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python", help="of the peers' environment")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    store, summary, cells = Store("addition_peers", __doc__ or ""), {}, []
    for name, (_, _, _, batch, goal) in ROWS.items():
        rounds = [
            store.row(f"{name}, round {i}", partial(round_of, name, i, asked.python))
            for i in range(asked.rounds)
        ]
        told = {key: middle([row[key] for row in rounds]) for key in ("ours_ms", "peer_ms")}
        times = sorted(row["times_as_fast"] for row in rounds)
        median = float(np.median(times))
        summary[name] = {
            **told,
            "times_as_fast": [times[0], median, times[-1]],
            "met": bool(median >= goal),
        }
        cells.append((name, batch, median, times[0], times[-1], goal, median >= goal))
    table([("peer", "batch", "times as fast", "least", "most", "goal", "met"), *cells])
    store.conclude(summary)


if __name__ == "__main__":
    main()

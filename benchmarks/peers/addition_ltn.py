"""LTNtorch 1.0.2: sums of two MNIST digits, timed; prints one line of JSON.

Runs in an environment of its own, never in ours. The formula is
that of Badreddine et al. 2022, section 4.5: for all pairs there are two digits which add up to what
is told and which the images show; product conjunction, means with p of 2 and 1, Adam at 1e-3. Run:
`python addition_ltn.py FILE PAIRS BATCH [once]`, with a FILE as in `addition_deepproblog.py`. The
predicate takes an image and a digit, as in public examples, so that each image goes through the
network for each of ten digits; with `once` it goes through before, and the predicate only looks up.
"""

import json
import sys
import time

import ltn
import numpy as np
import torch
from torch import nn

WARM = 64  # pairs that are seen before the clock starts
FILE, PAIRS, BATCH = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
ONCE = sys.argv[4:] == ["once"]


class Shows(nn.Module):
    """How far an image shows a digit, in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.lenet = nn.Sequential(
            *(nn.Conv2d(1, 6, 5), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Conv2d(6, 16, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten()),
            *(nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
            nn.Softmax(1),
        )

    def forward(self, images: torch.Tensor, digits: torch.Tensor) -> torch.Tensor:
        likely = images if ONCE else self.lenet(images)
        return likely.gather(1, digits.long().view(-1, 1))[:, 0]


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    given = np.load(FILE)
    images = torch.from_numpy(given["images"])
    pairs = torch.from_numpy(given["pairs"])
    totals = torch.from_numpy(given["digits"][given["pairs"]].sum(1))
    network = Shows()
    shows = ltn.Predicate(network)
    both = ltn.Connective(ltn.fuzzy_ops.AndProd())
    some = ltn.Quantifier(ltn.fuzzy_ops.AggregPMean(p=1), quantifier="e")
    every = ltn.Quantifier(ltn.fuzzy_ops.AggregPMeanError(p=2), quantifier="f")
    one = ltn.Variable("one", torch.arange(10))
    other = ltn.Variable("other", torch.arange(10))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    began = 0.0
    for start in range(0, WARM + PAIRS, BATCH):
        if start == WARM:
            began = time.process_time()
        rows = pairs[start : start + BATCH]
        seen = images[rows.flatten()]
        seen = network.lenet(seen).view(-1, 2, 10) if ONCE else seen.view(-1, 2, 1, 28, 28)
        left, right = ltn.Variable("left", seen[:, 0]), ltn.Variable("right", seen[:, 1])
        total = ltn.Variable("total", totals[start : start + BATCH])
        optimiser.zero_grad()
        holds = every(
            ltn.diag(left, right, total),
            some(
                [one, other],
                both(shows(left, one), shows(right, other)),
                cond_vars=[one, other, total],
                cond_fn=lambda a, b, n: torch.eq(a.value + b.value, n.value),
            ),
        ).value
        (1.0 - holds).backward()
        optimiser.step()
    print(json.dumps({"pairs": PAIRS, "cpu_s": time.process_time() - began}))


if __name__ == "__main__":
    main()

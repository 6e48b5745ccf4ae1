"""DeepProbLog 2.1.0: sums of two MNIST digits, timed; prints one line of JSON.

Runs in an environment of its own, never in ours. The exact engine with its cache, Adam at 1e-3 and
the program of its own example. Run:
`python addition_deepproblog.py FILE PAIRS BATCH`, with images (N, 1, 28, 28), their digits and
pairs (P, 2) of rows in FILE (`.npz`).
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from deepproblog.engines import ExactEngine
from deepproblog.model import Model
from deepproblog.network import Network
from deepproblog.query import Query
from deepproblog.train import TrainObject
from problog.logic import Constant, Term
from torch import nn

PROGRAM = """nn(digit_net, [X], Y, [0,1,2,3,4,5,6,7,8,9]) :: digit(X, Y).
addition(X, Y, Z) :- digit(X, A), digit(Y, B), Z is A + B.
"""
WARM = 200  # pairs before the clock starts: circuits of nearly all sums are in the cache then
FILE, PAIRS, BATCH = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


class Source:
    """Images by number, as tensor terms ask for them."""

    def __init__(self, images: torch.Tensor) -> None:
        self.images = images

    def __getitem__(self, place: tuple[Constant, ...]) -> torch.Tensor:
        return self.images[int(place[0])]


def asked(row: np.ndarray, total: int) -> Query:
    """That the images of one pair add up to what is told."""
    images = {
        name: Term("tensor", Term("pairs", Constant(int(number))))
        for name, number in zip(("a", "b"), row, strict=True)
    }
    names = [Term(name) for name in images]
    return Query(
        Term("addition", *names, Constant(total)),
        {Term(name): image for name, image in images.items()},
    )


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    given = np.load(FILE)
    lenet = nn.Sequential(
        *(nn.Conv2d(1, 6, 5), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Conv2d(6, 16, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
        nn.Softmax(1),
    )
    network = Network(lenet, "digit_net", batching=True)
    network.optimizer = torch.optim.Adam(lenet.parameters(), lr=1e-3)
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "addition.pl"
        program.write_text(PROGRAM)
        model = Model(str(program), [network])
    model.set_engine(ExactEngine(model), cache=True)
    model.add_tensor_source("pairs", Source(torch.from_numpy(given["images"])))
    totals = given["digits"][given["pairs"]].sum(1)
    queries = [asked(r, int(t)) for r, t in zip(given["pairs"], totals, strict=True)]
    training = TrainObject(model)
    loss = model.solver.semiring.cross_entropy
    began = 0.0
    for start in range(0, WARM + PAIRS, BATCH):
        if start == WARM:
            began = time.process_time()
        model.optimizer.zero_grad()
        training.get_loss(queries[start : start + BATCH], loss)
        model.optimizer.step()
    print(json.dumps({"pairs": PAIRS, "cpu_s": time.process_time() - began}))


if __name__ == "__main__":
    main()

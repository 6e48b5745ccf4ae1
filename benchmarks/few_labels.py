"""Claim: a rule is worth most at 5 to 20 labelled images a class, and less where it is wrong.

Strings of eight MNIST digits that end in a Luhn check digit, read by a LeNet that learned from 1,
2, 5, 10, 20 or 50 labelled images a digit. Right strings, per cent, five seeds:

| curve | what is known of the rule |
|---|---|
| none | nothing: the likeliest digits |
| decoding | the likeliest valid string is said |
| training | it goes on learning from 1250 valid strings without labels, and says a valid one |
| wrong | the same, where the last digit of one string in ten was drawn at random |

In the last curve strings that are read break the rule as often as those that are learned from.
Nothing is chosen on what is measured. One thread.
Run: `python benchmarks/few_labels.py [--seeds N]`.
"""

from __future__ import annotations

import argparse
import copy
from functools import partial

import numpy as np
import torch
from addition import digits, lenet
from bench import Row, Store, t_interval, table
from luhn import TESTED, learned, read, strings, through_the_rule
from torch import Tensor

from kenspeckle.knowledge.automaton import from_pattern
from kenspeckle.knowledge.check_digits import checked

LABELS = (1, 2, 5, 10, 20, 50)
LENGTH, UNLABELLED, WRONG = 8, 1250, 0.1
CURVES = ("none", "decoding", "training", "wrong none", "wrong")
Digits = tuple[Tensor, Tensor]


def run(each: int, seed: int, train: Digits, test: Digits) -> Row:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    labels = train[1]
    order = random.permutation(len(labels))
    few = np.concatenate([order[labels[order].numpy() == d][:each] for d in range(10)])
    others = np.setdiff1d(order, few)
    known = train[0][few], labels[few]
    network = lenet()
    learned(network, *known)
    valid = checked(from_pattern(f"[0-9]{{{LENGTH}}}", "0123456789"), "luhn")
    tested = strings(test[1], np.arange(len(test[1])), LENGTH, TESTED, random)
    unlabelled = strings(labels, others, LENGTH, UNLABELLED, random)
    found: Row = {}
    found["none"], found["decoding"], _ = read(network, test, tested, valid)
    onward = copy.deepcopy(network)
    through_the_rule(onward, (train[0], unlabelled), known, valid)
    found["training"] = read(onward, test, tested, valid)[1]
    tested = spoiled(tested, np.arange(len(test[1])), random)
    unlabelled = spoiled(unlabelled, others, random)
    found["wrong none"] = read(network, test, tested, valid)[0]
    onward = copy.deepcopy(network)
    through_the_rule(onward, (train[0], unlabelled), known, valid)
    found["wrong"] = read(onward, test, tested, valid)[1]
    return found


def spoiled(rows: Tensor, pool: np.ndarray, random: np.random.Generator) -> Tensor:
    """Strings of which one in ten ends in any digit."""
    rows = rows.clone()
    chosen = random.random(len(rows)) < WRONG
    rows[chosen, -1] = torch.from_numpy(random.choice(pool, int(chosen.sum())))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    store, summary, cells = Store("few_labels", __doc__ or ""), {}, []
    train, test = digits("train"), digits("test")
    for each in LABELS:
        runs = [
            store.row(f"{each} a digit, seed {seed}", partial(run, each, seed, train, test))
            for seed in range(arguments.seeds)
        ]
        summary[str(each)] = {curve: t_interval(row[curve] for row in runs) for curve in CURVES}
        cells.append((each, *(summary[str(each)][curve]["mean"] for curve in CURVES)))
    table([("labels a digit", *CURVES), *cells])
    store.conclude(summary)


if __name__ == "__main__":
    main()

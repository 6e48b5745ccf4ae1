"""Claim: rules of real size are read, proved and obeyed in milliseconds, without one exception.

| what | reach |
|---|---|
| 10^6 answers to random logits, over ten files of random rules | 0 break a hard rule |
| 41 tags, 243 rules: the best world of one image | <= 0.7 ms |
| the same: a loss of 64 images with its gradient | <= 60 ms of CPU |
| 1000 classes, 5000 rules: read and proved | < 2 s |
| ten classes, three attributes (K): decoding beside the seed CNN, 64 images | <= 5 % |
| strings of 8 digits with a Luhn digit (A): the same, 64 strings, an image a digit | <= 5 % |

Files and logits are random, from seeds that the rows keep; logits are normal with a deviation of 3.
Answers are checked by reading the rules themselves, beside the check that every answer has anyway.
One thread. Run: `python benchmarks/rules.py [ROW ...]`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from bench import Row, Store, middle, table

from kenspeckle.errors import UsageError
from kenspeckle.knowledge.automaton import from_pattern
from kenspeckle.knowledge.check_digits import checked
from kenspeckle.knowledge.compiled import Compiled
from kenspeckle.knowledge.formulas import holds
from kenspeckle.knowledge.problems import RulesError
from kenspeckle.knowledge.rules import Rules
from kenspeckle.knowledge.scan import best
from kenspeckle.models.seed_cnn import SeedCNN

TAGS, CLAUSES = 41, 243  # of ROAD-R (Giunchiglia et al. 2023)
FILES, PIECE, ANSWERS = 10, 2000, 1_000_000
REPEATS = 30
MORE = 200  # of what takes a millisecond
GOALS = {
    "violations": ("broken", 0.0),
    "best of one": ("ms", 0.7),
    "loss of 64": ("cpu_ms", 60.0),
    "load": ("seconds", 2.0),
    "cost of K": ("share", 0.05),
    "cost of A": ("share", 0.05),
}


def road(seed: int) -> str:
    """41 tags and 243 clauses of two to four literals, 19 in 20 of them negated."""
    random = np.random.default_rng(seed)
    lines = []
    for _ in range(CLAUSES):
        size = random.choice([2, 3, 4], p=[0.5, 0.4, 0.1])
        chosen = random.choice(TAGS, size, replace=False)
        words = [f"{'' if random.random() < 0.05 else 'not '}t{i}" for i in chosen]
        lines.append(f"  - {' or '.join(words)}")
    names = ", ".join(f"t{i}" for i in range(TAGS))
    return f"tags: [{names}]\nrules:\n" + "\n".join(lines)


def compiled(seed: int) -> tuple[Compiled, int]:
    """The first file from this seed on that can hold and is a table of worlds, and its seed."""
    while True:
        try:
            return Rules.parse(road(seed)).compile(), seed
        except (RulesError, UsageError):
            seed += 1000


def large() -> str:
    """1000 classes in 20 kinds, 200 attributes of ten classes each, 100 tags, 3000 sentences."""
    random = np.random.default_rng(0)
    kinds = (", ".join(f"c{i}" for i in range(50 * g, 50 * g + 50)) for g in range(20))
    lines = ["classes:", *(f"  g{g}: [{names}]" for g, names in enumerate(kinds)), "attributes:"]
    for a in range(200):
        some = [f"c{i}" for i in random.choice(1000, 10, replace=False)]
        lines.append(f"  a{a}: {{always: [{', '.join(some[:5])}], never: [{', '.join(some[5:])}]}}")
    lines += [f"tags: [{', '.join(f't{i}' for i in range(100))}]", "rules:"]
    for _ in range(3000):
        one, other = random.choice(100, 2, replace=False)
        lines.append(f"  - if c{random.integers(1000)} then not t{one} or t{other}")
    return "\n".join(lines)


def violations() -> Row:
    broken, said, seeds = 0, 0, []
    each = ANSWERS // FILES
    for number in range(FILES):
        network, seed = compiled(number)
        seeds.append(seed)
        torch.manual_seed(seed)
        hard = [rule.formula for rule in network.rules.rules if rule.strength is None]
        for _ in range(each // PIECE):
            logits = 3 * torch.randn(PIECE, len(network.outputs))
            for world in np.unique(network.worlds(logits), axis=0).tolist():
                broken += not all(holds(formula, world) for formula in hard)
            said += PIECE
    return {"broken": broken, "answers": said, "seeds": seeds}


def best_of_one() -> Row:
    network, seed = compiled(0)
    logits = torch.randn(1, TAGS)
    times = [_timed(lambda: network.worlds(logits)) for _ in range(REPEATS + 1)][1:]
    return {"ms": 1000 * float(np.median(times)), "all_ms": middle(times), "seed": seed}


def loss_of_64() -> Row:
    network, seed = compiled(0)
    logits = torch.randn(64, TAGS, requires_grad=True)
    seen = network.observed([""] * 64)
    times = []
    for _ in range(REPEATS + 1):
        began = time.process_time()
        network.loss(logits, seen).backward()
        times.append(time.process_time() - began)
    return {"cpu_ms": 1000 * float(np.median(times[1:])), "seed": seed}


def load() -> Row:
    text = large()
    return {"seconds": float(np.median([_timed(lambda: Rules.parse(text)) for _ in range(3)]))}


KINDS = """
classes: {top: ['0', '2', '3', '4', '6'], trousers: ['1'], footwear: ['5', '7', '9'], bag: ['8']}
attributes:
  has sleeves: {always: ['2', '3', '4', '6'], never: [trousers, footwear, bag]}
  is worn: {never: [bag], always: [top, trousers, footwear]}
  high: {one of: [no, ankle, knee], values: {footwear: [no, ankle, knee], top: no}}
"""


def cost_of_k() -> Row:
    compiled = Rules.parse(KINDS).compile()
    logits = torch.randn(64, len(compiled.outputs))
    return _share(64, lambda: compiled.worlds(logits), MORE)


def cost_of_a() -> Row:
    valid = checked(from_pattern("[0-9]{8}", "0123456789"), "luhn")
    log_p = torch.randn(64, 8, 10).log_softmax(2)
    return _share(64 * 8, lambda: best(log_p, torch.full((64,), 8), valid))


def _share(images: int, decode: Callable[[], object], repeats: int = REPEATS) -> Row:
    """Medians of both in turn, and the one as a share of the other."""
    network, seen = SeedCNN().eval(), torch.rand(images, 1, 28, 28)
    with torch.inference_mode():
        times = [(_timed(decode), _timed(lambda: network(seen))) for _ in range(repeats + 3)][3:]
    decoding, forward = (float(np.median(own)) for own in zip(*times, strict=True))
    return {
        "share": decoding / forward,
        "decoding_ms": 1000 * decoding,
        "forward_ms": 1000 * forward,
    }


def _timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


MEASURES: dict[str, Callable[[], Row]] = {
    "violations": violations,
    "best of one": best_of_one,
    "loss of 64": loss_of_64,
    "load": load,
    "cost of K": cost_of_k,
    "cost of A": cost_of_a,
}


def main() -> None:
    torch.set_num_threads(1)
    store = Store("rules", __doc__ or "")
    cells = []
    for name in sys.argv[1:] or MEASURES:
        row = store.row(name, MEASURES[name])
        key, most = GOALS[name]
        cells.append((name, key, float(row[key]), most, bool(row[key] <= most)))
    table([("row", "measure", "value", "at most", "met"), *cells])
    store.conclude({name: {key: value, "met": met} for name, key, value, _, met in cells})


if __name__ == "__main__":
    main()

"""The distribution over answers against a sum over every world there is, on random rules files."""

from __future__ import annotations

import math
import time
from itertools import pairwise

import numpy as np
import pytest
import torch

from kenspeckle.errors import DataError, UsageError
from kenspeckle.knowledge import plan, solved, worlds
from kenspeckle.knowledge.formulas import holds, worlds_of
from kenspeckle.knowledge.problems import RulesError
from kenspeckle.knowledge.rules import Rules

LEAVES = ("ant", "bee", "cow", "doe")


def random_text(random):
    """A rules file with at most twelve choices."""
    leaves = LEAVES[: random.integers(2, 5)]
    tags = [f"t{i}" for i in range(random.integers(1, 6))]
    lines = [f"classes: {{kind: [{leaves[0]}, {leaves[1]}], other: [{', '.join(leaves[2:])}]}}"]
    plain = [f"p{i}" for i in range(random.integers(0, 3))]
    lines.append("attributes:")
    for name in plain:
        key = random.choice(["always", "never", "usually 0.3", "usually 0.9"])
        lines.append(f"  {name}: {{{key}: [{random.choice(leaves)}]}}")
    lines.append(
        f"  legs: {{one of: [a, b, c], values: {{{random.choice(leaves)}: [a, b], kind: c}}}}"
    )
    if "kind: c" in lines[-1] and leaves[0] in lines[-1].split("values")[1][:12]:
        lines[-1] = f"  legs: {{one of: [a, b, c], values: {{{leaves[1]}: [a, b]}}}}"
    lines.append(f"tags: [{', '.join(tags)}]")
    lines.append("rules:")
    names = [*leaves, *tags, *plain, "legs is a", "kind"]
    for _ in range(random.integers(1, 5)):
        a, b, c = random.choice(names, 3)
        form = random.choice(
            [f"never {a} and {b}", f"if {a} then {b} or {c}", f"if {a} and not {b} then {c}"]
        )
        strength = random.choice(["", f"strength: {random.uniform(0.5, 3):.2f}"])
        if strength:
            condition = form.removeprefix("never ") if form.startswith("never") else None
            body = f"never: {condition}" if condition else _as_table(form)
            lines.append(f"  - {{{body}, {strength}}}")
        else:
            lines.append(f"  - {form}")
    if random.random() < 0.4:
        size = int(random.integers(1, len(tags) + 1))
        kind = random.choice(["exactly", "at most", "at least"])
        number = (
            int(random.integers(1, size + 1))
            if kind != "at most"
            else int(random.integers(0, size))
        )
        lines.append(f"  - {kind} {number} of [{', '.join(tags[:size])}]")
    return "\n".join(lines)


def _as_table(sentence):
    condition, then = sentence.removeprefix("if ").split(" then ")
    return f"if: {condition}, then: {then}"


def random_rules(seed):
    """The first file after this seed that can hold."""
    random = np.random.default_rng(seed)
    while True:
        try:
            return Rules.parse(random_text(random)), random
        except RulesError:
            continue


class Brute:
    """Every world with its log p, by the formulas alone, in float64."""

    def __init__(self, rules, compiled, log_p):
        self.worlds = list(worlds_of(rules.choices))
        factors = np.zeros(len(self.worlds))
        for at, world in enumerate(self.worlds):
            for rule in rules.rules:
                if not holds(rule.formula, world):
                    factors[at] -= math.inf if rule.strength is None else rule.strength
        self.is_permitted = torch.from_numpy(np.isfinite(factors))
        starts = [compiled.offsets[c] for c in range(len(rules.choices))]
        self.atoms = np.array(
            [[s + v for s, v in zip(starts, w, strict=True)] for w in self.worlds]
        )
        self.factors = torch.from_numpy(factors)
        self.log_p = log_p

    def scores(self, allowed=None, soft=True):
        log_p = self.log_p
        if allowed is not None:
            log_p = log_p.masked_fill(~allowed, -math.inf)
        sums = log_p[torch.from_numpy(self.atoms)].sum(1)
        return sums + (self.factors if soft else torch.where(self.is_permitted, 0.0, -math.inf))


@pytest.fixture(params=["tables", "solver"])
def algorithm(request, monkeypatch):
    """By tables of worlds; or by the solver and a beam, here as wide as there are worlds."""
    if request.param == "solver":
        monkeypatch.setattr(plan, "permitted", lambda ties, sizes: None)
        monkeypatch.setattr(worlds, "BEAM", 10_000)
    return request.param


@pytest.fixture(params=range(40))
def case(request, algorithm):
    rules, random = random_rules(request.param)
    compiled = rules.compile()
    assert compiled.is_exact() == (algorithm == "tables")
    logits = torch.from_numpy(random.normal(0, 2, (1, len(compiled.outputs)))).float()
    logits.requires_grad_()
    brute = Brute(rules, compiled, compiled.log_p(logits).double()[0])
    return rules, compiled, logits, brute, random


def test_what_is_permitted_sums_to_what_all_permitted_worlds_sum_to(case):
    _, compiled, logits, brute, _ = case
    wanted = brute.scores(soft=False).logsumexp(0)
    assert compiled.log_permitted(logits)[0].item() == pytest.approx(wanted.item(), abs=1e-4)


def test_loss_and_gradient_of_what_was_seen(case):
    rules, compiled, logits, brute, random = case
    seen = torch.ones(1, compiled.atoms, dtype=torch.bool)
    world = brute.worlds[int(random.choice(np.flatnonzero(np.isfinite(brute.factors.numpy()))))]
    for choice in random.permutation(len(rules.choices))[:3]:
        own = compiled._of(int(choice))
        seen[0, own] = False
        seen[0, own.start + world[choice]] = True
    wanted = -brute.scores(seen[0]).logsumexp(0)
    (by_worlds,) = torch.autograd.grad(wanted, logits, retain_graph=True)
    loss = compiled.loss(logits, seen)
    (found,) = torch.autograd.grad(loss, logits)
    assert loss.item() == pytest.approx(wanted.item(), abs=1e-4)
    assert torch.allclose(found, by_worlds, atol=1e-4)


def test_marginals(case):
    _, compiled, logits, brute, _ = case
    shares = brute.scores().softmax(0).detach()
    wanted = torch.zeros(compiled.atoms, dtype=torch.float64)
    for share, atoms in zip(shares, brute.atoms, strict=True):
        wanted[atoms] += share
    assert torch.allclose(compiled.marginals(logits)[0].double(), wanted, atol=1e-4)


@pytest.mark.parametrize("k", [1, 5])
def test_the_best_answers_in_order(case, k):
    rules, compiled, logits, brute, _ = case
    scores = brute.scores().detach()
    order = scores.argsort(descending=True)
    possible = int(torch.isfinite(scores).sum())
    wanted = (scores[order[:k]] - scores.logsumexp(0))[:possible].tolist()
    (found,) = compiled.decode_best(logits, k=k)
    assert [answer.log_p for answer in found] == pytest.approx(wanted, abs=1e-4)
    told = [tuple(answer.values.values()) for answer in found]
    assert len(set(told)) == len(told)
    best = brute.worlds[int(order[0])]
    assert told[0] == tuple(c.values[v] for c, v in zip(rules.choices, best, strict=True))


def test_no_rules_is_plain_cross_entropy():
    compiled = Rules.parse("classes: [a, b, c]").compile()
    logits, truth = torch.randn(9, 3), torch.arange(9) % 3
    loss = compiled.losses(logits, compiled.observed([("a", "b", "c")[t] for t in truth]))
    assert torch.allclose(loss, torch.nn.functional.cross_entropy(logits, truth, reduction="none"))


def test_a_parent_a_not_this_and_a_set_are_sums_over_their_leaves():
    rules = Rules.parse("classes: {dog: [beagle, husky], cat: []}\ntags: [snow]")
    compiled = rules.compile(["beagle", "husky", "cat", "snow"])
    logits = torch.tensor([[0.5, 1.0, -1.0, 0.3]]).repeat(4, 1)
    p = logits[0, :3].softmax(0)
    seen = compiled.observed(["dog", "!husky", "husky|cat", {"class": "cat", "snow": True}])
    wanted = [p[:2].sum(), p[0] + p[2], p[1] + p[2], p[2] * logits[0, 3].sigmoid()]
    assert torch.allclose(compiled.losses(logits, seen), -torch.stack(wanted).log(), atol=1e-6)


def test_a_label_that_breaks_a_rule_trains_by_plain_cross_entropy():
    rules = Rules.parse("classes: [cat, car]\ntags: [night]\nrules: [never cat and night]")
    compiled = rules.compile()
    seen = compiled.observed([{"class": "cat", "night": True}, {"class": "car", "night": True}])
    assert compiled.contradicts(seen).tolist() == [True, False]
    logits = torch.zeros(2, 3)
    assert torch.allclose(compiled.losses(logits, seen), torch.full((2,), 2 * math.log(2)))


def test_what_is_told_beside_the_image_decides_which_rules_speak():
    text = """
    tags: [snow]
    columns: {season: [summer, winter]}
    rules:
      - {if: snow, then: not summer}
    """
    compiled = Rules.parse(text).compile()
    told = [{"season": "summer"}, {"season": "winter"}, {}]
    answers = compiled.decode(torch.full((3, 1), 2.0), told)
    assert [answer.values["snow"] for answer in answers] == ["no", "yes", "yes"]
    assert answers[0].price == pytest.approx(2.0)
    with pytest.raises(DataError, match="no value 'sumer', did you mean 'summer'"):
        compiled.decode(torch.zeros(1, 1), [{"season": "sumer"}])


def test_a_count_may_speak_of_what_is_told():
    text = """
    tags: [a, b]
    columns: {season: [summer, winter]}
    rules:
      - exactly 1 of [a, b, summer]
    """
    compiled = Rules.parse(text).compile()
    told = [{"season": "summer"}, {"season": "winter"}, {}]
    answers = compiled.decode(torch.tensor([[2.0, 1.0]] * 3), told)
    said = [(answer.values["a"], answer.values["b"]) for answer in answers]
    assert said == [("no", "no"), ("yes", "no"), ("yes", "no")]  # never both, whatever the season
    many = ", ".join(f"t{i}" for i in range(30))
    large = f"tags: [{many}]\ncolumns: {{x: [p, q]}}\nrules:\n  - exactly 9 of [{many}, p]"
    compiled = Rules.parse(large).compile()
    logits = torch.arange(30.0)[None] - 15
    yes = [
        sum(value == "yes" for value in compiled.decode(logits, [{"x": x}])[0].values.values())
        for x in "pq"
    ]
    assert yes == [8, 9]


def test_an_unseen_class_is_answered_by_its_attributes():
    text = """
    classes: {animal: [horse, tiger]}
    attributes:
      has stripes: {always: [tiger], never: [horse]}
      has hooves: {always: [horse], never: [tiger]}
    unseen: {zebra: {is-a: animal, has stripes: yes, has hooves: yes}}
    """
    compiled = Rules.parse(text).compile()
    logits = torch.tensor([[1.0, 0.0, 4.0, 4.0], [3.0, 0.0, -4.0, 4.0]])
    said = [answer.values["class"] for answer in compiled.decode(logits)]
    assert said == ["zebra", "horse"]


def test_counts_need_no_table():
    names = [f"t{i}" for i in range(60)]
    text = f"tags: [{', '.join(names)}]\nrules:\n  - exactly 7 of: [{', '.join(names)}]"
    compiled = Rules.parse(text).compile()
    logits = torch.randn(3, 60)
    answer = compiled.decode(logits)[0]
    wanted = set(logits[0].topk(7).indices.tolist())
    assert {i for i, name in enumerate(names) if answer.values[name] == "yes"} == wanted
    p = logits[0].sigmoid().double()
    ways = np.zeros(61)
    ways[0] = 1
    for share in p.tolist():
        ways[1:] = ways[1:] * (1 - share) + ways[:-1] * share
        ways[0] *= 1 - share
    assert compiled.log_permitted(logits)[0].item() == pytest.approx(math.log(ways[7]), abs=1e-4)


def test_random_logits_never_get_an_answer_that_breaks_a_rule():
    rules, _ = random_rules(7)
    compiled = rules.compile()
    logits = torch.randn(2000, len(compiled.outputs)) * 20
    worlds = compiled.worlds(logits).tolist()
    for answer, world in zip(compiled.decode(logits), worlds, strict=True):
        assert world == [c.values.index(answer.values[c.name]) for c in rules.choices]
        assert all(holds(r.formula, world) for r in rules.rules if r.strength is None)


def tangled(count=40):
    """A file of tags that are tied together with far too many worlds for a table."""
    names = [f"t{i}" for i in range(count)]
    pairs = "\n".join(f"  - if {a} then {b} or {names[0]}" for a, b in pairwise(names))
    return Rules.parse(f"tags: [{', '.join(names)}]\nrules:\n{pairs}")


def test_too_many_worlds_are_answered_by_a_solver_that_says_so():
    rules = tangled()
    compiled = rules.compile()
    assert compiled.algorithms().endswith("approximate")
    assert not compiled.is_exact()
    torch.manual_seed(0)
    logits = 3 * torch.randn(5, 40)
    found = compiled.worlds(logits).tolist()
    assert all(holds(rule.formula, world) for rule in rules.rules for world in found)
    own = torch.stack([compiled.log_p(row[None])[0, 1:].view(40, 2) for row in logits])
    for world, tables in zip(found, own, strict=True):
        assert sum(tables[i, v] for i, v in enumerate(world[1:])) == pytest.approx(
            best_of_a_chain(tables), abs=0.01
        )
    assert bool((compiled.log_permitted(logits) <= 0).all())
    assert torch.allclose(
        compiled.marginals(logits)[:, 1:].view(5, 40, 2).sum(2), torch.ones(5, 40)
    )


def best_of_a_chain(tables):
    """log p of the best world of `tangled`: each tag depends on the one before and the first."""
    found = []
    for first in (0, 1):
        best = {first: float(tables[0, first])}
        for own in tables[1:].tolist():
            best = {
                now: max(p for before, p in best.items() if first or now or not before) + own[now]
                for now in (0, 1)
                if first or now or 0 in best
            }
        found.append(max(best.values()))
    return max(found)


def test_a_solver_takes_choices_of_many_values(monkeypatch):
    monkeypatch.setattr(worlds, "MOST_WHILE", 50)  # so that 30 classes leave room for one row
    monkeypatch.setattr(worlds, "MOST_WORLDS", 10)
    names = ", ".join(f"c{i}" for i in range(30))
    rules = Rules.parse(f"classes: [{names}]\ntags: [t, u]\nrules: [if c0 then t or u]")
    compiled = rules.compile()
    logits = torch.randn(3, len(compiled.outputs), generator=torch.Generator().manual_seed(0))
    assert not compiled.is_exact()
    shares = compiled.marginals(logits)[:, :30].sum(1)
    assert torch.allclose(shares, torch.ones(3))


def test_a_solver_says_what_is_possible(monkeypatch):
    rules, _ = random_rules(3)
    seen = rules.compile().observed(["kind", "ant", "t0", "!ant", ""])
    wanted = rules.compile().possible(seen)
    monkeypatch.setattr(plan, "permitted", lambda ties, sizes: None)
    assert torch.equal(rules.compile().possible(seen), wanted)


def test_a_solver_that_takes_too_long_says_so(monkeypatch):
    monkeypatch.setattr(solved, "LIMIT", 0.0)
    monkeypatch.setattr(solved.RC2, "compute", lambda self, expect_interrupt: time.sleep(0.2))
    with pytest.raises(UsageError, match="tie 40 choices together"):
        tangled().compile().decode(torch.zeros(1, 40))


def test_outputs_are_asked_for_by_name():
    rules = Rules.parse("classes: [cat, car]\ntags: [night]")
    with pytest.raises(UsageError, match="no class, tag or attribute 'cats', did you mean 'cat'"):
        rules.compile(["cats", "car"])
    with pytest.raises(UsageError, match="lack 'car'"):
        rules.compile(["cat", "night"])
    with pytest.raises(UsageError, match="compiled for 2 outputs"):
        rules.compile(["cat", "car"]).decode(torch.zeros(1, 3))


def test_what_no_network_has_seen_makes_nothing_likelier():
    text = """
    classes: [cat, car, bus]
    attributes: {has fur: {always: [cat]}, wheels: {one of: [4, 6], values: {car: 4}}}
    tags: [night]
    rules: [never cat and night]
    """
    compiled = Rules.parse(text).compile(["cat", "car", "bus"])
    logits = torch.tensor([[1.0, 0.5, 0.2]])
    assert compiled.log_permitted(logits).item() == pytest.approx(0, abs=1e-6)
    marginals = compiled.marginals(logits)[0, :3]
    assert torch.allclose(marginals, logits[0].softmax(0), atol=1e-6)
    assert compiled.decode(logits)[0].values["class"] == "cat"
    with pytest.raises(UsageError, match="'night', which has no output"):
        compiled.loss(logits, compiled.observed([{"class": "car", "night": True}]))


@pytest.mark.parametrize("seed", range(60))
def test_of_what_no_network_hears_the_best_counts(seed):
    rules, random = random_rules(seed)
    heard = [c for c in range(len(rules.choices)) if random.random() < 0.6] or [1]
    whole = rules.compile()
    outputs = [
        name
        for name in whole.outputs
        if (0 if name in rules.leaves else rules.number[name.split(" is ")[0]]) in heard
    ]
    compiled = rules.compile(outputs)
    logits = torch.from_numpy(random.normal(0, 2, (1, len(outputs)))).float()
    brute = Brute(rules, compiled, compiled.log_p(logits).double()[0])
    best = {}
    for world, score in zip(brute.worlds, brute.scores().tolist(), strict=True):
        key = tuple(world[c] for c in heard)
        best[key] = max(best.get(key, -math.inf), score)
    ranked = sorted((score for score in best.values() if score > -math.inf), reverse=True)
    total = torch.tensor(ranked).logsumexp(0).item()
    found = compiled.decode_best(logits, k=4)[0]
    assert [answer.log_p for answer in found] == pytest.approx(
        [x - total for x in ranked[:4]], abs=1e-4
    )
    names = {rules.choices[c].name for c in heard}
    assert all(set(answer.values) == names for answer in found)
    assert len({tuple(answer.values.values()) for answer in found}) == len(found)


def test_where_only_a_class_is_left_that_no_network_hears_nothing_is_answered():
    text = """
    classes: [cat, dog]
    unseen: {zebra: {}}
    columns: {place: [zoo, home]}
    rules: [if zoo then not cat and not dog]
    """
    compiled = Rules.parse(text).compile(["cat", "dog"])
    assert compiled.decode(torch.zeros(1, 2), [{"place": "home"}])[0].values["class"] == "cat"
    for asked in (compiled.decode, compiled.worlds):
        with pytest.raises(UsageError, match="no answer that the network knows"):
            asked(torch.zeros(1, 2), [{"place": "zoo"}])


def test_more_answers_than_there_are_may_be_asked_for():
    compiled = Rules.parse(
        "classes: [a, b]\nattributes: {legs: {one of: [x, y, z]}}\ntags: [t]"
    ).compile()
    assert len(compiled.decode_best(torch.zeros(1, 6), k=99)[0]) == 12


def test_labels_of_two_kinds_and_outputs_of_side_columns_are_refused():
    rules = Rules.parse("classes: [husky, cat]\ntags: [snow]\ncolumns: {s: [a, b]}")
    with pytest.raises(DataError, match="two kinds"):
        rules.compile().observed(["husky|snow"])
    for name in ("s is a", "snow is yes"):
        with pytest.raises(UsageError, match="no class, tag or attribute"):
            rules.compile(["husky", "cat", name])


def test_it_holds_nothing_that_a_checkpoint_would_keep():
    rules, _ = random_rules(3)
    assert not rules.compile().state_dict()


@pytest.mark.slow
def test_five_hundred_random_files_agree_with_all_worlds():
    for seed in range(40, 500):
        rules, random = random_rules(seed)
        compiled = rules.compile()
        logits = torch.from_numpy(random.normal(0, 2, (1, len(compiled.outputs)))).float()
        brute = Brute(rules, compiled, compiled.log_p(logits).double()[0])
        scores = brute.scores()
        total = scores.logsumexp(0)
        permitted = brute.scores(soft=False).logsumexp(0)
        assert compiled.log_permitted(logits)[0].item() == pytest.approx(permitted.item(), abs=1e-4)
        shares = torch.zeros(compiled.atoms, dtype=torch.float64)
        for share, atoms in zip(scores.softmax(0), brute.atoms, strict=True):
            shares[atoms] += share
        assert torch.allclose(compiled.marginals(logits)[0].double(), shares, atol=1e-4), seed
        best = scores.sort(descending=True).values
        wanted = (best[:5] - total)[torch.isfinite(best[:5])].tolist()
        found = [answer.log_p for answer in compiled.decode_best(logits, k=5)[0]]
        assert found == pytest.approx(wanted, abs=1e-4), seed

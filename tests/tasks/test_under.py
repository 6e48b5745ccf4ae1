"""Answers under rules: what a model says of classes and tags, and what the rules make of it."""

from __future__ import annotations

import math

import pytest
import torch

from kenspeckle.answer import Answer
from kenspeckle.errors import DataError, UsageError
from kenspeckle.knowledge.beside import Beside
from kenspeckle.knowledge.explained import lines_of
from kenspeckle.knowledge.rules import Rules
from kenspeckle.tasks.classify import Classify
from kenspeckle.tasks.detect import Detect
from kenspeckle.tasks.read import Read
from kenspeckle.tasks.tag import Tag
from kenspeckle.tasks.under import obeyed

CLASSES = ("cat", "car", "snowman")
SEASONS = """classes: [snowman, cat, car]
columns: {season: [summer, winter]}
rules:
  - if summer then not snowman
"""
LIGHT = """tags: [day, night, snow]
rules:
  - never: day and night
"""


def said(task, rules, logits, side=None):
    outputs = torch.tensor([logits])
    alone = task.decode(outputs, ["x.png"])
    under = task.under(Rules.parse(rules), side or {})
    (answer,) = under.answers(torch.nn.Identity(), outputs, outputs, alone)
    return alone[0], answer


def test_what_no_rule_touches_is_said_as_before():
    alone, answer = said(Classify(CLASSES), SEASONS, [1.0, 0.0, 3.0])
    assert (answer.label, answer.words) == (alone.label, alone.words)
    assert answer.probabilities == pytest.approx(alone.probabilities)
    assert answer.rules is not None
    assert answer.rules["rules"] == ()


def test_what_is_told_beside_the_image_rules_a_class_out():
    _, answer = said(Classify(CLASSES), SEASONS, [1.0, 0.0, 3.0], {"season": "summer"})
    assert answer.label == "cat"
    assert answer.probabilities["snowman"] == pytest.approx(0, abs=1e-9)
    assert answer.probabilities["cat"] == pytest.approx(1 / (1 + math.exp(-1)), abs=1e-6)
    assert "alone it would say snowman" in answer.words
    assert "L4 says if summer then not snowman" in answer.words
    assert answer.rules["price"] == pytest.approx(2.0, abs=1e-5)


def test_tags_that_exclude_each_other_are_never_said_together():
    alone, answer = said(Tag(("day", "night", "snow")), LIGHT, [2.0, 1.0, 1.0])
    assert alone.label == "day;night;snow" or set(alone.label.split(";")) == {
        "day",
        "night",
        "snow",
    }
    assert set(answer.label.replace(" ", "").split(";")) == {"day", "snow"}
    both = [math.exp(2), math.exp(1), 1.0]
    assert answer.probabilities["day"] == pytest.approx(both[0] / sum(both), abs=1e-6)


def test_a_threshold_stays_where_no_rule_speaks():
    task = Tag(("day", "night", "snow"), thresholds=[0.9, 0.5, 0.2])
    alone, answer = said(task, LIGHT, [2.0, -3.0, -1.0])
    assert alone.label == answer.label == "snow"


def test_an_answer_that_the_rules_alone_would_make_is_unknown():
    text = SEASONS.replace("summer then not snowman", "summer then cat")
    _, answer = said(Classify(CLASSES), text, [-6.0, 0.0, 3.0], {"season": "summer"})
    assert answer.unknown
    assert answer.label is None
    assert answer.words.startswith("unknown: the rules permit 0.1 %")


PLACES = """classes: [snowman, cat, car]
priors:
  - {column: place, value: pole, snowman: x20, cat: x0.1}
"""


def test_what_a_column_makes_likelier_is_a_factor_and_is_said():
    alone, answer = said(Classify(CLASSES), PLACES, [2.0, 0.0, 1.0], {"place": "pole"})
    weights = [math.exp(2) * 0.1, 1.0, math.exp(1) * 20]
    assert alone.label == "cat"
    assert answer.label == "snowman"
    assert answer.probabilities["snowman"] == pytest.approx(weights[2] / sum(weights), abs=1e-5)
    assert "snowman is 20 times as likely where place is pole and cat is 0.1 times" in answer.words
    assert said(Classify(CLASSES), PLACES, [2.0, 0.0, 1.0])[1].words == alone.words


def test_a_table_of_priors_knows_all_values_of_its_column(tmp_path):
    (tmp_path / "month.csv").write_text("month,snowman,cat\n1,5,1\n7,0,1\n")
    text = "classes: [snowman, cat, car]\npriors: [{column: month, table: month.csv}]\n"
    under = Classify(CLASSES).under(Rules.parse(text, beside=Beside(tmp_path)), {"month": "7"})
    task, outputs = Classify(CLASSES), torch.tensor([[0.0, 0.0, 9.0]])
    (answer,) = under.answers(torch.nn.Identity(), outputs, outputs, task.decode(outputs, ["x"]))
    assert answer.label != "snowman"
    with pytest.raises(DataError, match="'month' have no value '13'"):
        Classify(CLASSES).under(Rules.parse(text, beside=Beside(tmp_path)), {"month": "13"})


COSTS = """classes: [snowman, cat, car]
costs:
  - {truth: cat, answered: car, cost: 100}
  - {answered: unsure, cost: 0.5}
"""


def test_the_answer_that_costs_least_is_given_and_why():
    alone, answer = said(Classify(CLASSES), COSTS, [0.0, 2.0, -9.0])
    assert alone.label == "car"
    assert answer.label is None
    assert answer.words.startswith("unsure, a person should look: that costs 0.5, the answer 12 on")
    _, answer = said(Classify(CLASSES), COSTS.replace("0.5", "9"), [0.0, 2.0, -9.0])
    assert answer.label == "cat"
    assert "which costs 0.88 on average" in answer.words
    _, answer = said(Classify(CLASSES), COSTS, [9.0, 0.0, 0.0])
    assert answer.label == "cat"


def test_a_class_that_the_rules_forbid_is_not_answered_however_cheap():
    names = ["tumour", *(f"healthy{i}" for i in range(5))]
    text = f"""classes: [{", ".join(names)}]
columns: {{sex: [m, f]}}
rules: [if m then not tumour]
costs: [{{answered: tumour, cost: 0.1}}]
"""
    task, random = Classify(names), torch.Generator().manual_seed(0)
    outputs = torch.randn(200, 6, generator=random)
    alone = task.decode(outputs, ["x"] * 200)
    for side, is_said in (({"sex": "m"}, False), ({"sex": "f"}, True)):
        under = task.under(Rules.parse(text), side or {})
        answers = under.answers(torch.nn.Identity(), outputs, outputs, alone)
        assert any(answer.label == "tumour" for answer in answers) == is_said
        assert min(min(answer.probabilities.values()) for answer in answers) >= 0


def test_what_the_model_does_not_know_is_neither_said_nor_blamed():
    text = """classes: [cat, car, snowman]
attributes: {has fur: {always: [cat], never: [car]}}
tags: [street, field]
rules: ['exactly 1 of [street, field]']
unseen: {zebra: {has fur: yes}}
"""
    alone, answer = said(Classify(CLASSES), text, [9.0, 0.0, 0.0])
    assert (answer.label, answer.words) == (alone.label, alone.words)
    assert answer.rules["values"] == {"class": "cat"}
    assert answer.rules["rules"] == ()


def test_texts_that_overlap_are_counted_once():
    shares = [[0.05, 0.05, 0.6, 0.2, 0.1], [0.05, 0.05, 0.1, 0.7, 0.1]]
    columns = [[math.log(share) for share in row] for row in shares]
    text = "text:\n  a: {pattern: '[78]{2}'}\n"
    one = read(text, columns, "78", 0.4)
    both = read(text + "  b: {pattern: '7[78]'}\n", columns, "78", 0.4)
    assert both.label == one.label == "78"
    assert both.probabilities == pytest.approx(one.probabilities)
    assert both.rules["permitted"] == pytest.approx(one.rules["permitted"])


def test_what_does_not_fit_is_refused_by_name():
    with pytest.raises(UsageError, match="says 'car', which the `classes`"):
        Classify(CLASSES).under(Rules.parse("classes: [snowman, cat]"), {})
    with pytest.raises(UsageError, match="no column 'saison', did you mean 'season'"):
        Classify(CLASSES).under(Rules.parse(SEASONS), {"saison": "summer"})
    with pytest.raises(UsageError, match="this model says other things"):
        Detect(CLASSES).under(Rules.parse(SEASONS), {})
    with pytest.raises(DataError, match="no value 'autumn'"):
        said(Classify(CLASSES), SEASONS, [0.0, 0.0, 0.0], {"season": "autumn"})


class Columns(torch.nn.Module):
    """A reader by columns that says what it was given."""

    def __init__(self, logits):
        super().__init__()
        self.given = torch.tensor([logits])

    def logits(self, images):
        return self.given


PLATES = "text:\n  plate: {pattern: '[A-Z][0-9]'}\n"


def read(rules, columns, own, p):
    task = Read(("A", "B", "7", "8"))
    alone = Answer("x.png", own, {own: p}, f"{own} (...)")
    network = Columns(columns)
    (answer,) = task.under(Rules.parse(rules), {}).answers(
        network, torch.zeros(1), torch.zeros(1), [alone]
    )
    return answer


def test_a_line_that_does_not_fit_its_pattern_becomes_the_likeliest_that_does():
    # two columns over A, B, 7, 8 and the blank: alone it would read AB
    shares = [[0.6, 0.1, 0.1, 0.1, 0.1], [0.05, 0.5, 0.3, 0.1, 0.05]]
    columns = [[math.log(share) for share in row] for row in shares]
    answer = read(PLATES, columns, "AB", 0.3)
    assert answer.label == "A7"
    permitted = (0.6 + 0.1) * (0.3 + 0.1)
    assert answer.rules["permitted"] == pytest.approx(permitted)
    assert answer.probabilities == pytest.approx({"A7": 0.6 * 0.3 / permitted})
    assert answer.rules["price"] == pytest.approx(math.log(0.3) - math.log(0.6 * 0.3))
    assert "L2 says plate: [A-Z][0-9]" in answer.words


def test_a_line_that_fits_is_said_as_before_with_its_share_among_those_that_fit():
    columns = [[5.0, 0, 0, 0, 0], [0, 0, 0, 5.0, 0]]
    answer = read(PLATES, columns, "A8", 0.9)
    assert answer.label == "A8"
    assert answer.rules["rules"] == ()
    assert answer.rules["price"] == pytest.approx(0, abs=0.1)


def test_an_image_that_holds_no_such_line_is_unknown():
    answer = read(PLATES, [[0, 0, 9.0, 0, 0], [0, 0, 9.0, 0, 0]], "7", 0.99)
    assert answer.unknown
    assert answer.label is None


def test_rules_without_a_text_that_can_be_written_are_refused():
    with pytest.raises(UsageError, match="no section `text`"):
        Read(("A",)).under(Rules.parse("tags: [a]"), {})
    with pytest.raises(UsageError, match="characters that the model knows: xy"):
        Read(("x", "y")).under(Rules.parse(PLATES), {})


ANIMALS = """classes: {animal: {pet: [cat, dog], wild: [fox]}, vehicle: [car]}
attributes: {has wheels: {always: [car], never: [animal]}, has collar: {never: [fox, car]}}
"""
BEASTS = ("car", "cat", "dog", "fox")


def test_what_a_person_sees_in_an_image_is_obeyed_and_told():
    alone, answer = said(Classify(BEASTS), ANIMALS, [3.0, 1.0, 0.5, 2.0], {"has wheels": "no"})
    assert (alone.label, answer.label) == ("car", "fox")
    assert answer.rules["rules"][-1]["name"] == "told"
    lines = lines_of(answer.rules)
    assert "rule    told has wheels is no (beside the image)" in lines
    _, answer = said(Classify(BEASTS), ANIMALS, [3.0, 1.0, 0.5, 2.0], {"has collar": "yes"})
    assert answer.label == "cat"
    _, answer = said(Classify(BEASTS), ANIMALS, [3.0, 1.0, 0.5, 2.0], {"class": "pet"})
    assert answer.label == "cat"
    with pytest.raises(DataError, match="'has wheels' has no value 'maybe'"):
        said(Classify(BEASTS), ANIMALS, [3.0, 1.0, 0.5, 2.0], {"has wheels": "maybe"})


def test_an_answer_says_how_sure_its_kinds_are_the_innermost_first():
    _, answer = said(Classify(BEASTS), ANIMALS, [0.0, 1.0, 0.9, 0.2])
    p = answer.probabilities
    assert answer.label == "cat"
    assert answer.rules["kinds"] == pytest.approx(
        {"pet": p["cat"] + p["dog"], "animal": p["cat"] + p["dog"] + p["fox"]}, abs=1e-6
    )
    assert list(answer.rules["kinds"]) == ["pet", "animal"]


def test_columns_of_each_image_are_known_beside_what_is_told_of_all():
    text = SEASONS + "priors:\n  - {column: place, value: pole, snowman: x50}\n"
    task = Classify(CLASSES)
    outputs = torch.tensor([[1.0, 0.0, 1.5]] * 3)
    alone = task.decode(outputs, list("abc"))
    facts = [{"season": "summer", "other": "x"}, {"season": "winter"}, {"place": "pole"}]
    answers = task.under(Rules.parse(text), {}).answers(
        torch.nn.Identity(), outputs, outputs, alone, facts
    )
    assert [answer.label for answer in answers] == ["cat", "snowman", "snowman"]
    assert answers[2].probability > answers[1].probability
    answers = task.under(Rules.parse(text), {"season": "summer"}).answers(
        torch.nn.Identity(), outputs, outputs, alone, facts
    )
    assert [answer.label for answer in answers] == ["cat", "cat", "cat"]
    with pytest.raises(DataError, match="no value 'autumn'"):
        task.under(Rules.parse(text), {}).answers(
            torch.nn.Identity(), outputs, outputs, alone, [{"season": "autumn"}] * 3
        )


def test_a_column_of_priors_alone_does_not_disturb_the_reasons():
    text = ANIMALS + "priors:\n  - {column: region, value: north, fox: x1.5}\n"
    told = {"has wheels": "no", "region": "north"}
    _, answer = said(Classify(BEASTS), text, [3.0, 1.0, 0.5, 2.0], told)
    assert answer.label == "fox"
    assert answer.rules["rules"][-1]["name"] == "told"


def test_rules_changed_an_answer_where_its_label_is_another_one():
    def answer(own, label):
        why = {"own": own, "values": {"class": "cat", "has wheels": "no"}, "algorithms": "x"}
        return Answer("x.png", label, {label: 1.0}, label, rules=why)

    answers = [
        answer({"class": "car"}, "cat"),
        answer({"class": "car"}, "cat"),
        answer({"has wheels": "yes"}, "cat"),
        answer({}, "cat"),
    ]
    told = obeyed(Classify(BEASTS), answers, ["cat", "car", "cat", "cat"])
    assert told == {"algorithms": ["x"], "answers": 4, "changed": 2, "right": 1, "right_alone": 1}

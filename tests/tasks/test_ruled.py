"""Classification that obeys rules from the start: what it learns from, and what it says."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kenspeckle.errors import DataError
from kenspeckle.knowledge.rules import Rules
from kenspeckle.tasks.classify import Classify
from kenspeckle.tasks.ruled import MUTED, RuledClassify
from kenspeckle.tasks.ruled_tag import RuledTag
from kenspeckle.tasks.tag import Tag
from kenspeckle.training.bank import BANK, linear_layer, transform_vectors
from kenspeckle.training.ruled_bank import ruled_layer

TREE = "classes: {animal: [cat, dog], vehicle: [car, bus]}\n"
LEAVES = ("bus", "car", "cat", "dog")  # in natural order
WHEELS = TREE + "attributes: {has wheels: {always: [vehicle], never: [animal]}}\n"


def task_of(text, **settings):
    return RuledClassify(rules=Rules.parse(text).kept(), **settings)


def test_without_anything_to_obey_it_learns_and_says_what_a_plain_one_does():
    task, plain = task_of(TREE, temperature=1.7), Classify(LEAVES, temperature=1.7)
    logits = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    labels = [LEAVES[i % 4] for i in range(20)]
    assert task.classes == task.outputs == LEAVES
    assert torch.equal(task.collate(labels), plain.collate(labels))
    own = task.losses(logits, task.collate(labels), True)
    torch.testing.assert_close(
        own, F.cross_entropy(logits, plain.collate(labels), reduction="none")
    )
    paths = [str(i) for i in range(20)]
    for one, other in zip(task.decode(logits, paths), plain.decode(logits, paths), strict=True):
        assert (one.label, one.words) == (other.label, other.words)
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)


@pytest.mark.parametrize(
    ("label", "open_"),
    [("animal", ("cat", "dog")), ("!cat", ("bus", "car", "dog")), ("cat|bus", ("cat", "bus"))],
)
def test_a_label_that_leaves_classes_open_counts_their_sum(label, open_):
    task = task_of(TREE)
    logits = torch.tensor([[0.3, -1.0, 2.0, 0.1]])
    p = dict(zip(LEAVES, logits.softmax(1)[0].tolist(), strict=True))
    (loss,) = task.losses(logits, task.collate([label]), True)
    assert float(loss) == pytest.approx(-math.log(sum(p[name] for name in open_)), abs=1e-5)
    assert bool(task.right(logits, task.collate([label]))[0]) == ("cat" in open_)
    assert not task.is_whole(label)
    assert task.is_whole("cat")


def test_a_label_that_the_rules_do_not_know_is_refused():
    with pytest.raises(DataError, match="cow"):
        task_of(TREE).collate(["cat", "cow"])


def test_what_a_class_looks_like_is_learned_from_its_label():
    task = task_of(WHEELS)
    assert task.outputs == (*LEAVES, "has wheels")
    logits = torch.tensor([[0.3, -1.0, 2.0, 0.1, 0.7]])
    (loss,) = task.losses(logits, task.collate(["car"]), True)
    known = F.cross_entropy(logits[:, :4], torch.tensor([1])) - F.logsigmoid(torch.tensor(0.7))
    assert float(loss) == pytest.approx(float(known), abs=1e-5)


def test_an_attribute_that_no_class_settles_has_no_output():
    text = TREE + "attributes: {can be blue: {usually 0.5: [car]}, is old: {always: [car]}}\n"
    assert task_of(text).outputs == LEAVES


def held_out(random, says):
    """Logits of 200 images: leaves that are half right, an attribute that says something or not."""
    targets = random.integers(0, 4, 200)
    logits = random.normal(0, 1, (200, 5))
    logits[np.arange(200), targets] += 1.0
    has_wheels = targets < 2
    logits[:, 4] = says * np.where(has_wheels, 3.0, -3.0) + random.normal(0, 1, 200)
    return logits, targets


def test_attributes_are_heard_where_they_help_and_muted_where_they_do_not():
    task = task_of(WHEELS)
    logits, targets = held_out(np.random.default_rng(0), says=1.0)
    task.calibrate(logits, targets)
    assert task.attribute_temperature < 10
    answers = task.decode(torch.from_numpy(logits), [str(i) for i in range(200)])
    right = np.mean([a.label == LEAVES[t] for a, t in zip(answers, targets, strict=True)])
    assert right > (logits[:, :4].argmax(1) == targets).mean() + 0.1
    logits, targets = held_out(np.random.default_rng(0), says=0.0)
    task.calibrate(logits, targets)
    assert task.attribute_temperature == MUTED
    plain = Classify(LEAVES)
    plain.calibrate(logits[:, :4], targets)
    assert task.temperature == plain.temperature
    for one, other in zip(
        task.probabilities(torch.from_numpy(logits)),
        plain.probabilities(torch.from_numpy(logits[:, :4])),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_a_model_file_gives_the_same_answers():
    text = WHEELS + "columns: {street: [yes, no]}\nrules:\n  - if street is yes then not cat\n"
    task = task_of(text, temperature=2.0, attribute_temperature=3.0)
    again = RuledClassify(task.classes, **task.kept())
    logits = torch.randn(5, 5, generator=torch.Generator().manual_seed(1))
    assert again.decode(logits, list("abcde")) == task.decode(logits, list("abcde"))
    under = again.under(again.rules, {"street": "yes"})
    alone = again.alone(logits, list("abcde"))
    answers = under.answers(torch.nn.Identity(), logits, logits, alone)
    assert "cat" not in [answer.label for answer in answers]


def clouds(random, count, spread=1.0):
    """Vectors of four classes in eight dimensions, with class numbers."""
    targets = np.arange(4 * count) % 4
    centres = np.eye(4, 8) * 2
    vectors = centres[targets] + random.normal(0, spread, (4 * count, 8))
    return np.abs(vectors).astype(np.float32), targets


@pytest.mark.parametrize("kind", BANK[:2])
def test_a_head_under_rules_is_the_closed_form_where_all_labels_are_whole(kind):
    vectors, targets = clouds(np.random.default_rng(0), 10)
    weights, bias = ruled_layer(kind, vectors, targets, (8,), task_of(WHEELS))
    plain = linear_layer(kind, vectors, targets, (8,), 4)
    np.testing.assert_allclose(weights[:4], plain[0])
    np.testing.assert_allclose(bias[:4], plain[1])
    wheels = linear_layer(kind, vectors, np.stack([targets < 2], 1).astype(int), (8,), 1)
    np.testing.assert_allclose(weights[4:], wheels[0])


@pytest.mark.parametrize("kind", BANK[:2])
def test_images_that_show_only_a_parent_make_a_head_better(kind):
    random = np.random.default_rng(0)
    few, of_few = clouds(random, 2, 0.9)
    many, of_many = clouds(random, 100, 0.9)
    task = task_of(TREE)
    parents = ["vehicle" if t < 2 else "animal" for t in of_many]
    both = np.concatenate([of_few, task.collate(parents).numpy()])
    tested, of_tested = clouds(random, 200, 0.9)
    x = transform_vectors(tested, (8,), kind.transform)
    right = []
    for vectors, targets in ((few, of_few), (np.concatenate([few, many]), both)):
        weights, bias = ruled_layer(kind, vectors, targets, (8,), task)
        said = (x @ weights.T + bias).argmax(1)
        right.append(float(((said < 2) == (of_tested < 2)).mean()))
    assert right[1] > right[0] + 0.01


MIRROR = "classes: {letter: [b, d, o], sign: [3]}\nmirror: {b: d, direction matters: [3]}\n"


def test_a_mirrored_image_shows_what_the_rules_say():
    task = task_of(MIRROR)
    assert task.mirrored == {1: 2, 2: 1, 0: None}  # classes: 3, b, d, o
    labels = ["b", "d", "3", "o", "letter", "!3", "o"] * 40
    targets = task.collate(labels)
    images = torch.zeros(len(labels), 1, 4, 4, dtype=torch.uint8)
    images[..., :2] = 9  # bright on the left
    torch.manual_seed(0)
    changed, now = task.changed(images, targets, ["flip"])
    flipped = changed[:, 0, 0, 0] == 0
    name = {number: label for label, number in zip(labels, targets.tolist(), strict=True)}
    seen = {
        (label, name[int(n)], bool(f)) for label, n, f in zip(labels, now, flipped, strict=True)
    }
    assert seen == {
        ("b", "b", False),
        ("b", "d", True),
        ("d", "d", False),
        ("d", "b", True),
        ("3", "3", False),
        ("o", "o", False),
        ("o", "o", True),
        ("letter", "letter", False),
        ("!3", "!3", False),
    }


def test_tags_are_said_as_rules_permit_and_learned_as_before():
    rules = Rules.parse("tags: [day, night, snow]\nrules:\n  - never: day and night\n")
    names = ("day", "night", "snow")
    task = RuledTag(names, rules=rules.kept(), thresholds=[0.5, 0.5, 0.3])
    plain = Tag(names, thresholds=[0.5, 0.5, 0.3])
    logits, labels = torch.tensor([[2.0, 1.0, -0.5]]), ["day;snow"]
    assert torch.equal(
        task.losses(logits, task.collate(labels), True),
        plain.losses(logits, plain.collate(labels), True),
    )
    again = RuledTag(names, **task.kept())
    (answer,) = again.decode(logits, ["x"])
    assert (again.alone(logits, ["x"])[0].label, answer.label) == ("day;night;snow", "day;snow")
    assert again.meant(answer) == "day;snow"


def test_a_label_that_leaves_nothing_is_refused():
    with pytest.raises(DataError, match="leaves nothing"):
        task_of("classes: {thing: [a, b]}\n").collate(["!thing"])


def test_what_many_attributes_leave_open_is_found_all_the_same():
    said = ", ".join(f"a{i}: {{always: [cat], never: [car]}}" for i in range(160))
    task = task_of(f"classes: {{animal: [cat, dog], other: [car]}}\nattributes: {{{said}}}\n")
    left = task.left_open(task.collate(["animal"]))[0]
    assert left[task._atoms].tolist() == [name in ("cat", "dog") for name in task.classes]


def test_a_copy_that_sees_new_labels_leaves_the_first_as_it_was():
    task = task_of(TREE)
    other = copy.copy(task)
    other.collate(["animal"])
    assert task.left_open(task.collate(["vehicle", "animal"])).sum(1).tolist() == [2, 2]


def test_nothing_is_heard_of_attributes_before_something_was_calibrated():
    assert task_of(WHEELS).is_muted
    seen = "attributes: {has wheels: {always: [car, bus], never: [animal]}}\n"
    assert not task_of(f"{TREE}{seen}unseen: {{tram: {{has wheels: yes}}}}\n").is_muted

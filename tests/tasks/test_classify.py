"""One of K: probabilities sum to one, losses are cross-entropies, scores have their meaning."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn

from kenspeckle.answer import Answer
from kenspeckle.data.batch import Batch
from kenspeckle.data.dataset import Dataset, Sample
from kenspeckle.data.source import File
from kenspeckle.errors import DataError
from kenspeckle.models.seed_cnn import SeedCNN
from kenspeckle.tasks.classify import Classify, say
from kenspeckle.tasks.losses import choose_loss
from kenspeckle.tasks.task import Choices

logits = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 4), st.just(3)), elements=st.floats(-30, 30, width=32)
)


class Table(nn.Module):
    """A network whose answers are given."""

    def __init__(self, rows: torch.Tensor) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.rows


def batch(targets: list[int], weights: list[float]) -> Batch:
    n = len(targets)
    return Batch(torch.zeros(n), torch.tensor(targets), torch.tensor(weights), torch.arange(n))


@given(logits, st.floats(0.1, 10))
def test_probabilities_sum_to_one_and_keep_the_order(rows, temperature):
    task = Classify(("a", "b", "c"), temperature=temperature)
    answers = task.decode(torch.from_numpy(rows), ["x"] * len(rows))
    for answer, row in zip(answers, rows, strict=True):
        told = list(answer.probabilities.values())
        assert sum(told) == pytest.approx(1, abs=1e-5)
        assert told == sorted(told, reverse=True)
        assert set(answer.probabilities) == {"a", "b", "c"}
        assert row[("a", "b", "c").index(answer.label)] == pytest.approx(row.max(), abs=1e-3)


def test_a_temperature_of_two_is_the_square_root():
    rows = torch.tensor([[math.log(9.0), 0.0]])
    cold, warm = (Classify(("a", "b"), temperature=t).probabilities(rows) for t in (1.0, 2.0))
    assert cold[0].tolist() == pytest.approx([0.9, 0.1])
    assert warm[0].tolist() == pytest.approx([0.75, 0.25])


def test_equal_answers_take_the_first_class():
    (answer,) = Classify(("b", "a")).decode(torch.zeros(1, 2), ["x"])
    assert answer.label == "b"


def test_the_loss_of_knowing_nothing_is_log_k():
    network = Table(torch.zeros(2, 4))
    loss = Classify("abcd").loss(network, batch([0, 3], [1, 1]), "network")
    assert float(loss) == pytest.approx(math.log(4))


def test_weights_are_as_good_as_repeats():
    rows = torch.randn(3, 4)
    task = Classify("abcd")
    weighted = task.loss(Table(rows), batch([0, 1, 2], [1, 3, 0]), "network")
    repeated = task.loss(Table(rows[[0, 1, 1, 1]]), batch([0, 1, 1, 1], [1] * 4), "network")
    assert float(weighted) == pytest.approx(float(repeated))


def test_smoothing_mixes_in_every_class():
    rows = torch.randn(1, 4)
    said = rows.log_softmax(1)[0]
    loss = Classify("abcd", smoothing=0.2).loss(Table(rows), batch([1], [1]), "network")
    assert float(loss) == pytest.approx(float(-0.8 * said[1] - 0.2 * said.mean()), rel=1e-5)


def test_in_eval_mode_the_loss_is_plain():
    rows = torch.randn(2, 4)
    plain = Classify("abcd").loss(Table(rows).eval(), batch([0, 3], [1, 1]), "network")
    chosen = choose_loss("balanced", [1, 2, 3, 4])
    bent = Classify("abcd", smoothing=0.3, chosen=chosen)
    assert torch.equal(bent.loss(Table(rows).eval(), batch([0, 3], [1, 1]), "network"), plain)


def test_the_data_choose_the_loss():
    labels = ["a"] * 8 + ["b"] * 2
    samples = tuple(Sample(str(i), File(Path("x")), label=a) for i, a in enumerate(labels))
    used = Dataset(Path("x"), samples, ("a", "b"))
    assert Classify.for_data(used, range(10), Choices()).chosen.kind == "balanced"
    assert Classify.for_data(used, [0, 1, 8, 9], Choices()).chosen.kind == "cross-entropy"


def test_a_sigmoid_head_is_for_two_classes_only():
    two, three = (Classify(c, head="sigmoid").network(SeedCNN()) for c in ("ab", "abc"))
    assert two.head.linear.out_features == 1
    assert two.eval()(torch.zeros(1, 1, 28, 28)).shape == (1, 2)
    assert three.head.linear.out_features == 3


def test_details_are_counted_by_hand():
    pairs = [answered("a", "a")] * 3 + [answered("b", "a")] + [answered("b", "b")]
    found = Classify("ab").details([a for a, _ in pairs], [label for _, label in pairs])
    assert found["majority_share"] == 0.6
    assert found["confusion"] == [[3, 0], [1, 1]]
    assert [row["recall"]["value"] for row in found["classes"]] == [1.0, 0.5]


def test_what_it_keeps_makes_it_again():
    task = Classify("ab", temperature=3.0)
    assert Classify("ab", **task.kept()).temperature == 3.0


def test_labels_are_numbered_by_the_class_list():
    assert Classify(("cat", "dog")).collate(["dog", "cat"]).tolist() == [1, 0]


@pytest.mark.parametrize("label", ["cow", None])
def test_a_label_that_is_no_class_is_refused(label):
    with pytest.raises(DataError, match=repr(label)):
        Classify(("cat", "dog")).collate(["dog", label])


def answered(label: str, said: str, p: float = 0.9) -> tuple[Answer, str]:
    other = {"a": "b", "b": "a"}[said]
    return Answer("x", said, {said: p, other: 1 - p}, ""), label


def test_balanced_accuracy_counts_each_class_alike():
    pairs = [answered("a", "a")] * 9 + [answered("b", "a")]
    scores = Classify("ab").score([a for a, _ in pairs], [label for _, label in pairs])
    assert scores["accuracy_score"].value == pytest.approx(0.9)
    assert scores["balanced_accuracy_score"].value == pytest.approx(0.5)
    expected = -(9 * math.log(0.9) + math.log(0.1)) / 10
    assert scores["nll_error"].value == pytest.approx(expected)


def test_every_score_has_an_interval_around_it():
    pairs = [answered("a", "a")] * 7 + [answered("b", "b")] * 6 + [answered("b", "a")] * 3
    scores = Classify("ab").score([a for a, _ in pairs], [label for _, label in pairs])
    assert all(s.low <= s.value <= s.high and s.n == 16 for s in scores.values())
    assert all(name.endswith(("_score", "_error")) for name in scores)


def test_a_flatten_head_is_made_for_its_image_size():
    network = Classify("abc", head="flatten", image_size=28).network(SeedCNN())
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 3)
    assert network.head.hidden.in_features == 576


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (0.9999, "rose (over 99 %)"),
        (1.0, "rose (over 99 %)"),
        (0.8, "rose (80 %)"),
        (0.7, "probably rose (70 %), else tulip (30 %)"),
    ],
)
def test_an_answer_sounds_as_certain_as_it_is(p, words):
    assert say({"rose": p, "tulip": 1 - p}) == words


def test_a_single_class_is_said_alone():
    assert say({"rose": 0.3}) == "rose (30 %)"

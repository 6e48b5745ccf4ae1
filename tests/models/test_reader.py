"""Readers: CTC as the sum over all ways, greedy decoding, and where characters stand."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from kenspeckle.data.strings import code_points
from kenspeckle.models.cnn import tiny
from kenspeckle.models.reader import CharacterReader, ColumnReader

SHAPE = (16, 32)
LETTERS = "abc"


class Told(nn.Module):
    """A head that says given logits (T, K), and hears each column for itself alone."""

    def __init__(self, logits):
        super().__init__()
        self.told = logits
        self.register_buffer("alphabet", code_points([LETTERS])[0])

    def forward(self, steps):
        return self.told.to(steps)[None] * (1 + 0.1 * steps.mean(2, keepdim=True).tanh())


def reader(logits=None) -> ColumnReader:
    torch.manual_seed(0)
    network = ColumnReader(tiny(), len(LETTERS), 3, SHAPE).eval()
    network.head.alphabet.copy_(code_points([LETTERS])[0])
    if logits is not None:
        network.head = Told(logits)
    return network


def saying(text: str, sure: float = 12.0):
    """Logits (T, 4) whose likeliest symbols are those of a text, `-` for nothing."""
    logits = torch.zeros(len(text), len(LETTERS) + 1)
    for column, letter in enumerate(text):
        logits[column, len(LETTERS) if letter == "-" else LETTERS.index(letter)] = sure
    return logits


@pytest.fixture(autouse=True)
def _nothing_is_learned():
    with torch.no_grad():
        yield


def images(count=1):
    return torch.randint(0, 256, (count, 3, *SHAPE), dtype=torch.uint8)


def text_of(outputs):
    points = outputs[0, 1:, 0]
    return "".join(chr(int(p)) for p in points[points > 0])


@pytest.mark.parametrize(
    ("columns", "text"),
    [("aab-b-c-", "abbc"), ("--------", ""), ("cccccccc", "c"), ("a-a-a-a-", "aaaa")],
)
def test_repeats_are_one_unless_something_lies_between(columns, text):
    padded = columns + "-" * (16 - len(columns))
    assert text_of(reader(saying(padded))(images())) == text


def test_the_probability_of_a_text_is_the_sum_over_all_ways_to_say_it():
    network = reader()
    torch.manual_seed(1)
    short = torch.randn(4, len(LETTERS) + 1)
    network.head = Told(short)
    network.steps = lambda images: torch.zeros(1, 4, 5)  # tanh(0): the logits as they are
    likely, total = short.log_softmax(1), 0.0
    for way in itertools.product(range(4), repeat=4):
        joined = [k for i, k in enumerate(way) if k != 3 and (i == 0 or way[i - 1] != k)]
        if joined == [0, 1]:
            total += math.exp(sum(float(likely[i, k]) for i, k in enumerate(way)))
    loss = network.losses(images(), code_points(["ab"]))
    assert float(loss[0]) == pytest.approx(-math.log(total) / 2, rel=1e-5)


def test_characters_never_learned_do_not_count():
    network = reader()
    picture = images()
    with torch.no_grad():
        known = network.losses(picture, code_points(["ab"]))
        strange = network.losses(picture, code_points(["aéb"]))
    assert torch.allclose(known, strange)


def test_characters_stand_from_left_to_right_inside_the_image():
    outputs = reader(saying("-a--b---c-" + "-" * 6))(images())
    spans = outputs[0, 1:, [2, 4]].tolist()
    assert [left < right for left, right in spans] == [True] * 3
    assert all(one[1] <= other[0] + 1e-9 for one, other in itertools.pairwise(spans))
    assert spans[0][0] >= 0
    assert spans[-1][1] <= 1


def test_a_character_stands_where_it_is_seen_not_where_it_is_said():
    class Late(Told):
        """Says `a` at the last column for what stands in column 5."""

        def forward(self, steps):
            seen = steps.new_zeros(*steps.shape[:2], 4)
            seen[..., 3] = 5.0
            seen[:, -1, 0] = 10.0 + steps[:, 5].sum(1)
            return seen

    network = reader()
    network.head = Late(torch.zeros(32, 4))
    network.steps = lambda images: torch.ones(1, 32, 5)
    (left, right) = network(images())[0, 1, [2, 4]].tolist()
    assert left < 5.5 / 32 < right


def test_places_are_told_in_inference_mode_too():
    network = reader(saying("a-b-" + "-" * 12))
    with torch.inference_mode():
        inside = network(images())
    assert text_of(inside) == "ab"


def test_the_decoder_writes_only_what_it_knows():
    torch.manual_seed(0)
    network = CharacterReader(tiny(), len(LETTERS), 3).eval()
    network.head.alphabet.copy_(code_points([LETTERS])[0])
    with torch.no_grad():
        outputs = network(images(4))
    points = outputs[:, 1:, 0]
    assert set(points.unique().int().tolist()) <= {0, *map(ord, LETTERS)}
    boxes = outputs[:, 1:, 2:][points > 0]
    assert (boxes[:, 2] > boxes[:, 0]).all()
    assert (boxes[:, 3] > boxes[:, 1]).all()


def test_too_short_an_image_is_read_at_its_widest_map():
    assert ColumnReader(tiny(), 3, 8, SHAPE).first == 0

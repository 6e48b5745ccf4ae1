"""A transform is off where it makes one class into another, or where nobody can say."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from kenspeckle.data.augment import TRANSFORMS
from kenspeckle.errors import UsageError
from kenspeckle.score import Z95, proportion
from kenspeckle.trust.label_safety import (
    HALF_TURN,
    Safety,
    allowed,
    label_safety,
    learn_lda,
    quarter_vectors,
)
from kenspeckle.trust.label_trial import FEWEST, difference, wilson

SIDE = 32


def drawn(kinds: list[str], count: int, side: int = SIDE, seed: int = 0):
    """Arrows and shapes at random places and sizes, (N, 3, side, side); their kinds (N,)."""
    dice, pictures = random.Random(seed), []
    for kind in kinds:
        for _ in range(count):
            paper = tuple(dice.randint(160, 255) for _ in range(3))
            ink = tuple(dice.randint(0, 90) for _ in range(3))
            image = Image.new("RGB", (4 * side, 4 * side), paper)
            draw = ImageDraw.Draw(image)
            half = side * dice.uniform(0.8, 1.3)
            x, y = (2 * side + dice.uniform(-0.3, 0.3) * side for _ in range(2))
            if kind == "circle":
                draw.ellipse((x - half, y - half, x + half, y + half), fill=ink)
            elif kind == "square":
                draw.rectangle((x - half, y - half, x + half, y + half), fill=ink)
            else:  # an arrow to the right, then turned
                draw.line((x - half, y, x + half, y), fill=ink, width=side // 3)
                tip, wing = x + 1.3 * half, 0.7 * half
                draw.polygon([(tip, y), (x, y - wing), (x, y + wing)], fill=ink)
                turn = {"right": 0, "up": 90, "left": 180, "down": 270}[kind]
                image = image.rotate(turn + dice.uniform(-6, 6), fillcolor=paper)
            small = image.resize((side, side), Image.Resampling.BOX)
            pictures.append(np.asarray(small).transpose(2, 0, 1))
    return torch.from_numpy(np.stack(pictures)), np.arange(len(kinds)).repeat(count)


def coarse(images: torch.Tensor) -> np.ndarray:
    """Darkness in 8 by 8 fields at length 1: features that know where something is."""
    grey = images.float().mean(1)
    dark = (grey.amax((1, 2), keepdim=True) - grey)[:, None]
    fields = torch.nn.functional.adaptive_avg_pool2d(dark, 8).flatten(1)
    return torch.nn.functional.normalize(fields, dim=1).numpy()


def asked(kinds: list[str], transforms: list[str], count: int = 20, **how) -> dict[str, Safety]:
    images, targets = drawn(kinds, count)
    found = label_safety(coarse, learn_lda, images, targets, kinds, transforms, **how)
    return {safety.name: safety for safety in found}


def test_a_flip_swaps_left_and_right_and_says_so():
    said = asked(["left", "right"], ["flip", "flip_vertical", "colour"])
    assert said["flip"].verdict == "swaps"
    assert {(p.source, p.answered) for p in said["flip"].pairs} == {
        ("left", "right"),
        ("right", "left"),
    }
    assert "'left' into 'right' (19 of 19)" in said["flip"].words
    assert said["colour"].verdict == "keeps"
    assert said["flip_vertical"].verdict == "keeps"


def test_a_vertical_flip_swaps_up_and_down_and_a_flip_does_not():
    said = asked(["up", "down"], ["flip", "flip_vertical"])
    assert said["flip"].verdict == "keeps"
    assert said["flip_vertical"].verdict == "swaps"


def test_a_half_turn_is_asked_where_both_flips_are():
    said = asked(["left", "right", "up", "down"], ["flip", "flip_vertical"])
    assert [*said] == ["flip", "flip_vertical", HALF_TURN]
    assert len(said[HALF_TURN].pairs) == 4
    assert allowed([*said.values()]) == []


def test_nothing_turns_circles_into_squares():
    said = asked(["circle", "square"], [*TRANSFORMS])
    assert [name for name, safety in said.items() if safety.verdict == "swaps"] == []
    assert {"flip", "flip_vertical", "colour"} <= {*allowed([*said.values()])}


@pytest.mark.parametrize("transform", ["flip", "colour"])
@pytest.mark.parametrize("count", [1, 2, FEWEST - 1])
def test_too_few_images_are_said_to_be_too_few(transform, count):
    said = asked(["circle", "square"], [transform], count)[transform]
    assert said.verdict == "cannot tell"
    assert said.untested == ("circle", "square")
    assert said.words.startswith(f"{transform} is off: cannot tell whether it keeps 'circle'")


def test_classes_that_the_head_cannot_tell_apart_are_not_called_safe():
    images, _ = drawn(["circle"], 40)
    targets = np.arange(40) % 2
    (said,) = label_safety(coarse, learn_lda, images, targets, ["a", "b"], ["flip"])
    assert said.verdict == "cannot tell"


def test_one_class_too_small_stops_mirrors_but_not_small_changes():
    kinds = ["left", "right", "up", "down", "circle"]
    images, targets = drawn(kinds, 12)
    chosen = np.flatnonzero((targets != 4) | (np.arange(60) >= 58))  # two circles
    said = label_safety(
        coarse, learn_lda, images[chosen], targets[chosen], kinds, [HALF_TURN, "colour"]
    )
    by_name = {safety.name: safety for safety in said}
    assert by_name["colour"].verdict == "keeps"
    assert "not tested on 'circle'" in by_name["colour"].words
    assert by_name["colour"].untested == by_name[HALF_TURN].untested == ("circle",)


def marked(count: int, classes: int = 3):
    """Images that name their class in the left column and nothing in the right one."""
    targets = np.arange(classes).repeat(count)
    images = torch.zeros(len(targets), 1, 4, 4, dtype=torch.uint8)
    images[:, 0, :, 0] = torch.from_numpy(10 * targets + 10)[:, None].to(torch.uint8)
    return images, targets


def unused_to_mirrors(images: torch.Tensor) -> np.ndarray:
    """Features in which every mirrored image looks like class 0, with its own class beside it."""
    read = images[:, 0, 0].numpy()
    is_mirrored = read[:, 0] == 0
    number = np.where(is_mirrored, read[:, -1], read[:, 0]) // 10 - 1
    vectors = np.zeros((len(images), 6))
    vectors[np.arange(len(images)), np.where(is_mirrored, 0, number)] = 1
    vectors[np.arange(len(images)), 3 + number] = np.where(is_mirrored, 1, 0)
    return vectors + 0.05 * np.random.default_rng(0).normal(size=vectors.shape)


def swaps_the_first_into_the_second(images: torch.Tensor) -> np.ndarray:
    """A mirrored image of class 0 has the features of class 1; all others keep theirs."""
    read = images[:, 0, 0].numpy()
    is_mirrored = read[:, 0] == 0
    number = np.where(is_mirrored, read[:, -1], read[:, 0]) // 10 - 1
    number[is_mirrored & (number == 0)] = 1
    return np.eye(3)[number] + 0.3 * np.random.default_rng(0).normal(size=(len(images), 3))


def test_a_network_that_is_unused_to_mirrors_does_not_make_a_swap():
    images, targets = marked(20)
    (said,) = label_safety(unused_to_mirrors, learn_lda, images, targets, ["a", "b", "c"], ["flip"])
    assert said.verdict == "keeps"
    assert {(p.source, p.answered) for p in said.pairs} == {("b", "a"), ("c", "a")}
    assert all(pair.turned == pair.of and pair.unlearned == 0 for pair in said.pairs)
    assert "can be learned" in said.words


def test_a_swap_in_one_direction_is_one_because_it_cannot_be_learned():
    images, targets = marked(20)
    (said,) = label_safety(
        swaps_the_first_into_the_second, learn_lda, images, targets, ["a", "b", "c"], ["flip"]
    )
    assert said.verdict == "swaps"
    assert [(p.source, p.answered) for p in said.pairs] == [("a", "b")]
    assert said.pairs[0].unlearned > 10


def test_images_of_one_group_count_once():
    images, targets = drawn(["left", "right"], 24)
    groups = np.arange(48) // 3
    (said,) = label_safety(
        coarse, learn_lda, images, targets, ["left", "right"], ["flip"], groups=groups
    )
    assert said.verdict == "swaps"
    assert max(pair.of for pair in said.pairs) <= 8


def test_it_says_the_same_twice_and_leaves_the_generator_alone():
    torch.manual_seed(5)
    first = asked(["circle", "square"], ["noise", "flip"])
    drawn_after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), drawn_after)
    assert asked(["circle", "square"], ["noise", "flip"]) == first


def test_progress_ends_with_all_done():
    told = []
    asked(["circle", "square"], ["flip", "rotate"], progress=lambda *numbers: told.append(numbers))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_an_unknown_transform_is_refused():
    with pytest.raises(UsageError, match="no augmentation 'flop', did you mean 'flip'"):
        asked(["circle", "square"], ["flop"])


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=50, deadline=None)
def test_the_interval_is_that_of_every_score(counts):
    count, n = counts
    low, high = wilson(np.array(count), np.array(n), Z95)
    score = proportion(count, n)
    assert (float(low), float(high)) == pytest.approx((score.low, score.high), abs=1e-12)


@pytest.mark.parametrize(
    ("one", "other", "ends"),
    [
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((5, 56), (0, 29), (-0.0381, 0.1926)),
        ((10, 10), (0, 10), (0.6075, 1.0000)),
    ],
)
def test_differences_are_those_of_the_paper(one, other, ends):
    """Newcombe 1998, table II, method 10."""
    found = difference(*map(np.array, (*one, *other)), Z95)
    assert [float(end) for end in found] == pytest.approx(ends, abs=1e-4)


def test_a_difference_the_other_way_round_is_its_negative():
    low, high = difference(np.array(7), np.array(9), np.array(2), np.array(11), 2.5)
    back_low, back_high = difference(np.array(2), np.array(11), np.array(7), np.array(9), 2.5)
    assert (low, high) == pytest.approx((-back_high, -back_low))


@pytest.mark.slow
def test_the_packaged_network_sees_that_a_mirrored_arrow_points_the_other_way():
    from kenspeckle.models.pretrained import make_backbone
    from kenspeckle.training.features import feature_network

    network = feature_network(make_backbone("efficientnet-lite0").eval(), "float32", 128)
    kinds = ["left", "right"]
    images, targets = drawn(kinds, 20, side=96)
    said = label_safety(
        lambda some: quarter_vectors(network, some),
        learn_lda,
        images,
        targets,
        kinds,
        ["flip", "flip_vertical", "colour"],
    )
    assert [safety.verdict for safety in said] == ["swaps", "keeps", "keeps", "swaps"]

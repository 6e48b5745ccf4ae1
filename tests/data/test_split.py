"""Nothing that belongs together is on two sides, and the same seed gives the same split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kenspeckle.data.dataset import Dataset, Sample
from kenspeckle.data.source import File
from kenspeckle.data.split import Parts, folds, read_split, split, write_split
from kenspeckle.errors import DataError

rows_of = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=60)


def arrays(rows):
    targets = np.array([label for label, _ in rows], dtype=np.int64)
    groups = np.array([group for _, group in rows], dtype=np.int64)
    return targets, groups


def divide(targets, groups, **changed):
    options = {"test_share": 0.2, "tune_share": 0.2, "seed": 0, **changed}
    return split(targets, groups, **options)


def all_rows(parts: Parts) -> list[int]:
    return sorted(np.concatenate([parts.train, parts.val, parts.test, parts.dropped]).tolist())


@given(rows_of, st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_every_row_is_in_one_part_and_no_group_in_two(rows, seed):
    targets, groups = arrays(rows)
    parts = divide(targets, groups, seed=seed)
    assert all_rows(parts) == list(range(len(rows)))
    sides = [set(groups[part].tolist()) for part in (parts.train, parts.val, parts.test)]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]


@given(rows_of, st.lists(st.sampled_from(["train", "val", "test", None]), min_size=60))
@settings(max_examples=60, deadline=None)
def test_given_parts_stay_and_no_group_straddles_them(rows, owner):
    targets, groups = arrays(rows)
    owner = owner[: len(rows)]
    parts = divide(targets, groups, given=owner)
    assert all_rows(parts) == list(range(len(rows)))
    assert {i for i, part in enumerate(owner) if part == "test"} <= set(parts.test.tolist())
    assert not set(groups[parts.train].tolist()) & set(groups[parts.test].tolist())
    assert not set(groups[parts.train].tolist()) & set(groups[parts.val].tolist())
    assert not set(groups[parts.val].tolist()) & set(groups[parts.test].tolist())


@given(rows_of, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_rows_does_not_matter(rows, random):
    targets, groups = arrays(rows)
    names = [f"{i}.png" for i in range(len(rows))]
    order = list(range(len(rows)))
    random.shuffle(order)
    one = divide(targets, groups, names=names)
    other = divide(targets[order], groups[order], names=[names[i] for i in order])
    assert {names[i] for i in one.test} == {names[order[i]] for i in other.test}
    assert {names[i] for i in one.val} == {names[order[i]] for i in other.val}


def test_single_images_are_divided_in_proportion_in_every_class():
    targets = np.repeat([0, 1, 2], [100, 50, 10])
    parts = divide(targets, np.arange(160), test_share=0.2, tune_share=0.25)
    assert np.bincount(targets[parts.test]).tolist() == [20, 10, 2]
    assert np.bincount(targets[parts.val]).tolist() == [20, 10, 2]


def test_another_seed_gives_another_split():
    targets = np.zeros(100, dtype=np.int64)
    one, other = (divide(targets, np.arange(100), seed=seed) for seed in (0, 1))
    assert one.test.tolist() != other.test.tolist()


def test_a_class_with_one_image_or_one_group_trains():
    targets, groups = np.array([0] * 10 + [1, 2, 2]), np.array([*range(10), 20, 21, 21])
    parts = divide(targets, groups)
    assert {10, 11, 12} <= set(parts.train.tolist())
    assert "2 classes" in parts.notes[0]


def test_a_class_with_two_images_is_learned_and_measured():
    parts = divide(np.array([0, 0, 1, 1]), np.arange(4))
    assert (len(parts.train), len(parts.test)) == (2, 2)


def test_a_part_that_nobody_named_is_taken_from_train():
    targets = np.zeros(20, dtype=np.int64)
    parts = divide(targets, np.arange(20), given=["test"] * 5 + ["train"] * 15)
    assert parts.test.tolist() == [0, 1, 2, 3, 4]
    assert len(parts.val) == 3


def test_copies_of_test_images_are_dropped_from_train():
    groups = np.array([0, 0, 1, 2])
    parts = divide(np.zeros(4, np.int64), groups, given=["test", "train", "train", "train"],
                   tune_share=0.0)  # fmt: skip
    assert parts.dropped.tolist() == [1]
    assert parts.train.tolist() == [2, 3]
    assert "1 image left out" in parts.notes[-1]


@given(rows_of, st.integers(2, 6))
@settings(max_examples=60, deadline=None)
def test_folds_keep_groups_together_and_every_class_learnable(rows, n_folds):
    targets, groups = arrays(rows)
    if max(len(set(groups[targets == c].tolist())) for c in set(targets.tolist())) < 2:
        return
    fold = folds(targets, groups, n_folds, seed=0)
    assert all(len(set(fold[groups == g].tolist())) == 1 for g in set(groups.tolist()))
    assert fold.max() < n_folds


def test_a_class_is_spread_over_as_many_folds_as_it_can():
    targets = np.repeat([0, 1, 2], [50, 3, 2])
    fold = folds(targets, np.arange(55), 5, seed=0)
    assert np.bincount(fold[:50]).tolist() == [10] * 5
    assert len(set(fold[50:53].tolist())) == 3
    assert len(set(fold[53:].tolist())) == 2


def test_folds_are_no_more_than_the_largest_class_can_fill():
    assert folds(np.array([0, 0, 0, 1, 1]), np.arange(5), 5, seed=0).max() == 2
    with pytest.raises(DataError, match="add images"):
        folds(np.array([0, 1]), np.arange(2), 5, seed=0)


def dataset_of(*paths: str) -> Dataset:
    samples = tuple(Sample(path, File(Path(path)), label="cat") for path in paths)
    return Dataset(Path("photos"), samples, ("cat",))


def test_a_written_split_is_read_back(tmp_path):
    dataset = dataset_of("a.png", 'b,"1".png', "c.png", "d.png")
    parts = Parts(*(np.array([row]) for row in (2, 0, 1, 3)))
    write_split(tmp_path / "split.csv", dataset, parts)
    assert read_split(tmp_path / "split.csv", dataset) == ["val", "test", "train", None]


def test_a_split_of_other_images_is_refused(tmp_path):
    whole = dataset_of("a.png", "b.png", "c.png")
    write_split(tmp_path / "split.csv", whole, divide(np.zeros(3, np.int64), np.arange(3)))
    with pytest.raises(DataError, match=r"names 2 files .* the first is b.png in line 3"):
        read_split(tmp_path / "split.csv", dataset_of("a.png", "z.png"))


def test_every_class_with_two_groups_is_measured_even_where_groups_are_large():
    targets = np.array([0] * 12 + [1] * 12)
    groups = np.array([i // 3 for i in range(12)] + [4 + i // 3 for i in range(12)])
    parts = divide(targets, groups, test_share=0.2, tune_share=0.15)
    assert set(targets[parts.test].tolist()) == {0, 1}
    assert set(targets[parts.train].tolist()) == {0, 1}

"""Each image once an epoch, in an order that the seed and the epoch alone decide."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kenspeckle.data.batch import CROWD, Batches, Chosen


def some_lengths(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(1, 200, (count,), generator=torch.Generator().manual_seed(seed))


def made(count: int, size: int = 4, seed: int | None = 0, lengths: torch.Tensor | None = None):
    return Batches(
        torch.arange(count), torch.arange(count), batch_size=size, seed=seed, lengths=lengths
    )


def rows(batches: Batches, epoch: int = 0, skip: int = 0) -> list[list[int]]:
    return [batch.rows.tolist() for (batch,) in batches.epoch(epoch, skip)]


def filling(batches: Batches, lengths: torch.Tensor) -> int:
    """Steps that are filled up, each batch to its longest."""
    lots = [lengths[row] for row in rows(batches)]
    return sum(int(lot.max()) * len(lot) - int(lot.sum()) for lot in lots)


sizes = st.tuples(st.integers(1, 90), st.integers(1, 9), st.integers(0, 3), st.booleans())


@given(sizes)
@settings(max_examples=50, deadline=None)
def test_every_row_comes_once_an_epoch(size):
    count, batch_size, epoch, has_lengths = size
    lengths = some_lengths(count) if has_lengths else None
    batches = made(count, batch_size, lengths=lengths)
    updates = rows(batches, epoch)
    assert sorted(row for update in updates for row in update) == list(range(count))
    assert len(updates) == len(batches)
    assert [len(update) for update in updates[:-1]] == [batch_size] * (len(updates) - 1)


@pytest.mark.parametrize("lengths", [None, some_lengths(80)])
def test_the_order_depends_on_the_seed_and_the_epoch_alone(lengths):
    first = rows(made(80, lengths=lengths), 3)
    torch.manual_seed(99)
    assert rows(made(80, lengths=lengths), 3) == first
    assert rows(made(80, lengths=lengths), 4) != first
    assert rows(made(80, seed=1, lengths=lengths), 3) != first


@given(sizes, st.integers(0, 30))
@settings(max_examples=50, deadline=None)
def test_what_is_skipped_is_the_beginning(size, skip):
    count, batch_size, epoch, has_lengths = size
    batches = made(count, batch_size, lengths=some_lengths(count) if has_lengths else None)
    assert rows(batches, epoch, skip) == rows(batches, epoch)[skip:]


def test_without_a_seed_the_order_is_kept_whatever_the_lengths():
    assert rows(made(7, 3, None, some_lengths(7))) == [[0, 1, 2], [3, 4, 5], [6]]


def test_alike_lengths_take_less_filling():
    lengths = some_lengths(400)
    plain, alike = made(400, 8), made(400, 8, lengths=lengths)
    assert filling(alike, lengths) < filling(plain, lengths) / 5


def test_the_batches_of_one_crowd_hold_neighbours_in_length():
    lengths = some_lengths(CROWD * 4)
    lots = [sorted(lengths[row].tolist()) for row in rows(made(CROWD * 4, lengths=lengths))]
    inside = sorted(lots, key=lambda lot: (lot[0], lot[-1]))
    assert [length for lot in inside for length in lot] == sorted(lengths.tolist())
    assert lots != inside  # the short ones do not all come first


def test_full_batches_do_not_mind_lengths():
    lengths = some_lengths(9)
    batches = Batches(torch.arange(9), torch.arange(9), batch_size="full", seed=0, lengths=lengths)
    (update,) = batches.epoch(0)
    assert sorted(update[0].rows.tolist()) == list(range(9))
    assert list(batches.epoch(0, skip=1)) == []


def test_a_batch_holds_the_same_rows_of_everything():
    images, targets = torch.rand(10, 3, 2, 2), torch.rand(10, 4)
    batches = Batches(images, targets, torch.arange(10.0), batch_size=4, seed=0)
    for (batch,) in batches.epoch(0):
        assert torch.equal(batch.images, images[batch.rows])
        assert torch.equal(batch.targets, targets[batch.rows])
        assert torch.equal(batch.weights, batch.rows.float())


def test_chosen_rows_are_a_set_of_images():
    images = Chosen(torch.arange(10) * 10, torch.tensor([7, 2, 5]))
    assert len(images) == 3
    assert images[torch.tensor([2, 0])].tolist() == [50, 70]

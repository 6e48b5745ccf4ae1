from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kenspeckle.training.checkpoint import from_bytes, load, load_latest, save, to_bytes

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.bool, torch.int64, torch.uint8]
tensors = st.builds(
    lambda dtype, shape: (torch.rand(shape) * 9).to(dtype),
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 3), max_size=3),
)
keys = st.text(max_size=5) | st.integers() | st.booleans() | st.none()
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | tensors
trees = st.dictionaries(
    keys,
    st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(keys, inner, max_size=3)
        ),
        max_leaves=10,
    ),
    max_size=4,
)


def equal(one, other):
    """The same kinds and values all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and bool((one == other).all())
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other or (one != one and other != other)


@settings(deadline=None, max_examples=60)
@given(trees)
def test_any_tree_comes_back_as_it_was(tree):
    assert equal(from_bytes(to_bytes(tree)), tree)


def test_equal_trees_are_equal_bytes():
    tree = {"a": torch.ones(2), "b": [1, None]}
    assert len({to_bytes(tree) for _ in range(20)}) == 1


def test_tensors_that_share_memory_come_back():
    whole = torch.arange(6.0).view(2, 3)
    tree = {"whole": whole, "row": whole[0], "turned": whole.t(), "again": whole}
    assert equal(from_bytes(to_bytes(tree)), tree)


def test_the_state_of_lbfgs_comes_back():
    point = nn.Parameter(torch.ones(3))
    optimiser = torch.optim.LBFGS([point], max_iter=3)

    def loss():
        optimiser.zero_grad()
        value = (point.square() * torch.tensor([1.0, 2.0, 3.0])).sum()
        value.backward()
        return value

    optimiser.step(loss)
    state = optimiser.state_dict()
    assert state["state"][0]["old_dirs"]
    assert equal(from_bytes(to_bytes(state))["state"], state["state"])


def test_what_cannot_be_stored_is_refused():
    with pytest.raises(TypeError, match="cannot hold a set"):
        to_bytes({"a": {1}})


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_any_damage_is_seen(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damage")
    path = save(folder, {"a": torch.arange(5), "b": [1, "x", math.inf]}, 1)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(ValueError, match="does not match the hash"):
        load(path)


def test_the_newest_three_are_kept(tmp_path):
    for step in (1, 20, 3, 4, 5):
        save(tmp_path, {"step": step}, step)
    assert sorted(int(path.name[5:13]) for path in tmp_path.iterdir()) == [4, 5, 20]


def test_a_damaged_snapshot_gives_way_to_the_one_before(tmp_path):
    save(tmp_path, {"step": 1}, 1)
    save(tmp_path, {"step": 2}, 2).write_bytes(b"torn")
    tree, notes = load_latest(tmp_path)
    assert tree == {"step": 1}
    assert len(notes) == 1
    assert "step-00000002" in notes[0]


def test_a_blob_that_is_no_snapshot_is_refused():
    for content in (b"", b"\x08\0\0\0\0\0\0\0notjson!", b"\x02\0\0\0\0\0\0\0{}", b"\xff" * 30):
        with pytest.raises(ValueError):  # noqa: PT011 (every such kind says it in its own words)
            from_bytes(content)


def test_an_empty_folder_has_none(tmp_path):
    assert load_latest(tmp_path / "absent") == (None, [])


def test_leftovers_of_a_killed_writer_are_removed(tmp_path):
    (tmp_path / ".step-00000001-abc.tmp").write_bytes(b"half")
    save(tmp_path, {}, 2)
    assert len(list(tmp_path.iterdir())) == 1

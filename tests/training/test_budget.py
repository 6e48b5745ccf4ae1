from __future__ import annotations

import time

import pytest
import torch

from kenspeckle.recipe import Training
from kenspeckle.training import budget
from kenspeckle.training.budget import Deadline, Settings, choose_speed, settings_for


@pytest.fixture
def one(tiny):
    return next(tiny.batches(tiny.images()).epoch(0))[0]


def test_a_deadline_goes_from_zero_to_one(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    deadline = Deadline(10, share=0.9)
    assert deadline.used() == 0
    now[0] += 4.5
    assert deadline.used() == 0.5
    assert deadline.seconds_left() == 4.5
    assert deadline.used(reserve=4.5) == 1
    now[0] += 100
    assert deadline.used() == 1
    assert deadline.seconds_left() == 0


def test_no_deadline_is_never_over():
    assert Deadline(None).used(reserve=5.0) == 0
    assert Deadline(None).seconds_left() == float("inf")


def test_a_short_run_takes_the_safe_settings(tiny, one):
    chosen = choose_speed(tiny.cnn(), tiny.Classes(), one, Training(), updates=10)
    assert (chosen.precision, chosen.channels_last) == ("float32", False)
    assert chosen.threads == torch.get_num_threads()


def test_a_long_run_is_measured_and_every_field_is_resolved(tiny, one, monkeypatch):
    monkeypatch.setattr(budget, "MEASURE_SECONDS", 0.05)
    network, threads = tiny.cnn(), torch.get_num_threads()
    before = [p.clone() for p in network.parameters()]
    chosen = choose_speed(network, tiny.Classes(), one, Training(), updates=10**9)
    assert None not in (chosen.precision, chosen.channels_last, chosen.threads)
    assert torch.get_num_threads() == threads
    assert all(map(torch.equal, network.parameters(), before))


def test_the_fastest_is_taken_only_when_clearly_so(tiny, one, monkeypatch):
    fast, safe = Settings("float32", True, 1), Settings("float32", False, 1)
    open_order = Training(precision="float32", threads=1)
    for gain, expected in ((0.5, True), (0.95, False)):
        measured = {safe: 1.0, fast: gain}
        monkeypatch.setattr(budget, "_measure", lambda trials, times=measured: times)
        chosen = choose_speed(tiny.cnn(), tiny.Classes(), one, open_order, updates=10**9)
        assert chosen.channels_last is expected


def test_what_the_recipe_says_is_kept():
    recipe = Training(precision="bfloat16", channels_last=True, threads=1)
    assert list(settings_for(recipe)) == [Settings("bfloat16", True, 1)]

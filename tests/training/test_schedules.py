from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim import lr_scheduler

from kenspeckle.errors import UsageError
from kenspeckle.training.schedules import SCHEDULES, OneCycle, Plateau, StepDown, make_schedule

TOTAL = 60


def torch_rates(make, count=TOTAL):
    """The rates that a scheduler of torch's gives for a base rate of 1."""
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimiser)
    rates = []
    for _ in range(count):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return rates


def our_rates(schedule):
    return [schedule.factor(done / TOTAL) for done in range(TOTAL)]


def test_cosine_is_torchs():
    theirs = torch_rates(lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=TOTAL))
    assert our_rates(make_schedule("cosine")) == pytest.approx(theirs, abs=1e-9)


def test_step_is_torchs():
    theirs = torch_rates(lambda o: lr_scheduler.StepLR(o, step_size=TOTAL // 3, gamma=0.1))
    assert our_rates(StepDown()) == pytest.approx(theirs)


def test_one_cycle_is_torchs():
    # torch counts TOTAL + 1 rates from first to last and puts the peak at pct * (TOTAL + 1) - 1.
    pct = (0.3 * TOTAL + 1) / (TOTAL + 1)
    theirs = torch_rates(
        lambda o: lr_scheduler.OneCycleLR(
            o, 1.0, total_steps=TOTAL + 1, pct_start=pct, cycle_momentum=False
        )
    )
    assert our_rates(OneCycle()) == pytest.approx(theirs, abs=1e-9)


def test_plateau_is_torchs():
    losses = [1.0, 0.9, 0.9, 0.95, 0.9, 0.91, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.7]
    ours, schedule = [], Plateau()
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs, scheduler = [], lr_scheduler.ReduceLROnPlateau(optimiser, patience=3)
    for loss in losses:
        schedule.observe(loss)
        scheduler.step(loss)
        ours.append(schedule.factor(0.5))
        theirs.append(optimiser.param_groups[0]["lr"])
    assert ours == pytest.approx(theirs)
    assert ours[-1] < 1


def test_plateau_goes_on_where_it_was():
    first, second = Plateau(patience=1), Plateau(patience=1)
    for loss in (1.0, 1.0):
        first.observe(loss)
    second.load(first.state())
    second.observe(1.0)
    assert second.factor(0.0) == pytest.approx(0.1)


@given(st.sampled_from(sorted(SCHEDULES)), st.floats(0, 1))
def test_a_factor_lies_between_zero_and_one(name, progress):
    assert 0 <= make_schedule(name).factor(progress) <= 1


def test_an_unknown_schedule_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'cosine'"):
        make_schedule("cosin")

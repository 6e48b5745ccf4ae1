from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kenspeckle.errors import UsageError
from kenspeckle.recipe import Training
from kenspeckle.training import fit as fit_module
from kenspeckle.training.fit import fit, holding, set_modes


def run(tiny, recipe, *, network=None, data=None, tune=None, folder=None, resume=False, most=None):
    """The network after `fit`, and every progress; `most` updates, then the run is dropped."""
    network = network or tiny.mlp()
    data = data or tiny.vectors()
    seen = []
    steps = fit(
        network,
        tiny.Classes(),
        tiny.batches(data, recipe.batch_size),
        tune or tiny.tuning(tiny.vectors(20)),
        recipe,
        folder,
        resume=resume,
    )
    for progress in steps:
        seen.append(progress)
        if len(seen) == most:
            break
    steps.close()
    return network, seen


def same(first, second):
    """Whether two networks are equal to the last bit."""
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def test_a_run_ends_with_its_reason_and_a_row_an_epoch(tiny):
    _, seen = run(tiny, Training(epochs=3, batch_size=8))
    assert seen[-1].stopped == "all 3 epochs done"
    assert [row.epoch for row in seen[-1].history] == [1, 2, 3]
    assert [progress.step for progress in seen[:-1]] == list(range(1, 16))
    assert all(progress.stopped is None for progress in seen[:-1])


def test_the_best_weights_are_put_back(tiny):
    losses = iter([0.5, 0.1, 0.9])
    kept = []

    def tune(network):
        kept.append({name: value.clone() for name, value in network.state_dict().items()})
        return next(losses)

    network, _ = run(tiny, Training(epochs=3, batch_size=8), tune=tune)
    assert all(torch.equal(value, kept[1][name]) for name, value in network.state_dict().items())


def test_early_stopping_waits_for_patience_epochs(tiny):
    _, seen = run(tiny, Training(epochs=9, batch_size=8, patience=2), tune=lambda network: 1.0)
    assert seen[-1].stopped == "no better tuning loss for 2 epochs"
    assert len(seen[-1].history) == 3


def test_a_tuning_loss_that_is_no_number_is_never_the_best(tiny):
    losses = iter([float("nan"), 0.4, float("nan")])
    _, seen = run(tiny, Training(epochs=3, batch_size=8), tune=lambda network: next(losses))
    assert seen[-1].stopped == "all 3 epochs done"


def test_steps_are_exact_and_may_end_inside_an_epoch(tiny):
    recipe = Training(steps=7, batch_size=8, patience=1)
    _, seen = run(tiny, recipe, tune=lambda network: 1.0)
    assert seen[-1].stopped == "all 7 updates done"
    assert seen[-1].step == 7
    assert [row.step for row in seen[-1].history] == [5, 7]


def test_a_budget_ends_after_at_least_one_update(tiny):
    _, seen = run(tiny, Training(epochs=1000, batch_size=8, budget_seconds=1e-9))
    assert seen[-1].step == 1
    assert "time budget" in seen[-1].stopped
    assert seen[-1].history[0].tune_loss is not None


def test_an_interruption_in_training_keeps_the_best(tiny):
    kept = []

    def tune(network):
        if kept:
            raise KeyboardInterrupt
        kept.append({name: value.clone() for name, value in network.state_dict().items()})
        return 1.0

    network, seen = run(tiny, Training(epochs=9, batch_size=8), tune=tune)
    assert seen[-1].stopped == "interrupted"
    assert all(torch.equal(value, kept[0][name]) for name, value in network.state_dict().items())


def test_a_consumer_that_leaves_gets_the_best_too(tiny):
    losses = iter([0.1, 0.9])
    network, _ = run(
        tiny, Training(epochs=9, batch_size=8), tune=lambda network: next(losses), most=12
    )
    alone, _ = run(tiny, Training(epochs=9, batch_size=8), tune=lambda network: 0.1, most=5)
    assert same(network, alone)


def test_frozen_parts_are_in_eval_mode(tiny):
    network = tiny.cnn()
    for parameter in network[1].parameters():
        parameter.requires_grad_(False)
    set_modes(network.eval())
    assert [module.training for module in network] == [True, False] + [True] * 6


def test_measuring_changes_neither_weights_nor_modes(tiny):
    network = tiny.cnn()
    network[6].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    other = {name: value + 1 for name, value in before.items()}
    with holding(network, other):
        assert network[7].bias.sum().item() > 2
        assert not any(module.training for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert [module.training for module in network] == [True] * 6 + [False, True]


def test_whoever_watches_sees_the_averaged_weights_once_an_epoch_and_changes_nothing(tiny):
    seen, settings = [], Training(epochs=3, batch_size=8, averaging=0.9)

    def look(network, epoch):
        seen.append((epoch, network.training, network[7].bias.clone()))

    watched = tiny.cnn()
    plain = copy.deepcopy(watched)
    for network, watcher in ((watched, look), (plain, None)):
        batches = tiny.batches(tiny.images(20), settings.batch_size)
        torch.manual_seed(0)
        list(fit(network, tiny.Classes(), batches, None, settings, None, look=watcher))
    assert [(epoch, mode) for epoch, mode, _ in seen] == [(1, False), (2, False), (3, False)]
    assert torch.equal(seen[-1][2], watched[7].bias)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name])


def test_training_learns(tiny):
    network, seen = run(
        tiny,
        Training(epochs=15, batch_size=8, averaging=0.9),
        network=tiny.cnn(),
        data=tiny.images(60),
        tune=tiny.tuning(tiny.images(30)),
    )
    assert seen[-1].history[-1].tune_loss < 0.5 * seen[-1].history[0].tune_loss
    assert not network.training or seen[-1].stopped


RECIPES = {
    "momentum": Training(epochs=4, batch_size=8, optimiser="momentum", schedule="cosine"),
    "plateau": Training(epochs=4, batch_size=8, optimiser="rmsprop", schedule="plateau", l1=1e-3),
    "averaged": Training(epochs=4, batch_size=8, averaging=0.9, clip=0.5),
    "lbfgs": Training(epochs=6, batch_size="full", optimiser="lbfgs", schedule="constant"),
}


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("most", [3, 5])
def test_a_stopped_run_that_is_resumed_ends_in_the_same_bytes(
    tiny, tmp_path, monkeypatch, name, most
):
    monkeypatch.setattr(fit_module, "FIRST_SAVE_SECONDS", 0.0)
    monkeypatch.setattr(fit_module, "SAVE_SHARE", 1e9)
    recipe = RECIPES[name]
    whole, all_seen = run(tiny, recipe)
    run(tiny, recipe, folder=tmp_path, most=most)
    resumed, seen = run(tiny, recipe, folder=tmp_path, resume=True)
    assert len(seen) == len(all_seen) - most
    assert same(whole, resumed)


@pytest.mark.parametrize("channels_last", [False, True])
def test_convolutions_resume_in_either_memory_order(tiny, tmp_path, monkeypatch, channels_last):
    monkeypatch.setattr(fit_module, "FIRST_SAVE_SECONDS", 0.0)
    monkeypatch.setattr(fit_module, "SAVE_SHARE", 1e9)

    def part(folder, most=None):
        recipe = Training(steps=12, batch_size=8, channels_last=channels_last)
        data, tune = tiny.images(), tiny.tuning(tiny.images(21))
        return run(
            tiny,
            recipe,
            network=tiny.cnn(),
            data=data,
            tune=tune,
            folder=folder,
            resume=True,
            most=most,
        )[0]

    whole = part(tmp_path / "one")
    part(tmp_path / "two", most=7)
    assert same(whole, part(tmp_path / "two"))


def test_resuming_with_other_choices_is_refused(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(fit_module, "FIRST_SAVE_SECONDS", 0.0)
    run(tiny, Training(epochs=4, batch_size=8), folder=tmp_path, most=3)
    with pytest.raises(UsageError, match="seed was 0, is 1"):
        run(tiny, Training(epochs=4, batch_size=8, seed=1), folder=tmp_path, resume=True)


def test_resuming_where_nothing_was_saved_starts_from_the_beginning(tiny, tmp_path):
    fresh, _ = run(tiny, Training(epochs=1, batch_size=8))
    resumed, _ = run(tiny, Training(epochs=1, batch_size=8), folder=tmp_path, resume=True)
    assert same(fresh, resumed)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that can fork")
@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.timeout(1200)
def test_a_run_killed_at_any_moment_ends_in_the_same_bytes(tmp_path, kills):
    script = Path(__file__).parent / "tiny.py"
    subprocess.run([sys.executable, str(script), str(tmp_path), str(kills)], check=True)
    results = list(tmp_path.glob("killed-*.bytes"))
    assert results
    assert {path.read_bytes() for path in results} == {(tmp_path / "whole.bytes").read_bytes()}

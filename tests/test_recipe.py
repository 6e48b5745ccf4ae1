"""Recipes survive YAML, and every fault in one is named with its place."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kenspeckle.errors import UsageError
from kenspeckle.recipe import Data, Recipe, Training

numbers = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
recipes = st.builds(
    Recipe,
    model=st.none() | texts,
    loss=st.sampled_from(["auto", "balanced", "focal"]),
    pool=st.sampled_from(["avg", "max", "avgmax"]),
    positions=st.sampled_from(["sin2d", "learned", "none"]),
    weights=st.none() | texts,
    freeze=st.none() | st.booleans(),
    dropout=numbers,
    data=st.builds(
        Data, image_size=st.none() | st.integers(), resize=st.sampled_from(["pad", "crop"])
    ),
    training=st.builds(
        Training,
        epochs=st.integers(),
        batch_size=st.integers() | st.just("full"),
        learning_rate=st.none() | numbers,
        clip=st.none() | numbers,
        augment=st.none() | st.lists(texts).map(tuple),
        mixup=numbers,
    ),
)


@given(recipes)
def test_a_recipe_survives_plain_values(recipe):
    assert Recipe.from_dict(recipe.as_dict()) == recipe


@settings(deadline=None)
@given(recipes)
def test_a_recipe_survives_yaml(tmp_path_factory, recipe):
    path = tmp_path_factory.mktemp("recipe") / "args.yaml"
    recipe.to_yaml(path)
    assert Recipe.from_yaml(path) == recipe


def test_an_empty_file_is_the_default_recipe(tmp_path):
    (tmp_path / "args.yaml").write_text("")
    assert Recipe.from_yaml(tmp_path / "args.yaml") == Recipe()


def test_numbers_as_yaml_misreads_them_are_numbers():
    assert Recipe.from_dict({"training": {"learning_rate": "1e-3"}}).training.learning_rate == 1e-3
    assert Recipe.from_dict({"dropout": 0}).dropout == 0.0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"trainig": {}}, "'trainig' is not a setting, did you mean 'training'?"),
        ({"training": {"epoch": 1}}, "did you mean 'training.epochs'?"),
        ({"training": {"epochs": 1.5}}, "'training.epochs' should be a whole number, found 1.5"),
        ({"training": {"epochs": True}}, "'training.epochs' should be a whole number, found True"),
        ({"training": {"batch_size": "half"}}, "a whole number or full, found 'half'"),
        ({"training": 3}, "'training' should hold settings of its own, found 3"),
        ({"data": {"resize": "squash"}}, "'data.resize' should be pad or stretch or crop"),
        ({"dropout": "much"}, "'dropout' should be a number, found 'much'"),
        ({"loss": "hinge"}, "'loss' should be auto or cross-entropy or balanced or focal"),
        ({"pool": "min"}, "'pool' should be avg or max or avgmax, found 'min'"),
        ({"training": {"augment": ["flip", 1]}}, "'training.augment' should be a list of names"),
        ({"training": {"augment": "flip"}}, "'training.augment' should be a list of names"),
        ({"freeze": "maybe"}, "'freeze' should be true or false or nothing (null)"),
    ],
)
def test_a_fault_is_named_with_its_place(values, words):
    with pytest.raises(UsageError) as caught:
        Recipe.from_dict(values)
    assert words in str(caught.value)
    assert "one fault" in str(caught.value)


def test_all_faults_are_reported_together():
    with pytest.raises(UsageError) as caught:
        Recipe.from_dict({"modle": "x", "training": {"epochs": "x", "seed": "y"}}, "args.yaml")
    assert str(caught.value).startswith("args.yaml has 3 faults: ")


def test_a_change_reaches_inside_and_leaves_the_original():
    before = Recipe()
    after = before.changed({"training.epochs": 3, "model": "seed-cnn"})
    assert (after.training.epochs, after.model) == (3, "seed-cnn")
    assert before == Recipe()
    assert dataclasses.replace(after, training=Training(), model=before.model) == before


def test_no_change_is_the_same_recipe():
    assert Recipe().changed({}) == Recipe()


def test_a_change_of_a_whole_group_to_a_word_is_refused():
    with pytest.raises(UsageError, match="'training' should hold settings"):
        Recipe().changed({"training": "fast"})


def test_a_name_with_a_line_break_of_unicode_survives_yaml(tmp_path):
    recipe = Recipe(weights="a\x85b\u2028.safetensors")
    recipe.to_yaml(tmp_path / "args.yaml")
    assert Recipe.from_yaml(tmp_path / "args.yaml") == recipe

"""Names that are likely one class are found; words that merely look alike are not."""

from __future__ import annotations

import time
from itertools import product
from pathlib import Path

import pytest

from kenspeckle.data.checks import Evidence
from kenspeckle.data.checks.names import check_names
from kenspeckle.data.dataset import Dataset, Sample, class_list
from kenspeckle.data.source import File


def dataset_of(counts: dict[str, int], parts: dict[str, str] | None = None) -> Dataset:
    samples = tuple(
        Sample(f"{n}-{i}.png", File(Path("x.png")), name, split=(parts or {}).get(name))
        for n, (name, count) in enumerate(counts.items())
        for i in range(count)
    )
    return Dataset(Path("photos"), samples, class_list(counts))


def found(counts: dict[str, int], parts: dict[str, str] | None = None):
    return list(check_names(dataset_of(counts, parts), Evidence()))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Rose", "rose"),
        ("red fox", "red  fox"),
        ("red_fox", "Red Fox"),
        ("red-fox", "redfox"),
        ("Granny-Smith", "GrannySmith"),
        ("class_1", "class 1"),
        ("caf\u00e9", "cafe\u0301"),
        ("\uff21\uff22", "AB"),
        ("\u00e9", "e\u0301"),
        (" cat", "cat"),
        ("Stra\u00dfe", "strasse"),
    ],
)
def test_names_that_differ_in_form_alone_are_warned_of(first, second):
    (finding,) = found({first: 20, second: 20})
    assert finding.severity == "warning"
    assert finding.facts["classes"] == [[*class_list([first, second])]]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a", "A"),
        ("1 2", "12"),
        ("x-1", "x1"),
        ("-1", "1"),
        ("-", "_"),
        ("+", "-"),
        ("a/b", "ab"),
        ("->", ">"),
    ],
)
def test_signs_letters_and_numbers_are_names_of_their_own(first, second):
    assert found({first: 20, second: 20}) == []


@pytest.mark.parametrize(
    ("first", "second"), [("cat", "cats"), ("daisy", "daisies"), ("fire box", "fire boxes")]
)
def test_a_plural_is_noted(first, second):
    (finding,) = found({first: 20, second: 20})
    assert finding.severity == "note"
    assert "'" + first + "'" in finding.words


@pytest.mark.parametrize("slip", ["dandelino", "dnadelion", "dandelon", "danddelion", "dandeelion"])
def test_a_slip_in_a_long_word_is_noted_unless_it_is_at_the_end(slip):
    said = [finding.severity for finding in found({"dandelion": 20, slip: 20})]
    assert said == ([] if slip == "dandelino" else ["note"])


@pytest.mark.parametrize(
    ("right", "slip"),
    [("tulip", "tluip"), ("forest", "forrest"), ("dandelion", "dandelian"), ("pansy", "panssy"),
     ("chrysanthemum", "crysanthemmum"), ("red tulip", "red tullip")],
)  # fmt: skip
def test_a_rare_slip_is_noted_and_its_files_named(right, slip):
    (finding,) = found({right: 40, slip: 3})
    assert finding.severity == "note"
    assert len(finding.paths) == 3
    assert found({right: 40, slip: 40}) == []


def test_names_that_never_share_a_given_part_are_taken_for_slips():
    counts = {"tulip": 20, "tluip": 20}
    assert found(counts, {"tulip": "train", "tluip": "train"}) == []
    assert len(found(counts, {"tulip": "train", "tluip": "test"})) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("6", "9"), ("class1", "class2"), ("cat", "car"), ("stop", "shop"), ("horse", "house"),
        ("mouse", "moose"), ("masked", "unmasked"), ("normal", "abnormal"), ("male", "female"),
        ("type a", "type b"), ("stage ii", "stage iii"), ("Parus major", "Parus minor"),
        ("healthy", "unhealthy"), ("plane", "planet"), ("glass", "glasses"),
        ("princes", "princess"),
        ("left hand", "right hand"), ("hypertension", "hypotension"), ("IMG0012", "IMG0013"),
        ("speed limit 30", "speed limit 80"), ("n02085620", "n02085782"), ("b", "d"),
        ("with mask", "without mask"), ("\u82f9\u679c", "\u82f9\u679c\u6811"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("rare", [2, 40])
def test_different_words_are_left_alone(first, second, rare):
    assert found({first: 40, second: rare}) == []


def test_names_made_by_counting_are_left_alone():
    names = ["specimen" + a + b + "x" for a, b in product("abcdefghij", repeat=2)]
    assert found({name: 40 if i % 2 else 2 for i, name in enumerate(names)}) == []


@pytest.mark.parametrize("form", ["class {i}", "{word}genus{word}"])
def test_the_cost_grows_with_the_names_and_not_with_their_pairs(form):
    words = ["".join(letters) for letters in product("abcdefghijklmnopqrstuvwxyz", repeat=4)]
    names = [form.format(i=i, word=word) for i, word in enumerate(words[::22][:20_000])]
    start = time.process_time()
    list(check_names(dataset_of(dict.fromkeys(names, 1)), Evidence()))
    assert time.process_time() - start < 3  # 0.4 and 0.7 of one core

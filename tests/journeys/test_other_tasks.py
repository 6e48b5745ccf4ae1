"""Labels, sequences and pairs of strings go the whole way too: train, predict, val, report."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from kenspeckle.verbs.model import load

COLOURS = {"red": (220, 40, 40), "blue": (40, 60, 220)}
SIDE = 32
LETTERS = "abcdefgh"


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))


def draw(folder: Path, name: str, shape: str, colour: str, random: np.random.Generator) -> None:
    """A circle, a square or nothing in a colour, on grey noise."""
    pixels = random.integers(90, 130, (SIDE, SIDE, 3)).astype(np.uint8)
    image = Image.fromarray(pixels)
    left, top = random.integers(2, 8, 2).tolist()
    box = (left, top, left + 20, top + 20)
    if shape == "circle":
        ImageDraw.Draw(image).ellipse(box, fill=COLOURS[colour])
    elif shape == "square":
        ImageDraw.Draw(image).rectangle(box, fill=COLOURS[colour])
    image.save(folder / name)


@pytest.fixture(scope="module")
def tagged(tmp_path_factory) -> Path:
    """60 drawings, each with its shape and colour as labels, and some of nothing."""
    folder, random = tmp_path_factory.mktemp("tagged"), np.random.default_rng(0)
    lines = ["filename,labels"]
    for i in range(60):
        shape = ("circle", "square", "none")[i % 3]
        colour = ("red", "blue")[i // 3 % 2]
        draw(folder, f"{i}.png", shape, colour, random)
        lines.append(f"{i}.png,{'-' if shape == 'none' else f'{colour}; {shape}'}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def waves(tmp_path_factory) -> Path:
    """Two classes of sequences of 8 to 20 steps, rising and falling, as .npy and .csv."""
    folder, random = tmp_path_factory.mktemp("waves"), np.random.default_rng(0)
    for name, way in (("rising", 1), ("falling", -1)):
        (folder / name).mkdir()
        for i in range(24):
            steps = way * np.linspace(-1, 1, random.integers(8, 20))[:, None]
            steps = np.hstack([steps, steps**2]) + random.normal(0, 0.1, (len(steps), 2))
            if i % 2:
                np.save(folder / name / f"{i}.npy", steps)
            else:
                np.savetxt(folder / name / f"{i}.csv", steps, "%.4f", ",", header="x,y")
    return folder


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    """300 words of one to three letters and the same in capitals."""
    random = np.random.default_rng(0)
    words = {"".join(random.choice(list(LETTERS), random.integers(1, 4))) for _ in range(900)}
    path = tmp_path_factory.mktemp("pairs") / "capitals.tsv"
    lines = [f"{word}\t{word.upper()}" for word in sorted(words)[:300]]
    path.write_text("\n".join(lines) + "\n")
    return path


def train(ken, data: Path, project: Path, *choices: str) -> Path:
    """The folder of a run."""
    ken("train", data, *choices, "--project", project).went_well()
    return project / "exp"


@pytest.fixture(scope="module")
def tag_run(ken, tagged, tmp_path_factory) -> Path:
    return train(ken, tagged, tmp_path_factory.mktemp("runs"), "--task", "tag")


@pytest.fixture(scope="module")
def wave_run(ken, waves, tmp_path_factory) -> Path:
    options = ("--model", "seed-rnn", "--epochs", "15")
    return train(ken, waves, tmp_path_factory.mktemp("runs"), *options)


@pytest.fixture(scope="module")
def pair_run(ken, pairs, tmp_path_factory) -> Path:
    options = ("--task", "translate", "--epochs", "12", "-b", "16", "--lr", "2e-3")
    return train(ken, pairs, tmp_path_factory.mktemp("runs"), *options)


def best(run: Path) -> Path:
    return run / "weights" / "best.ken"


def scores(run: Path) -> dict[str, dict[str, float]]:
    return json.loads((run / "report.json").read_text("utf-8"))["scores"]


def test_labels_are_learned_from_packaged_features(tag_run):
    assert scores(tag_run)["mean_average_precision_score"]["value"] > 0.9
    assert scores(tag_run)["micro_f1_score"]["value"] > 0.8


def test_a_tag_model_says_its_labels(ken, tagged, tag_run):
    out = ken("predict", tagged / "0.png", "-m", best(tag_run)).went_well()
    assert "circle (" in out
    assert "red (" in out


def test_a_tag_model_names_what_it_does_not_say(ken, tagged, tag_run):
    out = ken("predict", tagged / "0.png", "-m", best(tag_run), "--topk", "4").went_well()
    assert "; below the threshold: " in out
    assert out.count("circle") == 1


def test_a_tag_model_writes_every_label_beside_its_answer(ken, tagged, tag_run, tmp_path):
    out = tmp_path / "said.csv"
    ken("predict", tagged, "-m", best(tag_run), "-o", out, "-q").went_well()
    rows = rows_of(out)
    columns = ["filename", "label", "prob", "error", "blue", "circle", "red", "square"]
    assert list(rows[0]) == columns
    assert len(rows) == 60
    assert rows[0]["label"] == "circle;red"
    assert float(rows[0]["prob"]) == max(float(rows[0][name]) for name in columns[4:])


def test_a_tag_model_is_measured_label_by_label(ken, tagged, tag_run):
    out = ken("val", tagged, "-m", best(tag_run)).went_well()
    assert "mean average precision score" in out
    assert "measured on 60 images (all images)" in out
    assert "square" in out
    report = json.loads(ken("val", tagged, "-m", best(tag_run), "--json").went_well())
    assert [row["label"] for row in report["labels"]] == ["blue", "circle", "red", "square"]


def test_one_confidence_for_all_labels_is_refused(ken, tagged, tag_run):
    words = ken("predict", tagged / "0.png", "-m", best(tag_run), "--conf", "0.5").refused(2)
    assert "threshold" in words


def test_labels_are_learned_by_a_network_of_its_own(ken, tagged, tmp_path):
    run = train(ken, tagged, tmp_path, "--task", "tag", "--model", "cnn", "--epochs", "2")
    assert {"mean_average_precision_score", "exact_match_score"} <= scores(run).keys()
    assert "labels" in json.loads((run / "report.json").read_text("utf-8"))
    ken("predict", tagged, "-m", best(run)).went_well()
    ken("val", tagged, "-m", best(run)).went_well()


def test_two_classes_of_sequences_are_told_apart_by_one_sigmoid(wave_run):
    model = load(best(wave_run))
    assert model.bundle.config.head == "sigmoid"
    assert model.bundle.weights["head.linear.weight"].shape == (1, 50)
    assert scores(wave_run)["accuracy_score"]["value"] > 0.9


@pytest.mark.parametrize("name", ["1.npy", "2.csv"])
def test_a_file_of_a_sequence_is_answered(ken, waves, wave_run, name):
    (answer,) = json.loads(
        ken("predict", waves / "rising" / name, "-m", best(wave_run), "--json").went_well()
    )
    assert answer["label"] == "rising"
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_a_folder_and_a_zip_of_sequences_are_answered(ken, waves, wave_run, tmp_path):
    out = ken("predict", waves, "-m", best(wave_run)).went_well()
    assert out.count("\n") == 48
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        archive.write(waves / "rising" / "1.npy", "some/1.npy")
    assert (
        "1.npy: rising" in ken("predict", tmp_path / "some.zip", "-m", best(wave_run)).went_well()
    )


def test_sequences_are_measured(ken, waves, wave_run):
    out = ken("val", waves, "-m", best(wave_run)).went_well()
    assert "measured on 48 sequences (all sequences)" in out
    assert "rising" in out


def test_sequences_are_learned_by_a_gru(ken, waves, tmp_path):
    run = train(ken, waves, tmp_path, "--model", "gru", "--epochs", "2")
    report = json.loads((run / "report.json").read_text("utf-8"))
    assert (report["model"]["name"], report["thing"]) == ("gru", "sequence")
    ken("predict", waves / "rising", "-m", best(run)).went_well()


def test_a_sequence_with_other_numbers_a_step_is_no_answer(ken, wave_run, tmp_path):
    np.save(tmp_path / "wide.npy", np.zeros((5, 3)))
    said = ken("predict", tmp_path / "wide.npy", "-m", best(wave_run))
    assert said.code == 3
    assert "a step has 3 numbers, and the model learned from 2" in said.out


def test_val_of_sequences_with_other_numbers_a_step_is_refused(ken, wave_run, tmp_path):
    for name in ("rising", "falling"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "a.npy", np.random.default_rng(len(name)).random((5, 3)))
    words = ken("val", tmp_path, "-m", best(wave_run)).refused(3)
    assert "3 numbers a step" in words


def test_capitals_are_learned(pair_run):
    assert scores(pair_run)["exact_match_score"]["value"] > 0.5
    assert scores(pair_run)["character_error"]["value"] < 0.3


def test_a_string_is_answered(ken, pair_run):
    out = ken("predict", "-m", best(pair_run), "bad", "g").went_well()
    assert [line.partition(": ")[0] for line in out.splitlines()] == ["bad", "g"]
    answers = load(best(pair_run)).predict(["bad", "g"])
    assert [f"{a.path}: {a.words}" for a in answers] == out.splitlines()


def test_the_lines_of_a_file_and_of_stdin_are_answered(ken, pair_run, tmp_path):
    (tmp_path / "words.txt").write_text("bad\n\ncafe\n")
    out = ken("predict", "-m", best(pair_run), tmp_path / "words.txt").went_well()
    assert [line.partition(": ")[0] for line in out.splitlines()] == ["bad", "cafe"]
    assert ken("predict", "-m", best(pair_run), "-", stdin="bad\ncafe\n").went_well() == out


def test_a_string_that_looks_like_a_pattern_is_a_string(ken, pair_run):
    said = ken("predict", "-m", best(pair_run), "a*")
    assert "characters that were never learned: '*'" in said.out
    assert said.code == 3
    assert "1 of 1 strings could not be read" in said.err


@pytest.mark.parametrize("text", ["", "a" * 5000])
def test_a_string_of_any_length_is_answered_or_refused_in_words(ken, pair_run, text):
    said = ken("predict", "-m", best(pair_run), text)
    assert said.code in (0, 3)
    assert "Traceback" not in said.err
    assert said.out.count("\n") == 1


def test_strings_are_written_to_a_table_without_a_column_each(ken, pair_run, tmp_path):
    ken("predict", "-m", best(pair_run), "bad", "g", "-o", tmp_path / "said.csv").went_well()
    rows = rows_of(tmp_path / "said.csv")
    assert list(rows[0]) == ["filename", "label", "prob", "error"]
    assert [row["filename"] for row in rows] == ["bad", "g"]
    assert {"label", "true_label"} <= rows_of(pair_run / "predictions.csv")[0].keys()


def test_pairs_are_measured(ken, pairs, pair_run):
    out = ken("val", pairs, "-m", best(pair_run)).went_well()
    assert "exact match score" in out
    assert "character error" in out
    assert "refused" not in out


def test_a_pair_with_a_stranger_counts_as_wrong(ken, pair_run, tmp_path):
    (tmp_path / "more.tsv").write_text("bad\tBAD\nzzz\tZZZ\n")
    report = json.loads(
        ken("val", tmp_path / "more.tsv", "-m", best(pair_run), "--json").went_well()
    )
    assert report["scores"]["exact_match_score"]["n"] == 2
    assert {"path": "line 2", "label": "ZZZ", "said": None} in report["examples"]


def test_one_written_string_has_no_runners_up(ken, pair_run):
    assert "--topk" in ken("predict", "-m", best(pair_run), "bad", "--topk", "2").refused(2)


def test_a_confidence_keeps_unsure_strings_back(ken, pair_run):
    out = ken("predict", "-m", best(pair_run), "bad", "--conf", "1").went_well()
    assert out.startswith("bad: not sure enough (below 100 %): ")


@pytest.mark.parametrize("kind", ["tag_run", "wave_run", "pair_run"])
def test_the_report_of_every_kind_can_be_written_again(ken, request, tmp_path, kind):
    run = request.getfixturevalue(kind)
    ken("report", best(run), cwd=tmp_path).went_well()
    pages = list(tmp_path.rglob("report.html"))
    assert len(pages) == 1
    sentence = json.loads((run / "report.json").read_text("utf-8"))["sentence"]
    assert sentence in pages[0].read_text("utf-8")


def test_labels_are_not_taken_for_one_class(ken, tagged):
    words = ken("train", tagged).refused(3)
    assert "labels.csv, line 2: 'red; circle' holds several labels" in words
    assert "say --task tag" in words


def test_an_image_network_does_not_read_sequences(ken, waves):
    words = ken("train", waves, "--model", "cnn").refused(2)
    assert "holds sequences, which cnn does not read" in words
    assert "seed-rnn" in words


def test_an_encoder_of_sequences_does_not_read_pairs(ken, pairs):
    words = ken("train", pairs, "--task", "translate", "--model", "gru").refused(2)
    assert "holds pairs, which gru does not read. These do: seed-transformer." in words


def test_a_line_with_one_column_is_no_pair(ken, tmp_path):
    (tmp_path / "pairs.tsv").write_text("a\tA\nalone\n")
    words = ken("train", tmp_path / "pairs.tsv", "--task", "translate").refused(3)
    assert "line 2: found 1 column" in words


def test_a_list_of_nothing_to_leave_out(ken, small, tmp_path):
    (tmp_path / "none.txt").write_text("\n")
    words = ken("train", small, "--exclude", tmp_path / "none.txt", cwd=tmp_path).refused(3)
    assert "names no file" in words
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").rglob("*.*"))


def test_a_model_of_sequences_is_not_given_images(ken, small, wave_run):
    assert "holds images" in ken("predict", small, "-m", best(wave_run)).refused(3)
    assert "holds images" in ken("val", small, "-m", best(wave_run)).refused(3)


def test_a_model_of_images_is_not_given_sequences(ken, waves, small_model):
    assert "holds sequences" in ken("predict", waves, "-m", small_model).refused(3)
    assert "holds sequences" in ken("val", waves, "-m", small_model).refused(3)


def test_a_frozen_network_needs_trained_weights(ken, small):
    words = ken("train", small, "--model", "seed-cnn", "--freeze", "yes").refused(2)
    assert "no trained weights to freeze" in words

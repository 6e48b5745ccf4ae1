from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kenspeckle.errors import BundleError
from kenspeckle.score import bootstrap, proportion
from kenspeckle.trust import charts
from kenspeckle.trust.confusion_picture import confusion_png
from kenspeckle.trust.report import card, sentence, write_failed_report, write_report
from kenspeckle.trust.report_page import most_confused, page
from kenspeckle.trust.report_pictures import thumbnail, under_heat

HOSTILE = "<img src=x onerror=alert(1)>"
CLASSES = (HOSTILE, "ромашка", "たんぽぽ", "a | b", "$\\frac$")


def said(score, majority, n=None, how="held out for the test"):
    measured = {"n": score.n if n is None else n, "how": how}
    return sentence(
        {
            "measured": measured,
            "scores": {"accuracy_score": score.as_dict()},
            "majority_share": majority,
        }
    )


def test_the_sentence_says_value_range_number_and_what_guessing_gives():
    words = said(proportion(130, 150), 0.2)
    assert "about 87 times in 100 (between 80 and 91, measured on 150 held-out images)" in words
    assert "always saying the commonest class would be right 20 times in 100" in words


@pytest.mark.parametrize(
    ("right", "majority", "claim"),
    [
        (45, 0.50, "; always"),
        (30, 0.50, "not shown to be better than guessing"),
        (10, 0.50, "worse than guessing"),
    ],
)
def test_the_sentence_claims_no_more_than_its_range_allows(right, majority, claim):
    assert claim in said(proportion(right, 60), majority)


def test_few_images_are_said_to_be_too_few():
    assert "too few to say more exactly" in said(proportion(20, 29), 0.2)
    assert "too few" not in said(proportion(20, 30), 0.2)


def test_all_right_is_told_with_its_range_and_never_as_a_promise():
    words = said(proportion(45, 45), 0.2)
    assert "it named the right class every time (between 92 and 100" in words


def test_groups_are_named_where_the_range_is_over_groups():
    right = np.array([1, 1, 1, 0] * 10)
    score = bootstrap(lambda rows: float(right[rows].mean()), 40, np.arange(40) // 8)
    words = said(score, 0.2, n=40)
    assert "40 held-out images of 5 groups, too few to say more exactly" in words


def test_a_range_without_width_is_not_told_as_knowledge():
    score = bootstrap(lambda rows: 1.0, 40, np.arange(40) // 8)
    assert "no range can be told" in said(score, 0.2, n=40)


@given(n=st.integers(1, 400), share=st.floats(0, 1), majority=st.floats(0.01, 1))
@settings(max_examples=50, deadline=None)
def test_only_a_perfect_score_is_100_in_100(n, share, majority):
    right = int(share * n)
    words = said(proportion(right, n), majority)
    assert ("every time" in words) == (right == n)
    assert "about 100 times" not in words


def test_cross_validation_is_not_called_held_out():
    words = said(proportion(40, 50), 0.2, how="cross-validation: each image ...")
    assert "measured by cross-validation on 50 images" in words


def test_labels_are_told_by_how_many_are_right_and_how_many_are_found(tag_report):
    assert sentence(tag_report) == (
        "Of the labels it gives, about 91 in 100 are right (between 84 and 95), and it finds about "
        "84 in 100 of those that are there (between 76 and 90; measured on 50 held-out images)."
    )


def test_no_label_given_at_all_is_told_as_that(tag_report):
    del tag_report["scores"]["micro_precision_score"]
    assert "it gives no label at all" in sentence(tag_report)


def test_lines_are_told_by_how_many_are_wholly_right(translate_report):
    assert sentence(translate_report) == (
        "It writes the whole line exactly right about 98 times in 100 (between 90 and 99.6, "
        "measured on 50 held-out lines)."
    )


@given(n=st.integers(1, 400), share=st.floats(0, 1), kind=st.sampled_from(["tag", "translate"]))
@settings(max_examples=50, deadline=None)
def test_only_perfect_labels_and_lines_are_all_right(n, share, kind):
    right = int(share * n)
    score = proportion(right, n).as_dict()
    names = ("micro_precision_score", "micro_recall_score", "exact_match_score")
    report = {"kind": kind, "scores": dict.fromkeys(names, score), "measured": {"n": n, "how": ""}}
    words = sentence(report)
    assert ("all were right" in words or "every time" in words) == (right == n)
    assert "about 100" not in words


@pytest.mark.parametrize("kind", ["classify", "tag", "translate"])
def test_what_could_not_be_measured_is_said(kind):
    assert "could not be measured" in sentence({"kind": kind, "scores": {}})


def test_sequences_are_called_so(make_report):
    report = make_report() | {"thing": "sequence"}
    assert "measured on 60 held-out sequences" in sentence(report)


def test_the_card_has_front_matter_that_the_hub_reads(make_report):
    front = card(make_report(), ("cat", "dog", "owl")).split("---\n")[1]
    assert yaml.safe_load(front) == {
        "library_name": "kenspeckle",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "kenspeckle", "seed-cnn"],
    }


def test_the_card_tells_sentence_scores_use_and_limits(make_report):
    report = make_report()
    text = card(report, ("cat", "dog", "owl"))
    assert report["sentence"] in text
    assert all(f"`{name}`" in text for name in report["scores"])
    assert "ken predict --model FILE photo.jpg" in text
    assert "unknown" in text


def test_a_card_of_labels_lines_or_sequences_says_what_it_is(
    make_report, tag_report, translate_report
):
    assert "# Which of 2 labels an image has" in card(tag_report, ("ночь", HOSTILE))
    assert "| ночь | 30 | 80 % (67 to 89) |" in card(tag_report, ("ночь", HOSTILE))
    assert "pipeline_tag: translation" in card(translate_report, ())
    told = card(make_report() | {"thing": "sequence"}, ("cat", "dog", "owl"))
    assert "# Which of 3 classes a sequence is" in told
    assert "pipeline_tag" not in told


def test_a_class_name_stays_text_and_in_its_cell_in_the_card(make_report):
    text = card(make_report(CLASSES), CLASSES)
    assert HOSTILE not in text
    assert "\\<img" in text
    assert "| a \\| b |" in text


def test_the_report_file_gives_the_report_back_and_is_stable(tmp_path, make_report):
    report = make_report(CLASSES)
    write_report(tmp_path, report, {})
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert json.loads(first["report.json"]) == json.loads(json.dumps(report))
    write_report(tmp_path, json.loads(first["report.json"]), {})
    assert set(first) == {"report.json", "report.html", "confusion_matrix.png"}
    assert (tmp_path / "report.json").read_bytes() == first["report.json"]


def test_a_model_file_without_a_report_is_the_users_to_mend(tmp_path):
    with pytest.raises(BundleError, match="ken train"):
        write_report(tmp_path, {}, {})


def test_a_file_name_that_is_no_unicode_is_written_all_the_same(tmp_path, make_report):
    report = make_report(("cat", "caf\udce9"))
    write_report(tmp_path, report, {})
    assert "caf\ufffd" in (tmp_path / "report.html").read_text("utf-8")
    card(report, ("cat", "caf\udce9")).encode("utf-8")


class Page(HTMLParser):
    """The elements of a page, in order, with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def rich(make_full_report):
    """A page with every section, hostile names, pictures and heats."""
    report = make_full_report(CLASSES)
    shown = [report["mistakes"][0]["path"], "best/1.png", "train/1.png"]
    pictures = {path: np.full((300, 200, 3), 90, np.uint8) for path in shown}
    return page(report, pictures, {path: np.eye(7, dtype=np.float32) for path in shown})


def test_names_are_escaped(rich):
    assert "<img src=x" not in rich
    assert "&lt;img src=x onerror=alert(1)&gt;" in rich


def test_the_page_needs_no_script_and_no_network(rich):
    parsed = Page(rich)
    assert not parsed.all("script") + parsed.all("link") + parsed.all("iframe")
    attributes = [pair for _, found in parsed.elements for pair in found.items()]
    assert not [name for name, _ in attributes if name.startswith("on")]
    wanted = [value for name, value in attributes if name in ("src", "href", "srcset", "action")]
    assert all(value.startswith(("data:image/", "#")) for value in wanted)
    assert "url(" not in rich
    assert "@import" not in rich


def test_headings_are_in_order_under_one_title(rich):
    levels = [int(tag[1]) for tag, _ in Page(rich).elements if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_the_contents_lead_to_sections_that_exist_once(rich):
    parsed = Page(rich)
    names = [found["id"] for _, found in parsed.elements if "id" in found]
    assert len(names) == len(set(names))
    assert [link["href"] for link in parsed.all("a")] == [f"#{name}" for name in names]


def test_the_sections_come_in_the_order_of_a_story(rich):
    names = [found["id"] for _, found in Page(rich).elements if "id" in found]
    assert names == [
        *("training", "confusion", "probabilities", "mistakes", "best", "classes", "scores"),
        *("measured", "data", "unknown", "tried", "use", "model"),
    ]
    assert rich.index('class="lead"') < rich.index("<nav") < rich.index('id="training"')


def test_pictures_have_words_and_table_headers_a_scope(rich):
    parsed = Page(rich)
    assert parsed.all("img")
    assert all(picture.get("alt") for picture in parsed.all("img"))
    assert all(cell.get("scope") in ("col", "row") for cell in parsed.all("th"))
    assert all("aria-label" in s or s.get("aria-hidden") == "true" for s in parsed.all("svg"))


def test_optional_sections_are_there_only_with_their_matter(make_report):
    plain = page(make_report(right_share=1.0) | {"tried": [], "findings": []}, {})
    assert "What was tried" not in plain
    assert "loss on training images" not in plain
    assert "No fault was found" in plain
    assert "None of the 60 images was named wrongly" in plain


@pytest.mark.parametrize(("classes", "is_grid"), [(2, True), (30, True), (31, False)])
def test_many_classes_are_told_by_their_worst_confusions(make_report, classes, is_grid):
    names = tuple(f"class {k}" for k in range(classes))
    text = page(make_report(names, n=10 * classes, right_share=0.3), {})
    assert ('class="grid"' in text) == is_grid
    assert ("The most frequent confusions" in text) != is_grid


def test_confusions_are_counted_without_the_right_answers():
    found = most_confused([[9, 0, 4], [1, 9, 0], [0, 0, 9]], ["a", "b", "c"])
    assert [(c.true, c.said, c.count, c.n) for c in found] == [("a", "c", 4, 13), ("b", "a", 1, 10)]


def decoded(shown):
    return Image.open(io.BytesIO(base64.b64decode(shown.uri.split(",")[1])))


def test_a_small_picture_is_shown_without_loss():
    pixels = np.random.default_rng(0).integers(0, 256, (28, 20, 1), dtype=np.uint8)
    shown = thumbnail(pixels)
    assert np.array_equal(np.asarray(decoded(shown)), pixels[..., 0])
    assert shown.is_small


def test_a_large_picture_becomes_a_thumbnail_of_the_same_shape():
    shown = thumbnail(np.zeros((640, 320, 3), np.uint8))
    assert decoded(shown).size == (80, 160) == (shown.width, shown.height)


def test_a_mistake_without_a_picture_is_listed_by_name(make_report):
    report = make_report(("cat", "dog"), right_share=0.5)
    text = page(report, {})
    assert "<img" not in text
    assert all(mistake["path"] in text for mistake in report["mistakes"])


def test_a_heat_stands_beside_its_picture(make_report):
    report = make_report(("cat", "dog"), right_share=0.5)
    path = report["mistakes"][0]["path"]
    pictures = {path: np.full((100, 100, 3), 90, np.uint8)}
    assert len(Page(page(report, pictures)).all("img")) == 1
    drawn = page(report, pictures, {path: np.ones((7, 7), np.float32)})
    assert [picture["alt"][:5] for picture in Page(drawn).all("img")] == ["Image", "Where"]
    cold = page(report, pictures, {path: np.zeros((7, 7), np.float32)})
    assert len(Page(cold).all("img")) == 1


def test_the_heat_is_brightest_where_it_is_hottest():
    heat = np.zeros((60, 80), np.float32)
    heat[10, 20] = 1
    for channels in (1, 3):
        drawn = under_heat(np.full((60, 80, channels), 90, np.uint8), heat)
        assert drawn.shape == (60, 80, 3)
        assert np.unravel_index(drawn.sum(2).argmax(), (60, 80)) == (10, 20)


def test_a_heat_of_another_size_is_stretched_to_the_picture():
    heat = np.zeros((2, 2), np.float32)
    heat[1, 0] = 1
    drawn = under_heat(np.full((64, 32, 3), 90, np.uint8), heat).astype(int).sum(2)
    assert drawn.shape == (64, 32)
    assert drawn[56:, :8].min() > drawn[:8].max()


def test_training_images_like_it_are_named_and_shown_where_there_is_a_picture(make_full_report):
    report = make_full_report()
    pictures = {"train/1.png": np.zeros((200, 200, 3), np.uint8)}
    text = page(report, pictures)
    shown = [picture["alt"] for picture in Page(text).all("img")]
    assert shown == ["Training image train/1.png"] * len(report["mistakes"])
    assert "train/&lt;img src=x" in text


def test_more_pictures_than_fit_are_unfolded(make_report):
    report = make_report(n=90, right_share=0.0)
    hidden = len(report["mistakes"]) - 12
    assert f"<summary>{hidden} more</summary>" in page(report, {})


def test_overfitting_is_named_with_its_cause_and_remedy(make_full_report):
    report = make_full_report()
    text = page(report, {})
    assert report["overfitting"]["is_harmful"]
    assert 'class="verdict harm"' in text
    assert "Overfitting: from epoch 5 on" in text
    assert "<code>ken train FOLDER</code> without --model" in text
    assert 'class="rises"' in text


def test_backticks_make_code_only_in_pairs(make_report):
    text = page(make_report() | {"losses": "a `b` c`d <i>"}, {})
    assert "a <code>b</code> c`d &lt;i&gt;" in text


def test_what_was_tried_tells_why_it_was_dropped(make_full_report):
    text = page(make_full_report(), {})
    assert "Dropped: no better." in text
    assert "-5.0 to 1.0" in text
    assert "75 s" in text


def test_grave_findings_are_told_at_the_top_unless_put_right(make_report):
    report = make_report()
    assert "Before you rely on it" not in page(report, {})
    found = report["findings"][0] | {"excluded": False, "severity": "warning", "words": "Beware."}
    text = page(report | {"findings": [found]}, {})
    assert text.index("Beware.") < text.index("<nav")


def visible(text):
    body = re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)
    return re.sub(r"<[^>]*>", " ", body)


def test_a_page_on_sequences_speaks_of_no_images(make_full_report):
    report = make_full_report() | {"thing": "sequence", "data": {"name": "x"}, "findings": []}
    report["measured"] = {"n": 60, "how": "60 sequences held out for the test"}
    report["model"] = {"name": "gru"}
    report["overfitting"] = None
    report["sentence"] = sentence(report)
    assert "image" not in visible(page(report, {})).lower()


def test_labels_have_their_own_table_and_no_confusion(tmp_path, tag_report):
    write_report(tmp_path, tag_report, {})
    text = (tmp_path / "report.html").read_text("utf-8")
    assert not (tmp_path / "confusion_matrix.png").exists()
    assert "Label by label" in text
    assert "What is taken for what" not in text
    assert "<img src=x" not in text
    assert "ночь" in text
    assert "40.0 %" in text


def test_lines_are_shown_wrong_ones_first(tmp_path, translate_report):
    write_report(tmp_path, translate_report, {})
    text = (tmp_path / "report.html").read_text("utf-8")
    assert text.index("2001-05-10") < text.index("3 May 1999")
    assert "Wrong characters" in text
    assert "Its probabilities" not in text


def test_a_report_of_another_kind_that_is_not_whole_is_refused(tmp_path, tag_report):
    del tag_report["labels"]
    with pytest.raises(BundleError, match="labels missing"):
        write_report(tmp_path, tag_report, {})


FAILED = "The disk was full in epoch 3."


def test_a_failed_run_says_so_first_and_promises_nothing(tmp_path, make_report):
    whole = make_report(epochs=3)
    known = {name: whole[name] for name in ("data", "findings", "history")}
    write_failed_report(tmp_path, {**known, "failed": FAILED})
    text = (tmp_path / "report.html").read_text("utf-8")
    assert text.index(FAILED) < text.index("What to do") < text.index("Loss") < text.index("cannot")
    assert "ken train --resume" in text
    assert "ken predict" not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]


def test_losses_that_are_no_numbers_do_not_keep_a_failed_run_from_its_report(tmp_path):
    nan, inf = float("nan"), float("inf")
    history = [
        {"epoch": 1, "train_loss": 2.0, "tune_loss": 2.1},
        {"epoch": 2, "train_loss": inf, "tune_loss": nan},
        {"epoch": 3, "train_loss": nan, "tune_loss": None},
    ]
    write_failed_report(tmp_path, {"failed": FAILED, "history": history})
    told = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert told["history"][1] == {"epoch": 2, "train_loss": None, "tune_loss": None}


KEYS = (
    *("sentence", "data", "split", "measured", "model", "unknown", "tried", "findings", "history"),
    *("scores", "majority_share", "confusion", "classes", "reliability", "mistakes", "best"),
    *("overfitting", "augmentation", "losses", "use"),
)


@pytest.mark.parametrize("without", [(), *((key,) for key in KEYS), KEYS])
def test_a_failed_run_opens_whatever_there_is(make_full_report, without):
    whole = make_full_report() | {"failed": FAILED}
    known = {key: value for key, value in whole.items() if key not in without}
    if "classes" in without:  # both are counted from the same answers
        known.pop("confusion", None)
    assert FAILED in page(known, {})
    only = {key: whole[key] for key in without if key != "confusion"} | {"failed": FAILED}
    assert FAILED in page(only, {})


@pytest.mark.parametrize("classes", [2, 21, 101])
def test_the_confusion_picture_draws_any_number_of_classes(classes):
    counts = np.eye(classes, dtype=int) * 3
    names = [f"class number {k}" for k in range(classes)]
    with Image.open(io.BytesIO(confusion_png(counts.tolist(), names))) as picture:
        assert min(picture.size) >= 400
        assert max(picture.size) <= 2400


def test_the_confusion_picture_takes_names_that_its_font_or_mathematics_cannot_read():
    names = ["たんぽぽ", "قطة", "नमस्ते", "$\\frac$", "a\nb", "x" * 200]
    assert confusion_png(np.eye(6, dtype=int).tolist(), names)[:4] == b"\x89PNG"


def test_a_class_that_was_never_measured_does_not_break_the_picture():
    assert confusion_png([[0, 0], [1, 2]], ["a", "b"])


@given(share=st.floats(0.01, 1), stated=st.floats(0, 1), right=st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_marks_of_calibration_lie_inside_their_interval_and_frame(share, stated, right):
    (mark,) = charts.reliability_bins([(share, stated, right)], 200)
    assert charts.LEFT <= mark.x <= charts.RIGHT
    assert charts.TOP <= mark.top <= mark.y <= mark.bottom <= charts.BOTTOM


def test_calibrated_answers_lie_on_the_line():
    (mark,) = charts.reliability_bins([(1.0, 0.75, 0.75)], 100)
    across = (mark.x - charts.LEFT) / (charts.RIGHT - charts.LEFT)
    up = (charts.BOTTOM - mark.y) / (charts.BOTTOM - charts.TOP)
    assert across == pytest.approx(up, abs=0.001)


losses = st.one_of(st.none(), st.floats(0, 1e6), st.just(float("inf")))


@given(st.lists(st.tuples(st.floats(0, 1e6), losses), min_size=2, max_size=40))
@settings(max_examples=50, deadline=None)
def test_curves_stay_inside_their_frame_whatever_the_losses(rows):
    history = [{"epoch": i + 1, "train_loss": a, "tune_loss": b} for i, (a, b) in enumerate(rows)]
    drawn = charts.curves(history)
    points = [point.split(",") for point in f"{drawn.train} {drawn.tune}".split()]
    assert all(charts.LEFT <= float(x) <= charts.RIGHT for x, _ in points)
    assert all(charts.TOP <= float(y) <= charts.BOTTOM for _, y in points)
    assert 2 <= len(drawn.up) <= 7


def test_the_best_epoch_is_the_one_with_the_least_tuning_loss():
    history = [{"epoch": e, "train_loss": 1 / e, "tune_loss": abs(e - 3)} for e in range(1, 6)]
    assert charts.curves(history).best.label == "3"
    assert charts.curves(history[:1]) is None


shares = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=20)


@given(shares, st.integers(1, 500))
@settings(max_examples=50, deadline=None)
def test_the_band_holds_the_tuning_curve_and_stays_in_the_frame(rows, n):
    history = [
        {"epoch": i, "train_loss": 1.0, "tune_loss": 1 / i, "train_accuracy": a}
        | {"tune_accuracy": round(b * n) / n, "tune_n": n}
        for i, (a, b) in enumerate(rows, start=1)
    ]
    drawn = charts.share_curves(history)
    band = [tuple(map(float, point.split(","))) for point in drawn.band.split()]
    tune = [tuple(map(float, point.split(","))) for point in drawn.tune.split()]
    for (x, y), (_, high), (_, low) in zip(tune, band, reversed(band), strict=False):
        assert charts.LEFT <= x <= charts.RIGHT
        assert charts.TOP <= high <= y <= low <= charts.BOTTOM
    assert charts.TOP <= drawn.gap.top <= drawn.gap.bottom <= charts.BOTTOM


def test_the_gap_is_marked_at_the_kept_epoch_or_the_last_where_the_loss_rises():
    history = [
        {"epoch": e, "train_loss": 1 / e, "tune_loss": 1.0 + abs(e - 3)} for e in range(1, 6)
    ]
    kept, rising = charts.curves(history), charts.curves(history, since=4)
    assert (kept.gap.label, kept.gap.x, kept.rises) == ("gap 0.67", kept.best.at, None)
    assert (rising.gap.label, rising.gap.x) == ("gap 2.80", charts.RIGHT)
    assert rising.best.at < rising.rises < rising.gap.x


def test_shares_have_no_curve_where_they_were_not_measured():
    assert charts.share_curves([{"epoch": e, "train_loss": 1 / e} for e in range(1, 6)]) is None


@given(n=st.integers(1, 2000), share=st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_a_hundred_squares_are_full_only_when_all_is_right(n, share):
    right = int(share * n)
    squares = charts.hundred(proportion(right, n).as_dict())
    filled = sum(square.is_filled for square in squares)
    assert abs(filled - 100 * right / n) <= 1
    assert (filled == 100) == (right == n)
    assert (filled == 0) == (right == 0)


def luminance(colour):
    """Relative luminance of `#rrggbb` (WCAG 2.2)."""
    digits = colour.lstrip("#")
    digits = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
    parts = np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(first, second):
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1])
def test_every_text_colour_can_be_read_on_every_background(rich, scheme):
    block = re.findall(r":root \{(.*?)\}", rich, re.DOTALL)[scheme]
    colours = dict(re.findall(r"--(\w+): (#\w+)", block))
    triples = re.findall(r"--(right|wrong): (\d+), (\d+), (\d+)", block)
    cells = ["#" + "".join(f"{int(part):02x}" for part in rgb) for _, *rgb in triples]
    for ink in ("ink", "soft", "blue"):
        assert contrast(colours[ink], colours["paper"]) >= 4.5
        assert contrast(colours[ink], colours["panel"]) >= 4.5
    assert all(contrast(colours["ink"], cell) >= 4.5 for cell in cells)

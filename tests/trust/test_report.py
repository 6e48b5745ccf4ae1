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
from kenspeckle.trust.report import card, sentence, write_report
from kenspeckle.trust.report_page import most_confused, page, thumbnail

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
def rich(make_report):
    """A page with every section, hostile names and a picture."""
    report = make_report(CLASSES, epochs=6)
    path = report["mistakes"][0]["path"]
    return page(report, {path: np.full((300, 200, 3), 90, np.uint8)})


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

"""The report in a real browser: does it draw, fit a telephone, follow light and dark?"""

from __future__ import annotations

import html
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from kenspeckle.trust.report import write_failed_report, write_report

pytestmark = pytest.mark.slow
HOSTILE = "<img src=x onerror=alert(1)>"
CLASSES = (HOSTILE, "たんぽぽ", "قطة برية", "a long class name " * 4, *(f"c{k}" for k in range(12)))
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND"),
)


@pytest.fixture
def browse(tmp_path):
    """Runs Chromium on a page with more options and gives what it prints."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed, so the report is not looked at in a browser")

    def run(page, *options):
        fresh = f"--user-data-dir={tmp_path / 'profile'}"
        command = [program, *QUIET, fresh, *options, page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
        return done.stdout

    return run


def _full(folder, make_full_report, tag_report, translate_report):
    """Every section, with pictures and heats."""
    report = make_full_report(CLASSES, n=160)
    pixels = np.random.default_rng(0).integers(0, 256, (200, 160, 3), dtype=np.uint8)
    paths = [row["path"] for row in report["mistakes"] + report["best"]] + ["train/1.png"]
    heats = {path: np.eye(7, dtype=np.float32) for path in paths}
    write_report(folder, report, dict.fromkeys(paths, pixels), heats)


def _labels(folder, make_full_report, tag_report, translate_report):
    write_report(folder, tag_report, {})


def _lines(folder, make_full_report, tag_report, translate_report):
    write_report(folder, translate_report, {})


def _stopped(folder, make_full_report, tag_report, translate_report):
    whole = make_full_report(CLASSES, n=160)
    known = {name: whole[name] for name in ("data", "findings", "history")}
    write_failed_report(folder, {"failed": f"{HOSTILE} cannot be read.", **known})


WRITERS = {"full": _full, "labels": _labels, "lines": _lines, "stopped": _stopped}


@pytest.fixture(params=WRITERS)
def any_page(request, tmp_path, make_full_report, tag_report, translate_report):
    """The file of a report of each kind."""
    WRITERS[request.param](tmp_path / "run", make_full_report, tag_report, translate_report)
    return tmp_path / "run" / "report.html"


@pytest.fixture
def report_page(tmp_path, make_full_report):
    """The file of a report with every section."""
    _full(tmp_path / "run", make_full_report, None, None)
    return tmp_path / "run" / "report.html"


def test_the_page_draws_and_hostile_names_stay_text(browse, report_page):
    drawn = browse(report_page, "--dump-dom")
    assert "Report on <bdi>&lt;img" in drawn
    assert '<img src="x"' not in drawn
    assert "たんぽぽ" in drawn


def test_the_page_asks_for_nothing_outside_itself(any_page):
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", any_page.read_text())


def test_a_telephone_of_360_pixels_scrolls_no_page_sideways(browse, any_page, tmp_path):
    inside = html.escape(any_page.read_text("utf-8"), quote=True)
    frame = tmp_path / "frame.html"
    frame.write_text(
        f"""<!doctype html><meta charset="utf-8"><title>not loaded</title>
        <iframe width="360" height="700" style="border:0" srcdoc="{inside}"></iframe>
        <script>
        const frame = document.querySelector("iframe");
        frame.onload = () => {{
          const root = frame.contentDocument.documentElement;
          document.title = `${{root.scrollWidth}} of ${{root.clientWidth}}`;
        }};
        </script>""",
        encoding="utf-8",
    )
    drawn = browse(frame, "--dump-dom", "--window-size=900,800")
    assert "<title>360 of 360</title>" in drawn


@pytest.mark.parametrize(("scheme", "paper"), [("1", (255, 255, 255)), ("0", (20, 23, 26))])
def test_light_and_dark_follow_the_readers_choice(browse, report_page, tmp_path, scheme, paper):
    picture = tmp_path / "screen.png"
    chosen = f"--blink-settings=preferredColorScheme={scheme}"
    browse(report_page, f"--screenshot={picture}", "--window-size=1200,900", chosen)
    with Image.open(picture) as screen:
        colours = screen.convert("RGB").getcolors(1 << 24)
    assert max(colours)[1] == paper

"""The CSV files of a run."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kenspeckle.answer import Answer
from kenspeckle.files import write_text


def write_predictions(
    path: Path, answers: Sequence[Answer], labels: Sequence[str | None] | None = None
) -> None:
    """Write `filename,label,prob,…`: the answer, its probability, then every class.

    `label` is the class said (`unknown` where none is claimed), or several with `;` between them;
    `prob` is that of the likeliest; `true_label` is there when known. Strings that were written
    have no other classes beside them.
    """
    choices = [answer.probabilities for answer in answers if len(answer.probabilities) > 1]
    names = sorted({name for likely in choices for name in likely})
    known = labels is not None
    header = ["filename", "label", "prob", *(["true_label"] if known else []), "error", *names]
    rows = [header]
    for i, answer in enumerate(answers):
        label = "unknown" if answer.unknown else answer.label or ""
        probability = f"{answer.probability:.6f}" if answer.probabilities else ""
        true = [str(labels[i])] if labels is not None else []
        each = [f"{answer.probabilities.get(name, 0):.6f}" for name in names]
        each = each if answer.probabilities else [""] * len(names)
        rows.append([answer.path, label, probability, *true, answer.error or "", *each])
    write_text(path, _csv(rows))


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write plain records, one a line, with their keys as the header."""
    header = list(rows[0]) if rows else []
    write_text(path, _csv([header, *([row[key] for key in header] for row in rows)]))


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()

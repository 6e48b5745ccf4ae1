"""`ken val`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kenspeckle.cli import options, terminal
from kenspeckle.words import Title

if TYPE_CHECKING:
    from kenspeckle.tasks.task import Task


def val(
    images: Annotated[
        Path, typer.Argument(help="A folder, zip or table of labelled images, or pairs.")
    ],
    model: Annotated[Path, typer.Option("--model", "-m", help="A model file (.ken).")],
    expect_sha256: options.ExpectSha256 = None,
    part: Annotated[
        str | None,
        typer.Option("--part", help="train, val or test. [default: test if there is one]"),
    ] = None,
    columns: options.Columns = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write predictions.csv here.")
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure a model on labelled images, sequences or pairs; classes are matched by name.

    Example:

        ken val new_photos/ --model photos.ken
    """
    from kenspeckle.verbs.loop_outcome import noun
    from kenspeckle.verbs.model import load
    from kenspeckle.verbs.tables import write_predictions
    from kenspeckle.verbs.val import val as run

    recogniser = load(model, expect_sha256)
    with terminal.progress(quiet or json) as tell:
        result = run(recogniser, images, options.pairs(columns, "--columns"), part, tell)
    if output is not None:
        write_predictions(output, result.answers, result.labels)
    if json:
        terminal.print_json(result.report)
        return
    scores = result.report["scores"]
    terminal.console.print(
        f"measured on {result.report['measured']['n']} {noun(recogniser.reads)} "
        f"({result.report['measured']['how']})"
    )
    rows = [
        [name.replace("_", " "), _value(recogniser.task.telling.titles.get(name), score)]
        for name, score in scores.items()
    ]
    if "refused" in result.report:
        rows.append(["refused as unknown", terminal.percent(result.report["refused"])])
    terminal.print_table(["score", "value (95 % interval)"], rows)
    _print_details(result.report, recogniser.reads, recogniser.task)


def _print_details(report: Mapping[str, Any], reads: str, task: Task[Any]) -> None:
    """The table of what stands behind the scores: classes, labels, or strings written wrongly."""
    for kind, key in (("class", "classes"), ("label", "labels")):
        if key in report:
            each = [
                [
                    row[kind],
                    str(row["n"]),
                    *(terminal.percent(row[k]) if row[k] else "-" for k in ("recall", "precision")),
                ]
                for row in report[key]
            ]
            terminal.print_table([kind, reads, "found", "right when said"], each)
    for table in task.tables(report):
        terminal.print_table([name.lower() for name in table.head], [list(r) for r in table.rows])
    wrong = [row for row in report.get("examples", ()) if row["said"] != row["label"]]
    if wrong:
        each = [[row["path"], row["label"], row["said"] or "not answered"] for row in wrong]
        terminal.print_table(["wrong", "should be", "written"], each)


def _value(title: Title | None, score: dict[str, float]) -> str:
    if title is None or not title.is_share:
        return f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f}, n = {score['n']})"
    return terminal.percent(score)

"""`ken val`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kenspeckle.cli import options, terminal


def val(
    images: Annotated[Path, typer.Argument(help="A folder, a zip or a table of labelled images.")],
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
    """Measure a model on labelled images; classes are matched by name.

    Example:

        ken val new_photos/ --model photos.ken
    """
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
        f"measured on {result.report['measured']['n']} images ({result.report['measured']['how']})"
    )
    rows = [[name.replace("_", " "), _value(name, score)] for name, score in scores.items()]
    rows.append(["refused as unknown", terminal.percent(result.report["refused"])])
    terminal.print_table(["score", "value (95 % interval)"], rows)
    each = [
        [
            row["class"],
            str(row["n"]),
            *(terminal.percent(row[k]) if row[k] else "-" for k in ("recall", "precision")),
        ]
        for row in result.report["classes"]
    ]
    terminal.print_table(["class", "images", "found", "right when said"], each)


def _value(name: str, score: dict[str, float]) -> str:
    if name == "nll_error":
        return f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f}, n = {score['n']})"
    return terminal.percent(score)

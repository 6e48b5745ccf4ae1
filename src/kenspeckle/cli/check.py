"""`ken check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kenspeckle.cli import options, terminal


def check(
    images: Annotated[Path, typer.Argument(help="A folder, a zip or a table of images.")],
    columns: options.Columns = "",
    task: Annotated[
        str, typer.Option("--task", help="tag, where an image may have several labels.")
    ] = "classify",
    exclude: options.Exclude = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Look with the packaged network too: 10 ms an image.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write data_issues.csv here.")
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Look for faults in images before training. Exit code 1 if any is an error.

    Example:

        ken check photos/
    """
    from kenspeckle.data.checks import write_issues
    from kenspeckle.verbs.check import check as run

    with terminal.progress(quiet or json) as tell:
        named = options.pairs(columns, "--columns")
        prepared = run(images, named, tell, task=task, exclude=exclude, deep=deep)
    if output is not None:
        write_issues(output, prepared.findings)
    if json:
        found = {
            "images": len(prepared.dataset),
            "usable": len(prepared.kept),
            "classes": prepared.dataset.counts(),
            "notes": list(prepared.notes),
            "findings": [finding.as_dict() for finding in prepared.findings],
        }
        terminal.print_json(found)
    else:
        terminal.print_findings(prepared.findings)
        if not prepared.findings:
            looked = f"{len(prepared.dataset)} {prepared.dataset.reads}"
            terminal.console.print(f"{looked}, nothing wrong was found.")
    return 1 if any(finding.severity == "error" for finding in prepared.findings) else 0

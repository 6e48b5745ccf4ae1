"""`ken report`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from kenspeckle.cli import options, terminal


def report(
    run: Annotated[Path, typer.Argument(help="A run's folder or a model file (.ken).")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A folder for the report.")
    ] = None,
    expect_sha256: options.ExpectSha256 = None,
    json: options.Json = False,
) -> None:
    """Show the report of a run, write that of a model file, or print either with --json.

    Example:

        ken report photos.ken --output report/
    """
    from kenspeckle.bundle.manifest import parsed
    from kenspeckle.trust.report import write_report
    from kenspeckle.verbs.model import load

    path = run / "weights" / "best.ken" if run.is_dir() else run
    unfinished = run / "report.json"
    found: Mapping[str, Any]
    if run.is_dir() and not path.exists() and unfinished.is_file():
        found = parsed(unfinished.read_bytes(), "report.json")
    else:
        found = load(path, expect_sha256).bundle.report
    if json:
        terminal.print_json(found)
        return
    if output is None and (run / "report.html").is_file():  # it has the pictures, too
        folder = run
    else:
        folder = output or (run if run.is_dir() else Path(f"{run.stem}-report"))
        write_report(folder, found, {})
    said = found.get("sentence") or found.get("failed", "")
    terminal.console.print(str(said), soft_wrap=True, markup=False)
    terminal.console.print(f"report  {folder / 'report.html'}", soft_wrap=True, markup=False)

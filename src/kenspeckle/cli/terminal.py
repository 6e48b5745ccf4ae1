"""What commands print: progress with the time left, tables, findings, JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from kenspeckle.answer import Finding
from kenspeckle.verbs.progress import Stage, Tell, quiet

console = Console(highlight=False)
_STYLE = {"error": "bold red", "warning": "yellow", "note": "dim"}


def print_json(values: Any) -> None:
    """One JSON document on stdout, for programs."""
    sys.stdout.write(json.dumps(values, ensure_ascii=True, indent=1, default=str) + "\n")


@contextmanager
def progress(silent: bool) -> Iterator[Tell]:
    """A `tell` that draws one line of progress and keeps what was said above it.

    Drawn on stdout, and only on a terminal; elsewhere the sentences alone are printed.
    """
    if silent:
        yield quiet
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    drawn = console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not drawn) as bar:
        tasks: dict[str, TaskID] = {}

        def tell(stage: Stage) -> None:
            if stage.words:
                bar.console.print(f"[dim]{stage.name}:[/dim] {escape(stage.words)}", soft_wrap=True)
            if not stage.total:
                return
            if stage.name not in tasks:
                for other in tasks.values():
                    bar.update(other, visible=False)
                tasks[stage.name] = bar.add_task(stage.name, total=stage.total)
            bar.update(tasks[stage.name], completed=stage.done, total=stage.total)

        yield tell


def print_findings(findings: Sequence[Finding]) -> None:
    """Each finding with what to do about it."""
    for finding in findings:
        style = _STYLE[finding.severity]
        console.print(
            f"[{style}]{finding.severity}[/{style}]: {escape(finding.words)} "
            f"[dim]{escape(finding.advice)}[/dim]",
            soft_wrap=True,
        )
        for path in finding.paths[:5]:
            console.print(f"    {escape(path)}", soft_wrap=True)
        if len(finding.paths) > 5:
            console.print(f"    and {len(finding.paths) - 5} more")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A plain table; a row is one line however narrow the terminal, so that it can be cut up."""
    every = [header, *rows]
    widths = [max(cell_len(row[i]) for row in every) for i in range(len(header))]
    for row in every:
        cells = (cell + " " * (w - cell_len(cell)) for cell, w in zip(row, widths, strict=True))
        console.print("  ".join(cells).rstrip(), soft_wrap=True, markup=False)


def percent(score: Mapping[str, Any]) -> str:
    """`86.7 % (79.8 to 91.4, n = 150)` from a score's plain values."""
    low, high = 100 * score["low"], 100 * score["high"]
    return f"{100 * score['value']:.1f} % ({low:.1f} to {high:.1f}, n = {score['n']})"

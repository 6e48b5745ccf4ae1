"""`ken demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kenspeckle.cli import options, terminal
from kenspeckle.verbs.runs import new_run


def demo(
    project: Annotated[Path, typer.Option("--project", help="Where the demo's files go.")] = Path(
        "runs/demo"
    ),
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Go the whole way on data that is at hand: check, train, report, answer, explain.

    Example:

        ken demo
    """
    from kenspeckle.verbs.demo import demo as run

    folder = new_run(project, "exp", exist_ok=False)
    with terminal.progress(quiet or json) as tell:
        made = run(folder, tell)
    if json:
        told = {name: {"words": w, "picture": str(p)} for name, (w, p) in made.photographs.items()}
        terminal.print_json(
            {**made.model.bundle.report, "photographs": told, "report": str(made.report)}
        )
        return
    say = terminal.console.print
    say("\nfound in the images:")
    terminal.print_findings(made.findings)
    say("\nthe packaged network, untrained by you, on two photographs:")
    for name, (words, picture) in made.photographs.items():
        say(f"    {name}: {words}\n        heat map {picture}", markup=False, soft_wrap=True)
    model = made.report.parent / "weights" / "best.ken"
    say(f"\nmodel   {model}", soft_wrap=True, markup=False)
    say(f"report  {made.report}", soft_wrap=True, markup=False)

"""`ken list`."""

from __future__ import annotations

from typing import Annotated

import typer

from kenspeckle.cli import options, terminal
from kenspeckle.errors import UsageError, nearest


def list_(
    what: Annotated[
        str | None,
        typer.Argument(help="models, tasks, checks, explanations, rule forms, ..."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Say what can be chosen.

    Example:

        ken list models
    """
    from kenspeckle.data.augment import TRANSFORMS
    from kenspeckle.data.checks import CHECKS
    from kenspeckle.knowledge.forms import FORMS
    from kenspeckle.models import BACKBONES, ENCODERS
    from kenspeckle.tasks import TASKS
    from kenspeckle.training.bank import BANK, PROTOTYPES
    from kenspeckle.trust.explain import EXPLANATIONS

    tables = {
        catalogue: {name: table.row(name).summary for name in table}
        for catalogue, table in (
            ("models", BACKBONES),
            ("sequence models", ENCODERS),
            ("tasks", TASKS),
            ("checks", CHECKS),
            ("explanations", EXPLANATIONS),
            ("rule forms", FORMS),
        )
    }
    tables["models"]["timm:NAME"] = "any network of the package timm (extra `timm`), with --weights"
    tables["models"]["auto"] = "a CNN, an LSTM, a Transformer and packaged features, compared"
    tables["augmentations"] = {name: row.summary for name, row in TRANSFORMS.items()}
    tables["heads"] = {kind.name: kind.words for kind in (*BANK, PROTOTYPES)}
    if what is not None and what not in tables:
        raise UsageError(
            f"There is no list '{what}'{nearest(what, tables) or '.'} Known: {', '.join(tables)}."
        )
    chosen = {what: tables[what]} if what else tables
    if json:
        terminal.print_json(chosen)
        return
    for title, rows in chosen.items():
        terminal.print_table([title, ""], [[name, words] for name, words in rows.items()])
        terminal.console.print()

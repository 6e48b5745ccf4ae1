"""`ken cache`."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from kenspeckle.cli import options, terminal
from kenspeckle.errors import UsageError
from kenspeckle.files import cache_folder


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Forget everything.")] = False,
    limit: Annotated[
        str | None, typer.Option("--limit", help="Forget the oldest beyond this, such as 5GB.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Show, limit or clear the decoded images and features that are remembered.

    Example:

        ken cache --limit 5GB
    """
    from kenspeckle.data import housekeeping

    folder = cache_folder()
    if clear:
        removed = housekeeping.clear(folder)
    elif limit is not None:
        removed = housekeeping.limit(folder, _bytes(limit))
    else:
        removed = []
    pools = housekeeping.usage(folder)
    if json:
        rows = [{"name": p.name, "records": p.records, "bytes": p.bytes} for p in pools]
        terminal.print_json(
            {"folder": str(folder), "pools": rows, "removed": [p.name for p in removed]}
        )
        return
    for pool in removed:
        terminal.console.print(f"removed {pool.name} ({_size(pool.bytes)})")
    terminal.console.print(f"{folder}: {_size(sum(p.bytes for p in pools))}", soft_wrap=True)
    if pools:
        rows_ = [[p.name, str(p.records), _size(p.bytes)] for p in pools]
        terminal.print_table(["what", "entries", "size"], rows_)


def _bytes(text: str) -> int:
    match = re.fullmatch(r"([0-9.]+)\s*([KMGT]?)B?", text.strip(), re.IGNORECASE)
    if not match:
        raise UsageError(f"--limit should be a size such as 500MB or 5GB, found '{text}'.")
    power = " KMGT".index(match[2].upper() or " ")
    return int(float(match[1]) * 1000**power)


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"

"""`ken decompress`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kenspeckle.cli import options, terminal


def decompress(
    files: Annotated[list[Path], typer.Argument(help="Files that `ken compress` wrote (.kenc).")],
    model: Annotated[
        Path, typer.Option("--model", "-m", help="The model file (.ken) that wrote them.")
    ],
    expect_sha256: options.ExpectSha256 = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder to write to.")
    ] = Path(),
    json: options.Json = False,
) -> None:
    """Turn .kenc files back into images: NAME-decompressed.png for each.

    A file that is damaged or of another model is refused.

    Example:

        ken decompress photo.kenc --model runs/train/exp/weights/best.ken
    """
    from kenspeckle.verbs.compress import check_names
    from kenspeckle.verbs.compress import decompress as run
    from kenspeckle.verbs.model import load
    from kenspeckle.verbs.pictures import as_png

    check_names(files)
    packer = load(model, expect_sha256)
    rows = []
    for file in files:
        pixels = run(packer, file)
        path = output / f"{file.stem}-decompressed.png"
        as_png(path, pixels)
        height, width = pixels.shape[:2]
        rows.append({"path": str(file), "picture": str(path), "width": width, "height": height})
        if not json:
            terminal.console.print(
                f"{file}: {width} x {height} pixels\npicture {path}", soft_wrap=True, markup=False
            )
    if json:
        terminal.print_json(rows)

"""`ken compress`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from kenspeckle.cli import options, terminal


def compress(
    images: Annotated[list[Path], typer.Argument(help="Images.")],
    model: Annotated[Path, typer.Option("--model", "-m", help="A model file (.ken).")],
    expect_sha256: options.ExpectSha256 = None,
    quality: Annotated[
        int, typer.Option("--quality", min=1, max=100, help="Higher is nearer, and larger.")
    ] = 50,
    codec: Annotated[
        str,
        typer.Option("--codec", help="auto (the smallest file), ours, webp, avif or jpeg."),
    ] = "auto",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder to write to.")
    ] = Path(),
    json: options.Json = False,
) -> None:
    """Write images in few bytes: NAME.kenc, or NAME-compressed.webp where that is smaller.

    A .kenc file can be opened with this very model only: keep it. Detail is lost, and so are
    EXIF and other metadata; the image is turned upright before.

    Example:

        ken compress photo.png --model runs/train/exp/weights/best.ken
    """
    from kenspeckle.files import write_bytes
    from kenspeckle.verbs.compress import check_names
    from kenspeckle.verbs.compress import compress as run
    from kenspeckle.verbs.model import load

    check_names(images)
    packer = load(model, expect_sha256)
    rows = []
    for image in images:
        packed = run(packer, image, quality=quality, codec=codec)
        path = output / f"{image.stem}{packed.ending}"
        write_bytes(path, packed.content)
        rows.append(
            {
                "path": str(image),
                "file": str(path),
                "codec": packed.codec,
                "bytes": len(packed.content),
                "psnr_db": round(packed.psnr, 2),
                "sizes": dict(packed.sizes),
                "words": packed.words,
                "notes": list(packed.notes),
            }
        )
        if not json:
            told = "; ".join([packed.words, *packed.notes])
            terminal.console.print(f"{image}: {told}\nfile {path}", soft_wrap=True, markup=False)
    if json:
        terminal.print_json(rows)
    elif len(rows) > 1:
        won = Counter(str(row["codec"]) for row in rows)
        told = ", ".join(f"{name} {count}" for name, count in won.most_common())
        total = sum(int(str(row["bytes"])) for row in rows)
        terminal.console.print(f"{len(rows)} files, {total} bytes: {told}", soft_wrap=True)

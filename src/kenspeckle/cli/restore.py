"""`ken restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kenspeckle.cli import options, terminal


def restore(
    images: Annotated[list[Path], typer.Argument(help="Images.")],
    model: Annotated[Path, typer.Option("--model", "-m", help="A model file (.ken).")],
    expect_sha256: options.ExpectSha256 = None,
    sigma: Annotated[
        float | None, typer.Option("--sigma", min=0, help="Noise, 0 to 75. [default: estimated]")
    ] = None,
    quality: Annotated[
        float | None,
        typer.Option("--quality", min=1, max=100, help="Of the JPEG. [default: from the file]"),
    ] = None,
    mask: Annotated[
        Path | None, typer.Option("--mask", help="White where pixels are missing.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder to write to.")
    ] = Path(),
    deviation: Annotated[
        bool, typer.Option("--deviation", help="Write how far each pixel may be off, too.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Mend damaged images: NAME-restored.png for each, never in place of the original.

    What is invented looks as real as what was there: keep the original, and do not use mended
    images as evidence.

    Example:

        ken restore old.jpg --model runs/train/exp/weights/best.ken
    """
    from kenspeckle.verbs.model import load
    from kenspeckle.verbs.pictures import as_png, grey_png
    from kenspeckle.verbs.restore import restore as run

    mender = load(model, expect_sha256)
    rows = []
    for image in images:
        mended = run(mender, image, sigma=sigma, quality=quality, mask=mask)
        path = output / f"{image.stem}-restored.png"
        as_png(path, mended.pixels)
        row = {
            "path": str(image),
            "picture": str(path),
            "sigma": round(mended.sigma, 1),
            "quality": mended.quality,
            "words": mended.words,
            "deviation": round(float(mended.deviation.mean()), 2),
        }
        if deviation:
            row["deviation_picture"] = str(output / f"{image.stem}-deviation.png")
            grey_png(Path(str(row["deviation_picture"])), mended.deviation)
        rows.append(row)
        if not json:
            off = f"a pixel may be off by {row['deviation']} of 255 on average"
            terminal.console.print(
                f"{image}: {mended.words}; {off}\npicture {path}", soft_wrap=True, markup=False
            )
    if json:
        terminal.print_json(rows)

"""Claim: 200 photographs of 12 megapixels become a measured model in 60 CPU seconds.

200 images of flowers5 (40 a class) enlarged to 4000 x 3000 (bicubic, JPEG of quality 90,
0.8 MB each; a camera's have 3 to 5 and take longer). `ken train` as a whole process,
nothing cached, three times; then once more by stage.
Run: `python benchmarks/photos_12mp.py`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import Store, unpacked, whole_processes, work_folder
from PIL import Image

ROUNDS = 3
TARGET = 60.0
SIZE = (4000, 3000)


def photographs() -> Path:
    """A folder of five classes of 40, made once."""
    folder = work_folder() / "photos-12mp"
    if folder.exists():
        return folder
    partial = folder.with_name("photos-12mp.partial")
    chosen = [
        path
        for kind in sorted((unpacked("flowers5") / "train").iterdir())
        for path in sorted(kind.glob("*.jpg"))[:40]
    ]

    def enlarge(path: Path) -> None:
        place = partial / path.parent.name / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            with Image.open(path) as small:
                large = small.convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)
            large.save(place, quality=90)

    with ThreadPoolExecutor(2) as workers:
        list(workers.map(enlarge, chosen))
    partial.rename(folder)
    return folder


def main() -> None:
    folder = photographs()
    print(f"{sum(p.stat().st_size for p in folder.rglob('*.jpg')) / 200e6:.2f} MB a photograph")
    whole_processes(Store("photos_12mp", __doc__ or ""), folder, ROUNDS, TARGET)


if __name__ == "__main__":
    main()

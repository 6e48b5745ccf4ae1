"""Claim: 1000 photographs become a checked, measured model in 30 CPU seconds, nothing cached.

750 of flowers5 (227 pixels) and 250 of scenes6 (64 pixels) as eleven classes of one folder;
`ken train` as a whole process, user and system seconds, three times; then once more by stage.
Run: `python benchmarks/features_1000.py`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from bench import Store, unpacked, whole_processes, work_folder

ROUNDS = 3
TARGET = 30.0


def thousand() -> Path:
    """A folder of eleven classes, made once."""
    folder = work_folder() / "thousand"
    if folder.exists():
        return folder
    partial = folder.with_name("thousand.partial")
    flowers = sorted(unpacked("flowers5").rglob("*.jpg"))
    scenes = sorted(unpacked("scenes6-64px").rglob("*.png"))
    kept = [scenes[i * len(scenes) // 250] for i in range(250)]
    for path in [*flowers, *kept]:
        place = partial / path.parent.name / f"{path.parent.parent.name}-{path.name}"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    partial.rename(folder)
    return folder


def main() -> None:
    folder = thousand()
    whole_processes(Store("features_1000", __doc__ or ""), folder, ROUNDS, TARGET)


if __name__ == "__main__":
    main()

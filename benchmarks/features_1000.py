"""Claim: 1000 photographs become a checked, measured model in 30 CPU seconds, nothing cached.

750 of flowers5 (227 pixels) and 250 of scenes6 (64 pixels) as eleven classes of one folder;
`ken train` as a whole process, user and system seconds, three times; then once more by stage.
Run: `python benchmarks/features_1000.py`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from bench import Store, middle, stages_cold, table, train_cold, unpacked, work_folder

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
    store = Store("features_1000", __doc__ or "")
    rows = [store.row(f"whole process {i}", lambda: train_cold(folder)) for i in range(ROUNDS)]
    stages = store.row("stages", lambda: stages_cold(folder))
    table([("round", "cpu s", "wall s", "load"), *((i, *_cells(r)) for i, r in enumerate(rows))])
    table([("stage", "cpu s"), *stages["cpu_s_by_stage"].items()])
    cpu = middle(row["cpu_s"] for row in rows)
    store.conclude({"cpu_s": cpu, "target": TARGET, "met": cpu["median"] <= TARGET})


def _cells(row: dict[str, object]) -> tuple[object, ...]:
    return row["cpu_s"], row["wall_s"], str(row["load"])


if __name__ == "__main__":
    main()

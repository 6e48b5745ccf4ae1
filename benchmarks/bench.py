"""What every benchmark shares: real data, machine data, CPU seconds, and a store that resumes."""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from kenspeckle.files import write_text

REPOSITORY = Path(__file__).resolve().parent.parent
DATA = REPOSITORY.parent / "shared" / "data"
RESULTS = REPOSITORY / "benchmarks" / "results"
Row = dict[str, Any]


def work_folder() -> Path:
    """Where unpacked sets, caches and runs go: KENSPECKLE_BENCHMARKS, or the temporary folder."""
    named = os.environ.get("KENSPECKLE_BENCHMARKS")
    folder = Path(named) if named else Path(tempfile.gettempdir()) / "kenspeckle-benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def unpacked(name: str, wanted: Callable[[str], bool] = lambda member: True) -> Path:
    """The folder of a set of ../shared/data, unpacked once.

    Args:
        name: of the archive without its ending, inside a folder of sets too (`omniglot/images`).
        wanted: which members of the archive are taken.
    """
    folder = work_folder() / "data" / name
    if folder.exists():
        return folder
    partial = folder.with_name(f"{folder.name}.partial")
    if (DATA / f"{name}.zip").exists():
        with zipfile.ZipFile(DATA / f"{name}.zip") as archive:
            archive.extractall(partial, [n for n in archive.namelist() if wanted(n)])
    elif (DATA / f"{name}.tar.xz").exists():
        with tarfile.open(DATA / f"{name}.tar.xz") as tar:
            chosen = [m for m in tar if m.isfile() and wanted(m.name)]
            tar.extractall(partial, chosen, filter="data")
    else:
        sys.exit(f"{DATA} has no set called {name}; benchmarks need the shared image sets.")
    (partial / folder.name).rename(folder)
    shutil.rmtree(partial)  # what lies beside it, such as __MACOSX
    return folder


def machine() -> Row:
    """What a figure depends on beside the code."""
    lines = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((x.split(":")[1].strip() for x in lines.splitlines() if "model name" in x), "")
    commit = ["git", "-C", str(REPOSITORY), "rev-parse", "--short", "HEAD"]
    changed = ["git", "-C", str(REPOSITORY), "status", "--porcelain", "src"]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": model or platform.processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("torch", "numpy", "scikit-learn", "pillow")},
        "commit": _told(commit) + ("+changes" if _told(changed) else ""),
        "load_average": [round(x, 2) for x in os.getloadavg()],
    }


def _told(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


class Store:
    """The rows of one benchmark as JSON: written whole after each, so that a rerun resumes.

    Args:
        name: of the file under `benchmarks/results/`.
        claim: in words, kept beside the rows.
    """

    def __init__(self, name: str, claim: str) -> None:
        self.path = RESULTS / f"{name}.json"
        self.rows: dict[str, Row] = {}
        self.summary: Row = {}
        self.claim = claim
        if self.path.exists():
            kept = json.loads(self.path.read_text("utf-8"))
            self.rows, self.summary = kept["rows"], kept["summary"]

    def row(self, key: str, measure: Callable[[], Row]) -> Row:
        """The stored row, or a new one, kept with the machine's load before and after."""
        if key not in self.rows:
            before = os.getloadavg()[0]
            measured = measure()
            load = [round(before, 2), round(os.getloadavg()[0], 2)]
            self.rows[key] = {**measured, "load": load, "machine": machine()}
            self.save()
        return self.rows[key]

    def conclude(self, summary: Row) -> None:
        """Keep what the rows say together, and print it but for `judged`, which is long."""
        self.summary = summary
        self.save()
        print(json.dumps({k: v for k, v in summary.items() if k != "judged"}, indent=1))

    def save(self) -> None:
        """Write the file, whole or not at all."""
        self.path.parent.mkdir(exist_ok=True)
        content = {"claim": self.claim, "summary": self.summary, "rows": self.rows}
        write_text(self.path, json.dumps(content, indent=1) + "\n")


@dataclass(frozen=True)
class Ran:
    """A whole process that ended."""

    code: int
    wall: float
    cpu: float
    output: str

    def as_row(self) -> Row:
        return {"wall_s": round(self.wall, 2), "cpu_s": round(self.cpu, 2)}


def ran(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Ran:
    """Run a process to its end; its CPU seconds are user and system, its children's included."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - start
        output.seek(0)
        cpu = usage.ru_utime + usage.ru_stime
        return Ran(process.returncode, wall, cpu, output.read())


def ken(*arguments: str | Path) -> list[str | Path]:
    """The command line of `ken` with this interpreter."""
    return [sys.executable, "-m", "kenspeckle", *arguments]


def train_cold(folder: Path, *options: str) -> Row:
    """CPU and wall seconds of `ken train FOLDER` as a whole process, with an empty cache."""
    with tempfile.TemporaryDirectory(dir=work_folder()) as empty:
        cache = {"KENSPECKLE_CACHE": str(Path(empty) / "cache")}
        command = ken("train", folder, "--project", Path(empty) / "runs", "--quiet", *options)
        done = ran(command, cache)
    if done.code:
        sys.exit(f"ken train ended with {done.code}: {done.output}")
    return done.as_row()


def stages_cold(folder: Path) -> Row:
    """CPU seconds of each stage of the same run, by the moments at which it tells of a new one."""
    with tempfile.TemporaryDirectory(dir=work_folder()) as empty:
        cache = {"KENSPECKLE_CACHE": str(Path(empty) / "cache")}
        done = ran([sys.executable, "-c", _STAGES, folder, Path(empty) / "run"], cache)
    if done.code:
        sys.exit(f"the stages could not be measured: {done.output}")
    seconds: Row = json.loads(done.output.splitlines()[-1])
    return {**done.as_row(), "cpu_s_by_stage": seconds}


_STAGES = """
import json, sys, time
from pathlib import Path
spent, since, name = {}, 0.0, "importing"
def note(new):
    global since, name
    now = time.process_time()
    spent[name] = round(spent.get(name, 0.0) + now - since, 2)
    since, name = now, new
import kenspeckle
from kenspeckle.verbs.train import train
note("looking")
def tell(stage):
    if stage.name != name:
        note(stage.name)
train(sys.argv[1], folder=Path(sys.argv[2]), tell=tell)
note("end")
print(json.dumps(spent))
"""


def t_interval(values: Iterable[float]) -> Row:
    """Mean of independent values with Student's 95 % interval."""
    x = np.asarray(list(values), dtype=np.float64)
    spread = x.std(ddof=1) / math.sqrt(len(x)) if len(x) > 1 else math.nan
    half = float(stats.t.ppf(0.975, len(x) - 1) * spread) if len(x) > 1 else math.nan
    mean = float(x.mean())
    return {"mean": mean, "low": mean - half, "high": mean + half, "n": len(x)}


def middle(values: Iterable[float]) -> Row:
    """Median, quartiles and extremes."""
    x = np.asarray(list(values), dtype=np.float64)
    names = ("least", "quartile", "median", "upper_quartile", "most")
    return dict(zip(names, np.quantile(x, [0, 0.25, 0.5, 0.75, 1]).round(4).tolist(), strict=True))


def table(rows: Iterable[Sequence[object]]) -> None:
    """Print rows, the first of them the heading, in columns as wide as they need."""
    cells = [[f"{x:.2f}" if isinstance(x, float) else str(x) for x in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    for row in cells:
        print("  ".join(x.ljust(width) for x, width in zip(row, widths, strict=True)).rstrip())


@dataclass(frozen=True)
class Vectors:
    """A set's packaged features: (N, D) vectors; (N,) classes, groups, parts and paths; widths."""

    vectors: NDArray[np.float32]
    targets: NDArray[np.int64]
    groups: NDArray[np.int64]
    parts: NDArray[np.str_]
    paths: Sequence[str]
    classes: Sequence[str]
    widths: tuple[int, ...]


def vectors_of(folder: Path, columns: Mapping[str, str] | None = None) -> Vectors:
    """Scan, read and extract as `ken train` does, remembered in the user's cache folder."""
    from kenspeckle.data.cache import decode_all
    from kenspeckle.data.duplicates import duplicate_groups
    from kenspeckle.data.fit import Fit
    from kenspeckle.data.scan import scan
    from kenspeckle.files import cache_folder
    from kenspeckle.models.pretrained import make_backbone
    from kenspeckle.training.features import extract, feature_network

    dataset = scan(folder, columns=columns)
    decoded = decode_all(dataset, Fit(224), None, cache_folder())
    network = feature_network(make_backbone("efficientnet-lite0").eval(), "bfloat16")
    vectors = extract(network, decoded.images, decoded.keys, "224-pad", cache_folder())
    samples = [dataset.samples[int(i)] for i in decoded.rows]
    return Vectors(
        vectors,
        dataset.targets()[decoded.rows],
        duplicate_groups(decoded.keys, [], [sample.group for sample in samples]),
        np.array([str(sample.split or "") for sample in samples]),
        [sample.path for sample in samples],
        dataset.classes,
        network.widths,
    )


def whole_processes(store: Store, folder: Path, rounds: int, target: float) -> None:
    """CPU seconds of `ken train FOLDER`, nothing cached, several times and once by stage."""
    rows = [store.row(f"whole process {i}", lambda: train_cold(folder)) for i in range(rounds)]
    stages = store.row("stages", lambda: stages_cold(folder))
    cells = ((i, row["cpu_s"], row["wall_s"], str(row["load"])) for i, row in enumerate(rows))
    table([("round", "cpu s", "wall s", "load"), *cells])
    table([("stage", "cpu s"), *stages["cpu_s_by_stage"].items()])
    cpu = middle(row["cpu_s"] for row in rows)
    store.conclude({"cpu_s": cpu, "target": target, "met": cpu["median"] <= target})

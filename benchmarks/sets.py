"""Claim: six real sets are measured with intervals; the planted faults are named and no others.

gtsrb-signs, orl-faces, chest-xray, scenes6, sign-digits and grocery by the default path, each
report kept under `results/sets/`. chest-xray is suspected of a shortcut (its covid images come from
other hospitals), scenes6 is not; the six pairs of flowers5-known-problems are found. Run:
`python benchmarks/sets.py`.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

from bench import RESULTS, Row, Store, ken, ran, table, unpacked, work_folder

SETS: dict[str, tuple[str, ...]] = {
    "gtsrb-signs": ("--columns", "label=sign_name,group=track"),
    "orl-faces": (),
    "chest-xray": (),
    "scenes6-64px": (),
    "sign-digits": (),
    "grocery-hierarchy": ("--columns", "path=file,label=fine_class"),
}
LISTED = 5  # paths of a finding that are kept


def trained(name: str) -> Row:
    """`ken train` on one set; the report goes to results/sets/, without the long lists."""
    folder, runs = unpacked(name), work_folder() / "runs"
    place = f"set-{name}"
    told = ("--project", runs, "--name", place, "--exist-ok", "--quiet")
    done = ran(ken("train", folder, *SETS[name], *told))
    if done.code:
        sys.exit(f"{name}: ken train ended with {done.code}: {done.output}")
    report = json.loads((runs / place / "report.json").read_text("utf-8"))
    kept = {k: v for k, v in report.items() if k not in ("mistakes", "best")}
    for finding in kept["findings"]:
        finding["paths"], finding["facts"] = finding["paths"][:LISTED], {}
    place_of = RESULTS / "sets" / f"{name}.json"
    place_of.parent.mkdir(parents=True, exist_ok=True)
    place_of.write_text(json.dumps(kept, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    return {
        **done.as_row(),
        "scores": report["scores"],
        "measured": report["measured"],
        "findings": [[f["check"], f["severity"], f["words"]] for f in report["findings"]],
    }


def known_problems() -> Row:
    """How many of the six known pairs `ken check` names as copies."""
    folder = unpacked("flowers5-known-problems")
    done = ran(ken("check", folder, "--columns", "label=class,path=file", "--json"))
    found = json.loads(done.output)["findings"]
    named = {path for f in found if f["check"] == "duplicates" for path in f["paths"]}
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        files = [row["file"] for row in csv.DictReader(file)]
    return {"files": len(files), "named": len(named & {Path(f).as_posix() for f in files})}


def main() -> None:
    store = Store("sets", __doc__ or "")
    rows = {name: store.row(name, lambda name=name: trained(name)) for name in SETS}  # type: ignore[misc]
    problems = store.row("flowers5-known-problems", known_problems)
    shares = {n: r["scores"]["accuracy_score"] for n, r in rows.items()}
    suspected = {n: any(f[0] == "shortcuts" for f in r["findings"]) for n, r in rows.items()}
    table(
        [("set", "right", "low", "high", "n", "shortcut suspected")]
        + [
            (n, *(100 * s[end] for end in ("value", "low", "high")), s["n"], suspected[n])
            for n, s in shares.items()
        ]
    )
    met = suspected["chest-xray"] and not suspected["scenes6-64px"]
    whole = problems["files"] == problems["named"]
    store.conclude({"shortcuts": suspected, "known problems": problems, "met": met and whole})


if __name__ == "__main__":
    main()

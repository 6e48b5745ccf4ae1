"""Files that cannot be turned into pixels: listed by reason and left out, never replaced."""

from __future__ import annotations

from collections.abc import Iterator

from kenspeckle.answer import Finding
from kenspeckle.data.checks import Evidence
from kenspeckle.data.dataset import Dataset
from kenspeckle.data.layouts.listing import some

_ADVICE = {
    "empty": "Copy the file again from where it came.",
    "not_an_image": "Remove the file, or give it the suffix of what it is.",
    "corrupt": "Copy the file again from where it came, or save it anew in an image editor.",
    "truncated": "The end is missing: copy the file again from where it came.",
    "too_many_pixels": "Save a smaller copy of the image.",
    "lfs_pointer": "Only Git's placeholder is here: run `git lfs pull` to fetch the image.",
    "needs_extra": "Install the optional package that the description names.",
    "missing": "Put the file there, or take its name out of the table.",
    "unsupported": "Save the image as PNG or JPEG.",
}


def check_unreadable(dataset: Dataset, evidence: Evidence) -> Iterator[Finding]:
    """One finding for each reason, with all files it concerns."""
    by_reason: dict[str, list[int]] = {}
    for row, fault in sorted(evidence.faults.items()):
        by_reason.setdefault(fault.reason, []).append(row)
    for reason, rows in by_reason.items():
        paths = tuple(dataset.samples[row].path for row in rows)
        noun = "1 file" if len(rows) == 1 else f"{len(rows):,} files"
        yield Finding(
            check="unreadable",
            severity="error",
            words=(
                f"{noun} of {len(dataset):,} cannot be read ({reason.replace('_', ' ')}: "
                f"{evidence.faults[rows[0]]}): {some(paths)}."
            ),
            advice=_ADVICE.get(reason, "Remove the file, or save it anew."),
            paths=paths,
            excluded=True,
            facts={"reason": reason},
        )

"""What a sample can be, one file a kind. The table is `READINGS`."""

from __future__ import annotations

from kenspeckle.verbs.readings.clips import Clips
from kenspeckle.verbs.readings.images import Images
from kenspeckle.verbs.readings.pairs import Pairs
from kenspeckle.verbs.readings.pixels import Pixels
from kenspeckle.verbs.readings.reading import Reading
from kenspeckle.verbs.readings.sequences import Sequences

READINGS: dict[str, Reading] = {
    "images": Images(),
    "sequences": Sequences(),
    "pairs": Pairs(),
    "clips": Clips(),
    "pixels": Pixels(),
}

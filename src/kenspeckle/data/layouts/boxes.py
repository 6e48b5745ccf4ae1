"""Boxes around things: VOC XML, COCO JSON or a table with a row a box, beside images or apart."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from kenspeckle.data.boxes import Box, joined_boxes
from kenspeckle.data.dataset import Sample, Split, natural_key
from kenspeckle.data.layouts.listing import (
    SPLIT_NAMES,
    TABLE_SUFFIXES,
    Found,
    Listing,
    counted,
    in_order,
    is_image,
    some,
    suffix,
)
from kenspeckle.data.layouts.table import Columns, find_columns
from kenspeckle.data.layouts.table_text import Table, parse_table
from kenspeckle.errors import DataError, EmptyDataset
from kenspeckle.files import inside

EXPECTED = """Expected images and one of:
  VOC XML      one .xml an image, beside it or in a folder of its own
  COCO JSON    a .json with images, annotations (bbox) and categories
  a table      a row a box: file, name, and left,top,right,bottom or x,y,width,height"""

MAX_XML_BYTES = 16 * 2**20  # 50,000 objects; the file of one photo is a few kB
MAX_JSON_BYTES = 512 * 2**20  # COCO's own largest is 470 MB
CORNERS = (
    ("left", "top", "right", "bottom"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("x1", "y1", "x2", "y2"),
)
SIDES = (("x", "y", "width", "height"), ("x", "y", "w", "h"), ("left", "top", "width", "height"))
NAMES = ("name", "class_name", "category")  # of the label's column, after the usual ones

# What is left out or changed: a kind -> how its note reads, for one and for several.
_NOTES: Mapping[str, tuple[str, str]] = {
    "unread": ("annotation file cannot be read", "annotation files cannot be read"),
    "missing": ("annotated file is not there", "annotated files are not there"),
    "several": ("name fits several images", "names fit several images"),
    "stray": ("box belongs to no image or class", "boxes belong to no image or class"),
    "crowd": ("box is around a crowd", "boxes are around crowds"),
    "numbers": ("box is not four finite numbers", "boxes are not four finite numbers"),
    "area": ("box has no area", "boxes have no area"),
    "outside": ("box is wholly outside its image", "boxes are wholly outside their images"),
    "clipped": ("box reaches over its image's edge", "boxes reach over their images' edges"),
    "repeated": ("box is said twice", "boxes are said twice"),
}
_DONE = {"clipped": "cut there", "repeated": "kept once"}  # of the others: left out


@dataclass
class _Faults:
    """What was wrong, by kind, each fault in words."""

    found: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: str, words: str) -> None:
        self.found[kind].append(words)

    def notes(self) -> tuple[str, ...]:
        return tuple(
            f"{len(found):,} {_NOTES[kind][len(found) > 1]}, {_DONE.get(kind, 'left out')}: "
            f"{some(found)}"
            for kind in _NOTES
            if (found := self.found.get(kind))
        )


@dataclass
class _Said:
    """What an annotation says about one image.

    Args:
        place: the annotation's own file.
        where: the same for messages, with the line.
        file: the image's name as it is written there.
        stem: what the image may be called instead, without its ending.
        size: width and height of the image; infinite where nobody says.
        boxes: each with where it stands.
        split: the part, where the annotation itself says it.
    """

    place: str
    where: str
    file: str
    stem: str = ""
    size: tuple[float, float] = (math.inf, math.inf)
    boxes: list[tuple[str, Box]] = field(default_factory=list)
    split: Split | None = None
    group: str | None = None
    weight: float = 1.0


@dataclass
class _Told:
    """What all annotations of one form say."""

    words: str
    said: list[_Said]
    faults: _Faults


def read_boxes(listing: Listing, columns: Mapping[str, str] | None, labelled: bool) -> Found | None:
    """One sample an annotated image, its label as `joined_boxes` writes it; None without boxes.

    The form is found by itself: VOC XML, COCO JSON, or a table (with `columns` only that). Images
    may lie anywhere; where several bear a name, the one whose folders are most like the
    annotation's is meant. Folders called train, val and test are parts. An annotated image without
    boxes has the label `-`; an image without annotation is left out. Numbers are taken as they
    stand, as pixels of the upright image; where the annotation says how large that is, the sample's
    facts keep it as `width` and `height`, so that it can be compared with the image itself.

    Raises:
        DataError: two annotations are about one image, a box has no name, a part or a weight makes
            no sense, or boxes are shares of the image where pixels are needed.
        EmptyDataset: none of the images named in the annotations is there.
    """
    if not labelled:
        return None
    forms = (_by_table,) if columns else (_by_xml, _by_json, _by_table)
    every = [form(listing, columns) for form in forms]
    speaking = [told for told in every if told.said]
    if not speaking:
        notes = tuple(note for told in every for note in told.faults.notes())
        return Found([], "", notes) if notes else None
    told, *others = speaking
    _refuse_shares(told)
    samples = in_order(_samples(listing, told).values())
    notes = (*told.faults.notes(), *_bare_note(listing, samples))
    if not samples:
        raise EmptyDataset("\n".join([f"{told.words} name no image that is there.", *notes]))
    unused = (f"{other.words} hold boxes too and were not used" for other in others)
    return Found(samples, f"boxes from {told.words}", (*notes, *unused))


def _samples(listing: Listing, told: _Told) -> dict[str, Sample]:
    """Image name -> sample."""
    images = _Images(listing)
    samples: dict[str, Sample] = {}
    places: dict[str, str] = {}
    for said in told.said:
        name = images.of(said, told.faults)
        if name is None:
            continue
        if name in samples:
            raise DataError(
                f"{places[name]} and {said.where} are both about {name}. Keep one of the two."
            )
        places[name] = said.where
        sized = zip(("width", "height"), said.size, strict=True)
        samples[name] = Sample(
            path=name,
            source=listing.source(name),
            label=joined_boxes(_cleaned(said, told.faults)),
            group=said.group,
            split=said.split or _part(name) or _part_of_list(said.place),
            weight=said.weight,
            facts={side: f"{value:g}" for side, value in sized if math.isfinite(value)},
        )
    return samples


def _bare_note(listing: Listing, samples: Iterable[Sample]) -> Iterator[str]:
    """The note on images that no annotation is about."""
    taken = {sample.path for sample in samples}
    bare = [name for name in listing.files if is_image(name) and name not in taken]
    if bare:
        names = some(sorted(bare, key=natural_key))
        yield f"{counted(len(bare), 'image')} without an annotation, left out: {names}"


# Which image is meant


def _part(name: str) -> Split | None:
    """The part that a folder of the path is called after."""
    folders = name.split("/")[:-1]
    return next((SPLIT_NAMES[f.lower()] for f in folders if f.lower() in SPLIT_NAMES), None)


def _part_of_list(name: str) -> Split | None:
    """The same for a file with many images, whose own name counts too: `instances_val2017.json`."""
    if suffix(name) == ".xml":
        return _part(name)
    words = re.findall("[a-z]+", name.rpartition("/")[2].lower())
    own = next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), None)
    return _part(name) or own


class _Images:
    """The images of a listing by the last part of their name, with and without its ending."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.by_name: defaultdict[str, list[str]] = defaultdict(list)
        self.by_stem: defaultdict[str, list[str]] = defaultdict(list)
        for name in filter(is_image, listing.files):
            last = name.rpartition("/")[2]
            self.by_name[last].append(name)
            self.by_stem[last.rpartition(".")[0]].append(name)

    def of(self, said: _Said, faults: _Faults) -> str | None:
        """The image that an annotation is about; None where there is none, or no one is meant."""
        written = PurePosixPath(said.file.replace("\\", "/")).as_posix()
        if said.file and not self.listing.is_complete:
            beside = str(PurePosixPath(said.place).parent / written)
            inside(self.listing.root, beside, said.where)
            return beside
        ends = f"/{written}"
        named = self.by_name.get(written.rpartition("/")[2], [])
        fitting = [n for n in named if f"/{n}".endswith(ends)] or self.by_stem.get(said.stem, [])
        part = _part_of_list(said.place)
        same = [n for n in fitting if part is None or _part(n) in (None, part)]
        nearest = _most_alike(same, said.place)
        if len(nearest) != 1:
            kind = "several" if nearest else "missing"
            faults.add(kind, f"{said.where}: {said.file or said.stem}")
            return None
        return nearest[0]


def _most_alike(names: Sequence[str], place: str) -> list[str]:
    """Those of `names` that share most folders with `place`."""
    folders = set(place.split("/")[:-1])
    shared = [len(folders & set(name.split("/")[:-1])) for name in names]
    most = max(shared, default=0)
    return [name for name, count in zip(names, shared, strict=True) if count == most]


# What is wrong with boxes


def _number(value: object) -> float:
    """What a cell, an element or a JSON value says; nan where that is no number."""
    try:
        return float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        return math.nan


def _named(name: object, where: str) -> str:
    """A box's name with single blanks.

    Raises:
        DataError: there is none, or it cannot be written into a label.
    """
    words = " ".join(name.split()) if isinstance(name, str) else ""
    if not words or ";" in words:
        raise DataError(
            f"{where}: a box is called {name!r}; each needs a name with a letter and no ';'."
        )
    return words


def _refuse_shares(told: _Told) -> None:
    """Boxes that all lie in the first pixel are shares of the image."""
    sides = [side for said in told.said for _, box in said.boxes for side in box.corners()]
    known = [side for side in sides if math.isfinite(side)]
    if known and 0 < max(known) <= 1:
        raise DataError(
            f"In {told.words} no side of a box is above 1, so these seem to be shares of the "
            "image. Multiply them by its width and height: pixels are needed."
        )


def _cleaned(said: _Said, faults: _Faults) -> list[Box]:
    """The boxes that can be learned from; the others are noted."""
    kept: dict[Box, None] = {}
    for where, box in said.boxes:
        fitted = _fitted(where, box, said.size, faults)
        if fitted in kept:
            faults.add("repeated", _words(where, box, said.size))
        elif fitted:
            kept[fitted] = None
    return list(kept)


def _fitted(where: str, box: Box, size: tuple[float, float], faults: _Faults) -> Box | None:
    """The box cut at the image's edge; None where nothing is left of it."""
    width, height = size
    words = _words(where, box, size)
    left, top, right, bottom = (round(side, 3) for side in box.corners())
    if not all(math.isfinite(side) for side in (left, top, right, bottom)):
        faults.add("numbers", words)
    elif right <= left or bottom <= top:
        faults.add("area", words)
    elif right <= 0 or bottom <= 0 or left >= width or top >= height:
        faults.add("outside", words)
    else:
        cut = max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height)
        if cut != (left, top, right, bottom):
            faults.add("clipped", words)
        return Box(box.name, *cut)
    return None


def _words(where: str, box: Box, size: tuple[float, float]) -> str:
    """A box for a note: where it stands, its name, its sides and the image's."""
    sides = " ".join(f"{side:g}" for side in box.corners())
    of = " of {:g} x {:g}".format(*size) if math.isfinite(size[0]) else ""
    return f"{where}: {box.name} {sides}{of}"


def _size(width: object, height: object) -> tuple[float, float]:
    """Width and height of an image; infinite where they are missing or 0, as some tools write."""
    size = _number(width), _number(height)
    return size if all(0 < side < math.inf for side in size) else (math.inf, math.inf)


# VOC XML


def parse_xml(content: bytes) -> Element:
    """The root of an XML document that refers to nothing outside itself.

    Raises:
        DataError: it is too large, no XML, or has a DOCTYPE: entities can grow without end or name
            other files.

    >>> parse_xml(b"<annotation><filename>a.jpg</filename></annotation>")[0].text
    'a.jpg'
    """
    if len(content) > MAX_XML_BYTES:
        raise DataError(f"it is larger than {MAX_XML_BYTES // 2**20} MB")
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise DataError(f"it is no XML ({error})") from None
    return builder.close()


def _refuse_doctype(*declared: object) -> NoReturn:
    raise DataError("it has a DOCTYPE, which is refused")


def _by_xml(listing: Listing, columns: Mapping[str, str] | None) -> _Told:
    """Every `.xml` whose root is `annotation`, wherever it lies."""
    faults, said = _Faults(), []
    for name in _with_suffix(listing, {".xml"}):
        try:
            root = parse_xml(listing.read(name))
        except DataError as error:
            faults.add("unread", f"{name}: {error}")
            continue
        if root.tag == "annotation":
            said.append(_said_in_xml(name, root))
    return _Told(counted(len(said), "VOC XML file"), said, faults)


def _said_in_xml(name: str, root: Element) -> _Said:
    stem = name.rpartition("/")[2].rpartition(".")[0]
    size = _size(root.findtext("size/width"), root.findtext("size/height"))
    file = (root.findtext("filename") or "").strip()
    said = _Said(name, name, file, stem, size)
    for thing in root.findall("object"):
        sides = [_number(thing.findtext(f"bndbox/{side}")) for side in CORNERS[1]]
        said.boxes.append((name, Box(_named(thing.findtext("name"), name), *sides)))
    return said


def _with_suffix(listing: Listing, endings: Iterable[str]) -> list[str]:
    return sorted((n for n in listing.files if suffix(n) in endings), key=natural_key)


# COCO JSON


def _by_json(listing: Listing, columns: Mapping[str, str] | None) -> _Told:
    """Every `.json` with images, annotations and categories; each may be about other images."""
    faults, said, names = _Faults(), [], []
    for name in _with_suffix(listing, {".json"}):
        try:
            content = _parse_json(listing.read(name))
        except DataError as error:
            faults.add("unread", f"{name}: {error}")
            continue
        if content.keys() >= {"images", "annotations", "categories"}:
            names.append(name)
            said += _said_in_json(name, content, faults)
    return _Told(f"{counted(len(names), 'COCO JSON file')} ({some(names)})", said, faults)


def _parse_json(content: bytes) -> dict[str, Any]:
    if len(content) > MAX_JSON_BYTES:
        raise DataError(f"it is larger than {MAX_JSON_BYTES // 2**20} MB")
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"it is no JSON ({error})") from None
    return parsed if isinstance(parsed, dict) else {}


def _records(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _said_in_json(name: str, content: Mapping[str, Any], faults: _Faults) -> list[_Said]:
    # Numbers and texts are both met as ids.
    said = {
        str(image.get("id")): _Said(
            place=name,
            where=name,
            file=str(image.get("file_name", "")),
            size=_size(image.get("width"), image.get("height")),
        )
        for image in _records(content["images"])
    }
    classes = {str(c.get("id")): c.get("name") for c in _records(content["categories"])}
    for number, thing in enumerate(_records(content["annotations"])):
        where = f"{name}, annotation {thing.get('id', number)}"
        image = said.get(str(thing.get("image_id")))
        category = str(thing.get("category_id"))
        if image is None or category not in classes:
            faults.add("stray", where)
        elif thing.get("iscrowd"):
            faults.add("crowd", where)
        else:
            box = thing.get("bbox")
            sides = [_number(side) for side in box] if isinstance(box, list) else []
            x, y, width, height = sides if len(sides) == 4 else [math.nan] * 4
            label = _named(classes[category], where)
            image.boxes.append((where, Box(label, x, y, x + width, y + height)))
    return list(said.values())


# A table, a row a box


@dataclass(frozen=True)
class _Places:
    """Which columns hold what.

    Args:
        sides: those of a box.
        has_corners: they are left, top, right, bottom, not left, top, width, height.
        size: those of the image's width and height.
    """

    usual: Columns
    sides: tuple[int, ...]
    has_corners: bool
    size: tuple[int, ...]


def _by_table(listing: Listing, columns: Mapping[str, str] | None) -> _Told:
    """Every table with a file, a name and the sides of a box in each row."""
    faults, said, names = _Faults(), [], []
    for name in _with_suffix(listing, TABLE_SUFFIXES):
        try:
            table = parse_table(name, listing.read(name))
        except DataError as error:
            faults.add("unread", str(error))
            continue
        places = _find_places(table.header, columns)
        if places is not None:
            names.append(name)
            said += _said_in_table(table, places)
    return _Told(f"{counted(len(names), 'table')} ({some(names)})", said, faults)


def _find_places(header: Sequence[str], wanted: Mapping[str, str] | None) -> _Places | None:
    """The columns, or None where no box is described.

    >>> _find_places(["file", "name", "x", "y", "w", "h"], None).sides
    (2, 3, 4, 5)
    """
    numbers = {column.lower(): number for number, column in enumerate(header)}
    usual = find_columns(header, wanted)
    if usual.label is None and not (wanted and "label" in wanted):
        usual = replace(usual, label=next((numbers[n] for n in NAMES if n in numbers), None))
    if usual.path is None or usual.label is None:
        return None
    for form in (*CORNERS, *SIDES):
        if numbers.keys() >= set(form):
            sizes = [n for n in ("width", "height") if n in numbers and n not in form]
            size = tuple(numbers[n] for n in sizes) if len(sizes) == 2 else ()
            return _Places(usual, tuple(numbers[n] for n in form), form in CORNERS, size)
    return None


def _said_in_table(table: Table, places: _Places) -> list[_Said]:
    """Rows of one file put together."""
    said: dict[str, _Said] = {}
    for line, cells in table.rows:
        row = _row(f"{table.name}, line {line}", table.name, cells, places)
        earlier = said.setdefault(row.file, row)
        if earlier is not row:
            _refuse_other_facts(earlier, row)
            earlier.boxes += row.boxes
    return list(said.values())


def _row(where: str, table: str, cells: Sequence[str], places: _Places) -> _Said:
    """What one row says; without a name and numbers it says that nothing is in the image."""
    usual = places.usual
    path, label, group, split, weight = (
        "" if column is None else cells[column]
        for column in (usual.path, usual.label, usual.group, usual.split, usual.weight)
    )
    if not path:
        raise DataError(f"{where}: the row names no file.")
    if split and split.lower() not in SPLIT_NAMES:
        raise DataError(f"{where}: unknown split {split!r}; known: {', '.join(SPLIT_NAMES)}.")
    heavy = _number(weight) if weight else 1.0
    if not 0 <= heavy < math.inf:
        raise DataError(f"{where}: the weight should be a number from 0 up, found {weight!r}.")
    size = _size(*(cells[n] for n in places.size)) if places.size else (math.inf, math.inf)
    written = [cells[n] for n in places.sides]
    boxes = []
    if label or any(written):
        left, top, right, bottom = map(_number, written)
        if not places.has_corners:
            right, bottom = left + right, top + bottom
        boxes.append((where, Box(_named(label, where), left, top, right, bottom)))
    part = SPLIT_NAMES[split.lower()] if split else None
    return _Said(table, where, path, "", size, boxes, part, group or None, heavy)


def _refuse_other_facts(first: _Said, second: _Said) -> None:
    """Rows of one file agree on everything but the box."""
    for name in ("split", "group", "weight", "size"):
        one, two = getattr(first, name), getattr(second, name)
        if one != two:
            raise DataError(
                f"{second.where}: {second.file} has another {name} than in {first.where}: "
                f"{two!r} and {one!r}. Rows of one file must agree."
            )

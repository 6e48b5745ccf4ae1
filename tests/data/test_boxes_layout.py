"""Boxes are found in the three usual forms, and whatever is left out of them is said."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from kenspeckle.data.boxes import boxes_in
from kenspeckle.data.layouts.archive import list_archive
from kenspeckle.data.layouts.boxes import MAX_XML_BYTES, parse_xml, read_boxes
from kenspeckle.data.layouts.listing import Found, Listing, list_folder, read_whole
from kenspeckle.data.source import File
from kenspeckle.errors import DataError, EmptyDataset

ARCHIVE = Path(__file__).parents[3] / "shared" / "data" / "bccd-blood-cells.zip"
BOMB = b"""<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>
<annotation><filename>&b;</filename></annotation>"""


def files(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")  # no layout looks into an image
    return root


def text(root: Path, name: str, content: str) -> Path:
    files(root, name)
    (root / name).write_text(content, "utf-8")
    return root


def voc(root: Path, name: str, file: str, *boxes: str, size: tuple[int, int] = (100, 80)) -> Path:
    """An annotation with boxes `left top right bottom name`."""
    things = ""
    for box in boxes:
        *sides, label = box.split(" ", 4)
        inner = "".join(
            f"<{tag}>{side}</{tag}>"
            for tag, side in zip(("xmin", "ymin", "xmax", "ymax"), sides, strict=True)
        )
        things += f"<object><name>{label}</name><bndbox>{inner}</bndbox></object>"
    sized = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    content = f"<annotation><filename>{file}</filename>{sized}{things}</annotation>"
    return text(root, name, content)


def coco(root: Path, name: str, images: list, annotations: list, classes: dict) -> Path:
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": n} for i, n in classes.items()],
    }
    return text(root, name, json.dumps(content))


def read(root: Path, columns: dict[str, str] | None = None) -> Found:
    found = read_boxes(list_folder(root), columns, True)
    assert found is not None
    return found


def labels(found: Found) -> list[tuple[str, str | None]]:
    return [(sample.path, sample.label) for sample in found.samples]


def said(found: Found, word: str) -> str:
    return next((note for note in found.notes if word in note), "")


# Without annotations


def test_a_folder_without_boxes_is_left_to_other_layouts(tmp_path):
    files(tmp_path, "cat/a.png", "dog/b.png")
    text(tmp_path, "labels.csv", "file,label\ncat/a.png,cat\n")
    text(tmp_path, "settings.json", '{"colour": "red"}')
    text(tmp_path, "pom.xml", "<project/>")
    assert read_boxes(list_folder(tmp_path), None, True) is None


def test_without_labels_there_are_no_boxes_to_read(tmp_path):
    voc(files(tmp_path, "a.png"), "a.xml", "a.png", "1 2 3 4 cell")
    assert read_boxes(list_folder(tmp_path), None, False) is None


# VOC XML


@pytest.mark.parametrize("place", ["a.xml", "annotations/a.xml", "x/y/a.xml"])
def test_an_annotation_may_lie_anywhere(tmp_path, place):
    voc(files(tmp_path, "images/a.png"), place, "a.png", "1 2 3 4 cell", "5 6 7 8.5 red cell")
    found = read(tmp_path)
    assert labels(found) == [("images/a.png", "1 2 3 4 cell; 5 6 7 8.5 red cell")]
    assert found.layout == "boxes from 1 VOC XML file"
    assert found.notes == ()
    assert dict(found.samples[0].facts) == {"width": "100", "height": "80"}


@pytest.mark.parametrize("file", ["", "old name.png", "elsewhere/a.png"])
def test_where_the_file_name_leads_nowhere_the_annotations_own_counts(tmp_path, file):
    voc(files(tmp_path, "images/a.jpg", "images/b.jpg"), "xml/a.xml", file, "1 2 3 4 cell")
    assert labels(read(tmp_path)) == [("images/a.jpg", "1 2 3 4 cell")]


def test_an_annotated_image_without_boxes_is_an_example(tmp_path):
    voc(files(tmp_path, "a.png"), "a.xml", "a.png")
    assert labels(read(tmp_path)) == [("a.png", "-")]


def test_an_image_without_annotation_is_said(tmp_path):
    voc(files(tmp_path, "a.png", "b.png", "c.png"), "a.xml", "a.png")
    found = read(tmp_path)
    assert labels(found) == [("a.png", "-")]
    assert found.notes == ("2 images without an annotation, left out: 'b.png', 'c.png'",)


def test_an_annotation_without_image_is_said(tmp_path):
    voc(files(tmp_path, "a.png"), "a.xml", "a.png")
    voc(tmp_path, "b.xml", "b.png", "1 2 3 4 cell")
    assert said(read(tmp_path), "b.xml") == (
        "1 annotated file is not there, left out: 'b.xml: b.png'"
    )


def test_where_no_image_is_there_nothing_is_left(tmp_path):
    voc(tmp_path, "b.xml", "b.png", "1 2 3 4 cell")
    with pytest.raises(EmptyDataset, match=r"(?s)no image that is there.*b\.xml: b\.png"):
        read(tmp_path)


def test_folders_called_train_and_test_are_parts_and_names_may_repeat_there(tmp_path):
    for part in ("train", "valid", "test"):
        files(tmp_path, f"images/{part}/1.png")
        voc(tmp_path, f"labels/{part}/1.xml", "1.png", f"1 2 3 4 {part}")
    found = read(tmp_path)
    assert [(s.path, s.split, s.label) for s in found.samples] == [
        ("images/test/1.png", "test", "1 2 3 4 test"),
        ("images/train/1.png", "train", "1 2 3 4 train"),
        ("images/valid/1.png", "val", "1 2 3 4 valid"),
    ]


def test_an_image_of_another_part_is_never_taken_instead(tmp_path):
    files(tmp_path, "train/1.png", "test/2.png")
    voc(tmp_path, "train/1.xml", "1.png", "1 2 3 4 cell")
    voc(tmp_path, "train/2.xml", "2.png", "1 2 3 4 cell")
    found = read(tmp_path)
    assert [s.path for s in found.samples] == ["train/1.png"]
    assert "'train/2.xml: 2.png'" in said(found, "not there")


def test_an_image_that_several_could_be_is_left_out(tmp_path):
    files(tmp_path, "x/1.png", "y/1.png", "x/2.png")
    voc(voc(tmp_path, "z/1.xml", "1.png"), "z/2.xml", "2.png")
    found = read(tmp_path)
    assert [s.path for s in found.samples] == ["x/2.png"]
    assert said(found, "fits several") == "1 name fits several images, left out: 'z/1.xml: 1.png'"


def test_two_annotations_of_one_image_are_refused(tmp_path):
    voc(voc(files(tmp_path, "a.png"), "a.xml", "a.png"), "b.xml", "a.png")
    with pytest.raises(DataError, match=r"a\.xml and b\.xml are both about a\.png"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("box", "word"),
    [
        ("1 2 1 4 cell", "has no area"),
        ("5 2 1 4 cell", "has no area"),
        ("100 2 120 4 cell", "wholly outside"),
        ("-9 2 0 4 cell", "wholly outside"),
        ("1 nan 3 4 cell", "not four finite numbers"),
        ("1 2 inf 4 cell", "not four finite numbers"),
        ("1 2 x 4 cell", "not four finite numbers"),
    ],
)
def test_a_box_that_cannot_be_is_left_out_and_said(tmp_path, box, word):
    voc(files(tmp_path, "a.png"), "a.xml", "a.png", box, "1 2 3 4 cell")
    found = read(tmp_path)
    assert labels(found) == [("a.png", "1 2 3 4 cell")]
    assert "left out: 'a.xml: cell" in said(found, word)


def test_a_box_over_the_edge_is_cut_and_said(tmp_path):
    voc(files(tmp_path, "a.png"), "a.xml", "a.png", "-5 70 30 99 cell")
    found = read(tmp_path)
    assert labels(found) == [("a.png", "0 70 30 80 cell")]
    assert said(found, "edge") == (
        "1 box reaches over its image's edge, cut there: 'a.xml: cell -5 70 30 99 of 100 x 80'"
    )


def test_where_the_size_is_unknown_only_the_upper_left_edge_cuts(tmp_path):
    voc(files(tmp_path, "a.png"), "a.xml", "a.png", "-5 70 3000 990 cell", size=(0, 0))
    found = read(tmp_path)
    assert labels(found) == [("a.png", "0 70 3000 990 cell")]
    assert not found.samples[0].facts


def test_a_box_said_twice_counts_once(tmp_path):
    voc(files(tmp_path, "a.png"), "a.xml", "a.png", *["1 2 3 4 cell"] * 3)
    found = read(tmp_path)
    assert labels(found) == [("a.png", "1 2 3 4 cell")]
    assert said(found, "twice").startswith("2 boxes are said twice, kept once")


@pytest.mark.parametrize("name", ["", "red;cell"])
def test_a_box_that_cannot_be_named_is_refused(tmp_path, name):
    voc(files(tmp_path, "a.png"), "a.xml", "a.png", f"1 2 3 4 {name}")
    with pytest.raises(DataError, match=r"a\.xml: a box is called"):
        read(tmp_path)


def test_shares_of_the_image_are_not_taken_for_pixels(tmp_path):
    voc(files(tmp_path, "a.png"), "a.xml", "a.png", "0.1 0.2 0.9 1.0 cell")
    with pytest.raises(DataError, match="shares of the image"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("content", "why"),
    [(BOMB, "DOCTYPE"), (BOMB.decode().encode("utf-16"), "DOCTYPE"), (b"<annotation>", "no XML")],
)
def test_an_annotation_that_cannot_be_read_safely_is_said(tmp_path, content, why):
    voc(files(tmp_path, "a.png", "b.png", "b.xml"), "a.xml", "a.png")
    (tmp_path / "b.xml").write_bytes(content)
    found = read(tmp_path)
    assert labels(found) == [("a.png", "-")]
    assert why in said(found, "annotation file cannot be read")


def test_where_no_annotation_can_be_read_the_reason_is_kept(tmp_path):
    text(files(tmp_path, "a.png"), "a.xml", "<annotation>")
    found = read(tmp_path)
    assert found.samples == []
    assert "a.xml: it is no XML" in said(found, "cannot be read")


def test_an_entity_is_never_expanded_nor_a_file_opened():
    secret = b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><annotation>&x;</annotation>'
    for content in (BOMB, secret):
        with pytest.raises(DataError, match="DOCTYPE"):
            parse_xml(content)
    with pytest.raises(DataError, match="larger than"):
        parse_xml(b" " * (MAX_XML_BYTES + 1))


# COCO JSON

IMAGES = [
    {"id": 1, "file_name": "a.png", "width": 100, "height": 80},
    {"id": 2, "file_name": "b.png", "width": 100, "height": 80},
]
CLASSES = {7: "cell", 8: "plate"}


def thing(image: object, category: object, *bbox: object, **more: object) -> dict:
    return {"id": 5, "image_id": image, "category_id": category, "bbox": list(bbox), **more}


def test_coco_boxes_are_left_top_width_height(tmp_path):
    boxes = [thing(1, 8, 10, 20, 30.1, 5.2), thing("1", 7, 1, 2, 3, 4)]
    coco(files(tmp_path, "images/a.png", "images/b.png"), "x.json", IMAGES, boxes, CLASSES)
    found = read(tmp_path)
    assert labels(found) == [
        ("images/a.png", "1 2 4 6 cell; 10 20 40.1 25.2 plate"),
        ("images/b.png", "-"),
    ]
    assert found.layout == "boxes from 1 COCO JSON file ('x.json')"
    assert found.notes == ()


@pytest.mark.parametrize(
    ("box", "word"),
    [
        (thing(3, 7, 1, 2, 3, 4), "no image or class"),
        (thing(1, 9, 1, 2, 3, 4), "no image or class"),
        (thing([], {}, 1, 2, 3, 4), "no image or class"),
        (thing(1, 7, 1, 2, 3, 4, iscrowd=1), "crowd"),
        (thing(1, 7, 1, 2, 3), "not four finite numbers"),
        (thing(1, 7, 1, 2, None, 10**400), "not four finite numbers"),
        (thing(1, 7, 1, 2, float("inf"), 4), "not four finite numbers"),
        (thing(1, 7, 1, 2, -3, 4), "has no area"),
        (thing(1, 7, 200, 2, 3, 4), "wholly outside"),
    ],
)
def test_a_coco_box_that_cannot_be_is_left_out_and_said(tmp_path, box, word):
    coco(files(tmp_path, "a.png", "b.png"), "x.json", IMAGES, [box], CLASSES)
    found = read(tmp_path)
    assert labels(found) == [("a.png", "-"), ("b.png", "-")]
    assert "x.json, annotation 5" in said(found, word)


def test_each_part_may_have_a_file_of_its_own(tmp_path):
    files(tmp_path, "train2017/a.png", "val2017/b.png")
    coco(tmp_path, "annotations/instances_train2017.json", IMAGES[:1], [], CLASSES)
    coco(tmp_path, "annotations/instances_val2017.json", IMAGES[1:], [], CLASSES)
    assert [(s.path, s.split) for s in read(tmp_path).samples] == [
        ("train2017/a.png", "train"),
        ("val2017/b.png", "val"),
    ]


def test_a_json_that_is_broken_or_about_something_else_is_no_annotation(tmp_path):
    files(tmp_path, "a.png", "b.png")
    text(text(tmp_path, "broken.json", "{"), "list.json", "[1, 2]")
    text(tmp_path, "odd.json", '{"images": 3, "annotations": {}, "categories": [1]}')
    coco(tmp_path, "x.json", IMAGES, [], CLASSES)
    found = read(tmp_path)
    assert len(found.samples) == 2
    assert "broken.json: it is no JSON" in said(found, "cannot be read")


# Tables


@pytest.mark.parametrize(
    ("header", "sides"),
    [
        ("file,name,left,top,right,bottom", "1,2,4,6"),
        ("image_path,label,xmin,ymin,xmax,ymax", "1,2,4,6"),
        ("Filename,Class,X,Y,W,H", "1,2,3,4"),
        ("filename,label,x,y,width,height", "1,2,3,4"),
    ],
)
def test_a_row_is_a_box(tmp_path, header, sides):
    rows = f"{header}\na.png,cell,{sides}\nb.png,,,,,\na.png,plate,10,20,40,50\n"
    found = read(text(files(tmp_path, "a.png", "b.png"), "boxes.csv", rows))
    assert labels(found)[1] == ("b.png", "-")
    first, second = boxes_in(found.samples[0].label or "")
    assert (first.name, first.corners()) == ("cell", (1, 2, 4, 6))
    assert second.name == "plate"


def test_width_and_height_beside_corners_are_those_of_the_image(tmp_path):
    rows = "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,100,80,cell,90,2,120,6\n"
    found = read(text(files(tmp_path, "a.png"), "boxes.csv", rows))
    assert labels(found) == [("a.png", "90 2 100 6 cell")]
    assert dict(found.samples[0].facts) == {"width": "100", "height": "80"}


def test_a_note_names_the_line_of_a_box(tmp_path):
    rows = "file,name,x,y,w,h\na.png,cell,1,2,3,4\na.png,cell,1,2,0,4\n"
    found = read(text(files(tmp_path, "a.png"), "boxes.csv", rows))
    assert "boxes.csv, line 3: cell 1 2 1 6" in said(found, "no area")


def test_part_group_and_weight_are_read_and_must_agree(tmp_path):
    rows = "file,name,x,y,w,h,split,group,weight\na.png,c,1,2,3,4,valid,p1,2\n"
    text(files(tmp_path, "a.png"), "boxes.csv", rows)
    (sample,) = read(tmp_path).samples
    assert (sample.split, sample.group, sample.weight) == ("val", "p1", 2.0)
    text(tmp_path, "boxes.csv", rows + "a.png,c,5,6,7,8,valid,p2,2\n")
    with pytest.raises(DataError, match=r"line 3: a\.png has another group than in .*line 2"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("row", "match"),
    [
        (",c,1,2,3,4,,", "names no file"),
        ("a.png,c,1,2,3,4,middle,", "unknown split 'middle'"),
        ("a.png,c,1,2,3,4,,-1", "weight should be a number"),
        ("a.png,,1,2,3,4,,", "a box is called ''"),
    ],
)
def test_a_wrong_row_is_refused_with_its_line(tmp_path, row, match):
    text(files(tmp_path, "a.png"), "b.csv", f"file,name,x,y,w,h,split,weight\n{row}\n")
    with pytest.raises(DataError, match=rf"b\.csv, line 2: .*{match}"):
        read(tmp_path)


def test_the_user_may_name_the_columns(tmp_path):
    rows = "photo,species,x,y,w,h\na.png,crow,1,2,3,4\n"
    text(files(tmp_path, "a.png"), "boxes.csv", rows)
    assert read_boxes(list_folder(tmp_path), None, True) is None
    found = read(tmp_path, {"path": "photo", "label": "species"})
    assert labels(found) == [("a.png", "1 2 4 6 crow")]


def test_a_table_in_the_folder_of_a_part_is_about_that_part(tmp_path):
    for part in ("train", "valid"):
        files(tmp_path, f"{part}/1.png")
        rows = f"filename,class,xmin,ymin,xmax,ymax\n1.png,{part},1,2,3,4\n"
        text(tmp_path, f"{part}/_annotations.csv", rows)
    assert [(s.path, s.split, s.label) for s in read(tmp_path).samples] == [
        ("train/1.png", "train", "1 2 3 4 train"),
        ("valid/1.png", "val", "1 2 3 4 valid"),
    ]


def test_a_table_alone_names_files_beside_it(tmp_path):
    rows = "file,name,x,y,w,h\nin/a.png,c,1,2,3,4\n"
    text(tmp_path, "boxes.csv", rows)
    listing = Listing(
        root=tmp_path,
        files=["boxes.csv"],
        folders=[],
        source=lambda name: File(tmp_path / name),
        read=lambda name: read_whole(tmp_path / name),
        is_complete=False,
    )
    found = read_boxes(listing, None, True)
    assert found is not None
    assert labels(found) == [("in/a.png", "1 2 4 6 c")]
    text(tmp_path, "boxes.csv", rows.replace("in/", "../"))
    with pytest.raises(DataError, match="outside"):
        read_boxes(listing, None, True)


# Several forms, archives, real data


def test_of_several_forms_one_is_used_and_the_others_are_said(tmp_path):
    voc(files(tmp_path, "a.png", "b.png"), "a.xml", "a.png", "1 2 3 4 cell")
    coco(tmp_path, "x.json", IMAGES, [], CLASSES)
    found = read(tmp_path)
    assert labels(found) == [("a.png", "1 2 3 4 cell")]
    assert said(found, "not used").startswith("1 COCO JSON file ('x.json') hold boxes too")


def test_boxes_are_read_from_an_archive(tmp_path):
    voc(files(tmp_path, "images/a.png"), "annotations/a.xml", "a.png", "1 2 3 4 cell")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in ("images/a.png", "annotations/a.xml"):
            archive.write(tmp_path / name, name)
    found = read_boxes(list_archive(tmp_path / "all.zip"), None, True)
    assert found is not None
    assert labels(found) == [("images/a.png", "1 2 3 4 cell")]


@pytest.mark.shared
def test_the_blood_cells_are_read_whole():
    if not ARCHIVE.exists():
        pytest.skip(f"{ARCHIVE} is not there: it lies beside the checkout, in ../shared/data")
    found = read_boxes(list_archive(ARCHIVE), None, True)
    assert found is not None
    every = [box for s in found.samples for box in boxes_in(s.label or "")]
    assert len(found.samples) == 100
    assert {box.name for box in every} == {"RBC", "WBC", "Platelets"}
    assert found.notes == ()

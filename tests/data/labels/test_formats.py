"""Label formats: what is written is read back, and every fault is named and loses nothing."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medvit.data.labels.coco import read_coco, write_coco
from medvit.data.labels.folders import read_folders
from medvit.data.labels.formats import read_labels, sniff
from medvit.data.labels.graded import read_graded
from medvit.data.labels.label_set import Box, ImageLabels, LabelSet, checked_boxes
from medvit.data.labels.masks import boxes_of_mask, read_masks
from medvit.data.labels.voc import read_voc, write_voc
from medvit.data.labels.yolo import read_yolo, write_yolo
from medvit.data.manifest import ManifestRow
from medvit.errors import InputError

SIZE = (20, 10)
BOXES = (Box("dent", 0, 0, 4, 5), Box("rust", 3, 2, 20, 10), Box("dent", 6, 1, 7, 2))


def image(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", SIZE, 9).save(folder / name)


def messages(found: LabelSet) -> list[tuple[str, str]]:
    return [(problem.file, problem.message) for problem in found.problems]


@pytest.fixture
def labelled(tmp_path: Path) -> ImageLabels:
    image(tmp_path, "a.png")
    return ImageLabels(ManifestRow("a.png", "dent", "", ""), BOXES, SIZE)


def test_voc_coco_and_yolo_give_back_the_same_boxes(tmp_path: Path, labelled: ImageLabels) -> None:
    write_voc(tmp_path, [labelled])
    write_yolo(tmp_path, [labelled])
    write_coco(tmp_path / "c.json", [labelled])
    for found in (read_voc(tmp_path), read_yolo(tmp_path), read_coco(tmp_path / "c.json")):
        assert found.images == (labelled,)
        assert found.problems == ()


def test_voc_counts_pixels_from_one_and_includes_the_last(tmp_path: Path) -> None:
    image(tmp_path, "a.png")
    corners = "<xmin>1</xmin><ymin>2</ymin><xmax>20</xmax><ymax>2</ymax>"
    (tmp_path / "a.xml").write_text(
        f"<annotation><object><name>rust</name><bndbox>{corners}</bndbox></object></annotation>"
    )
    assert read_voc(tmp_path).images[0].boxes == (Box("rust", 0, 1, 20, 2),)


def test_broken_voc_files_are_named_and_their_images_stay(tmp_path: Path) -> None:
    for name in "abc":
        image(tmp_path, f"{name}.png")
    (tmp_path / "a.xml").write_text("<annotation><object>")
    (tmp_path / "b.xml").write_text('<!DOCTYPE x [<!ENTITY y "z">]><annotation/>')
    (tmp_path / "d.xml").write_text("<annotation/>")
    found = read_voc(tmp_path)
    assert [each.row.path for each in found.images] == ["a.png", "b.png", "c.png"]
    told = dict(messages(found))
    assert "not a VOC annotation" in told["a.xml"]
    assert "document type" in told["b.xml"]
    assert "no image d.*" in told["d.xml"]
    assert told["c.png"] == "no annotation: taken as unlabelled"


def test_faulty_boxes_are_named_one_by_one() -> None:
    boxes = [
        Box("a", 1, 1, 1, 5),
        Box("a", 30, 0, 40, 5),
        Box("a", -2, 0, 5, 12),
        Box("a", 0, 0, 5, 10),
        Box("b", 2, 2, 3, 3),
    ]
    kept, wrong = checked_boxes(boxes, size=SIZE, file="f.xml")
    assert kept == (Box("a", 0, 0, 5, 10), Box("b", 2, 2, 3, 3))
    assert [each.message.rpartition(": ")[2] for each in wrong] == [
        *("left out", "left out", "cut", "kept once"),
    ]
    assert "box 2 'a' [30, 0, 40, 5] lies outside the image of 20x10" in wrong[1].message


NUMBER = st.integers(-30, 50).map(float)


@given(corners=st.lists(st.tuples(NUMBER, NUMBER, NUMBER, NUMBER), max_size=6))
def test_boxes_that_are_kept_lie_inside(corners: list[tuple[float, float, float, float]]) -> None:
    kept, wrong = checked_boxes([Box("a", *each) for each in corners], size=SIZE, file="f")
    assert all(0 <= b.x_min < b.x_max <= 20 and 0 <= b.y_min < b.y_max <= 10 for b in kept)
    dropped = [each for each in wrong if not each.message.endswith("cut")]
    assert len(kept) + len(dropped) == len(corners)


def test_coco_annotations_that_hang_in_the_air_are_named(tmp_path: Path) -> None:
    box = {"bbox": [0, 0, 2, 2]}
    document = {
        "images": [{"id": 1, "file_name": "gone.png"}],
        "categories": [{"id": 1, "name": "rust"}],
        "annotations": [
            {"id": 7, "image_id": 9, "category_id": 1, **box},
            {"id": 8, "image_id": 1, "category_id": 5, **box},
        ],
    }
    (tmp_path / "c.json").write_text(json.dumps(document))
    found = read_coco(tmp_path / "c.json")
    assert [each.row.path for each in found.images] == ["gone.png"]
    told = " ".join(message for _, message in messages(found))
    assert "annotation 7: there is no image with id 9" in told
    assert "annotation 8: no category has id 5" in told
    assert "no such image" in told
    (tmp_path / "c.json").write_text('{"images": []}')
    with pytest.raises(InputError, match=r"c\.json: not a COCO file: KeyError 'categories'"):
        read_coco(tmp_path / "c.json")


def test_yolo_lines_that_cannot_be_read_are_named_by_number(tmp_path: Path) -> None:
    image(tmp_path, "images/a.png")
    (tmp_path / "classes.txt").write_text("rust\n")
    (tmp_path / "labels").mkdir()
    text = "0 0.5 0.5 1 1\n1 0.5 0.5 1 1\n-1 0.5 0.5 1 1\n0 0.5 x 1 1\n0 0.5\n"
    (tmp_path / "labels/a.txt").write_text(text)
    found = read_labels(tmp_path)
    assert found.images[0].boxes == (Box("rust", 0, 0, 20, 10),)
    assert [file for file, _ in messages(found)] == [f"a.txt, line {n}" for n in (2, 3, 4, 5)]


def test_masks_become_a_box_a_piece(tmp_path: Path) -> None:
    mask = np.zeros((10, 20), np.uint8)
    mask[1:3, 2:5] = mask[3, 5] = 1  # touches at a corner
    mask[7:9, 10:12] = 2
    image(tmp_path, "images/a.png")
    image(tmp_path, "images/b.png")
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks/a.png")
    Image.new("L", (5, 5)).save(tmp_path / "masks/b.png")
    assert boxes_of_mask(mask) == (Box("1", 2, 1, 6, 4), Box("2", 10, 7, 12, 9))
    found = read_masks(tmp_path / "images", tmp_path / "masks")
    assert found.images[0].boxes == boxes_of_mask(mask)
    assert messages(found) == [("b.png", "the mask is 5x5, its image 20x10")]


def test_folders_are_classes_and_single_images_are_named(tmp_path: Path) -> None:
    for name in ("dent/1.png", "dent/2.PNG", "rust/1.png", "train/dent/3.png", "loose.png"):
        image(tmp_path, name)
    (tmp_path / "dent/empty.png").touch()
    found = read_folders(tmp_path)
    rows = {each.row.path: (each.row.label, each.row.split) for each in found.images}
    assert rows["train/dent/3.png"] == ("dent", "train")
    assert rows["loose.png"] == ("", "")
    assert len(rows) == 6
    assert [file for file, _ in messages(found)] == ["dent/empty.png", "rust"]


def test_grades_are_soft_labels_and_runs_are_groups(tmp_path: Path) -> None:
    image(tmp_path, "images/a.png")
    lines = "a.png,0.3333,mono,4\na.png,1.0,mono,4\nb.png,x,poly,\n"
    (tmp_path / "g.csv").write_text("image,prob,type,run\n" + lines)
    found = read_graded(tmp_path / "g.csv")
    first, second = (each.row for each in found.images)
    assert (first.label, first.group, first.soft) == ("sound", "mono-4", (0.3333, 1 - 0.3333))
    assert (second.label, second.group, second.soft) == ("", "", ())
    told = dict(messages(found))
    assert "graded twice" in told["g.csv, line 3"]
    assert "got 'x'" in told["g.csv, line 4"]
    assert told["b.png"] == "no such image in images/"


def test_the_format_is_told_by_what_lies_there(tmp_path: Path, labelled: ImageLabels) -> None:
    assert sniff(tmp_path) == "folders"
    write_voc(tmp_path, [labelled])
    assert sniff(tmp_path) == "voc"
    (tmp_path / "m.csv").write_text("path,label,split\n")
    assert sniff(tmp_path / "m.csv") == "manifest"
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no labels and no images"):
        sniff(tmp_path / "empty")
    with pytest.raises(InputError, match="no such file or folder"):
        read_labels(tmp_path / "gone")


@pytest.mark.shared_data
def test_neu_boxes_are_counted_and_the_known_faults_are_named(shared_data: Path) -> None:
    folder = shared_data / "defects/neu-det"
    found = read_voc(folder / "annotations", folder / "images")
    assert len(found.images) == 1350
    twice = {p.file for p in found.problems if "twice" in p.message}
    assert twice == {"crazing_120.xml", "inclusion_62.xml", "patches_198.xml"}
    assert sum(len(each.boxes) for each in found.images) == 3203 - 3
    with (folder / "neu-det-dev.csv").open(encoding="utf-8") as stream:
        class_of = {line["image"] + ".jpg": line["class"] for line in csv.DictReader(stream)}
    other = [b for each in found.images for b in each.boxes if b.label != class_of[each.row.path]]
    assert len(other) == 159

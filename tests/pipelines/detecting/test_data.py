"""What a training of boxes takes from annotations, and what it says of the rest."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medvit.data.labels.coco import read_coco
from medvit.data.labels.voc import write_voc
from medvit.errors import ConfigError, InputError
from pipelines.detecting.config import DetectData
from pipelines.detecting.data import BoxSplits, read_splits
from tests.make.boxed import Coco, change_coco, write_boxed


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 35 surfaces: 21 to learn from, 7 for val, 7 for test."""
    return write_boxed(tmp_path_factory.mktemp("made") / "practice", count=35)


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """Return a copy of them to be spoilt."""
    return shutil.copytree(made, tmp_path / "practice")


def read(folder: Path, **changes: Any) -> BoxSplits:
    given = {"annotations": folder / "coco.json", "manifest": folder / "manifest.csv"}
    return read_splits(DetectData(**{**given, "side_px": 64, **changes}), multiple_px=32)


def told(splits: BoxSplits) -> list[str]:
    return [f"{each.file}: {each.message}" for each in splits.problems]


def test_the_manifest_says_which_split_an_image_is_in(folder: Path) -> None:
    splits = read(folder)
    assert {name: len(images.rows) for name, images in splits.images.items()} == {
        "train": 21,
        "val": 7,
        "test": 7,
    }
    assert len(splits.classes) == 7
    assert splits.problems == ()
    train = splits.images["train"]
    assert train.longest_px == 128
    assert max(boxes.max() for boxes in train.boxes) <= 64  # pixels of the canvas
    assert sum(map(len, train.boxes)) == sum(len(row.boxes) for row in train.rows)


def test_voc_files_give_the_same_boxes_as_coco(folder: Path) -> None:
    by_coco = read(folder)
    labels = read_coco(folder / "coco.json")
    (folder / "xml").mkdir()
    write_voc(folder / "xml", labels.images)
    by_voc = read(folder, annotations=folder / "xml", root=folder)
    assert by_voc.classes == by_coco.classes
    for split, images in by_coco.images.items():
        other = by_voc.images[split]
        assert [row.path for row in other.rows] == [row.path for row in images.rows]
        for one, two in zip(images.boxes, other.boxes, strict=True):
            assert np.array_equal(one, two)


def test_an_image_without_xml_is_unlabelled_and_no_sound_surface(folder: Path) -> None:
    labels = read_coco(folder / "coco.json")
    (folder / "xml").mkdir()
    write_voc(folder / "xml", labels.images[1:])
    name = labels.images[0].row.path
    splits = read(folder, annotations=folder / "xml", root=folder)
    assert f"{name}: no annotation: taken as unlabelled" in told(splits)
    assert f"{name}: in manifest.csv, but without annotation: left out" in told(splits)
    assert all(row.path != name for each in splits.images.values() for row in each.rows)


def test_an_image_of_coco_without_boxes_is_a_sound_surface_to_learn_from(folder: Path) -> None:
    def empty(coco: Coco) -> None:
        coco["annotations"] = [a for a in coco["annotations"] if a["image_id"] != 1]

    change_coco(folder, empty)
    train = read(folder).images["train"]
    at = [row.path for row in train.rows].index("images/finishing_roll_printing/00001.png")
    assert train.boxes[at].shape == (0, 4)


def test_every_faulty_box_is_named_with_file_and_number(folder: Path) -> None:
    def spoil(coco: Coco) -> None:
        first = next(a for a in coco["annotations"] if a["image_id"] == 1)
        faulty = ([500, 500, 10, 10], [5, 5, 0, 9], [100, 10, 90, 20], first["bbox"])
        for number, box in enumerate(faulty):
            coco["annotations"].append({**first, "id": 9000 + number, "bbox": box})
        coco["annotations"].append({**first, "id": 9999, "image_id": 77777})

    change_coco(folder, spoil)
    said = "\n".join(told(read(folder)))
    name = "images/finishing_roll_printing/00001.png"
    for words in (
        "[500, 500, 510, 510] lies outside the image of 128x128 pixels: left out",
        "[5, 5, 5, 14] has no area: left out",
        "[100, 10, 190, 30] reaches over the image of 128x128 pixels: cut",
        "is there twice: kept once",
    ):
        assert words in said
    assert said.count(f"{name}: box") == 4
    assert "coco.json: annotation 9999: there is no image with id 77777: left out" in said


def test_boxes_beyond_the_pixels_there_are_do_not_reach_the_training(folder: Path) -> None:
    def forget_sizes(coco: Coco) -> None:
        for image in coco["images"]:
            del image["width"], image["height"]
        coco["annotations"][0]["bbox"] = [120, 120, 50, 50]

    change_coco(folder, forget_sizes)
    said = told(read(folder))
    assert len(said) == 1
    assert "[120, 120, 170, 170] reaches over the image of 128x128 pixels: cut" in said[0]


def test_annotations_of_another_size_are_named(folder: Path) -> None:
    path = "images/finishing_roll_printing/00001.png"
    Image.new("L", (160, 140), 90).save(folder / path)
    said = told(read(folder))
    words = (
        "annotated as 128x128 pixels, but it has 160x140: boxes are taken as pixels of the image"
    )
    assert f"{path}: {words}" in said


def test_images_that_only_one_side_knows_are_named(folder: Path) -> None:
    manifest = (folder / "manifest.csv").read_text(encoding="utf-8").splitlines()
    dropped = manifest.pop(3).split(",")[0]
    manifest.append("strange.png,scratch,train,g")
    (folder / "manifest.csv").write_text("\n".join(manifest) + "\n", encoding="utf-8")
    said = told(read(folder))
    assert f"{dropped}: not in manifest.csv: left out" in said
    assert "strange.png: in manifest.csv, but without annotation: left out" in said


def test_without_a_manifest_whole_classes_are_spread_over_splits(folder: Path) -> None:
    counts = {name: len(each.rows) for name, each in read(folder, manifest=None).images.items()}
    assert sum(counts.values()) == 35
    assert min(counts.values()) >= 4


def refusal(folder: Path, **changes: Any) -> str:
    with pytest.raises((ConfigError, InputError)) as caught:
        read(folder, **changes)
    return f"{caught.value.message} | {caught.value.hint}"


def test_annotations_of_other_images_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    said = refusal(folder, root=tmp_path / "elsewhere")
    assert "coco.json: none of its 35 images is in" in said
    assert "set data.root=FOLDER" in said


def test_missing_paths_are_named_by_their_keys(folder: Path) -> None:
    assert "data.annotations=" in refusal(folder, annotations=folder / "no.json")
    assert "medvit phantom practice" in refusal(folder, annotations=folder / "no.json")
    assert "data.manifest=" in refusal(folder, manifest=folder / "no.csv")
    assert "data.root=" in refusal(folder, root=folder / "none")


def test_labels_without_boxes_are_refused(folder: Path) -> None:
    said = refusal(folder, annotations=folder / "images")
    assert "boxes are read from COCO, VOC or YOLO, not folders" in said


def test_a_class_that_is_never_trained_on_is_refused(folder: Path) -> None:
    text = (folder / "manifest.csv").read_text(encoding="utf-8")
    rows = [
        line.replace(",train,", ",val,") if "surface_scratch" in line else line
        for line in text.splitlines()
    ]
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    assert "classes without a box in split train: surface_scratch" in refusal(folder)


def test_images_without_any_box_are_refused(folder: Path) -> None:
    change_coco(folder, lambda coco: coco["annotations"].clear())
    assert "no box in the 21 images of split train to learn from" in refusal(folder)


def test_an_unreadable_image_is_named(folder: Path) -> None:
    path = "images/red_iron/00005.png"
    (folder / path).write_bytes(b"")
    assert path in refusal(folder)

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medvit.data.boxes.coco import read_coco, read_predictions
from medvit.data.boxes.labelled import PredictedBox, TrueBox
from medvit.errors import InputError


def truth_values() -> dict[str, Any]:
    return {
        "images": [{"id": 9, "file_name": "b/2.png"}, {"id": 4, "file_name": "a/1.png"}],
        "categories": [{"id": 2, "name": "scratch"}, {"id": 1, "name": "pit"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 9,
                "category_id": 2,
                "bbox": [1, 2, 3, 4],
                "area": 7,
                "iscrowd": 1,
            }
        ],
    }


def written(folder: Path, values: object, name: str = "truth.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def test_images_and_classes_are_in_the_order_of_their_ids(tmp_path: Path) -> None:
    truth = read_coco(written(tmp_path, truth_values()))
    assert truth.images == ("a/1.png", "b/2.png")
    assert truth.classes == ("pit", "scratch")
    assert truth.boxes == (TrueBox(1, 1, (1, 2, 3, 4), 7, is_crowd=True),)
    assert [truth.image_ids[name] for name in (9, "b/2.png", "2.png", "2")] == [1] * 4


def test_the_area_is_that_of_the_box_where_none_is_given(tmp_path: Path) -> None:
    values = truth_values()
    del values["annotations"][0]["area"], values["annotations"][0]["id"]
    assert read_coco(written(tmp_path, values)).boxes[0].area_px2 == 12


@pytest.mark.parametrize("ids", [(9, 2), ("b/2.png", "scratch"), ("2", 2)])
def test_results_go_by_id_or_by_name(tmp_path: Path, ids: tuple[object, object]) -> None:
    truth = read_coco(written(tmp_path, truth_values()))
    result = {"image_id": ids[0], "category_id": ids[1], "bbox": [0, 0, 2, 2], "score": 0.5}
    found = read_predictions(written(tmp_path, [result], "p.json"), truth)
    assert found.boxes == (PredictedBox(1, 1, (0, 0, 2, 2), 0.5),)
    assert found.notes == ("p.json: 1 of 2 images have no box",)


def test_a_whole_file_has_ids_of_its_own(tmp_path: Path) -> None:
    truth = read_coco(written(tmp_path, truth_values()))
    values = {
        "images": [{"id": 4, "file_name": "elsewhere/b/2.png"}],
        "categories": [{"id": 1, "name": "scratch"}, {"id": 2, "name": "stain"}],
        "annotations": [
            {"image_id": 4, "category_id": label, "bbox": [0, 0, 2, 2], "score": 0.5}
            for label in (1, 2)
        ],
    }
    found = read_predictions(written(tmp_path, values, "p.json"), truth)
    assert found.boxes == (PredictedBox(1, 1, (0, 0, 2, 2), 0.5),)
    assert found.notes[0] == "p.json: truth.json has no class stain (boxes not counted: 1)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": float("nan")}, r"p.json\[1\]: score must be finite, got nan"),
        ({"score": "0.5"}, r"p.json\[1\]: score must be a number, got '0.5'"),
        ({"bbox": [0, 0, float("inf"), 1]}, r"p.json\[1\]: bbox w must be finite, got inf"),
        ({"bbox": [5, 5, -2, 1]}, r"width and height of bbox must not be negative, got \[5, 5, -2"),
        ({"bbox": [5, 5, 2]}, r"bbox must be \[left, top, width, height\], got \[5, 5, 2\]"),
        ({"image_id": 77}, r"p.json\[1\]: image_id must be an image of truth.json, got 77"),
        ({"image_id": 1.5}, r"image_id must be a whole number or a text, got 1.5"),
    ],
)
def test_a_wrong_result_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    truth = read_coco(written(tmp_path, truth_values()))
    good = {"image_id": 9, "category_id": 2, "bbox": [0, 0, 2, 2], "score": 0.5}
    with pytest.raises(InputError, match=message):
        read_predictions(written(tmp_path, [good, good | change], "p.json"), truth)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("annotations", None, r"truth.json, annotations: must be a list, got None"),
        ("annotations", [7], r"annotations\[0\]: must be an object, got 7"),
        ("annotations", [{"image_id": 5, "category_id": 2}], r"the id of one of the images, got 5"),
        ("annotations", [{"image_id": 9, "category_id": 5}], r"one of the categories, got 5"),
        ("annotations", [{"image_id": 9, "category_id": 2}], r"'bbox' is missing, got \['cat"),
        ("images", [{"id": 9}, {"id": 9}], r"images\[1\]: the id is that of .*images\[0\] too"),
        ("images", [], r"truth.json: images is empty"),
        ("categories", [{"id": 1, "name": "x"}, {"id": 2, "name": "x"}], r"'x' is there twice"),
    ],
)
def test_wrong_labels_are_named(tmp_path: Path, key: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_coco(written(tmp_path, truth_values() | {key: value}))


def test_files_that_are_something_else_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"are an object with images") as caught:
        read_coco(written(tmp_path, []))
    assert "--predictions" in caught.value.hint
    (tmp_path / "broken.json").write_text('{"images": [\n{]')
    with pytest.raises(InputError, match=r"broken.json, line 2: not a JSON file"):
        read_coco(tmp_path / "broken.json")
    with pytest.raises(InputError, match=r"none.json: cannot be read"):
        read_coco(tmp_path / "none.json")
    with pytest.raises(InputError, match=r"'images' is missing; found a"):
        read_coco(written(tmp_path, {"a": 1}))

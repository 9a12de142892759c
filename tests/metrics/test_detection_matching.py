from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medvit.data.boxes.coco import read_coco, read_predictions
from medvit.data.boxes.labelled import LabelledBoxes, PredictedBox, TrueBox
from medvit.metrics.average_precision import (
    coco_ap,
    coco_curve,
    curve_of,
    mean_ap,
    score_class,
    voc2012_ap,
)
from medvit.metrics.detection_matching import (
    AREAS_PX2,
    IOU_THRESHOLDS,
    box_iou,
    match_coco,
    match_voc,
)
from tests.make.boxes import Coco, random_coco


def scores_of(folder: Path, coco: Coco, results: list[dict[str, Any]]) -> dict[str, Any]:
    (folder / "truth.json").write_text(json.dumps(coco))
    (folder / "results.json").write_text(json.dumps(results))
    truth = read_coco(folder / "truth.json")
    boxes = read_predictions(folder / "results.json", truth).boxes
    return {area: match_coco(truth, boxes, area=area) for area in AREAS_PX2}


def pycocotools_eval(coco: Coco, results: list[dict[str, Any]]) -> Any:
    coco_module = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco_module.COCO()
        truth.dataset = coco
        truth.createIndex()
        judged = COCOeval(truth, truth.loadRes(results), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return judged


@pytest.mark.parametrize("seed", range(25))
def test_it_equals_pycocotools(tmp_path: Path, seed: int) -> None:
    coco, results = random_coco(np.random.default_rng(seed), images=3 + seed % 8)
    results = results or [{"image_id": 3, "category_id": 1, "bbox": [0, 0, 4, 4], "score": 0.1}]
    judged = pycocotools_eval(coco, results)
    matches = scores_of(tmp_path, coco, results)
    for number, (area, classes) in enumerate(matches.items()):
        wanted = judged.eval["precision"][:, :, :, number, 2]  # (t, 101, classes)
        for label, each in enumerate(classes):
            score = score_class(each, coco_ap)
            if not score.truths:
                assert (wanted[:, :, label] == -1).all()
                continue
            curves = [coco_curve(*curve_of(each, at)) for at in range(10)]
            np.testing.assert_allclose(curves, wanted[:, :, label], atol=1e-9, rtol=0)
            recall = judged.eval["recall"][:, label, number, 2]
            np.testing.assert_allclose(score.recall, recall, atol=1e-9, rtol=0)
        mean = mean_ap([score_class(each, coco_ap) for each in classes]).mean()
        official = judged.stats[{"all": 0, "small": 3, "medium": 4, "large": 5}[area]]
        assert np.nan_to_num(mean, nan=-1) == pytest.approx(official, abs=1e-9)


def test_more_than_100_boxes_of_a_class_are_cut(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    coco, _ = random_coco(rng, images=2, classes=1)
    box = {"id": 99, "image_id": 3, "category_id": 1, "bbox": [5, 5, 40, 40], "area": 1600}
    coco["annotations"] = [{**box, "iscrowd": 0}]
    false = {"image_id": 3, "category_id": 1, "bbox": [80, 80, 9, 9], "score": 0.5}
    results = [false] * 100 + [{**false, "bbox": [5, 5, 40, 40], "score": 0.5}]
    judged = pycocotools_eval(coco, results)
    (matches,) = scores_of(tmp_path, coco, results)["all"]
    assert len(matches.score) == 100
    assert score_class(matches, coco_ap).ap50 == judged.stats[1] == 0.0


def test_of_two_equally_near_boxes_the_last_is_taken(tmp_path: Path) -> None:
    coco, _ = random_coco(np.random.default_rng(0), images=1, classes=1)
    coco["annotations"] = [
        {
            "id": n,
            "image_id": 3,
            "category_id": 1,
            "bbox": [x, 0, 10, 10],
            "area": 100,
            "iscrowd": 0,
        }
        for n, x in ((1, 0), (2, 4))
    ]
    # The first box is as near to either; what it leaves decides about the second.
    results = [
        {"image_id": 3, "category_id": 1, "bbox": [x, 0, 10, 10], "score": score}
        for x, score in ((2, 0.9), (4, 0.8))
    ]
    (matches,) = scores_of(tmp_path, coco, results)["all"]
    assert matches.is_hit[0].tolist() == [True, False]
    recall = pycocotools_eval(coco, results).eval["recall"][:, 0, 0, 2]
    np.testing.assert_allclose(score_class(matches, coco_ap).recall, recall)


def test_iou_by_hand() -> None:
    predicted = np.array([[0.0, 0, 4, 4], [10, 10, 2, 2], [4, 0, 4, 4]])
    true = np.array([[2.0, 0, 4, 4], [0, 0, 8, 8]])
    iou = box_iou(predicted, true, np.array([False, True]))
    np.testing.assert_allclose(iou, np.array([[8 / 24, 1.0], [0.0, 0.0], [8 / 24, 1.0]]))


def boxes_of(*rows: tuple[float, float, bool]) -> LabelledBoxes:
    """Return boxes of 10 x 10 px on one image: left, top, and whether it is difficult."""
    boxes = tuple(TrueBox(0, 0, (x, y, 10, 10), 100, is_difficult=d) for x, y, d in rows)
    return LabelledBoxes("truth", ("a",), ("scratch",), boxes, {"a": 0}, {"scratch": 0})


def at(x: float, y: float, score: float) -> PredictedBox:
    return PredictedBox(0, 0, (x, y, 10, 10), score)


def test_coco_takes_the_next_free_box_where_voc_sees_a_second_hit() -> None:
    truth = boxes_of((0, 0, False), (3, 0, False))
    predicted = [at(1, 0, 0.9), at(1, 0, 0.8)]  # IoU 9/11 and 8/12
    (coco,) = match_coco(truth, predicted)
    (voc,) = match_voc(truth, predicted)
    assert coco.is_hit[:, 1].tolist() == [True] * 4 + [False] * 6
    assert not voc.is_hit[:, 1].any()
    assert coco.is_hit[:, 0].tolist() == voc.is_hit[:, 0].tolist() == [True] * 7 + [False] * 3


def test_a_difficult_object_counts_in_coco_and_neither_way_in_voc() -> None:
    truth = boxes_of((0, 0, True), (50, 0, False))
    predicted = [at(0, 0, 0.9), at(0, 0, 0.8), at(50, 0, 0.7)]
    (coco,) = match_coco(truth, predicted)
    (voc,) = match_voc(truth, predicted)
    assert coco.is_hit[0].tolist() == [True, False, True]
    assert voc.is_hit[0].tolist() == [False, False, True]
    assert voc.is_ignored[0].tolist() == [True, True, False]
    assert (coco.truths.sum(), voc.truths.sum()) == (2, 1)
    assert score_class(voc, voc2012_ap).ap50 == pytest.approx(1)


def slow_voc(truth: LabelledBoxes, predicted: list[PredictedBox], least: float) -> list[bool]:
    """Judge the boxes of one class, best first, one at a time; difficult ones do not occur."""
    taken: set[int] = set()
    verdicts = []
    for box in sorted(predicted, key=lambda each: (-each.score, each.image)):
        best, where = 0.0, -1
        for number, true in enumerate(truth.boxes):
            if true.image == box.image and true.label == box.label:
                (x, y, w, h), (a, b, c, d) = box.xywh, true.xywh
                wide, high = min(x + w, a + c) - max(x, a), min(y + h, b + d) - max(y, b)
                shared = max(0.0, wide) * max(0.0, high)
                iou = shared / (w * h + c * d - shared)
                best, where = (iou, number) if iou > best else (best, where)
        verdicts.append(best >= least and where not in taken)
        if best >= least:
            taken.add(where)
    return verdicts


@pytest.mark.parametrize("seed", range(8))
def test_voc_equals_a_slow_reference(tmp_path: Path, seed: int) -> None:
    coco, results = random_coco(np.random.default_rng(100 + seed), classes=1)
    for each in coco["annotations"]:
        each["iscrowd"] = 0
    (tmp_path / "truth.json").write_text(json.dumps(coco))
    (tmp_path / "results.json").write_text(json.dumps(results))
    truth = read_coco(tmp_path / "truth.json")
    boxes = list(read_predictions(tmp_path / "results.json", truth).boxes)
    (matches,) = match_voc(truth, boxes)
    for number, least in enumerate(IOU_THRESHOLDS):
        assert matches.is_hit[number].tolist() == slow_voc(truth, boxes, least)

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.apps.cli.conftest import Medvit
from tests.make.boxes import random_coco
from tests.make.models import CLASSES
from tests.make.surface import write_surface_set

MARKS = "seriesuid,coordX,coordY,coordZ,probability\n"
NODULES = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"
QUICK = ("--rounds", "40", "--json")


@pytest.fixture
def nodules(tmp_path: Path) -> tuple[str, ...]:
    """Write marks on two scans with two nodules, and return the options that name them."""
    (tmp_path / "p.csv").write_text(f"{MARKS}1.2,60,-30,1,0.9\n1.3,9,9,9,0.8\n1.3,-40,55,2,0.4\n")
    (tmp_path / "a.csv").write_text(f"{NODULES}1.2,60,-30,0,6\n1.3,-40,55,0,12\n")
    (tmp_path / "s.csv").write_text("1.2\r\n1.3\r\n1.4\r\n")
    words = ("--predictions", "p.csv", "--annotations", "a.csv", "--series", "s.csv")
    return tuple(str(tmp_path / word) if word.endswith("csv") else word for word in words)


def kept(payload: dict[str, Any]) -> set[str]:
    return {path.name for path in Path(payload["run"]).iterdir()}


def runs(workspace: Path) -> list[Path]:
    return list((workspace / "runs").rglob("*"))


def test_froc_answers_and_keeps_what_it_says(
    medvit: Medvit, tmp_path: Path, nodules: tuple[str, ...]
) -> None:
    answer = medvit("evaluate", "froc", *nodules, *QUICK)
    assert answer.code == 0
    payload = answer.payload
    # One false mark in three scans stands before the second nodule.
    assert payload["sensitivity"] == pytest.approx([0.5, 0.5, 1, 1, 1, 1, 1])
    assert payload["cpm"] == pytest.approx(6 / 7)
    assert (payload["n_scans"], payload["n_annotations"], payload["false_positives"]) == (3, 2, 1)
    low, high = payload["cpm_interval"]
    assert low <= payload["cpm"] <= high
    assert [(each["name"], each["cpm"]) for each in payload["per_size"]] == [
        ("6 to 10 mm", 1.0),
        ("10 to 20 mm", pytest.approx(5 / 7)),
    ]
    assert payload["threshold"] == pytest.approx([0.9, 0.9, 0.4, 0.4, 0.4, 0.4, 0.4])
    assert payload["warnings"] == [
        "p.csv: 1 of 3 scans have no mark, among them 1.4; nodules in them are missed"
    ]
    assert kept(payload) == {"run.json", "report.html", "froc.svg", "scans.csv", "nodules.csv"}
    run = Path(payload["run"])
    assert (run / "nodules.csv").read_text().splitlines()[1] == "1.2,60.0,-30.0,0.0,6.0,0.9"
    assert (run / "scans.csv").read_text().splitlines()[2] == "1.3,1,1,0,2,1,0,0,0.8"
    record = json.loads((run / "run.json").read_text())
    assert record["metrics"]["cpm"] == payload["cpm"]
    assert medvit("evaluate", "froc", *nodules, *QUICK).payload["cpm_interval"] == [low, high]


def test_froc_says_that_coordinates_are_ras(
    medvit: Medvit,
    tmp_path: Path,
    nodules: tuple[str, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "p.csv").write_text(f"{MARKS}1.2,-60,30,1,0.9\n1.3,40,-55,2,0.4\n")
    answer = medvit("evaluate", "froc", *nodules, "--rounds", "40")
    assert answer.code == 0
    wanted = "2 of 2 nodules are hit only if x and y have the opposite sign (RAS in place of LPS)"
    assert wanted in caplog.text
    assert "CPM 0.0000 (0.0000 to 0.0000), 2 nodules in 3 scans" in answer.stdout


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            ("p.csv", f"{MARKS}1.2,1,2,3,0.5\n1.2,1,2,nan,0.5\n"),
            "p.csv, line 3: coordZ must be fini",
        ),
        (("p.csv", MARKS.replace(",", ";")), "p.csv, line 1: values must be parted by commas"),
        (("p.csv", f"{MARKS}7,1,2,3,0.5\n"), "p.csv, line 2: series 7 is not in s.csv"),
        (
            ("a.csv", f"{NODULES}1.2,1,2,3,-1\n"),
            "a.csv, line 2: diameter_mm must be positive, got -1",
        ),
        (("a.csv", f"{NODULES}1.2,1,2,3,5\n1.2,1,2,3,5\n"), "a.csv, line 3: the same nodule as on"),
        (("a.csv", f"{NODULES}7,1,2,3,5\n"), "a.csv: not one of its annotations lies in a scan"),
        (("a.csv", NODULES), "a.csv: sensitivity needs at least one annotation, found 0"),
        (("s.csv", "\n"), "s.csv: no series UID in it"),
    ],
)
def test_a_bad_table_ends_with_2_and_leaves_nothing(
    medvit: Medvit,
    workspace: Path,
    tmp_path: Path,
    nodules: tuple[str, ...],
    table: tuple[str, str],
    message: str,
) -> None:
    (tmp_path / table[0]).write_text(table[1])
    answer = medvit("evaluate", "froc", *nodules, *QUICK)
    assert answer.code == 2
    assert message in answer.message
    assert runs(workspace) == []


def test_a_detector_without_marks_has_no_sensitivity(
    medvit: Medvit, tmp_path: Path, nodules: tuple[str, ...]
) -> None:
    (tmp_path / "p.csv").write_text(MARKS)
    payload = medvit("evaluate", "froc", *nodules, *QUICK).payload
    assert (payload["cpm"], payload["threshold"]) == (0.0, [None] * 7)


def test_a_floor_that_is_not_reached_ends_with_6(medvit: Medvit, nodules: tuple[str, ...]) -> None:
    assert medvit("evaluate", "froc", *nodules, *QUICK, "--floor", "0.85").code == 0
    answer = medvit("evaluate", "froc", *nodules, *QUICK, "--floor", "0.9")
    assert answer.code == 6
    assert answer.payload["floor"]["passed"] is False
    assert "cpm 0.8571 is below the floor 0.9" in answer.stderr


def test_detection_answers_by_each_rule(medvit: Medvit, tmp_path: Path) -> None:
    import numpy as np

    coco, results = random_coco(np.random.default_rng(5))
    coco["categories"].append({"id": 99, "name": "never"})
    (tmp_path / "truth.json").write_text(json.dumps(coco))
    (tmp_path / "boxes.json").write_text(json.dumps(results))
    words = ("--predictions", tmp_path / "boxes.json", "--annotations", tmp_path / "truth.json")
    answer = medvit("evaluate", "detection", *words, *QUICK)
    assert answer.code == 0
    payload = answer.payload
    classes = payload["per_class"]
    assert set(classes) == {"class 1", "class 3", "class 5", "never"}
    assert (classes["never"]["ap50"], classes["never"]["ap50_95"]) == (None, None)
    known = [each for each in classes.values() if each["true_boxes"]]
    for figure, mean in (("ap50", "map50"), ("ap50_95", "map50_95")):
        assert sum(each[figure] for each in known) / len(known) == pytest.approx(payload[mean])
    assert kept(payload) == {
        *("run.json", "report.html", "precision.svg", "classes.csv", "precision.csv")
    }
    for rules in ("voc2007", "voc2012"):
        other = medvit("evaluate", "detection", *words, *QUICK, "--rules", rules).payload
        assert 0 < other["map50"] < 1
        assert other["map50"] != payload["map50"]
    told = medvit("evaluate", "detection", *words, "--rounds", "40")
    assert "never" not in told.stdout
    assert "mAP50 0." in told.stdout


def test_detection_names_what_is_wrong(medvit: Medvit, workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "boxes.json").write_text('[{"image_id": 1}]')
    words = ("--predictions", tmp_path / "boxes.json", "--annotations")
    answer = medvit("evaluate", "detection", *words, tmp_path, *QUICK)
    assert answer.code == 2
    assert "no XML file in it or in Annotations" in answer.message
    assert medvit("evaluate", "detection", *words, tmp_path / "no.json", *QUICK).code == 2
    coco = {"images": [{"id": 1}], "categories": [{"id": 1}], "annotations": []}
    (tmp_path / "truth.json").write_text(json.dumps(coco))
    answer = medvit("evaluate", "detection", *words, tmp_path / "truth.json", *QUICK)
    assert "truth.json: average precision needs a box that counts, found 0" in answer.message
    assert runs(workspace) == []


@pytest.fixture
def surface(tmp_path: Path) -> Path:
    return write_surface_set(tmp_path, per_split={"val": 1, "test": 2}, classes=CLASSES)


def test_a_model_is_scored_as_its_own_predictions_are(medvit: Medvit, surface: Path) -> None:
    answer = medvit("evaluate", "model", "steel-defects", "--manifest", surface, *QUICK)
    assert answer.code == 0
    payload = answer.payload
    assert (payload["model"], payload["n"]) == ("steel-defects@test", 6)
    assert "predictions.csv" in kept(payload)
    predictions = Path(payload["run"], "predictions.csv")
    words = ("--predictions", predictions, "--manifest", surface)
    again = medvit("evaluate", "classification", *words, *QUICK).payload
    assert again["warnings"] == [
        "predictions.csv: scored on split test, which is all that was predicted"
    ]
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "per_class", "confusion", "n", "ece"):
        assert again[name] == payload[name]
    record = json.loads(Path(payload["run"], "run.json").read_text())
    assert list(record["models"]) == ["steel-defects@test"]


def test_models_and_manifests_that_do_not_fit_are_named(medvit: Medvit, surface: Path) -> None:
    words = ("--manifest", surface, *QUICK)
    nodule = medvit("evaluate", "model", "nodule-swin3d", *words)
    assert nodule.code == 2
    assert "finds nodules in CT and has no labels of images" in nodule.message
    assert "evaluate froc" in nodule.payload["error"]["hint"]
    train = medvit("evaluate", "model", "steel-defects", *words, "--split", "train")
    assert "split train has no labelled image" in train.message
    surface.write_text(surface.read_text().replace(",ash,test", ",rust,test"))
    strange = medvit("evaluate", "model", "steel-defects", *words)
    assert "steel-defects@test does not know the labels rust" in strange.message
    assert "scratch, slag, ash" in strange.payload["error"]["hint"]


def test_classification_wants_whole_splits(medvit: Medvit, workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(
        "path,label,split,group\na.png,pit,test,g\nb.png,ash,test,g\nc.png,ash,val,\nd.png,,test,\n"
    )
    predictions = tmp_path / "p.csv"
    words = ("--predictions", predictions, "--manifest", tmp_path / "m.csv", *QUICK)
    predictions.write_text("path,label,probability\na.png,pit,0.9\nd.png,pit,1\nz.png,pit,1\n")
    answer = medvit("evaluate", "classification", *words)
    assert answer.code == 2
    wanted = "p.csv: 1 of 2 labelled images of split test have no prediction, the first is b.png"
    assert answer.message == wanted
    nothing = medvit("evaluate", "classification", *words, "--split", "val")
    assert "none of its 3 images is one of the 1 labelled images" in nothing.message
    assert runs(workspace) == []
    predictions.write_text(predictions.read_text() + "b.png,slag,0.6\n")
    payload = medvit("evaluate", "classification", *words).payload
    assert (payload["accuracy"], payload["confusion"]) == (0.5, [[0, 0, 1], [0, 1, 0], [0, 0, 0]])
    assert (payload["classes"], payload["n_groups"]) == (["ash", "pit", "slag"], 1)
    assert payload["warnings"] == [
        "p.csv, line 4: z.png is not in m.csv (rows not counted: 1)",
        "p.csv: images without label or of other splits, not counted: 1",
        "p.csv: labels that no scored image has: slag",
        "p.csv: scored on split test, which is all that was predicted",
    ]


@pytest.mark.shared_data
@pytest.mark.parametrize("case", ["s100", "s200_ties"])
def test_froc_equals_the_official_tool(medvit: Medvit, shared_data: Path, case: str) -> None:
    luna16 = shared_data / "ct" / "luna16"
    words = (
        *("--predictions", luna16 / case / "submission.csv"),
        *("--annotations", luna16 / "annotations.csv"),
        *("--excluded", luna16 / "annotations_excluded.csv"),
        *("--series", luna16 / case / "seriesuids.csv"),
    )
    payload = medvit("evaluate", "froc", *words, *QUICK).payload
    expected = json.loads((luna16 / "expected.json").read_text())[case]
    assert payload["cpm"] == pytest.approx(expected["cpm"], abs=1e-9)
    wanted = list(expected["sensitivity_at"].values())
    assert payload["sensitivity"] == pytest.approx(wanted, abs=1e-9)

from __future__ import annotations

import json
from pathlib import Path

from medvit.data.boxes.coco import read_coco, read_predictions
from medvit.findings.finding import CaseResult, Finding
from medvit.io.case import Case, Verdict
from medvit.report.coco import write_coco


def result(source: str, *findings: Finding, verdict: Verdict = "accept") -> CaseResult:
    case = Case(f"im-{source}", "image", source, Path(source), (Path(source),))
    return CaseResult(case, verdict, "ok", "", "", None, findings, 0.1, 1.0)


def box(source: str, label: str, probability: float, *edges: int) -> Finding:
    x0, y0, x1, y1 = edges
    name = f"f-{label}-{x0}"
    return Finding(
        *(f"im-{source}", "image", source, "", name, label, probability),
        x_min=x0,
        y_min=y0,
        x_max=x1,
        y_max=y1,
    )


def test_boxes_come_back_as_predictions(tmp_path: Path) -> None:
    results = [
        result("b.png", box("b.png", "dent", 0.25, 3, 4, 10, 20)),
        result(
            "a.png",
            box("a.png", "scratch", 0.5, 0, 0, 5, 6),
            box("a.png", "dent", 0.75, 1, 1, 2, 3),
        ),
        result("broken.png", verdict="refuse"),
        result("sound.png"),
    ]
    file = tmp_path / "coco.json"
    write_coco(file, results, classes=("scratch", "dent"))
    said = json.loads(file.read_text(encoding="utf-8"))
    assert [each["file_name"] for each in said["images"]] == ["a.png", "b.png", "sound.png"]
    assert [each["name"] for each in said["categories"]] == ["scratch", "dent"]
    assert [a["score"] for a in said["annotations"]] == [0.75, 0.5, 0.25]
    truth = read_coco(file)
    predicted = read_predictions(file, truth).boxes
    assert [(each.image, each.label, each.xywh) for each in predicted] == [
        (0, 1, (1.0, 1.0, 1.0, 2.0)),
        (0, 0, (0.0, 0.0, 5.0, 6.0)),
        (1, 1, (3.0, 4.0, 7.0, 16.0)),
    ]


def test_the_same_results_give_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    results = [result(name, box(name, "dent", 0.5, 0, 0, 4, 4)) for name in ("a", "b", "c")]
    write_coco(tmp_path / "one.json", results)
    write_coco(tmp_path / "two.json", results[::-1])
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()

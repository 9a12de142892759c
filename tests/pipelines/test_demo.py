from __future__ import annotations

from pipelines.demo import _compare_broken, _compare_defects, _compare_nodules


def finding(number: int, x_mm: float, probability: str = "0.9") -> dict[str, str]:
    return {
        "finding_id": f"f-{number}",
        "source": "ct/ct-001",
        "series_uid": "1.2",
        "x_mm": str(x_mm),
        "y_mm": "0",
        "z_mm": "0",
        "diameter_mm": "6",
        "probability": probability,
    }


def test_a_mark_counts_strictly_inside_the_radius() -> None:
    nodule = {"seriesuid": "1.2", "coordX": "0", "coordY": "0", "coordZ": "0", "diameter_mm": "8"}
    marks = [finding(1, 3.9), finding(2, 4.0), finding(3, 1.0, "0.4")]
    (row,), false_marks = _compare_nodules([nodule], marks)
    assert row.hit
    assert row.found == "6.0 mm, 0.90, 3.9 mm off"
    assert false_marks == 1


def test_a_nodule_nobody_marked_is_missed() -> None:
    nodule = {"seriesuid": "1.3", "coordX": "0", "coordY": "0", "coordZ": "0", "diameter_mm": "8"}
    (row,), false_marks = _compare_nodules([nodule], [finding(1, 0)])
    assert (row.hit, row.found, false_marks) == (False, "not found", 1)


def test_a_label_counts_when_it_is_the_planted_one() -> None:
    case = {"source": "surface/a.png", "label": "ash", "probability": "0.8", "reason": "ok"}
    right, wrong = (
        _compare_defects([{"path": "a.png", "label": label}], [case])[0]
        for label in ("ash", "slag")
    )
    assert (right.hit, wrong.hit) == (True, False)
    assert right.found == "ash, 0.80"


def test_a_fault_counts_when_its_reason_is_named() -> None:
    mark = {"broken": {"note.dcm": "not_dicom", "two": "ok", "gone": "truncated"}}
    cases = [
        {"source": "broken/note.dcm", "verdict": "refuse", "reason": "not_dicom"},
        {"source": "broken/two", "verdict": "accept", "reason": "ok"},
        {"source": "broken/two", "verdict": "accept", "reason": "no_lungs"},
    ]
    note, two, gone = _compare_broken(mark, cases)
    assert (note.hit, note.found) == (True, "refuse: not_dicom")
    assert (two.hit, two.found) == (True, "accept: ok; accept: no_lungs")
    assert (gone.hit, gone.found) == (False, "no case")


def test_a_fault_counts_when_it_is_repaired_and_named_but_not_when_it_is_accepted() -> None:
    mark = {"broken": {"tilt": "gantry_tilt", "lossy": "lossy_compression"}}
    cases = [
        {"source": "broken/tilt", "verdict": "repair", "reason": "gantry_tilt"},
        {"source": "broken/lossy", "verdict": "accept", "reason": "lossy_compression"},
    ]
    tilt, lossy = _compare_broken(mark, cases)
    assert (tilt.hit, tilt.found) == (True, "repair: gantry_tilt")
    assert (lossy.hit, lossy.found) == (False, "accept: lossy_compression")

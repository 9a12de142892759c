from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medvit.findings.finding import FINDING_COLUMNS
from medvit.inference.defects import judge_image
from medvit.report.tables import CASE_COLUMNS
from pipelines.scanning.journal import exclusive
from tests.apps.cli.conftest import Medvit
from tests.make.dicom import CtSeries, truncate, write_secondary_capture, write_series, write_text
from tests.make.raster import grey, write_image

JUDGE = "pipelines.scanning.images.judge_image"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    for number in range(3):
        write_image(folder / f"{number}.png", np.roll(grey(), 5 * number, axis=1))
    return folder


def test_a_sound_folder_gives_the_files_of_the_contract(
    medvit: Medvit, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    answer = medvit("scan", images, "--out", out, "--json")
    assert answer.code == 0
    payload = answer.payload
    assert (payload["cases"], payload["accept"], payload["fail"]) == (3, 3, 0)
    assert payload["out"] == str(out)
    assert payload["measured_peak_mb"] > 50
    cases = rows(out / "cases.csv")
    assert tuple(cases[0]) == CASE_COLUMNS
    assert [row["source"] for row in cases] == ["0.png", "1.png", "2.png"]
    findings = rows(out / "findings.csv")
    assert not findings or tuple(findings[0]) == FINDING_COLUMNS
    assert payload["findings"] == len(findings)
    assert (out / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    for folder in (Path(payload["run"]), out):
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        assert record["state"] == "done"
        assert record["counts"]["cases"] == 3
        assert record["models"]["defect"]["model"] == "steel-defects@test"


def test_a_second_scan_takes_everything_from_the_journal(
    medvit: Medvit, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    medvit("scan", images, "--out", out, "--quiet")
    before = (out / "findings.csv").read_bytes(), (out / "cases.csv").read_bytes()
    answer = medvit("scan", images, "--out", out, "--json")
    assert answer.payload["resumed"] == 3
    assert before == ((out / "findings.csv").read_bytes(), (out / "cases.csv").read_bytes())


def test_a_changed_file_is_scanned_again(medvit: Medvit, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    medvit("scan", images, "--out", out, "--quiet")
    write_image(images / "1.png", 255 - grey())
    assert medvit("scan", images, "--out", out, "--json").payload["resumed"] == 2


def test_a_finding_does_not_depend_on_its_neighbours(
    medvit: Medvit, images: Path, tmp_path: Path
) -> None:
    medvit("scan", images, "--out", tmp_path / "all", "--quiet")
    medvit("scan", images / "1.png", "--out", tmp_path / "one", "--quiet")
    alone = rows(tmp_path / "one" / "findings.csv")
    beside = rows(tmp_path / "all" / "findings.csv")
    assert alone == [row for row in beside if row["source"] == "1.png"]


def test_the_same_case_named_twice_counts_once(
    medvit: Medvit, images: Path, tmp_path: Path
) -> None:
    answer = medvit("scan", images, images, "--out", tmp_path / "out", "--json")
    assert answer.payload["cases"] == 3


def test_an_empty_folder_is_nothing_to_do(medvit: Medvit, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    answer = medvit("scan", tmp_path / "empty", "--out", tmp_path / "out", "--json")
    assert answer.code == 3
    assert "empty" in answer.message
    assert not (tmp_path / "out").exists()


def test_a_path_that_does_not_exist_is_named(medvit: Medvit, tmp_path: Path) -> None:
    answer = medvit("scan", tmp_path / "gone", "--out", tmp_path / "out", "--json")
    assert answer.code == 2
    assert "gone" in answer.message


def test_an_output_folder_that_is_a_file_is_refused(
    medvit: Medvit, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("a file")
    answer = medvit("scan", images, "--out", tmp_path / "out", "--json")
    assert answer.code == 2
    assert "cannot be used" in answer.message


def test_a_second_scan_into_the_same_folder_is_refused(
    medvit: Medvit, images: Path, tmp_path: Path
) -> None:
    with exclusive(tmp_path / "out"):
        answer = medvit("scan", images, "--out", tmp_path / "out", "--json")
    assert answer.code == 2
    assert f"process {os.getpid()}" in answer.message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--write", "xml"), "--write xml: no such format"),
        (("--model", "nobody@7"), "there is no model 'nobody@7'"),
        (("--task", "nodule"), "3 cases, but none for --task nodule"),
    ],
)
def test_options_that_cannot_be_served_are_named(
    medvit: Medvit, images: Path, tmp_path: Path, words: tuple[str, str], message: str
) -> None:
    answer = medvit("scan", images, "--out", tmp_path / "out", "--json", *words)
    assert answer.code == (3 if "--task" in words else 2)
    assert message in answer.message


def write_bad_inputs(folder: Path) -> None:
    write_series(folder / "sound")
    write_text(folder / "text" / "notes.dcm")
    truncated = write_series(folder / "truncated", CtSeries(series_uid="1.2.3.4"))
    truncate(truncated[2])
    write_secondary_capture(folder / "capture" / "screen.dcm")
    write_series(folder / "two", CtSeries(series_uid="1.2.3.5"))
    write_series(
        folder / "two",
        CtSeries(series_uid="1.2.3.6"),
        names=[f"second-{number}.dcm" for number in range(5)],
    )
    write_image(folder / "images" / "one.png", np.zeros((1, 1), np.uint8))
    write_image(folder / "images" / "deep.png", (grey().astype(np.uint16) * 257))
    write_image(folder / "images" / "plain.png", grey())
    (folder / "images" / "notes.txt").write_text("no case")


def test_bad_inputs_become_rows_and_the_rest_goes_on(medvit: Medvit, tmp_path: Path) -> None:
    write_bad_inputs(tmp_path / "in")
    answer = medvit("scan", tmp_path / "in", "--out", tmp_path / "out", "--json")
    assert answer.code == 4
    found = {row["source"]: row for row in rows(tmp_path / "out" / "cases.csv")}
    two = [row for row in rows(tmp_path / "out" / "cases.csv") if row["source"] == "two"]
    assert len(two) == 2  # two series in one folder are two cases
    assert {row["verdict"] for row in two} == {"accept"}
    assert found["sound"]["verdict"] == "accept"
    assert found["images/plain.png"]["verdict"] == "accept"
    assert found["images/deep.png"]["verdict"] == "accept"
    expected = {
        "text/notes.dcm": "not_dicom",
        "truncated": "truncated",
        "capture": "secondary_capture",
        "images/one.png": "too_small",
    }
    for source, code in expected.items():
        assert found[source]["verdict"] in ("refuse", "fail"), source
        assert code in found[source]["reason"].split(";"), found[source]
    record = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    told = {each["source"]: each["message"] for each in record["failures"]}
    assert set(told) == set(expected)
    assert "notes.dcm" in told["text/notes.dcm"]
    assert record["counts"]["other_files"] == 1


def test_a_folder_without_read_permission_is_a_row(
    medvit: Medvit, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = images / "locked"
    locked.mkdir()
    scandir = os.scandir

    def guarded(path: Path) -> object:  # root may read everything: refuse in its place
        if Path(path) == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    answer = medvit("scan", images, "--out", tmp_path / "out", "--json")
    assert answer.code == 4
    row = next(row for row in rows(tmp_path / "out" / "cases.csv") if row["source"] == "locked")
    assert (row["verdict"], row["reason"]) == ("refuse", "unreadable")


def test_nothing_but_bad_cases_is_its_own_exit_code(medvit: Medvit, tmp_path: Path) -> None:
    write_text(tmp_path / "in" / "a.dcm")
    answer = medvit("scan", tmp_path / "in", "--out", tmp_path / "out", "--json")
    assert answer.code == 5
    assert answer.payload["refuse"] == 1


def test_a_fault_of_our_own_is_loud_and_the_rest_goes_on(
    medvit: Medvit, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    quoted = "".join(("Patient", "Name"))

    def faulty(*arguments: Any, **more: Any) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyError(quoted)
        return judge_image(*arguments, **more)

    monkeypatch.setattr(JUDGE, faulty)
    answer = medvit("scan", images, "--out", tmp_path / "out", "--json")
    assert answer.code == 1
    assert answer.payload["internal_errors"] == 1
    verdicts = [row["verdict"] for row in rows(tmp_path / "out" / "cases.csv")]
    assert verdicts == ["accept", "fail", "accept"]
    log = Path(answer.payload["run"]) / "errors.log"
    assert "KeyError" in log.read_text(encoding="utf-8")
    assert "PatientName" not in log.read_text(encoding="utf-8")
    monkeypatch.setattr(JUDGE, judge_image)
    again = medvit("scan", images, "--out", tmp_path / "out", "--json")
    assert (again.code, again.payload["resumed"]) == (0, 2)


def test_an_interruption_is_resumable(
    medvit: Medvit, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def stopped(*arguments: Any, **more: Any) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return judge_image(*arguments, **more)

    monkeypatch.setattr(JUDGE, stopped)
    answer = medvit("scan", images, "--out", tmp_path / "out", "--json")
    assert answer.code == 130
    assert answer.payload["error"]["code"] == "interrupted"
    record = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    assert record["state"] == "interrupted"
    again = medvit("scan", images, "--out", tmp_path / "out", "--json")
    assert (again.code, again.payload["resumed"]) == (0, 1)


def test_luna16_names_series_and_millimetres(medvit: Medvit, tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "ct")
    medvit("scan", tmp_path / "in", "--out", tmp_path / "out", "--write", "luna16", "--quiet")
    text = (tmp_path / "out" / "luna16.csv").read_text(encoding="utf-8")
    assert text.splitlines()[0] == "seriesuid,coordX,coordY,coordZ,probability"


def test_no_patient_name_leaves_the_file(medvit: Medvit, tmp_path: Path) -> None:
    write_bad_inputs(tmp_path / "in")
    answer = medvit("scan", tmp_path / "in", "--out", tmp_path / "out", "--json")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    written = [path for path in written if not path.is_relative_to(tmp_path / "in")]
    for path in written:
        assert b"Secret" not in path.read_bytes(), path
        assert b"SECRET" not in path.read_bytes(), path
    assert "secret" not in (answer.stdout + answer.stderr).lower()

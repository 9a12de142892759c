"""`medvit labels export --format sr`, as a user types it."""

from __future__ import annotations

from pathlib import Path

import pytest

from medvit.workspace import Workspace
from tests.apps.cli.conftest import Medvit
from tests.make.dicom import ramp, write_series
from tests.make.dicom_out import CUBE
from tests.make.nifti import write_nifti
from tests.make.reviewed_scans import Ward, enter_ward


@pytest.fixture
def ward(workspace: Path, tmp_path: Path) -> Ward:
    write_series(tmp_path / "scans" / "ct", CUBE)
    write_nifti(tmp_path / "scans" / "volume.nii.gz", ramp((26, 30, 12)))
    return enter_ward(tmp_path / "scans", Workspace(workspace))


def test_the_answer_counts_what_was_written_and_names_what_was_left_out(
    medvit: Medvit, ward: Ward, tmp_path: Path
) -> None:
    ward.decide("ct", "a", "accept")
    ward.decide("ct", "b", "accept")
    out = tmp_path / "out"
    words = ("labels", "export", out, "--format", "sr")
    answer = medvit(*words, "--json")
    name = f"{ward.cases['ct'].case_id}.dcm"
    assert answer.code == 0
    assert answer.payload == {
        "out": str(out),
        "images": 1,
        "boxes": 2,
        "written": [name],
        "left_out": [],
    }
    ward.decide("volume.nii.gz", "a", "accept")
    answer = medvit(*words, "--json")
    (left_out,) = answer.payload["left_out"]
    case_id = ward.cases["volume.nii.gz"].case_id
    assert (answer.code, answer.payload["written"]) == (4, [name])
    assert (left_out["case_id"], left_out["reason"]) == (case_id, "no_reference")
    people = medvit(*words)
    assert people.stdout == f"1 series, 2 nodules in {out}\n"
    assert f"left out: {case_id}: volume.nii.gz: not DICOM" in people.stderr
    checked = medvit("check-identity", out, "--source", ward.scans, "--json")
    assert (checked.code, checked.payload["leaks"]) == (0, [])


def test_nothing_to_write_says_why(medvit: Medvit, ward: Ward, tmp_path: Path) -> None:
    words = ("labels", "export", tmp_path / "out", "--format", "sr", "--json")
    answer = medvit(*words)
    assert (answer.code, answer.payload["error"]["code"]) == (3, "nothing_to_do")
    assert "no nodule that readers agree on" in answer.message
    ward.decide("volume.nii.gz", "a", "accept")
    answer = medvit(*words)
    assert answer.code == 3
    assert "any of the 1 scans" in answer.message
    assert "volume.nii.gz: not DICOM" in answer.message


def test_the_help_says_how_reports_are_written(medvit: Medvit) -> None:
    text = " ".join(medvit("labels", "export", "--help").stdout.split())
    assert "medvit labels export reports/ --format sr" in text

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medvit.io.readers import open_volume
from tests.apps.cli.conftest import Medvit
from tests.make.dicom import CtSeries, ramp, write_series

DOCS = Path(__file__).resolve().parents[3] / "docs/convert.md"
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    for line in block.splitlines()
]


@pytest.fixture
def scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with one series, in the folder that commands run in."""
    monkeypatch.chdir(tmp_path)
    write_series(tmp_path / "scans/ct-001")
    return tmp_path / "scans"


def test_the_commands_of_the_document_do_what_it_says(medvit: Medvit, scans: Path) -> None:
    hu = open_volume(scans / "ct-001").read_all()
    assert len(COMMANDS) == 5
    for line in COMMANDS:
        name, *words = shlex.split(line)
        assert name == "medvit"
        answer = medvit(*words, "--json")
        assert answer.code == 0, line
        (case,) = answer.payload["cases"]
        np.testing.assert_array_equal(open_volume(Path(case["file"])).read_all(), hu)


def test_the_answer_tells_what_was_written(medvit: Medvit, scans: Path) -> None:
    answer = medvit("convert", scans, "a.ome.zarr", "--json")
    assert answer.code == 0
    payload = answer.payload
    (case,) = payload.pop("cases")
    assert case["verdict"] == "accept"
    assert case["reasons"] == [{"code": "ok", "message": "nothing wrong was found"}]
    assert (case["source"], case["file"], case["dtype"]) == ("ct-001", "a.ome.zarr", "int16")
    assert (case["shape"], case["spacing_mm"]) == ([5, 16, 12], [2.0, 1.0, 0.5])
    assert case["affine_lps"][3] == [0, 0, 0, 1]
    assert (payload["out"], payload["format"], payload["table"]) == ("a.ome.zarr", "ome.zarr", None)
    counts = [payload[name] for name in ("converted", "kept", "refused", "failed")]
    assert counts == [1, 0, 0, 0]
    assert json.loads(Path(payload["run"], "run.json").read_text())["command"] == "convert"
    group: Any = json.loads(Path("a.ome.zarr/zarr.json").read_text())
    assert group["attributes"]["medvit"]["source_case"] == case["case_id"]


def test_people_are_told_of_case_file_and_repair(medvit: Medvit, scans: Path) -> None:
    write_series(scans / "ct-001", CtSeries(step_lps_mm=(0.0, 0.5, 2.0)))
    answer = medvit("convert", scans, "a.mha")
    assert answer.code == 0
    first, second = answer.stdout.splitlines()
    assert first.startswith("repair  ct-001  5 x ")
    assert first.endswith("mm -> a.mha (int16)")
    assert second.startswith("        gantry_tilt: ")
    assert medvit("convert", scans, "b.mha", "--quiet").stdout == ""


def test_a_folder_with_refused_cases_ends_with_4(medvit: Medvit, scans: Path) -> None:
    write_series(scans / "short", CtSeries(hu=ramp((2, 16, 12)), series_uid="1.2.826.9"))
    answer = medvit("convert", scans, "out", "--format", "mha")
    assert answer.code == 4
    lines = answer.stdout.splitlines()
    assert lines[1] == "refuse  short"
    assert lines[2].startswith("        too_few_slices: ")
    assert lines[-1] == ("2 cases: 1 converted, 0 kept, 1 refused, 0 failed; see out/converted.csv")
    answer = medvit("convert", scans / "short", "a.mha", "--json")
    assert answer.code == 5
    (case,) = answer.payload["cases"]
    assert (case["verdict"], case["reasons"][0]["code"]) == ("refuse", "too_few_slices")
    assert case["file"] is case["shape"] is case["dtype"] is None
    assert not Path("a.mha").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("scans", "a.jpg"), 2, "a.jpg: its ending names no format"),
        (("scans", "a", "--format", "dcm"), 2, "--format dcm: no such format"),
        (("gone", "a.mha"), 2, "gone: no such file or folder"),
        (("scans", "there.mha"), 2, "there.mha: is there already"),
        (("scans", "scans/out", "--format", "mha"), 2, "lies in scans"),
        (("scans", "a.mha", "--series", "1.2"), 2, "scans: no series 1.2 in it; it holds ct-001"),
        (("scans", "there.mha/a.nii"), 2, "there.mha: cannot be written"),
        (("notes", "a.nii"), 3, "notes: no CT series or volume among 1 other files"),
        (("scans",), 2, "Missing argument"),
    ],
)
def test_wrong_words_end_with_their_code(
    medvit: Medvit, scans: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    Path("there.mha").write_text("mine")
    Path("notes").mkdir()
    Path("notes/readme.txt").write_text("no image")
    before = sorted(scans.parent.rglob("*"))
    answer = medvit("convert", *words, "--json")
    assert answer.code == code
    assert said in answer.message
    assert answer.payload["error"]["hint"]
    assert sorted(scans.parent.rglob("*")) == before
    assert Path("there.mha").read_text() == "mine"

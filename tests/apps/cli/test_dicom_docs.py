"""The commands of `docs/dicom_out.md`, run one after the other."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from medvit.store.rows import CaseFilter, Decision
from medvit.store.store import Store
from medvit.workspace import Workspace
from tests.apps.cli.conftest import Medvit
from tests.make.dicom import write_series

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "dicom_out.md").read_text(encoding="utf-8")
LINES = [
    line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()
]


@pytest.mark.slow
def test_every_command_of_the_page_runs(
    medvit: Medvit, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(tmp_path / "scans" / "ct")
    monkeypatch.chdir(tmp_path)
    assert len(LINES) == 4
    for line in LINES:
        words = shlex.split(line)
        assert words[0] == "medvit"
        if words[1] == "labels":
            add_nodule(workspace)
        answer = medvit(*words[1:])
        assert answer.code == 0, (line, answer)
    assert list(tmp_path.glob("out/scans/dicom/*/sr.dcm"))
    assert list(tmp_path.glob("out/agreed/*.dcm"))


def add_nodule(workspace: Path) -> None:
    """Let a reader find a nodule in the only case of the store."""
    place = {"x_mm": -8.0, "y_mm": -14.0, "z_mm": -26.0, "diameter_mm": 4.0}
    with Store.open(Workspace(workspace).store_url) as store:
        (case,), _ = store.list_cases(CaseFilter())
        store.decide(Decision(case.case_id, None, "add", "ann", label="nodule", geometry=place))


def test_the_page_says_what_the_files_are_not() -> None:
    assert "not a medical device" in TEXT
    assert "pseudonymous, not anonymous" in TEXT

"""A disk that is full, whatever the command: a sentence and exit code 2, no bug report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from apps.cli.command import guarded
from apps.cli.exit_codes import ExitCode

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")


def write_to(path: Path) -> ExitCode:
    path.write_text("a finding\n", encoding="utf-8")
    return ExitCode.DONE


def test_a_full_disk_is_told_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(lambda: write_to(FULL), as_json=True) == ExitCode.UNUSABLE
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "input"
    assert "the disk takes no more" in error["message"]
    assert "No space left on device" in error["message"]
    assert "free some space" in error["hint"]


def test_another_refusal_of_the_system_is_not(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert guarded(lambda: write_to(tmp_path), as_json=True) == ExitCode.BUG
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "bug"

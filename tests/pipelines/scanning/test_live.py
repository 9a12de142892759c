from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from medvit.workspace import Workspace
from pipelines.scanning.live import (
    FILE,
    MOST_CANDIDATES,
    SILENT_S,
    Candidate,
    LiveFile,
    LiveScan,
    best_first,
    running_scans,
)

SCAN = LiveScan(
    run="1",
    case_id="ct-1",
    source="a/b",
    number=2,
    cases=7,
    share=0.25,
    candidates=(Candidate((41, 200, 130), 8.5, 0.62),),
    count=1,
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def test_a_watcher_sees_what_the_scan_told(workspace: Workspace) -> None:
    live = LiveFile(workspace.new_run("scan"))
    live.tell(SCAN)
    assert running_scans(workspace) == [SCAN]
    live.close()
    assert running_scans(workspace) == []


def test_progress_is_told_now_and_then_and_candidates_at_once(workspace: Workspace) -> None:
    live = LiveFile(workspace.new_run("scan"))
    live.tell(SCAN)
    later = LiveScan(**{**{f: getattr(SCAN, f) for f in SCAN.__slots__}, "share": 0.5})
    live.tell(later)
    assert running_scans(workspace)[0].share == 0.25
    live.tell(later, at_once=True)
    assert running_scans(workspace)[0].share == 0.5


def test_a_scan_that_died_is_not_shown(workspace: Workspace) -> None:
    live = LiveFile(workspace.new_run("scan"))
    live.tell(SCAN)
    path = workspace.runs("scan") / "1" / FILE
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    path.write_text(json.dumps({**json.loads(path.read_text()), "pid": dead.pid}))
    assert running_scans(workspace) == []


def test_a_scan_that_fell_silent_is_not_shown(workspace: Workspace) -> None:
    live = LiveFile(workspace.new_run("scan"))
    live.tell(SCAN)
    path = workspace.runs("scan") / "1" / FILE
    past = path.stat().st_mtime - SILENT_S - 1
    os.utime(path, (past, past))
    assert running_scans(workspace) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": "x"}'])
def test_a_file_that_is_not_ours_is_passed_over(workspace: Workspace, text: str) -> None:
    (workspace.new_run("scan") / FILE).write_text(text)
    assert running_scans(workspace) == []


def test_a_file_that_cannot_be_written_is_told_once(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    live = LiveFile(workspace.runs("scan") / "missing")
    with caplog.at_level(logging.WARNING):
        live.tell(SCAN, at_once=True)
        live.tell(SCAN, at_once=True)
    assert [record.message for record in caplog.records if FILE in record.message] == [
        f"{workspace.runs('scan') / 'missing' / FILE} cannot be written: No such file or directory"
    ]


def test_the_most_probable_candidates_are_listed() -> None:
    candidates = [Candidate((z, 0, 0), 5.0, z / 100) for z in range(MOST_CANDIDATES + 5)]
    listed = best_first(candidates)
    assert len(listed) == MOST_CANDIDATES
    assert [each.index_zyx[0] for each in listed[:2]] == [MOST_CANDIDATES + 4, MOST_CANDIDATES + 3]

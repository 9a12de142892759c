"""Jobs: they outlive who started them, can be stopped, and say how they ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from medvit.errors import InputError
from medvit.workspace import Workspace
from pipelines import job_keeper
from pipelines.job_roots import allow_root, allowed_source, forbid_root, job_roots
from pipelines.jobs import Job, cancel_job, list_jobs, read_job, start_job
from tests.make.models import register_untrained
from tests.make.raster import grey, write_image

WAIT_S = 120.0


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    place = Workspace(tmp_path / "workspace")
    place.prepare()
    return place


def until(folder: Path, wanted: Callable[[Job], bool]) -> Job:
    """Return a job as soon as it stands as wanted."""
    end = time.monotonic() + WAIT_S
    while True:
        job = read_job(folder)
        if job is not None and wanted(job):
            return job
        assert time.monotonic() < end, job
        time.sleep(0.1)


def written(workspace: Workspace, *words: str) -> Path:
    folder = workspace.new_run("job")
    told = {"words": words, "by": "Lee", "started_at": "2026-01-01T00:00:00+00:00"}
    (folder / "job.json").write_text(json.dumps(told))
    return folder


def in_background(folder: Path, script: str) -> subprocess.Popen[bytes]:
    """Keep a job that runs a script of Python in place of medvit."""
    code = (
        "import sys, pathlib\nfrom pipelines.job_keeper import keep\n"
        f"keep(pathlib.Path(sys.argv[1]), [sys.executable, '-c', {script!r}])"
    )
    place = {**os.environ, "PYTHONPATH": str(Path(job_keeper.__file__).parents[1])}
    return subprocess.Popen([sys.executable, "-c", code, str(folder)], env=place)


def test_a_job_tells_how_far_it_is_and_stops_when_asked(workspace: Workspace) -> None:
    script = (
        "import sys, time\nprint('scan 2/5 x', file=sys.stderr, flush=True)\n"
        "try:\n    time.sleep(100)\nexcept KeyboardInterrupt:\n    sys.exit(130)"
    )
    folder = written(workspace, "scan")
    with in_background(folder, script) as process:
        job = until(folder, lambda job: job.total > 0)
        assert (job.state, job.done, job.total, job.by) == ("running", 2, 5, "Lee")
        cancel_job(folder)
        assert until(folder, lambda job: not job.is_alive).state == "stopped"
        process.wait(WAIT_S)
    cancel_job(folder)  # too late, and no harm
    assert read_job(folder) == list_jobs(workspace)[0]


def test_a_job_that_was_killed_says_so_and_does_not_run_for_ever(workspace: Workspace) -> None:
    folder = written(workspace, "scan")
    script = "import sys, time; print('scan 1/5 x', file=sys.stderr, flush=True); time.sleep(100)"
    with in_background(folder, script) as process:
        until(folder, lambda job: job.total > 0)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        process.wait(WAIT_S)
        job = read_job(folder)
        assert job is not None
        assert job.state == "running"  # who kept it is gone, the work is not
        for child in children:
            os.kill(int(child), signal.SIGKILL)
    job = until(folder, lambda job: not job.is_alive)
    assert (job.state, "was killed" in job.message) == ("failed", True)


@pytest.mark.parametrize(
    ("code", "state"), [(0, "done"), (3, "nothing"), (4, "partial"), (6, "refused"), (2, "failed")]
)
def test_a_job_ends_by_the_exit_codes_of_the_contract(
    workspace: Workspace, code: int, state: str
) -> None:
    folder = written(workspace, "scan")
    error = {"error": {"code": "input", "message": "no such folder.", "hint": "check the path"}}
    (folder / "answer.json").write_text(json.dumps(error))
    (folder / "exit.json").write_text(json.dumps({"code": code}))
    job = read_job(folder)
    assert job is not None
    assert job.state == state
    assert job.message == "no such folder. check the path"


GATE = {"verdict": "refuse", "reasons": ["scratch lost 3 of its 6 cases", "and more"]}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            {"model": "steel@2", "gate": GATE},
            "steel@2, refuse: scratch lost 3 of its 6 cases; and more",
        ),
        (
            {"cases": 1220, "findings": 7, "refuse": 2, "fail": 0},
            "1,220 cases, 7 findings, 2 refused, 0 failed",
        ),
        ({"model": "steel@2"}, ""),
    ],
)
def test_a_job_says_what_it_came_to(
    workspace: Workspace, answer: dict[str, object], message: str
) -> None:
    folder = written(workspace, "scan")
    (folder / "answer.json").write_text(json.dumps(answer))
    (folder / "exit.json").write_text(json.dumps({"code": 0}))
    job = read_job(folder)
    assert job is not None
    assert job.message == message


@pytest.mark.slow
def test_a_scan_runs_as_a_job_and_the_words_are_no_shell(
    workspace: Workspace, tmp_path: Path
) -> None:
    register_untrained(workspace.models)
    source = tmp_path / "plates; touch hacked $(id)"
    write_image(source / "plate.png", grey())
    words = ("scan", str(source), "--out", "{job}/out", "--json")
    folder = start_job(workspace, words, by="Lee")
    job = until(folder, lambda job: not job.is_alive)
    assert job.state == "done", job.tail
    assert (folder / "out" / "cases.csv").is_file()
    assert json.loads((folder / "answer.json").read_text())["accept"] == 1
    assert not list(tmp_path.rglob("hacked"))


def test_jobs_read_below_allowed_folders_only(workspace: Workspace, tmp_path: Path) -> None:
    inside, outside = tmp_path / "scans" / "a", tmp_path / "secret"
    inside.mkdir(parents=True)
    outside.mkdir()
    with pytest.raises(InputError, match="below the 0 folders that were allowed"):
        allowed_source(workspace, str(inside))
    allow_root(workspace, tmp_path / "scans", by="Lee")
    allow_root(workspace, tmp_path / "scans", by="Lee")
    assert job_roots(workspace) == [tmp_path / "scans"]
    assert allowed_source(workspace, f" {inside} ") == inside
    (inside / "link").symlink_to(outside)
    for path in (inside / "link", inside / ".." / ".." / "secret", tmp_path, Path()):
        with pytest.raises(InputError, match="below the 1 folders"):
            allowed_source(workspace, str(path))
    with pytest.raises(InputError, match="no such file or folder"):
        allowed_source(workspace, str(inside / "gone"))
    with pytest.raises(InputError, match="absolute path of a folder"):
        allow_root(workspace, Path("scans"), by="Lee")
    forbid_root(workspace, tmp_path / "scans")
    assert job_roots(workspace) == []


def test_a_damaged_list_of_roots_is_named(workspace: Workspace) -> None:
    (workspace.folder / "job_roots.json").write_text('{"path": 1}')
    with pytest.raises(InputError, match=r"job_roots\.json: not a list of roots"):
        job_roots(workspace)

"""The folder of a training: when it is taken up again, and what hashes mean."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel

from medvit.errors import ConfigError, InputError
from medvit.workspace import Workspace
from pipelines.training.config import ImageData, check_batch, find_manifest
from pipelines.training.run import images_sha256, open_run


class Knob(BaseModel):
    turns: int = 1


def opened(workspace: Workspace, *, turns: int = 1) -> Path:
    """Open a run, and leave it unfinished."""
    with open_run(workspace, "train", Knob(turns=turns)) as folder:
        return folder


def test_a_run_that_never_ended_is_taken_up_again(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert opened(workspace) == opened(workspace)


def test_trainings_that_take_turns_in_a_workspace_each_go_on(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    first, second = (opened(workspace, turns=turns) for turns in (1, 2))
    assert workspace.latest_run("train") == second
    assert opened(workspace, turns=1) == first
    assert workspace.latest_run("train") == first
    assert opened(workspace, turns=2) == second


def test_another_config_or_a_run_that_ended_starts_a_new_folder(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    first, second = (opened(workspace, turns=turns) for turns in (1, 2))
    (second / "run.json").write_text("{}", encoding="utf-8")
    third = opened(workspace, turns=2)
    assert [folder.name for folder in (first, second, third)] == ["1", "2", "3"]


AT_WORK = """
import os, sys, time
from pathlib import Path
from medvit.workspace import Workspace
from pipelines.training.run import open_run
from tests.pipelines.training.test_run import Knob

with open_run(Workspace(Path(sys.argv[1])), "train", Knob()):
    child = os.fork()
    if child:
        print(child, flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_a_run_has_one_process_at_work_and_is_free_once_that_was_killed(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", AT_WORK, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            with pytest.raises(InputError, match=f"another training .process {process.pid}."):
                opened(workspace)
            beside = opened(workspace, turns=2)
            process.kill()
            process.wait()
            os.kill(child, 0)  # a worker that it had started still lives
            assert opened(workspace).name == "1"
        finally:
            process.kill()
            os.kill(child, signal.SIGKILL)
    assert beside.name == "2"


def test_the_hash_of_images_follows_pixels_and_paths() -> None:
    images = np.zeros((2, 3, 3), dtype=np.uint8)
    changed = images.copy()
    changed[1, 2, 2] = 1
    hashes = {
        images_sha256(images, ["a", "b"]),
        images_sha256(images, ["a", "c"]),
        images_sha256(changed, ["a", "b"]),
    }
    assert len(hashes) == 3
    assert images_sha256(images.copy(), ["a", "b"]) in hashes


def test_a_shipped_manifest_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file, root = find_manifest(ImageData(manifest=Path("splits/xsdd.csv")))
    assert file.name == "xsdd.csv"
    assert root == file.parent


def test_one_training_image_is_too_few_whatever_the_batch(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="1 training images") as caught:
        check_batch(1, batch_size=2, file=tmp_path / "m.csv")
    assert caught.value.hint == "add training images"

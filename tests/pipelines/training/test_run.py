"""The folder of a training: when it is taken up again, and what hashes mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel

from medvit.errors import ConfigError
from medvit.workspace import Workspace
from pipelines.training.config import ImageData, check_batch, find_manifest
from pipelines.training.run import images_sha256, open_run


class Knob(BaseModel):
    turns: int = 1


def test_a_run_that_never_ended_is_taken_up_again(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    first = open_run(workspace, "train", Knob())
    assert open_run(workspace, "train", Knob()) == first


def test_trainings_that_take_turns_in_a_workspace_each_go_on(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    first, second = (open_run(workspace, "train", Knob(turns=n)) for n in (1, 2))
    assert workspace.latest_run("train") == second
    assert open_run(workspace, "train", Knob(turns=1)) == first
    assert workspace.latest_run("train") == first
    assert open_run(workspace, "train", Knob(turns=2)) == second


def test_another_config_or_a_run_that_ended_starts_a_new_folder(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    first = open_run(workspace, "train", Knob())
    second = open_run(workspace, "train", Knob(turns=2))
    (second / "run.json").write_text("{}", encoding="utf-8")
    third = open_run(workspace, "train", Knob(turns=2))
    assert [folder.name for folder in (first, second, third)] == ["1", "2", "3"]


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

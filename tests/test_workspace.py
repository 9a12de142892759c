from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from medvit.errors import InputError
from medvit.workspace import Workspace


def test_runs_are_numbered_and_latest_points_at_the_last(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    assert workspace.latest_run("scan") is None
    names = [workspace.new_run("scan").name for _ in range(11)]
    assert names == [str(number) for number in range(1, 12)]
    latest = workspace.latest_run("scan")
    assert latest is not None
    assert latest.name == "11"


def test_commands_count_apart(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.new_run("scan")
    assert workspace.new_run("train") == tmp_path / "runs" / "train" / "1"


def test_a_deleted_run_does_not_give_its_number_to_a_later_one(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    first = workspace.new_run("scan")
    workspace.new_run("scan")
    first.rmdir()
    assert workspace.new_run("scan").name == "3"


def test_latest_is_a_text_file_where_links_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError(1, "links are not permitted")

    monkeypatch.setattr(Path, "symlink_to", no_links)
    workspace = Workspace(tmp_path)
    workspace.new_run("scan")
    folder = workspace.new_run("scan")
    assert (tmp_path / "runs" / "scan" / "latest").read_text() == "2\n"
    assert workspace.latest_run("scan") == folder


def test_many_at_once_get_a_folder_each(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: workspace.new_run("scan"), range(24)))
    assert len(set(folders)) == 24


def test_a_file_in_the_place_of_the_workspace_is_named(tmp_path: Path) -> None:
    (tmp_path / "w").write_text("a file")
    with pytest.raises(InputError, match=r"the workspace .*/w cannot be used") as caught:
        Workspace(tmp_path / "w").new_run("scan")
    assert "--workspace" in caught.value.hint


def test_a_workspace_without_write_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="no write permission"):
        Workspace(tmp_path).prepare()


def test_the_store_is_in_the_workspace_unless_named(tmp_path: Path) -> None:
    assert Workspace(tmp_path).store_url == f"sqlite:///{tmp_path}/store.db"
    url = "postgresql+psycopg://u@h/d"
    assert Workspace(tmp_path, store=url).store_url == url

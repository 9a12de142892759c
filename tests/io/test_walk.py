from __future__ import annotations

import os
from pathlib import Path

from medvit.io.walk import iter_files


def names_in(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in iter_files(root)]


def fill(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")


def test_nested_files_come_once_and_junk_never(tmp_path: Path) -> None:
    fill(tmp_path / "b", tmp_path / "d/e/f", tmp_path / ".git/x", tmp_path / "__MACOSX/y")
    fill(tmp_path / ".DS_Store", tmp_path / "d/Thumbs.db")
    assert names_in(tmp_path) == ["b", "d/e/f"]


def test_a_cycle_of_links_ends(tmp_path: Path) -> None:
    fill(tmp_path / "a/one", tmp_path / "b/two")
    (tmp_path / "a/to_b").symlink_to(tmp_path / "b")
    (tmp_path / "b/to_a").symlink_to(tmp_path / "a")
    (tmp_path / "b/self").symlink_to(".")
    assert sorted(names_in(tmp_path)) == ["a/one", "b/two"]


def test_a_linked_folder_elsewhere_is_entered_once(tmp_path: Path) -> None:
    fill(tmp_path / "store/one")
    (tmp_path / "scan").mkdir()
    for name in ("x", "y"):
        (tmp_path / "scan" / name).symlink_to(tmp_path / "store")
    assert names_in(tmp_path / "scan") == ["x/one"]


def test_a_link_above_the_root_is_not_followed(tmp_path: Path) -> None:
    fill(tmp_path / "scan/one", tmp_path / "private/two")
    (tmp_path / "scan/up").symlink_to(tmp_path)
    assert names_in(tmp_path / "scan") == ["one"]


def test_links_to_nowhere_and_to_themselves_are_met(tmp_path: Path) -> None:
    fill(tmp_path / "one")
    (tmp_path / "gone.png").symlink_to(tmp_path / "missing")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    assert names_in(tmp_path) == ["gone.png", "loop.png", "one"]


def test_a_pipe_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.dcm")
    assert names_in(tmp_path) == []

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from medvit.io.writing.drafts import draft_file, draft_folder


def test_a_file_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    mask = os.umask(0o027)
    try:
        with draft_file(path) as stream:
            stream.write(b"new")
            assert path.read_text() == "old"
    finally:
        os.umask(mask)
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ValueError])
def test_an_ended_draft_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def half_a_file() -> None:
        with draft_file(tmp_path / "a") as stream:
            stream.write(b"half")
            raise error

    def half_a_folder() -> None:
        with draft_folder(tmp_path / "b") as folder:
            (folder / "c").write_text("half")
            raise error

    for half in (half_a_file, half_a_folder):
        with pytest.raises(error):
            half()
    assert not list(tmp_path.iterdir())


def test_a_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with draft_folder(tmp_path / "a") as folder:
            (folder / text).write_text(text)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["second"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_link_is_replaced_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/a").write_text("kept")
    (tmp_path / "link").symlink_to("kept", target_is_directory=True)
    with draft_folder(tmp_path / "link"):
        pass
    assert (tmp_path / "kept/a").read_text() == "kept"
    assert not (tmp_path / "link").is_symlink()


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/old").write_text("old")
    rename, calls = Path.rename, []

    def second_fails(path: Path, target: Path) -> Path:
        calls.append(path)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", second_fails)
    with pytest.raises(OSError, match="Input/output"), draft_folder(tmp_path / "a"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a/old").read_text() == "old"


def test_a_missing_folder_above_is_said_by_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), draft_file(tmp_path / "no/a"):
        pass
    with pytest.raises(FileNotFoundError), draft_folder(tmp_path / "no/a"):
        pass

"""Opening: what cannot be a store is refused in words."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from medvit.errors import StoreError
from medvit.store.engine import build_engine
from medvit.store.store import Store


@pytest.mark.parametrize("url", ["", "store.db", "mysql://h/db", "sqlite://", "http://x/y"])
def test_other_urls_are_refused_with_an_example(url: str) -> None:
    with pytest.raises(StoreError, match="SQLite file or a PostgreSQL database") as refused:
        Store.open(url)
    assert "sqlite:///folder/store.db" in refused.value.hint


@pytest.mark.parametrize("url", ["mysql://ann:secret@h/db", "post gres://ann:secret@h/db"])
def test_a_refusal_never_shows_a_password(url: str) -> None:
    with pytest.raises(StoreError) as refused:
        Store.open(url)
    assert "secret" not in refused.value.message


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"user:\*\*\*@host.*needs psycopg") as refused:
        Store.open("postgresql://user:secret@host/db")
    assert refused.value.hint == 'pip install "medvit[postgres]"'


def test_a_server_that_is_not_there_is_a_store_error() -> None:
    with pytest.raises(StoreError, match=r"ann:\*\*\*@127.0.0.1:1/x.* failed"):
        Store.open("postgresql://ann:secret@127.0.0.1:1/x?connect_timeout=2")


def test_the_folder_of_a_new_store_is_made(tmp_path: Path) -> None:
    file = tmp_path / "new" / "workspace" / "store.db"
    Store.open(f"sqlite:///{file}").close()
    assert file.is_file()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"folder of the store .*file/store.db cannot be made"):
        Store.open(f"sqlite:///{tmp_path / 'file' / 'store.db'}")


def test_a_file_that_is_no_database_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    file.write_text("a letter to somebody, longer than a header" * 100)
    with pytest.raises(StoreError, match=r"store.db failed: file is not a database"):
        Store.open(f"sqlite:///{file}")
    assert file.read_text().startswith("a letter")


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="unable to open database file"):
        Store.open(f"sqlite:///{tmp_path}")


def test_sqlite_keeps_rules_and_survives_a_power_failure(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    Store.open(url).close()
    engine = build_engine(url)
    with engine.connect() as connection:
        asked = ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        answers = [connection.execute(text(f"PRAGMA {name}")).scalar() for name in asked]
    engine.dispose()
    assert answers == ["wal", 1, 2, 30000]

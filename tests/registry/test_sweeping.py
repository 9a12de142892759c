from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from medvit.registry.production import promote, rollback
from medvit.registry.sweeping import Sweep, sweep
from tests.make.registry import NAME, put_version


def run(models: Path, *referred: str, days: float = 0, dry: bool = False) -> Sweep:
    none = models / "none"
    return sweep(models, referred=referred, older_than_days=days, dry=dry, shipped=none)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Return a registry: 2 was and 3 is in production, 5 has the parent 4, 7 is the newest."""
    models = tmp_path / "models"
    for version in ("1", "2", "3", "4"):
        put_version(models, version)
    put_version(models, "5", parents=(f"{NAME}@4",))
    put_version(models, "6")
    put_version(models, "7")
    for version in ("2", "3"):
        promote(models, NAME, version, by="ann", reason="", shipped=models / "none")
    return models


def test_only_what_nothing_refers_to_goes(models: Path) -> None:
    swept = run(models, f"{NAME}@5")
    assert swept.removed == ("steel@1", "steel@6")
    assert swept.kept == {
        "steel@2": "was in production",
        "steel@3": "in production",
        "steel@4": "a parent of steel@5",
        "steel@5": "a run, a report or the store refers to it",
        "steel@7": "was in production",  # before anything was promoted
    }
    left = {path.name for path in (models / NAME).iterdir() if path.is_dir()}
    assert left == {"2", "3", "4", "5", "7"}
    assert rollback(models, NAME, by="ann", reason="", shipped=models / "none").to_version == "2"


def test_a_hash_is_a_reference_too(models: Path) -> None:
    sha256 = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"  # of "1"
    assert "steel@1" not in run(models, sha256).removed


def test_telling_removes_nothing(models: Path) -> None:
    told = run(models, dry=True)
    assert told.removed == ("steel@1", "steel@4", "steel@5", "steel@6")
    assert (models / NAME / "1").is_dir()
    assert run(models).removed == told.removed


def test_what_is_young_stays(models: Path) -> None:
    old = time.time() - 8 * 86400
    os.utime(models / NAME / "1", (old, old))
    assert run(models, days=7, dry=True).removed == ("steel@1",)


def test_drafts_of_saves_that_died_go_once_they_are_a_day_old(models: Path) -> None:
    for name, age_s in (("old", 90000), ("new", 60)):
        folder = models / NAME / f".draft-{name}"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
        os.utime(folder, (time.time() - age_s,) * 2)
    swept = run(models, days=7)
    assert swept.drafts == (f"{NAME}/.draft-old",)
    assert swept.freed_bytes == 4
    assert (models / NAME / ".draft-new").is_dir()


def test_equal_weights_become_one_file_under_two_names(tmp_path: Path) -> None:
    for version in ("1", "2"):
        put_version(tmp_path, version, content=b"the same")
    swept = run(tmp_path, f"{NAME}@1")
    first, second = (tmp_path / NAME / v / "model.safetensors" for v in ("1", "2"))
    assert swept.freed_bytes == len(b"the same")
    assert first.samefile(second)
    assert second.read_bytes() == b"the same"

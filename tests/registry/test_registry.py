from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from medvit.errors import ModelError
from medvit.registry.production import promote
from medvit.registry.registry import find_model, list_models, version_folder
from tests.make.registry import put_version


def put(models: Path, *, name: str, version: str) -> None:
    put_version(models, version, name=name, task="nodule", classes=("nodule",))


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """Return a shipped folder with one model, and a workspace with two versions of it."""
    shipped, models = tmp_path / "shipped", tmp_path / "models"
    put(tmp_path / "made", name="nodule-swin3d", version="2026.11")
    shipped.mkdir()
    (tmp_path / "made" / "nodule-swin3d" / "2026.11").rename(shipped / "nodule-swin3d")
    for version in ("1", "2"):
        put(models, name="nodule-swin3d", version=version)
    return shipped, models


def test_a_name_alone_means_the_shipped_model_at_first(places: tuple[Path, Path]) -> None:
    shipped, models = places
    found = find_model("nodule-swin3d", models=models, shipped=shipped)
    assert found.reference == "nodule-swin3d@2026.11"
    assert found == find_model(None, task="nodule", models=models, shipped=shipped)


def test_a_name_alone_means_the_production_version(places: tuple[Path, Path]) -> None:
    shipped, models = places
    promote(models, "nodule-swin3d", "1", by="ann", reason="try it", shipped=shipped)
    assert find_model("nodule-swin3d", models=models, shipped=shipped).version == "1"
    assert find_model("nodule-swin3d@2", models=models, shipped=shipped).version == "2"
    flags = [model.production for model in list_models(models, shipped=shipped)]
    assert sum(flags) == 1


def test_without_a_shipped_one_the_newest_is_meant(tmp_path: Path) -> None:
    for version in ("1", "2"):
        put(tmp_path, name="own", version=version)
    assert find_model("own", models=tmp_path, shipped=tmp_path / "none").version == "2"


def test_an_unknown_model_names_the_known_ones(places: tuple[Path, Path]) -> None:
    shipped, models = places
    with pytest.raises(ModelError, match="no model 'nodule@9'") as error:
        find_model("nodule@9", models=models, shipped=shipped)
    assert "nodule-swin3d@1" in error.value.hint


def test_a_model_of_another_task_is_refused(places: tuple[Path, Path]) -> None:
    shipped, models = places
    with pytest.raises(ModelError, match="is a nodule model, but the task is defect"):
        find_model("nodule-swin3d", task="defect", models=models, shipped=shipped)


def test_versions_are_numbered_and_never_taken_twice(places: tuple[Path, Path]) -> None:
    _, models = places
    free = [folder.name for folder in islice(version_folder(models, "nodule-swin3d"), 1)]
    assert free == ["3"]
    with pytest.raises(ModelError, match=r"model name '\.\./x'"):
        next(version_folder(models, "../x"))


def test_production_must_exist(places: tuple[Path, Path]) -> None:
    shipped, models = places
    with pytest.raises(ModelError, match="no model 'nodule-swin3d@7'"):
        promote(models, "nodule-swin3d", "7", by="ann", reason="", shipped=shipped)
    assert not (models / "nodule-swin3d" / "history.jsonl").exists()

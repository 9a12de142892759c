"""Splits and plans as their users run them: whole groups, named leaks, configs that load."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from medvit.data.manifest import ManifestRow, read_manifest, write_manifest
from medvit.data.splits import SplitShares, split_by_group
from medvit.errors import ConfigError, NothingToDoError
from medvit.registry.registry import find_model
from medvit.workspace import Workspace
from pipelines import labels_import, plan, split, train
from tests.make.registry import put_version


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 12 images in 2 classes; dent/0 and dent/1 overlap by half."""
    folder = tmp_path_factory.mktemp("set")
    for kind, label in enumerate(("dent", "rust")):
        (folder / label).mkdir()
        for number in range(6):
            seed = 100 * kind + (0 if number == 1 else number)
            rough = gaussian_filter(np.random.default_rng(seed).normal(size=(64, 96)), 1.5)
            grey = np.clip(128 + 100 * rough, 0, 255).astype(np.uint8)
            left = 32 if number == 1 else 0
            Image.fromarray(grey[:, left : left + 64]).save(folder / label / f"{number}.png")
    return folder


def test_a_split_keeps_overlapping_crops_together(images: Path, workspace: Workspace) -> None:
    out = workspace.folder.parent / "m.csv"
    result = split.run(split.SplitSettings(source=images, out=out), workspace)
    assert (result.groups, result.leaks) == (10, ())
    rows = read_manifest(out).rows
    assert all((out.parent / row.path).is_file() for row in rows)
    side = {Path(row.path).parts[-2:]: row.split for row in rows}
    assert side["dent", "0.png"] == side["dent", "1.png"]
    report = (result.run / "report.html").read_text(encoding="utf-8")
    assert "keeps all 10 groups whole" in report
    assert report.count("data:image/jpeg") == 2
    with (result.run / "pairs.csv").open(encoding="utf-8") as stream:
        pairs = list(csv.DictReader(stream))
    assert (pairs[0]["first"], pairs[0]["shift_x_px"]) == ("dent/0.png", "32")


def test_a_split_that_leaks_is_judged_and_named(images: Path, workspace: Workspace) -> None:
    manifest = workspace.folder.parent / "m.csv"
    names = sorted(path.relative_to(images).as_posix() for path in images.rglob("*.png"))
    rows = [ManifestRow(n, n[:4], "test" if n == "dent/1.png" else "train", "") for n in names]
    write_manifest(manifest, rows)
    settings = split.SplitSettings(source=manifest, images=images, check=True)
    before = manifest.read_bytes()
    (leak,) = (each for each in split.run(settings, workspace).leaks if "dent/1" in each.second)
    assert (leak.first, leak.first_split, leak.second_split) == ("dent/0.png", "train", "test")
    assert manifest.read_bytes() == before


def test_a_leaking_split_is_written_only_when_told(images: Path, workspace: Workspace) -> None:
    out = workspace.folder.parent / "m.csv"
    # Every image its own group: some salt puts the overlapping two on different sides.
    names = [path.relative_to(images).as_posix() for path in images.rglob("*.png")]
    rows = [ManifestRow(name, name[:4], "", "") for name in names]

    def parts(salt: str) -> bool:
        made = split_by_group(rows, shares=SplitShares(salt=salt))
        side = {row.path: row.split for row in made}
        return side["dent/0.png"] != side["dent/1.png"]

    salt = next(str(number) for number in range(100) if parts(str(number)))
    settings = split.SplitSettings(source=images, out=out, group_by="column", salt=salt)
    refused = split.run(settings, workspace)
    assert refused.manifest is None
    assert refused.leaks
    assert not out.exists()
    told = split.run(settings.model_copy(update={"allow_leaks": True}), workspace)
    assert told.manifest == out
    assert out.exists()


def test_added_images_move_no_other() -> None:
    rows = [ManifestRow(f"{n}", "ab"[n % 2], "", f"g{n // 2}") for n in range(40)]
    first = split_by_group(rows, shares=SplitShares())
    more = [ManifestRow(f"new{n}", "a", "", f"new{n}") for n in range(15)]
    second = split_by_group([*more, *first], shares=SplitShares())
    assert second[15:] == first


def test_groups_by_pattern_need_one_group_that_matches(images: Path, workspace: Workspace) -> None:
    settings = split.SplitSettings(source=images, group_by="pattern", pattern=r"(\d)\d")
    with pytest.raises(ConfigError, match=r"1 groups and 0 of 12 names"):
        split.run(settings, workspace)


def test_there_is_nothing_to_judge_without_a_split(images: Path, workspace: Workspace) -> None:
    with pytest.raises(NothingToDoError, match="no image has a split"):
        split.run(split.SplitSettings(source=images, check=True), workspace)


def test_a_plan_is_a_config_that_train_takes(images: Path, workspace: Workspace) -> None:
    put_version(workspace.models, "1", name="steel-defects")  # retrained, and in production
    out = workspace.folder.parent / "p.yaml"
    made = plan.run(plan.PlanSettings(source=images, out=out), workspace)
    config = train.load(out)
    assert config.model_dump()["data"]["side_px"] == 64
    assert config.model_dump()["model"]["weights"] == find_model("steel-defects").reference
    assert "loss.name" not in {choice.key for choice in made.choices}  # nothing is trained
    text = out.read_text(encoding="utf-8")
    assert all(f"# {choice.reason}" in text for choice in made.choices)
    assert {row.split for row in read_manifest(made.manifest).rows} >= {"train", "test"}


def test_a_plan_without_weights_trains_everything(images: Path, workspace: Workspace) -> None:
    out = workspace.folder.parent / "p.yaml"
    plan.run(plan.PlanSettings(source=images, out=out, weights="none"), workspace)
    config = train.load(out).model_dump()
    assert config["model"]["weights"] == "none"
    assert (config["tuning"]["method"], config["loss"]["name"]) == ("full", "cross_entropy")


@pytest.mark.parametrize(("count", "words"), [(1, "2 classes, found: a 1"), (3, "too few")])
def test_too_few_images_are_refused_with_the_reason(
    tmp_path: Path, workspace: Workspace, count: int, words: str
) -> None:
    for number in range(count):
        (tmp_path / "few" / "aab"[number]).mkdir(parents=True, exist_ok=True)
        Image.new("L", (40, 40), number).save(tmp_path / "few" / "aab"[number] / f"{number}.png")
    with pytest.raises(ConfigError, match=words):
        plan.run(plan.PlanSettings(source=tmp_path / "few", out=tmp_path / "p.yaml"), workspace)
    assert not (tmp_path / "p.yaml").exists()


def test_contradicting_labels_of_one_image_are_named(tmp_path: Path, workspace: Workspace) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)
    for label in ("a", "b"):
        (tmp_path / "in" / label).mkdir(parents=True)
        Image.fromarray(grey).save(tmp_path / "in" / label / "x.png")
    settings = split.SplitSettings(source=tmp_path / "in", out=tmp_path / "m.csv")
    result = split.run(settings, workspace)
    told = {each.file: each.message for each in result.problems}
    assert "the same pixels as a/x.png, but labelled 'b'" in told["b/x.png"]


def test_imported_labels_become_a_manifest(images: Path, workspace: Workspace) -> None:
    out = workspace.folder.parent / "l.csv"
    result = labels_import.run(labels_import.ImportSettings(source=images, out=out), workspace)
    assert (result.images, result.labelled, result.boxes_file) == (12, 12, None)
    assert {row.label for row in read_manifest(out).rows} == {"dent", "rust"}

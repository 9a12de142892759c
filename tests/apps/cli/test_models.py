from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from PIL import Image

from medvit.data.manifest import ManifestRow, write_manifest
from tests.apps.cli.conftest import Medvit
from tests.make.registry import NAME, put_version


@pytest.fixture
def models(workspace: Path) -> Path:
    """Return a registry of its own with three versions, none of them ever promoted."""
    (workspace / "models").unlink()
    for version in ("1", "2", "3"):
        put_version(workspace / "models", version, metrics={"accuracy": 0.5})
    return workspace / "models"


def production(medvit: Medvit) -> str:
    listed = medvit("models", "list", "--json").payload["models"]
    assert all({"name", "version", "task", "production", "metrics"} <= set(each) for each in listed)
    (found,) = (each for each in listed if each["name"] == NAME and each["production"])
    return str(found["version"])


def test_weights_of_others_are_registered_to_start_from(medvit: Medvit, models: Path) -> None:
    answer = medvit("models", "import", "efficientnet_lite0", "--channels", "colour")
    assert answer.stdout == (
        "imagenet-lite0@1\n"
        "start from it: model.backbone=efficientnet_lite0 model.weights=imagenet-lite0@1\n"
    )
    assert medvit("models", "verify", "imagenet-lite0").code == 0
    card = medvit("models", "show", "imagenet-lite0", "--json").payload["card"]
    assert (card["task"], card["training"]["licence"]) == ("backbone", "Apache-2.0")
    assert card["architecture"]["arguments"] == {"in_channels": 3}


def test_weights_that_are_not_there_are_named_and_nothing_is_registered(
    medvit: Medvit, models: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "lite0.pth"
    answer = medvit("models", "import", "efficientnet_lite0", "--file", str(missing), "--json")
    assert (answer.code, answer.message) == (2, f"{missing}: no such weights file")
    assert not (models / "imagenet-lite0").exists()


def test_promotion_rollback_and_history(medvit: Medvit, models: Path) -> None:
    assert production(medvit) == "3"
    words = ("models", "promote", "steel@1", "--by", "ann", "--reason", "learned scale", "--json")
    assert medvit(*words).payload["to_version"] == "1"
    assert production(medvit) == "1"
    again = medvit(*words)
    assert (again.code, again.message) == (3, "steel@1 is in production already")
    assert medvit("models", "rollback", NAME).stdout == "steel means 3 now, before 1\n"
    assert production(medvit) == "3"
    assert medvit("models", "rollback", NAME, "--json").code == 2
    told = medvit("models", "history", "--json").payload["history"]
    assert [(each["action"], each["to_version"]) for each in told] == [
        ("promote", "1"),
        ("rollback", "3"),
    ]
    assert (told[0]["by"], told[0]["reason"]) == ("ann", "learned scale")
    assert told[1]["by"]  # whoever is signed in
    assert "steel: 3 -> 1  promote by ann: learned scale" in medvit("models", "history").stdout


def test_a_card_is_told_for_people_and_given_whole_in_json(medvit: Medvit, models: Path) -> None:
    points = {"threshold": [0.125, 0.75], "precision": [0.5, 1.0], "recall": [1.0, 0.5], "n": 2}
    curves = {"split": "test", "classes": {"hole": points, "scratch": points}}
    put_version(models, "4", metrics={"accuracy": 0.5, "curves": curves})
    (models / NAME / "4" / "README.md").write_text("# steel@4\n\nTells holes.\n", encoding="utf-8")
    shown = medvit("models", "show", "steel@4").stdout
    assert shown.startswith("# steel@4\n\nTells holes.\n")
    assert "measured:      accuracy 0.500\n" in shown
    assert "in production: yes\n" in shown  # the newest, as nobody promoted one
    assert "0.125" not in shown
    card = medvit("models", "show", "steel@4", "--json").payload["card"]
    assert card["metrics"]["curves"] == curves


def test_a_list_says_what_is_in_production_and_how_it_measures(
    medvit: Medvit, models: Path
) -> None:
    lines = medvit("models", "list").stdout.splitlines()
    own = [line.split() for line in lines if "steel@" in line]
    assert own == [[f"steel@{number}", "defect", "accuracy", "0.500"] for number in ("1", "2")] + [
        ["*", "steel@3", "defect", "accuracy", "0.500"]
    ]
    assert lines[-1] == "* in production"


def test_promotion_needs_a_version_that_is_there(medvit: Medvit, models: Path) -> None:
    bare = medvit("models", "promote", NAME, "--json")
    assert (bare.code, bare.message) == (
        2,
        "which version of steel is to be promoted must be said, got 'steel'",
    )
    gone = medvit("models", "promote", "steel@9", "--json")
    assert (gone.code, gone.message) == (2, "there is no model 'steel@9'")
    assert not (models / NAME / "history.jsonl").exists()


def test_verify_exits_with_6_and_names_the_altered_file(medvit: Medvit, models: Path) -> None:
    sound = medvit("models", "verify", "--json")
    assert (sound.code, sound.payload["faults"]) == (0, [])
    assert set(sound.payload["checked"]) > {"steel@1", "nodule-swin3d@2026.11.2"}
    (models / NAME / "2" / "model.safetensors").write_bytes(b"other")
    answer = medvit("models", "verify", NAME, "--json")
    assert answer.code == 6
    (fault,) = answer.payload["faults"]
    assert fault["model"] == "steel@2"
    assert fault["file"] == str(models / NAME / "2" / "model.safetensors")
    assert "model.safetensors: sha256 is" in medvit("models", "verify").stdout
    refused = medvit("models", "promote", "steel@2", "--json")
    assert refused.code == 2
    assert "is not the card's" in refused.message
    assert production(medvit) == "3"


def test_gc_tells_first_and_keeps_what_a_run_or_the_store_names(
    medvit: Medvit, models: Path, workspace: Path
) -> None:
    for version in ("4", "5"):
        put_version(models, version)
    run = workspace / "runs" / "scan" / "1"
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"models": {"steel@1": "f" * 64}}))
    long_ago = time.time() - 30 * 86400
    for version in ("1", "2", "3", "4"):
        os.utime(models / NAME / version, (long_ago, long_ago))
    told = medvit("models", "gc", "--json").payload
    assert told["removed"] == ["steel@2", "steel@3", "steel@4"]
    assert told["kept"]["steel@1"] == "a run, a report or the store refers to it"
    assert (models / NAME / "2").is_dir()
    said = medvit("models", "gc", "--delete").stdout
    assert "steel@3: removed" in said
    assert sorted(path.name for path in (models / NAME).iterdir() if path.is_dir()) == ["1", "5"]
    shutil.rmtree(run)
    assert medvit("models", "gc", "--json").payload["removed"] == ["steel@1"]


def test_compare_wants_one_kind_of_cases_and_two_of_a_kind(
    medvit: Medvit, models: Path, tmp_path: Path
) -> None:
    neither = medvit("models", "compare", "steel@1", "steel@2", "--json")
    assert (neither.code, neither.payload["error"]["hint"]) == (
        2,
        "name --manifest for classifiers, --scans for nodule detectors",
    )
    Image.new("L", (8, 8), 9).save(tmp_path / "a.png")
    write_manifest(tmp_path / "m.csv", [ManifestRow("a.png", "hole", "test", "")])
    other = medvit(
        "models", "compare", "steel@1", "nodule-swin3d", "--manifest", tmp_path / "m.csv", "--json"
    )
    assert other.code == 2
    assert "is a nodule model, but the task is defect" in other.message

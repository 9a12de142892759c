"""`medvit labels suspects` as people and scripts call it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from medvit.data.manifest import read_manifest, write_manifest
from tests.apps.cli.conftest import Medvit
from tests.make.surface import write_surface_set


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Write twelve images of each of three classes; one of dots is called lines."""
    folder = tmp_path / "labels"
    folder.mkdir()
    file = write_surface_set(folder, per_split={"train": 12})
    rows = read_manifest(file).rows
    spoilt = [replace(r, label="lines") if r.path == "dots-train-4.png" else r for r in rows]
    write_manifest(file, spoilt)
    return file


def test_the_answer_is_that_of_the_contract(medvit: Medvit, labels: Path) -> None:
    answer = medvit("labels", "suspects", "--manifest", labels, "--json")
    assert answer.code == 0
    payload = answer.payload
    assert 0 <= payload["interval"][0] <= payload["noise_rate"] <= payload["interval"][1] <= 1
    first = payload["suspects"][0]
    assert first["path"] == "dots-train-4.png"
    assert (first["label"], first["suggested"]) == ("lines", "dots")
    assert 0.5 < first["confidence"] <= 1
    assert payload["features"] == ["texture", "steel-defects@test"]
    assert Path(payload["report"]).is_file()


def test_what_is_wrong_is_told_with_an_exit_code(medvit: Medvit, labels: Path) -> None:
    (labels.parent / "plain-train-3.png").unlink()
    answer = medvit("labels", "suspects", "--manifest", labels, "--model", "none", "--json")
    assert answer.code == 4
    assert [each["path"] for each in answer.payload["problems"]] == ["plain-train-3.png"]
    nodule = medvit(
        "labels", "suspects", "--manifest", labels, "--model", "nodule-swin3d", "--json"
    )
    assert nodule.code == 2
    assert "is a nodule model, which gives no features of images" in nodule.message
    missing = medvit("labels", "suspects", "--manifest", labels.parent / "no.csv", "--json")
    assert missing.code == 2
    assert "no.csv" in missing.message

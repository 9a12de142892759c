"""The `ood` column, and the queue that it fills."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from medvit.data.xsdd_samples import sample_images
from medvit.store.store import Store
from medvit.workspace import Workspace
from pipelines.scan import ScanSettings, ScanSummary, run
from tests.make.raster import write_image


def scan(source: Path, folder: Path) -> ScanSummary:
    return run(
        ScanSettings(sources=(source,), out=folder / "out"), workspace=Workspace(folder / "ws")
    )


def column(folder: Path) -> dict[str, str]:
    with (folder / "out" / "findings.csv").open(encoding="utf-8", newline="") as stream:
        return {row["source"]: row["ood"] for row in csv.DictReader(stream)}


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ood")
    for number, image in enumerate(sample_images()[:4]):
        (folder / "in").mkdir(exist_ok=True)
        shutil.copyfile(image, folder / "in" / f"steel-{number}{image.suffix}")
    noise = np.random.default_rng(0).integers(0, 256, (128, 128)).astype(np.uint8)
    write_image(folder / "in" / "noise.png", noise)
    scan(folder / "in", folder)
    return folder


def test_noise_is_unlike_steel(scanned: Path) -> None:
    found = {source: float(text) for source, text in column(scanned).items()}
    assert len(found) == 5
    noise = found.pop("noise.png")
    assert noise > max(0, *found.values())
    assert sum(value > 0 for value in found.values()) <= 1  # one in twenty is beyond the limit


def test_readers_are_sent_to_the_strange_image_and_told_why(scanned: Path) -> None:
    with Store.open(Workspace(scanned / "ws").store_url) as store:
        cases, _ = store.list_cases()
        told = {
            case.source: [s for s in store.signals_of(case.case_id) if s.name == "ood"]
            for case in cases
        }
    found = {source: float(text) for source, text in column(scanned).items()}
    assert {source for source in told if told[source]} == {
        source for source in found if found[source] > 0
    }
    (signal,) = told.pop("noise.png")
    assert signal.value == pytest.approx(found["noise.png"], abs=1e-5)
    assert signal.reason.startswith("Unlike the images the model was trained on")


def test_a_case_of_the_journal_keeps_its_figure(scanned: Path) -> None:
    before = column(scanned)
    assert scan(scanned / "in", scanned).resumed == 5
    assert column(scanned) == before


@pytest.mark.shared_data
def test_other_steel_is_flagged_and_known_steel_is_not(shared_data: Path, tmp_path: Path) -> None:
    steel = sorted((shared_data / "defects" / "neu-det" / "images").rglob("*.jpg"))[::270]
    (tmp_path / "in").mkdir()
    for number, image in enumerate((*steel, *sample_images())):
        kind = "known" if image in sample_images() else "other"
        shutil.copyfile(image, tmp_path / "in" / f"{kind}-{number}{image.suffix}")
    scan(tmp_path / "in", tmp_path)
    flags = {source: float(text) > 0 for source, text in column(tmp_path).items() if text}
    shares = {
        kind: np.mean([flag for source, flag in flags.items() if source.startswith(kind)])
        for kind in ("known", "other")
    }
    assert shares["known"] <= 0.15
    assert shares["other"] >= 0.5

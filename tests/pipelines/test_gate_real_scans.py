"""The gate on real scans: two patients are too few to promote anything, whatever is compared."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pydicom
import pytest
import torch

from medvit.models.weights import load_model, save_model
from medvit.registry.registry import find_model
from medvit.workspace import Workspace
from pipelines.models import CompareSettings, compare_models
from tests.make.annotated import HEADING, write_rows

pytestmark = [pytest.mark.shared_data, pytest.mark.slow]

NAME = "nodule-swin3d"
NODULE = (56.208, 86.343, -115.868, 23.35)
"""LUNA16's annotation of LIDC-IDRI-0001: LPS mm, diameter."""

TUMOUR = (-62.0, -100.0, 212.0, 92.0)
"""What the boxes of Lung-PET-CT-Dx A0002 enclose, likewise."""

AROUND_MM = 50.0
"""Slices so far from the tumour's centre are left out: the test is to take less than a minute."""


@pytest.fixture(scope="module")
def scans(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of links to two real series, with a table of what was annotated in them."""
    folder = tmp_path_factory.mktemp("scans")
    ct = shared_data / "ct"
    (folder / "lidc").symlink_to(ct / "lidc" / "LIDC-IDRI-0001")
    (folder / "tumour").mkdir()
    for file in sorted((ct / "lung_pet_ct_dx" / "A0002" / "series3_B40f").glob("*.dcm")):
        z_mm = float(pydicom.dcmread(file, stop_before_pixels=True).ImagePositionPatient[2])
        if abs(z_mm - TUMOUR[2]) <= AROUND_MM:
            (folder / "tumour" / file.name).symlink_to(file)
    rows = [("lidc", *NODULE), ("tumour", *TUMOUR)]
    write_rows(folder / "annotations.csv", rows, ("path", *HEADING[1:]))
    return folder


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a workspace with the shipped weights once more, and with weights made worse."""
    workspace = Workspace(tmp_path_factory.mktemp("workspace"))
    net, card = load_model(find_model(NAME).folder)
    for version in ("again", "worse"):
        if version == "worse":
            add_noise(net)
        named = card.model_copy(update={"version": version, "parents": (card.reference,)})
        save_model(workspace.models / NAME / version, net, named)
    return workspace


def add_noise(net: torch.nn.Module) -> None:
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weights in net.parameters():
            if weights.ndim > 1:
                weights.add_(torch.randn(weights.shape, generator=noise) * weights.std() * 0.5)


def compared(workspace: Workspace, scans: Path, version: str) -> dict[str, Any]:
    asked = CompareSettings(
        champion=NAME, challenger=f"{NAME}@{version}", scans=scans, format="csv"
    )
    return compare_models(asked, workspace=workspace)


def test_of_equal_weights_production_stays_and_its_findings_are_true(
    workspace: Workspace, scans: Path
) -> None:
    answer = compared(workspace, scans, "again")
    assert answer["gate"]["verdict"] == "undecided"
    assert "too few cases to judge" in answer["gate"]["reasons"][-1], answer["gate"]
    assert (answer["cases"], answer["primary"]["cases"]) == (2, 2)
    difference = answer["primary"]["difference"]
    assert (difference["low"], difference["value"], difference["high"]) == (0, 0, 0)
    figures = {each["name"]: each["champion"] for each in answer["figures"]}
    assert figures["nodules found there"] == 1  # the nodule and the tumour
    assert answer["flips"] == []


def test_weights_made_worse_are_refused_and_the_page_shows_what_was_lost(
    workspace: Workspace, scans: Path
) -> None:
    answer = compared(workspace, scans, "worse")
    assert answer["gate"]["verdict"] == "refuse"
    lost = "nodules found at the operating point: 2 of 2 cases were lost, 1.000 to 0.000"
    assert answer["gate"]["reasons"][0].startswith(lost), answer["gate"]
    with (scans / "annotations.csv").open(encoding="utf-8", newline="") as file:
        sizes = {f"nodule of {float(row['diameter_mm']):.1f} mm" for row in csv.DictReader(file)}
    assert {each["truth"] for each in answer["flips"]} == sizes
    page = Path(answer["report"]).read_text(encoding="utf-8")
    assert page.count("<img ") == 2  # three views of each, side by side
    assert "Whether frozen cases were trained on is not known" in page
    assert "seconds a case" in page

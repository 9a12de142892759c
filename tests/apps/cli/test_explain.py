from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medvit.findings.finding import CaseResult, Finding
from medvit.io.discover import discover
from medvit.store.store import Store
from tests.apps.cli.conftest import Medvit
from tests.make.nifti import write_nifti
from tests.make.raster import grey, write_image

QUICK = ("--steps", 4, "--random-maps", 3)


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    return write_image(tmp_path / "plates" / "plate.png", grey())


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gradcam", "eigencam", "rollout", "evidence"])
def test_every_method_leaves_picture_arrays_and_figures(
    medvit: Medvit, plate: Path, tmp_path: Path, method: str
) -> None:
    out = tmp_path / "out"
    answer = medvit("explain", plate, "--method", method, "--out", out, *QUICK, "--json")
    assert answer.code == 0, answer.stderr
    told = answer.payload
    assert json.loads((out / "explanation.json").read_text()).items() <= told.items()
    figures = told["faithfulness"]
    assert len(figures["deletion"]) == len(figures["insertion"]) == 5
    assert figures["deletion"][0] == pytest.approx(told["probability"])
    assert figures["insertion"][-1] == pytest.approx(told["probability"])
    assert figures["random"]["maps"] == 3
    specific = method in ("gradcam", "evidence")
    assert told["class_specific"] is specific
    assert told["title"] == (f"what speaks for {told['label']}" if specific else "where it looked")
    with Image.open(out / "heat.png") as picture:
        assert picture.width > 2 * picture.height * 0.9
    with np.load(out / "heat.npz") as arrays:
        assert arrays["map"].shape == (8, 8)
        assert arrays["seen"].shape == (1, 64, 64)
    again = medvit("explain", plate, "--method", method, *QUICK, "--json")
    assert again.payload["faithfulness"] == figures  # the seed decides


def test_cases_and_findings_of_the_store_go_by_their_ids(medvit: Medvit, plate: Path) -> None:
    assert medvit("scan", plate.parent, "--out", plate.parent.parent / "scan").code == 0
    (case,) = discover(plate.parent).cases
    by_case = medvit("explain", case.case_id, *QUICK, "--json").payload
    assert by_case["case_id"] == case.case_id
    assert by_case["model"] == "steel-defects@test"
    if by_case["finding_id"]:
        by_finding = medvit("explain", by_case["finding_id"], *QUICK, "--json").payload
        assert by_finding["faithfulness"] == by_case["faithfulness"]


def test_a_nodule_is_explained_in_its_box(medvit: Medvit, workspace: Path, tmp_path: Path) -> None:
    hu = np.full((40, 48, 48), -850, np.int16)
    hu[18:23, 20:26, 22:28] = 30
    write_nifti(tmp_path / "ct" / "scan.nii", hu)
    (case,) = discover(tmp_path / "ct").cases
    finding = Finding(
        case_id=case.case_id, kind="ct", source=case.source, series_uid="", finding_id="f1",
        label="nodule", probability=0.9, x_mm=-40.0, y_mm=-45.0, z_mm=49.0, diameter_mm=10.0,
        index_z=20, index_y=22, index_x=24, model="nodule-swin3d@test",
    )  # fmt: skip
    with Store.open(f"sqlite:///{workspace / 'store.db'}") as store:
        run = store.start_run("scan", {}, model="nodule-swin3d@test", model_sha256="0")
        result = CaseResult(case, "accept", "ok", "", "", None, (finding,), 1.0, 1.0)
        store.save_result(run, result)
    answer = medvit("explain", "f1", *QUICK, "--json")
    assert answer.code == 0, answer.stderr
    with np.load(answer.payload["arrays"]) as arrays:
        assert arrays["map"].shape == arrays["seen"].shape == (32, 32, 32)
        assert float(arrays["map"].max()) == pytest.approx(1.0)
        assert arrays["seen"][16, 16, 16] > 0.5  # the box lies on the nodule
    refused = medvit("explain", "f1", "--method", "rollout", "--json")
    assert (refused.code, refused.message) == (
        2,
        "findings of CT are explained by gradcam alone, got rollout",
    )
    by_path = medvit("explain", tmp_path / "ct", "--json")
    assert by_path.code == 2
    assert "explained finding by finding" in by_path.message


def test_what_cannot_be_explained_is_said_before_anything_is_written(
    medvit: Medvit, plate: Path, workspace: Path, tmp_path: Path
) -> None:
    write_image(plate.parent / "second.png", grey()[::-1])
    for words, part in (
        (("nothing-here",), "nothing-here: no such file, and no case or finding of the store"),
        ((plate, "--label", "rust"), "steel-defects@test does not know the class 'rust'"),
        ((plate.parent,), "one image is explained at a time, got 2 of 2 cases"),
        ((plate, "--model", "nodule-swin3d"), "is a nodule model, but the task is defect"),
    ):
        answer = medvit("explain", *words, "--json")
        assert answer.code == 2
        assert part in answer.message
    assert not (workspace / "runs" / "explain").exists()
    out = tmp_path / "out"
    assert medvit("explain", plate, "--out", out, *QUICK).code == 0
    again = medvit("explain", plate, "--out", out, "--json")
    assert (again.code, "holds an explanation already" in again.message) == (2, True)

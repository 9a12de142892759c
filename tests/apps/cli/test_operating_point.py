"""`medvit scan` with a threshold by promise, and a model that is calibrated."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from apps.cli.exit_codes import ExitCode
from medvit.geometry import affine_from
from medvit.io.writing.nifti import write_nifti
from medvit.metrics.calibration import PlattScale
from tests.apps.cli.conftest import Medvit
from tests.make.chest import Ball, make_chest
from tests.make.models import NODULE, register_untrained

CALIBRATION = {"slope": 2.0, "intercept": -1.0}
THRESHOLDS = {  # an untrained detector scores 0.169 to 0.174
    "probability": 0.172,
    "fp_per_scan_1": 0.173,
    "fp_per_scan_4": 0.1,
    "miss_rate_0.1": 0.1,
}


@pytest.fixture
def calibrated(workspace: Path) -> Path:
    """Return the card of a detector that holds thresholds and a calibration."""
    models = workspace / "models"
    models.unlink()
    register_untrained(models)
    path = models / NODULE / "test" / "model.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    card |= {"calibration": CALIBRATION, "thresholds": THRESHOLDS}
    path.write_text(json.dumps(card), encoding="utf-8")
    return path


@pytest.fixture
def chest(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    affine = affine_from((-138.1, -93.1, -36.2), (0, 0, 2.5), (0, 2.5, 0), (2.5, 0, 0))
    ball = Ball((-72.3, 10.2, -4.6), 12.0)
    write_nifti(make_chest((30, 75, 55), affine, balls=(ball,)), folder / "chest.nii.gz")
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
@pytest.mark.usefixtures("calibrated")
def test_marks_are_calibrated_and_cut_where_it_was_asked(
    medvit: Medvit, chest: Path, tmp_path: Path
) -> None:
    found = {}
    for name, option in (("own", ()), ("strict", ("--fp-per-scan", "3"))):
        out = tmp_path / name
        assert medvit("scan", chest, "--out", out, "--effort", "fast", *option, "--json").code == 0
        found[name] = rows(out / "findings.csv")
        details = {row["finding_id"]: row for row in rows(out / "nodules.csv")}
        assert list(details) == [row["finding_id"] for row in found[name]]
        for row in found[name]:
            told = details[row["finding_id"]]
            shown = PlattScale(**CALIBRATION).apply(float(told["score"]))
            assert float(row["probability"]) == pytest.approx(shown, abs=1e-5)
            assert row["diameter_mm"] == told[f"{told['diameter_from']}_mm"]
    assert len(found["own"]) > len(found["strict"]) > 0
    cut = PlattScale(**CALIBRATION).apply(THRESHOLDS["fp_per_scan_1"])
    assert all(float(row["probability"]) >= cut - 1e-6 for row in found["strict"])
    reached = {row["finding_id"] for row in found["own"] if float(row["probability"]) >= cut}
    assert {row["finding_id"] for row in found["strict"]} == reached


@pytest.mark.usefixtures("calibrated")
def test_a_promise_that_the_model_cannot_keep_is_refused_before_anything_is_written(
    medvit: Medvit, chest: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    answer = medvit("scan", chest, "--out", out, "--miss-rate", "0.01", "--json")
    assert answer.code == ExitCode.UNUSABLE
    assert answer.message.endswith("--miss-rate 0.01; it has: 0.1")
    assert "99 validation scans" in answer.payload["error"]["hint"]
    both = ("--miss-rate", "0.1", "--fp-per-scan", "1")
    answer = medvit("scan", chest, "--out", out, *both, "--json")
    assert answer.code == ExitCode.UNUSABLE
    assert "one operating point at a time" in answer.message
    assert not out.exists()


@pytest.mark.usefixtures("calibrated")
def test_a_number_of_views_that_a_tile_has_not_is_refused(
    medvit: Medvit, chest: Path, tmp_path: Path
) -> None:
    refused = medvit("scan", chest, "--out", tmp_path / "out", "--views", "3", "--json")
    assert refused.code == ExitCode.UNUSABLE
    assert "--views 3: a tile has 1, 2, 4, 8 mirrored views" in refused.message
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("calibrated")
def test_mirrored_views_change_what_is_found_and_only_where_asked(
    medvit: Medvit, chest: Path, tmp_path: Path
) -> None:
    words = ("scan", chest, "--out", tmp_path / "out", "--effort", "fast", "--json")
    assert medvit(*words).code == 0
    plain = rows(tmp_path / "out" / "nodules.csv")
    again = medvit(*words, "--views", "2")
    assert again.payload["resumed"] == 0
    assert rows(tmp_path / "out" / "nodules.csv") != plain
    assert medvit(*words, "--views", "2").payload["resumed"] == 1
    assert medvit(*words).payload["resumed"] == 0
    assert rows(tmp_path / "out" / "nodules.csv") == plain

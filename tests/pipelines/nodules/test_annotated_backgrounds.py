"""Annotated scans as backgrounds: where their nodules lie, and what is kept of them."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medvit.data.annotated import UNMEASURED_DIAMETER_MM, AnnotatedScan
from medvit.data.backgrounds import make_chest
from medvit.data.crop_augmentation import CropSettings
from medvit.data.draws import DrawKey
from medvit.data.nodule_crops import Background, draw_crop
from medvit.data.nodule_items import CropPhase, NoduleCrops
from medvit.data.packed_mask import KeptMask, PackedMask
from medvit.data.patches import CaseGrid, OpenCases
from medvit.geometry import index_to_lps
from medvit.io.writing.metaimage import write_metaimage
from medvit.volume.volume import volume_of
from pipelines.nodules.annotated_backgrounds import annotated_backgrounds
from pipelines.nodules.data import _shares, find_case
from tests.data.test_nodule_crops import lung_block

NONE = np.zeros((0, 4))
QUIET = CropSettings(side=32, most_nodules=2, most_distractors=0)


def with_nodules(*rows: list[float], insertion_share: float = 0.0) -> Background:
    marked = np.array(rows, np.float32).reshape(-1, 4)
    return replace(lung_block(), nodules=marked, insertion_share=insertion_share)


def test_real_nodules_are_labels_inside_a_crop_and_to_be_ignored_outside() -> None:
    background = with_nodules([20, 20, 20, 6], [5, 20, 20, 8])
    crop = draw_crop(background, (8, 8, 8), QUIET, np.random.default_rng(0))
    assert crop.nodules.tolist() == [[12, 12, 12, 6]]
    assert crop.ignored.tolist() == [[-3, 12, 12, 8]]


def test_what_is_put_in_keeps_away_from_real_nodules() -> None:
    background = with_nodules([24, 24, 24, 10], insertion_share=1.0)
    counts = []
    for seed in range(12):
        crop = draw_crop(background, (8, 8, 8), QUIET, np.random.default_rng(seed))
        real, *added = crop.nodules
        assert real.tolist() == [16, 16, 16, 10]
        counts.append(len(added))
        assert all(np.linalg.norm(row[:3] - real[:3]) > 9 for row in added)
    assert sum(counts) > 0


def test_crops_go_to_scans_and_nodules_by_their_shares() -> None:
    nodule = [24.0, 24.0, 24.0, 6.0]
    phase = CropPhase((lung_block(), with_nodules(nodule)), QUIET, (0.0, 1.0))
    always = replace(phase, settings=replace(QUIET, positive_share=1.0, scale_share=0.0))
    crops = NoduleCrops([always], seed=0)
    assert all(len(crops[DrawKey(0, number)].nodules) == 1 for number in range(8))
    assert {phase.draw_background(np.random.default_rng(seed)) for seed in range(9)} == {1}


def test_a_scan_counts_for_one_more_with_each_nodule() -> None:
    scans = [with_nodules(), with_nodules([1, 1, 1, 5], [2, 2, 2, 5])]
    assert _shares(2, scans, annotated_share=0.8) == pytest.approx((0.1, 0.1, 0.2, 0.6))
    assert _shares(0, scans, annotated_share=0.8) == pytest.approx((0.25, 0.75))
    assert _shares(3, [], annotated_share=0.8) == ()


def test_a_mask_on_the_disk_reads_as_one_in_memory(tmp_path: Path) -> None:
    mask = PackedMask.of(np.random.default_rng(0).random((5, 6, 13)) < 0.5)
    np.save(tmp_path / "mask.npy", mask.bits)
    kept = KeptMask(tmp_path / "mask.npy", mask.shape)
    box = (slice(-1, 4), slice(2, 7), slice(3, 20))
    assert np.array_equal(kept.read(*box), mask.read(*box))
    assert [kept.at(z, 1, 9) for z in range(5)] == [mask.at(z, 1, 9) for z in range(5)]


@pytest.mark.slow
def test_lungs_of_a_scan_are_found_once_and_marks_lie_where_they_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    chest = make_chest(3, spacing_mm=2.0)
    write_metaimage(chest.volume, tmp_path / "chest.mha")
    empty = volume_of(np.full((40, 40, 40), -1000, np.int16), np.diag([1.0, 1, 1, 1]))
    write_metaimage(empty, tmp_path / "empty.mha")
    voxel = np.argwhere(chest.lungs)[chest.lungs.sum() // 2]
    place = index_to_lps(chest.volume.affine_lps, voxel)
    scans = [
        AnnotatedScan(
            name,
            name,
            find_case(tmp_path / f"{name}.mha"),
            nodules=np.array([[*place, 7.0]]),
            ignored=np.array([[*place, 0.0]]),
        )
        for name in ("chest", "empty")
    ]
    cases = OpenCases([scan.case for scan in scans])

    def backgrounds() -> list[Background]:
        with caplog.at_level(logging.WARNING):
            return annotated_backgrounds(
                scans, cases, first=0, spacing_mm=2.0, insertion_share=0.3, folder=tmp_path / "kept"
            )

    (made,) = backgrounds()
    assert "empty is left out of the training" in caplog.text
    kept = sorted(path.suffix for path in (tmp_path / "kept").iterdir())
    assert kept == [".json", ".npy"]
    monkeypatch.setattr("medvit.data.backgrounds.scan_background", None)  # must not be asked again
    scans.pop()
    (again,) = backgrounds()
    assert np.array_equal(again.nodules, made.nodules)
    z, y, x = np.rint(made.nodules[0, :3]).astype(int).tolist()
    assert made.lungs.at(z, y, x)
    assert made.ignored[0, 3] == UNMEASURED_DIAMETER_MM
    assert made.insertion_share == 0.3
    figures = json.loads(next((tmp_path / "kept").glob("*.json")).read_text())
    on = CaseGrid(cases, 0, 2.0)
    start = np.array(figures["start"])
    assert np.allclose(index_to_lps(on.affine_lps, made.nodules[0, :3] + start), place, atol=0.01)

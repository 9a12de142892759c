"""Scans keep what images look like, one index a model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from medvit.data.neighbours import NeighbourIndex, index_file
from medvit.findings.finding import CaseResult
from medvit.io.case import Case
from pipelines.scanning import alike
from pipelines.scanning.alike import keep_looks
from pipelines.scanning.detectors import Detector
from pipelines.scanning.journal import Entry
from tests.make.detectors import detector_of_images


def detector(sha256: str = "a" * 64) -> Detector:
    return detector_of_images(sha256)


def entry(case_id: str, *features: float) -> Entry:
    case = Case(case_id, "image", f"{case_id}.png", Path("/plant"), ())
    result = CaseResult(
        case, "accept", "ok", "", label="a", probability=0.9, findings=(), seconds=1, peak_rss_mb=1
    )
    return Entry(result, {}, {}, features)


def kept(folder: Path, sha256: str = "a" * 64) -> NeighbourIndex:
    return NeighbourIndex.load(index_file(folder, sha256))


def test_a_later_scan_adds_its_images_and_renews_those_it_saw_again(tmp_path: Path) -> None:
    keep_looks([entry("a", 1, 0), entry("b", 0, 2)], detector(), folder=tmp_path)
    keep_looks([entry("c", 3, 4), entry("a", 0, 1)], detector(), folder=tmp_path)
    index = kept(tmp_path)
    assert index.case_ids == ("b", "c", "a")
    np.testing.assert_allclose(index.embeddings, [[0.0, 1.0], [0.6, 0.8], [0.0, 1.0]])
    assert index.nearest("a", count=1) == [("b", 1.0)]


def test_each_model_has_an_index_of_its_own(tmp_path: Path) -> None:
    keep_looks([entry("a", 1, 0)], detector(), folder=tmp_path)
    keep_looks([entry("b", 1, 0, 0)], detector("b" * 64), folder=tmp_path)
    assert (kept(tmp_path).case_ids, kept(tmp_path, "b" * 64).case_ids) == (("a",), ("b",))


@pytest.mark.parametrize("features", [(), (0.0, 0.0), (float("nan"), 1.0)])
def test_what_no_model_read_is_left_out(tmp_path: Path, features: Sequence[float]) -> None:
    keep_looks([entry("a", *features)], detector(), folder=tmp_path / "neighbours")
    keep_looks([entry("a", 1, 0)], None, folder=tmp_path / "neighbours")
    assert not (tmp_path / "neighbours").exists()


def test_the_images_scanned_last_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alike, "MOST_KEPT", 2)
    for name in "abc":
        keep_looks([entry(name, 1, 0)], detector(), folder=tmp_path)
    assert kept(tmp_path).case_ids == ("b", "c")


def test_a_broken_index_is_made_anew_and_a_folder_that_is_none_costs_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    index_file(tmp_path, "a" * 64).write_bytes(b"PK nothing")
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING):
        keep_looks([entry("a", 1, 0)], detector(), folder=tmp_path)
        keep_looks([entry("a", 1, 0)], detector(), folder=tmp_path / "file")
    assert kept(tmp_path).case_ids == ("a",)
    assert "made anew" in caplog.text
    assert "images alike are not kept" in caplog.text


def test_scans_that_end_together_lose_nothing(tmp_path: Path) -> None:
    names = [f"im-{number}" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: keep_looks([entry(n, 1, 2)], detector(), folder=tmp_path), names))
    assert sorted(kept(tmp_path).case_ids) == sorted(names)

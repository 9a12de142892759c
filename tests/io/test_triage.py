from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import binary, integers, lists, sampled_from, tuples

from medvit.io.case import Case, Kind
from medvit.io.discover import discover
from medvit.io.triage import triage
from medvit.io.verdict import Triage
from tests.make.dicom import CtSeries, ct_slice, edit, save, truncate, write_series, write_text
from tests.make.nifti import write_nifti
from tests.make.raster import grey, write_image

# Broken values are what these tests write; the libraries' words about them are expected.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def only(source: Path) -> Triage:
    (case,) = discover(source).cases
    return triage(case)


def test_a_sound_series_is_accepted_with_its_geometry(tmp_path: Path) -> None:
    write_series(tmp_path)
    judged = only(tmp_path)
    assert (judged.verdict, judged.shape) == ("accept", (5, 16, 12))
    assert judged.spacing_mm == (2.0, 1.0, 0.5)
    assert [reason.code for reason in judged.reasons] == ["ok"]
    assert judged.affine_lps is not None
    np.testing.assert_array_equal(judged.affine_lps[:3, 3], CtSeries().origin_lps_mm)


def test_a_refused_series_has_no_geometry_to_be_trusted(tmp_path: Path) -> None:
    write_series(tmp_path)[2].unlink()
    judged = only(tmp_path)
    assert judged.verdict == "refuse"
    assert [reason.code for reason in judged.reasons] == ["missing_slices"]
    assert (judged.shape, judged.spacing_mm, judged.affine_lps) == (None, None, None)


def test_loss_is_told_and_the_series_accepted(tmp_path: Path) -> None:
    for path in write_series(tmp_path):
        edit(path, LossyImageCompression="01")
    judged = only(tmp_path)
    assert judged.verdict == "accept"
    assert [reason.code for reason in judged.reasons] == ["lossy_compression"]


def test_a_nifti_and_an_image_are_accepted(tmp_path: Path) -> None:
    write_nifti(tmp_path / "ct/a.nii", CtSeries().hu)
    write_image(tmp_path / "im/a.png", grey())
    assert only(tmp_path / "ct").shape == (12, 16, 5)
    judged = only(tmp_path / "im")
    assert (judged.verdict, judged.shape, judged.spacing_mm) == ("accept", (1, 24, 32), None)


def test_a_text_named_dcm_is_not_dicom_and_says_so(tmp_path: Path) -> None:
    write_text(tmp_path / "notes.dcm")
    judged = only(tmp_path)
    assert judged.verdict == "refuse"
    assert judged.reasons[0].code == "not_dicom"
    assert judged.reasons[0].message.startswith("notes.dcm: does not start like a DICOM file")


def test_an_empty_file_named_dcm_is_not_dicom(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"")
    assert only(tmp_path).reasons[0].message.startswith("a.dcm: is empty")


def test_one_cut_slice_refuses_its_series_by_name(tmp_path: Path) -> None:
    path = truncate(write_series(tmp_path)[3])
    judged = only(tmp_path)
    assert [reason.code for reason in judged.reasons] == ["truncated"]
    assert path.name in judged.reasons[0].message


def test_an_image_of_one_pixel_is_too_small(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", grey(1, 1))
    assert only(tmp_path).reasons[0].code == "too_small"


@pytest.mark.parametrize("name", ["a.dcm", "a.nii.gz", "a.png"])
def test_a_case_whose_file_went_away_is_refused(tmp_path: Path, name: str) -> None:
    kind: Kind = "image" if name.endswith("png") else "ct"
    case = Case("x", kind, name, tmp_path, (tmp_path / name,))
    judged = triage(case)
    assert (judged.verdict, judged.reasons[0].code) == ("refuse", "unreadable")
    assert name in judged.reasons[0].message


WRITERS = {
    ".dcm": lambda path: save(ct_slice(CtSeries(), 0), path),
    ".nii": lambda path: write_nifti(path, CtSeries().hu),
    ".png": lambda path: write_image(path, grey()),
    ".tif": lambda path: write_image(path, grey()),
    ".jpg": lambda path: write_image(path, grey()),
}


@settings(deadline=None, max_examples=60)
@given(
    suffix=sampled_from(sorted(WRITERS)),
    changes=lists(tuples(integers(0, 1500), binary(min_size=1, max_size=6)), max_size=4),
    lost_bytes=integers(0, 200),
)
def test_any_damage_gets_a_verdict_with_a_reason(
    tmp_path_factory: pytest.TempPathFactory,
    suffix: str,
    changes: list[tuple[int, bytes]],
    lost_bytes: int,
) -> None:
    path = WRITERS[suffix](tmp_path_factory.mktemp("damaged") / f"a{suffix}")
    raw = bytearray(path.read_bytes())
    for place, content in changes:
        raw[place : place + len(content)] = content
    path.write_bytes(bytes(raw[: max(0, len(raw) - lost_bytes)]))
    for case in discover(path).cases:
        judged = triage(case)
        assert judged.verdict in ("accept", "repair", "refuse")
        assert all(reason.code and reason.message for reason in judged.reasons)

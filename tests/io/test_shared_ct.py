"""The real series, against the figures that came with them."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medvit.geometry import lps_to_index
from medvit.io.dicom.geometry import stack_slices
from medvit.io.dicom.header import read_header
from medvit.io.dicom.pixels import read_stored
from medvit.io.dicom.series import judge_dicom
from medvit.io.dicom.series_rules import encoding_faults
from medvit.io.discover import discover
from medvit.io.readers import open_volume, read_image
from medvit.io.triage import triage

# One data set carries hashes in place of UIDs, and pydicom says so.
pytestmark = [pytest.mark.shared_data, pytest.mark.filterwarnings("ignore::UserWarning")]

SOUND = (
    "chest99",
    "lidc/LIDC-IDRI-0001",
    "lidc/LIDC-IDRI-0002",
    "lung_pet_ct_dx/A0002/series3_B40f",
    "dcm_qa_ct/Philips_S21570_S2010",
    "cip_ct64/dicom",
    "dcmqi/ct-3slice",
)

# The oracle prints positions with three decimals and rounds this spacing to them.
AFFINE_TOLERANCE_MM = {"cip_ct64/dicom": 5e-4}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def oracle_of(shared_data: Path, name: str) -> dict[str, Any]:
    oracle = json.loads((shared_data / "ct/oracle_series.json").read_text())
    answer: dict[str, Any] = oracle[name]["volumes"]["as_stored"]
    return answer


@pytest.mark.parametrize("name", [pytest.param(SOUND[0], marks=pytest.mark.slow), *SOUND[1:]])
def test_voxels_and_geometry_equal_the_oracle(shared_data: Path, name: str) -> None:
    oracle = oracle_of(shared_data, name)
    volume = open_volume(shared_data / "ct" / name)
    hu = volume.read_all()
    assert list(volume.shape) == oracle["shape_RAS"][::-1]
    in_ras = np.ascontiguousarray(hu[:, ::-1, ::-1].transpose(2, 1, 0)).astype("<i2")
    assert hashlib.sha256(in_ras.tobytes()).hexdigest() == oracle["sha256_int16_C"]
    atol = AFFINE_TOLERANCE_MM.get(name, 5e-5)
    np.testing.assert_allclose(volume.spacing_mm, oracle["zooms"][::-1], atol=atol)
    for x, y, z, expected_hu in oracle["probes_RASmm_HU"]:
        index = np.rint(lps_to_index(volume.affine_lps, (-x, -y, z))).astype(int)
        assert hu[tuple(index)] == expected_hu


@pytest.mark.parametrize("name", SOUND)
def test_the_affine_equals_the_oracle(shared_data: Path, name: str) -> None:
    volume = open_volume(shared_data / "ct" / name)
    depth, height, width = volume.shape
    affine_ras = np.array(oracle_of(shared_data, name)["affine_RAS"])
    corners = np.array([(i, j, k) for i in (0, width - 1) for j in (0, 7) for k in (0, depth - 1)])
    points_ras = corners @ affine_ras[:3, :3].T + affine_ras[:3, 3]
    index = lps_to_index(volume.affine_lps, points_ras * (-1, -1, 1))
    expected = np.stack([corners[:, 2], height - 1 - corners[:, 1], width - 1 - corners[:, 0]], 1)
    np.testing.assert_allclose(index, expected, atol=0.01)


def test_every_series_gets_the_verdict_it_should(shared_data: Path) -> None:
    root = shared_data / "ct"
    judged = [(case.source, triage(case)) for case in discover(root).cases]
    checked = 0
    for row in rows_of(root / "series.csv"):
        places = (row["path"], f"{row['path']}/")
        verdicts = {
            answer.verdict
            for source, answer in judged
            if source == places[0] or source.startswith(places[1])
        }
        assert verdicts <= {row["verdict"], row["also_ok"]}, row["path"]
        assert verdicts, row["path"]
        checked += 1
    assert checked == 19


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("dcm_qa_ct/GE_tilt_varspacing", ["uneven_spacing", "gantry_tilt"]),
        ("dcm_qa_ct/Philips_S21570_S1000_scout", ["localizer"]),
        ("dcm_qa_ct/Philips_S21570_S4010_mixed", ["secondary_capture"]),
        ("dicom2nifti/notavolume/001", ["duplicate_positions", "too_few_slices"]),
        ("dicom2nifti/sliceincrement/001", ["missing_slices"]),
        ("nifti/CT_pitch.nii.gz", ["not_hu"]),
        ("nifti/example_seg.nii.gz", ["not_hu"]),
    ],
)
def test_a_refused_series_has_its_own_reasons(
    shared_data: Path, name: str, codes: list[str]
) -> None:
    (case,) = discover(shared_data / "ct" / name).cases
    assert [reason.code for reason in triage(case).reasons] == codes


def test_a_real_tilt_is_sheared_back_as_another_tool_does_it(shared_data: Path) -> None:
    name = "dicom2nifti/gantrytilting/001"
    judged = judge_dicom(sorted((shared_data / "ct" / name).iterdir()))
    assert [(judged.verdict, each.code) for each in judged.reasons] == [("repair", "gantry_tilt")]
    assert "at 14.0 degrees" in judged.reasons[0].message
    assert "5.000 mm from position to position and 4.851 mm" in judged.reasons[0].message
    volume = open_volume(shared_data / "ct" / name)
    oracle = json.loads((shared_data / "ct/oracle_series.json").read_text())[name]["volumes"]
    answer = oracle["tilt_corrected"]
    assert list(volume.shape) == answer["shape_RAS"][::-1]
    np.testing.assert_allclose(volume.spacing_mm, answer["zooms"][::-1], atol=5e-5)
    hu = volume.read_all()
    for x, y, z, expected_hu in answer["probes_RASmm_HU"]:
        place = lps_to_index(volume.affine_lps, (-x, -y, z))
        index = np.rint(place).astype(int)
        np.testing.assert_allclose(place, index, atol=0.005)
        # That tool rounds to whole HU.
        assert abs(hu[tuple(index)] - expected_hu) <= 0.55


def test_tilt_and_gaps_of_a_real_series_are_told_in_true_millimetres(shared_data: Path) -> None:
    folder = shared_data / "ct/dcm_qa_ct/GE_tilt_varspacing"
    judged = judge_dicom(sorted(folder.glob("*.dcm")))
    gaps, tilt = judged.reasons
    assert "vary from 1.081 to 6.999 mm" in gaps.message
    assert "at 18.5 degrees" in tilt.message
    assert judged.verdict == "refuse"


def test_a_real_nifti_keeps_its_values_and_its_place(shared_data: Path) -> None:
    import nibabel as nib

    path = shared_data / "ct/nifti/example_ct_sm.nii.gz"
    image: Any = nib.load(path)
    volume = open_volume(path)
    expected = np.asarray(image.dataobj)[::-1, ::-1].transpose(2, 1, 0)
    np.testing.assert_array_equal(volume.read_all(), expected)
    last_ras = image.affine @ [121, 100, 0, 1]
    np.testing.assert_allclose(volume.affine_lps[:3, 3], last_ras[:3] * (-1, -1, 1))


def test_every_malformed_file_is_judged_by_an_expected_reason(shared_data: Path) -> None:
    folder = shared_data / "ct/malformed"
    for row in rows_of(folder / "expected.csv"):
        (case,) = discover(folder / row["file"]).cases
        judged = triage(case)
        codes = {reason.code for reason in judged.reasons}
        # Alone, a slice is too few.
        alone = {"too_few_slices"}
        assert judged.verdict == "refuse", row["file"]
        assert codes & (set(row["reasons"].split("|")) | (alone if row["shape"] else set())), (
            row["file"],
            codes,
        )


def test_stored_values_of_odd_files_are_exact(shared_data: Path) -> None:
    folder = shared_data / "ct/malformed"
    checked = 0
    for row in rows_of(folder / "expected.csv"):
        if not row["stored_sha256"] or row["file"] == "no_meta.dcm":
            continue
        header = read_header(folder / row["file"])
        stored = read_stored(header)
        assert hashlib.sha256(stored.astype("<i2").tobytes()).hexdigest() == row["stored_sha256"]
        assert header.slope == float(row["rescale_slope"])
        assert header.intercept == float(row["rescale_intercept"])
        checked += 1
    assert checked == 4


def test_a_sign_flag_that_contradicts_the_header_is_a_repair(shared_data: Path) -> None:
    header = read_header(shared_data / "ct/malformed/J2K_pixelrep_mismatch.dcm")
    assert [fault.code for fault in encoding_faults([header])] == ["signedness"]


def test_compressed_slices_differ_from_plain_ones_by_what_is_expected(shared_data: Path) -> None:
    folder = shared_data / "ct/compressed"
    plain = read_stored(read_header(folder / "CT1_UNC")).astype(int)
    for row in rows_of(folder / "expected.csv"):
        header = read_header(folder / row["file"])
        stored = read_stored(header)
        assert (stored.min(), stored.max()) == (int(row["stored_min"]), int(row["stored_max"]))
        assert np.abs(stored - plain).max() == int(row["max_abs_difference_to_uncompressed"])


def test_slices_of_lidc_are_not_in_the_order_of_their_names(shared_data: Path) -> None:
    paths = sorted((shared_data / "ct/lidc/LIDC-IDRI-0001").glob("*.dcm"))
    stack = stack_slices([read_header(path) for path in paths])
    assert [header.path for header in stack.headers] != paths
    assert (np.diff(stack.along_mm) > 0).all()


def test_real_steel_images_are_accepted_and_read(shared_data: Path) -> None:
    found = discover(shared_data / "defects/x-sdd")
    assert len(found.cases) == 1019
    assert {triage(case).verdict for case in found.cases[::50]} == {"accept"}
    assert read_image(found.cases[0]).pixels.shape == (128, 128, 3)

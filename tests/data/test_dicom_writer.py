"""A phantom read back from DICOM is the phantom that was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from medvit.data.dicom_writer import write_annotations, write_series
from medvit.data.phantom import Phantom, PlantedNodule
from medvit.geometry import affine_from
from medvit.io.readers import open_volume

NODULE = PlantedNodule((-12.5, 30.25, 7.0), 6.4, "solid", "pleural")


def small() -> Phantom:
    hu = np.random.default_rng(0).integers(-1024, 3071, (6, 10, 12)).astype(np.int16)
    affine = affine_from((-40.5, -30.25, -100.0), (0, 0, 2.5), (0, 0.75, 0), (0.8125, 0, 0))
    return Phantom(hu, hu < -500, (2.5, 0.75, 0.8125), affine, (NODULE,))


def test_voxels_and_geometry_come_back(tmp_path: Path) -> None:
    phantom = small()
    write_series(phantom, tmp_path / "s", seed=3)
    volume = open_volume(tmp_path / "s")
    np.testing.assert_array_equal(volume.read_all(), phantom.hu)
    np.testing.assert_allclose(volume.affine_lps, phantom.affine_lps, atol=1e-5)


def test_one_seed_gives_the_same_bytes_and_another_other_uids(tmp_path: Path) -> None:
    first = write_series(small(), tmp_path / "a", seed=3)
    again = write_series(small(), tmp_path / "b", seed=3)
    other = write_series(small(), tmp_path / "c", seed=4)
    assert first == again != other
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "b").iterdir())
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_patient_is_a_phantom_and_slices_are_shuffled(tmp_path: Path) -> None:
    write_series(small(), tmp_path, seed=3)
    files = [pydicom.dcmread(path) for path in sorted(tmp_path.iterdir())]
    assert {str(each.PatientName) for each in files} == {"PHANTOM^CHEST"}
    assert {each.PatientID for each in files} == {"PHANTOM-3"}
    assert len({each.SOPInstanceUID for each in files}) == 6
    heights = [float(each.ImagePositionPatient[2]) for each in files]
    assert heights != sorted(heights)


def test_annotations_are_luna16_rows(tmp_path: Path) -> None:
    write_annotations(tmp_path / "a.csv", [("1.2.3", NODULE)])
    assert (tmp_path / "a.csv").read_text().splitlines() == [
        "seriesuid,coordX,coordY,coordZ,diameter_mm",
        "1.2.3,-12.500,30.250,7.000,6.400",
    ]


def test_kind_and_site_are_written_when_asked_for(tmp_path: Path) -> None:
    write_annotations(tmp_path / "a.csv", [("1.2.3", NODULE)], with_kind=True)
    assert (tmp_path / "a.csv").read_text().splitlines()[1].endswith(",6.400,solid,pleural")


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        write_series(small(), tmp_path / "file" / "s", seed=1)

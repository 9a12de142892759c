from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medvit.errors import InputError, ReadError
from medvit.io.discover import discover
from medvit.io.readers import open_volume, read_image
from tests.make.dicom import CtSeries, write_series, write_text
from tests.make.nifti import write_nifti
from tests.make.raster import grey, write_image


def test_a_folder_a_case_and_text_open_the_same_volume(tmp_path: Path) -> None:
    write_series(tmp_path)
    (case,) = discover(tmp_path).cases
    for source in (tmp_path, str(tmp_path), case):
        np.testing.assert_array_equal(open_volume(source).read_all(), CtSeries().hu)


def test_a_nifti_file_opens(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii.gz", CtSeries().hu)
    assert open_volume(path).shape == (12, 16, 5)


def test_the_one_readable_volume_beside_a_broken_file_opens(tmp_path: Path) -> None:
    write_series(tmp_path)
    write_text(tmp_path / "notes.dcm")
    assert open_volume(tmp_path).shape == (5, 16, 12)


def test_two_volumes_in_a_folder_are_not_chosen_between(tmp_path: Path) -> None:
    write_series(tmp_path / "a", CtSeries(series_uid="1.2.3"))
    write_series(tmp_path / "b", CtSeries(series_uid="1.2.4"))
    with pytest.raises(ReadError, match="2 CT cases in it, 2 of them readable") as caught:
        open_volume(tmp_path)
    assert caught.value.reason == "mixed_series"


def test_a_refused_series_does_not_open(tmp_path: Path) -> None:
    write_series(tmp_path)[2].unlink()
    with pytest.raises(ReadError, match=r"4\.000 mm") as caught:
        open_volume(tmp_path)
    assert caught.value.reason == "missing_slices"


def test_a_folder_without_ct_says_so(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", grey())
    with pytest.raises(ReadError, match="no CT series") as caught:
        open_volume(tmp_path)
    assert caught.value.reason == "missing_data"


def test_a_missing_path_is_an_input_error(tmp_path: Path) -> None:
    for read in (open_volume, read_image):
        with pytest.raises(InputError, match="gone"):
            read(tmp_path / "gone")


def test_an_image_reads_by_path_and_by_case(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", grey())
    (case,) = discover(tmp_path).cases
    for source in (path, str(path), case):
        assert read_image(source).pixels.shape == (24, 32, 3)

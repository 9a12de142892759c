from __future__ import annotations

import shutil
from pathlib import Path

import pydicom
import pytest
from pydicom.fileset import FileSet

from medvit.io.dicom.media_directory import is_listed, referenced_files
from medvit.io.discover import discover
from medvit.io.triage import triage
from tests.make.dicom import write_series

# pydicom's maker of media is not done yet with its own warnings.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    """Return a folder as it comes on a disc: a DICOMDIR, and files named by number."""
    files = FileSet()
    for path in write_series(tmp_path / "plain"):
        dataset = pydicom.dcmread(path)
        dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20000101", "120000", "1"
        dataset.SeriesNumber = 1
        files.add(dataset)
    files.write(tmp_path / "disc")
    return tmp_path / "disc"


def test_a_medium_is_one_case_by_folder_and_by_its_contents(medium: Path) -> None:
    (medium / "README.TXT").write_text("viewer")
    (by_folder,) = discover(medium).cases
    (by_contents,) = discover(medium / "DICOMDIR").cases
    assert by_folder.case_id == by_contents.case_id
    assert triage(by_contents).shape == (5, 16, 12)
    assert discover(medium).other_files == 2


def test_files_that_the_contents_do_not_list_are_left_out_when_it_is_named(medium: Path) -> None:
    write_series(medium / "more")
    assert len(discover(medium).cases) == 2
    assert [len(case.files) for case in discover(medium / "DICOMDIR").cases] == [5]


@pytest.mark.parametrize("is_named", [False, True])
def test_contents_without_their_files_are_a_refused_case(medium: Path, *, is_named: bool) -> None:
    for entry in medium.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
    found = discover(medium / "DICOMDIR" if is_named else medium)
    assert [case.source for case in found.cases] == ["DICOMDIR"]
    assert found.other_files == 0
    (reason,) = triage(found.cases[0]).reasons
    assert reason.code == "missing_data"
    assert reason.message.startswith("DICOMDIR: none of the files")


def test_names_are_compared_as_media_write_them(tmp_path: Path, medium: Path) -> None:
    listed = referenced_files(medium / "DICOMDIR")
    assert len(listed) == 5
    assert all(is_listed(medium / name.lower(), medium, listed) for name in listed)
    assert all(is_listed(medium / f"{name.lower()}.;1", medium, listed) for name in listed)
    assert not is_listed(medium / "other", medium, listed)

"""Sound series under odd names, and folders that hold more than a series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import MediaStorageDirectoryStorage, generate_uid

from tests.faults.scan import SCAN
from tests.faults.slices import ct_slices, save, save_all
from tests.faults.truth import Fault, Truth, exact

COUNT = SCAN.shape[0]
DOUBLE = frozenset({"duplicate_positions"})
NO_DICOM = frozenset({"not_dicom", "truncated", "not_an_image", "unreadable"})
ODD_NAMES = (
    "a b.dcm",
    "ünïcödé 肺.dcm",
    "-rf.dcm",
    "semi;colon&.dcm",
    "100%.dcm",
    "#1 [x].dcm",
    "IM.0001.1.2.840.dcm",
    "x" * 200 + ".dcm",
    "quote'\".dcm",
)


def _named(names: Sequence[str]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for name, dataset in zip(names, ct_slices(), strict=True):
            save(dataset, folder / name)

    return write


def _beside(name: str, content: bytes) -> Callable[[Path], None]:
    """Return a writer that puts one more file beside a sound series."""

    def write(folder: Path) -> None:
        save_all(folder, ct_slices())
        (folder / name).write_bytes(content)

    return write


def _junk(folder: Path) -> None:
    for path in save_all(folder, ct_slices()):
        path.with_name(f"._{path.name}").write_bytes(
            b"\0\x05\x16\x07\0\x02\0\0Mac OS X" + bytes(90)
        )
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(508))
    (folder / ".DS_Store").write_bytes(b"\0\0\0\x01Bud1" + bytes(100))


def _linked(folder: Path) -> None:
    for path in save_all(folder, ct_slices()):
        path.with_name(f"link to {path.name}").symlink_to(path.name)


def _contents(names: Sequence[str]) -> Dataset:
    """Return a DICOMDIR that lists files."""
    directory = Dataset()
    directory.SOPClassUID = MediaStorageDirectoryStorage
    directory.SOPInstanceUID = generate_uid(entropy_srcs=["directory"])
    directory.FileSetID = "MADE"
    directory.FileSetConsistencyFlag = 0
    directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    directory.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = 0
    records = []
    for name in names:
        record = Dataset()
        record.OffsetOfTheNextDirectoryRecord = 0
        record.RecordInUseFlag = 0xFFFF
        record.OffsetOfReferencedLowerLevelDirectoryEntity = 0
        record.DirectoryRecordType = "IMAGE"
        record.ReferencedFileID = name
        records.append(record)
    directory.DirectoryRecordSequence = Items(records)
    return directory


def _with_directory(folder: Path) -> None:
    names = [f"IM{number:04d}" for number in range(COUNT)]
    _named(names)(folder)
    save(_contents(names), folder / "DICOMDIR")


def _directory_only(folder: Path) -> None:
    save(_contents([f"IM{number:04d}" for number in range(COUNT)]), folder / "DICOMDIR")


def _one() -> list[Truth]:
    return [exact(SCAN)]


def _sound(name: str, wrong: str, write: Callable[[Path], None], *refuse: str) -> Fault:
    return Fault(name, "files", wrong, write, _one, must_read=True, refuse=frozenset(refuse))


FILES = (
    _sound(
        "names_without_suffix",
        "Files have no suffix: sound.",
        _named([f"IM{number:04d}" for number in range(COUNT)]),
    ),
    _sound(
        "names_of_numbers",
        "Files are named by UIDs, so that .1 to .9 look like suffixes.",
        _named([f"1.2.840.113619.{number}" for number in range(COUNT)]),
    ),
    _sound(
        "names_upper_case",
        "Files are named .IMA and .DCM: sound.",
        _named([f"{number:04d}.{'IMA' if number % 2 else 'DCM'}" for number in range(COUNT)]),
    ),
    _sound(
        "names_odd",
        "Names with blanks, brackets, other scripts, 200 letters: sound.",
        _named(ODD_NAMES),
    ),
    _sound(
        "text_named_dcm",
        "A text named .dcm lies beside a sound series.",
        _beside("notes.dcm", b"This is a note, not an image.\n" * 20),
        *NO_DICOM,
    ),
    _sound(
        "empty_named_dcm",
        "An empty file named .dcm lies beside a sound series.",
        _beside("empty.dcm", b""),
        *NO_DICOM,
    ),
    _sound(
        "text_beside",
        "A text file lies beside a sound series.",
        _beside("readme.txt", b"Notes of the study.\n"),
    ),
    _sound(
        "system_files", "AppleDouble files, Thumbs.db and .DS_Store beside a sound series.", _junk
    ),
    Fault(
        "links_to_itself",
        "files",
        "Every file is there a second time, as a symbolic link.",
        _linked,
        _one,
        refuse=DOUBLE,
        say=DOUBLE,
    ),
    _sound("directory_beside", "A DICOMDIR lies beside a sound series.", _with_directory),
    Fault(
        "directory_only",
        "files",
        "A DICOMDIR without the files that it lists.",
        _directory_only,
        refuse=frozenset({"missing_data", "not_an_image", "unreadable"}),
        may_find_nothing=True,
    ),
)
"""Faults of files and names."""

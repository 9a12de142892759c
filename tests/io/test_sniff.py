from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis.strategies import binary

from medvit.io.sniff import is_junk, kind_of, starts_like_dicom

MARK = bytes(128) + b"DICM"


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("a.dcm", b"text", "dicom"),
        ("a.DICOM", b"", "dicom"),
        ("I10", MARK, "dicom"),
        ("photo.jpg", MARK, "dicom"),
        ("photo.JPG", b"\xff\xd8", "image"),
        ("a.Tiff", b"", "image"),
        ("a.nii", b"", "volume"),
        ("A.NII.GZ", b"\x1f\x8b", "volume"),
        ("a.MHA", b"", "volume"),
        ("a.mhd", b"NDims = 3", "volume"),
        ("a.nrrd", b"NRRD0004", "volume"),
        ("a.nhdr", b"", "volume"),
        ("a.hdr", b"\x5c\x01\0\0", "volume"),
        ("a.hdr", b"\0\0\x02\x1c", "volume"),
        ("a.hdr", b"#?RADIANCE", "other"),
        ("a.hdr", b"", "other"),
        ("a.raw", b"", "other"),
        ("a.zraw", b"x\x9c", "other"),
        ("a.img", bytes(132), "other"),
        ("a.gz", b"\x1f\x8b", "other"),
        ("notes.txt", b"Hello", "other"),
        ("old", b"\x08\x00\x00\x00\x04\x00\x00\x00\x1e\x01\x00\x00", "dicom"),
        ("old", b"\x00\x08\x00\x05CS\x00\x0aISO_IR 100", "dicom"),
        ("old", b"\x02\x00\x00\x00UL\x04\x00", "dicom"),
        ("old", b"\x08\x00\x00\x00\xff\xff\xff\xff", "other"),
        ("old", b"\x08", "other"),
    ],
)
def test_names_and_first_bytes_tell_the_kind(name: str, head: bytes, kind: str) -> None:
    assert kind_of(Path(name), head) == kind


@settings(deadline=None)
@given(head=binary(max_size=140))
def test_any_bytes_get_an_answer(head: bytes) -> None:
    assert kind_of(Path("x"), head) in ("dicom", "other")
    assert starts_like_dicom(head) in (True, False)


@pytest.mark.parametrize("name", [".DS_Store", "._a.dcm", "Thumbs.db", "__MACOSX", "desktop.ini"])
def test_what_systems_leave_behind_is_junk(name: str) -> None:
    assert is_junk(name)

"""What kind of file this is, judged by its first bytes and its name."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Literal

FileKind = Literal["dicom", "volume", "image", "other"]

SNIFF_BYTES = 132
"""Enough to see the DICOM mark after the 128 bytes of preamble."""

DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp"})
VOLUME_ENDINGS = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr")
"""Names of volumes; `.raw`, `.zraw` and `.img` hold the voxels of a header beside them."""

NIFTI_PAIR_ENDING = ".hdr"
"""Other programs use it too, so the content decides."""

NIFTI_PAIR_STARTS = frozenset(
    struct.pack(f"{order}i", size) for order in "<>" for size in (348, 540)
)
"""Size of the header, the first field of NIfTI-1 and -2."""

JUNK = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
"""What operating systems leave behind, beside hidden files."""

_LONGEST_FIRST_VALUE = 4096


def is_junk(name: str) -> bool:
    """Return whether a name is hidden or an operating system's own.

    Examples:
        >>> is_junk(".DS_Store"), is_junk("__MACOSX"), is_junk("1.dcm")
        (True, True, False)
    """
    return name.startswith(".") or name.lower() in JUNK


def claims_dicom(path: Path) -> bool:
    """Return whether the name of a file says that it is DICOM."""
    return path.suffix.lower() in DICOM_SUFFIXES


def is_volume_name(path: Path) -> bool:
    """Return whether the name of a file alone says that it is a volume."""
    return path.name.lower().endswith(VOLUME_ENDINGS)


def kind_of(path: Path, head: bytes) -> FileKind:
    """Return the kind of a file from its name and its first `SNIFF_BYTES`.

    Examples:
        >>> kind_of(Path("a.PNG"), b""), kind_of(Path("a.png"), bytes(128) + b"DICM")
        ('image', 'dicom')
    """
    if has_mark(head) or claims_dicom(path):
        return "dicom"
    is_pair = path.suffix.lower() == NIFTI_PAIR_ENDING and head[:4] in NIFTI_PAIR_STARTS
    if is_volume_name(path) or is_pair:
        return "volume"
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return "image"
    return "dicom" if starts_like_dicom(head) else "other"


def has_mark(head: bytes) -> bool:
    """Return whether `DICM` stands after the preamble."""
    return head[128:132] == b"DICM"


def starts_like_dicom(head: bytes) -> bool:
    """Return whether bytes look like a data set without preamble.

    Such files start with an element of group 2 or 8, of either byte order, with
    or without a value representation.
    """
    if len(head) < 8:
        return False
    for order in ("<", ">"):
        group, element = struct.unpack(f"{order}HH", head[:4])
        if group in (0x0002, 0x0008) and element <= 0x0070:
            explicit = head[4:6].isalpha() and head[4:6].isupper()
            length = struct.unpack(f"{order}L", head[4:8])[0]
            return explicit or 0 < length <= _LONGEST_FIRST_VALUE
    return False

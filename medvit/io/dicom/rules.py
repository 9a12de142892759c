"""The rules that a DICOM slice must meet by itself to be read as CT."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np

from medvit.io.case import Reason
from medvit.io.dicom.fragments import walk_fragments
from medvit.io.dicom.geometry import ORIENTATION_TOLERANCE
from medvit.io.dicom.header import BIG_ENDIAN, SliceHeader
from medvit.io.dicom.inflate import DEFLATED, inflated
from medvit.io.dicom.pixels import decoder_problem, is_native
from medvit.io.os_errors import unreadable

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
MULTI_FRAME_CT = frozenset({CT_IMAGE + ".1", CT_IMAGE + ".2"})
"""Enhanced CT, and CT converted to it: every frame has a place and a rescale of its own."""

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
"""SOP class of a screen shot; its multi-frame kin have a further number behind a dot."""

DERIVED_TYPES = frozenset(
    {"MIP", "MINIP", "SSD", "VRT", "SCREEN SAVE", "DOSE_INFO", "DOSE INFO", "PROJECTION IMAGE"}
    | {"CPR", "POSDISP", "PERFUSION", "SUBTRACTION"}
)
"""Image types whose pixels are not HU of a plane in the patient: projections, screens, curved
reformats, differences and maps."""

REFORMATS = frozenset({"MPR", "CSA MPR"})
"""Image types of planes interpolated from slices. Axial ones are often all that is kept; others
show once more what axial slices hold."""

AXIAL_COSINE = 0.8
"""Least cosine between the normal of axial slices and the long axis of the patient."""

PIXEL_TAG, BIG_PIXEL_TAG = b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10"
"""Tag (7FE0,0010) in little and in big endian order."""

MAX_SIDE = 4096
"""Longest side of a slice; no scanner writes more, and a header can claim anything."""

MIN_SIDE = 8
"""Shortest side of a slice worth reading."""

PIXEL_MM = (0.01, 50.0)
"""Least and most distance of pixels: finer than any scanner's, coarser than any use."""

FARTHEST_MM = 1e5
"""How far from the origin of the patient a slice may lie; tables are 2 m long."""

AIR_MUST_FIT_HU = -900.0
"""Stored values must be able to express air, or the rescale is not to HU."""

TISSUE_MUST_FIT_HU = 100.0
"""Likewise soft tissue with contrast."""

MOST_STEP_HU = 100.0
"""Largest distance of two stored values: in coarser steps no organ could be told from another."""

Rule = Callable[[SliceHeader], Reason | None]


def judge_file(header: SliceHeader) -> Reason | None:
    """Return the first rule that a file breaks, the most specific rule first."""
    found = (rule(header) for rule in FILE_RULES)
    return next((reason for reason in found if reason is not None), None)


def _is_image(header: SliceHeader) -> Reason | None:
    layout, name = header.layout, header.path.name
    if layout.rows > 0 and layout.columns > 0:
        if layout.offset:
            return None
        return Reason("truncated", f"{name}: the file ends before its pixels; copy it again")
    if header.modality == "CT":
        return Reason(
            "truncated", f"{name}: the header ends before rows and columns; copy it again"
        )
    what = header.modality or header.sop_class or "no type given"
    return Reason("not_an_image", f"{name}: DICOM without an image ({what}); leave it out")


def _is_ct(header: SliceHeader) -> Reason | None:
    name, sop_class = header.path.name, header.sop_class
    if f"{sop_class}.".startswith(f"{SECONDARY_CAPTURE}."):
        msg = f"{name}: a secondary capture (screen shot or scan), not CT values; leave it out"
        return Reason("secondary_capture", msg)
    if header.modality != "CT":
        what = header.modality or "none"
        return Reason("not_ct", f"{name}: modality is {what}, CT expected; leave it out")
    if not sop_class:
        msg = f"{name}: no SOP class, so the kind of image is unknown; export it again"
        return Reason("no_sop_class", msg)
    if sop_class != CT_IMAGE and sop_class not in MULTI_FRAME_CT:
        msg = f"{name}: SOP class {sop_class} is made from CT, not CT itself; leave it out"
        return Reason("derived_object", msg)
    return None


def _has_fair_frames(header: SliceHeader) -> Reason | None:
    if header.layout.frames == 1 or header.sop_class in MULTI_FRAME_CT:
        return None
    frames = header.layout.frames
    msg = f"{header.path.name}: {frames} frames in an object made for one; export it again"
    return Reason("wrong_dimensions", msg)


def _has_known_encoding(header: SliceHeader) -> Reason | None:
    """Ask odd files for pixels in the byte order that they will be read in."""
    if header.has_meta and not header.encoding_faults:
        return None
    if not is_native(header) or header.transfer_syntax == DEFLATED:
        return None
    name, code = header.path.name, "encoding" if header.has_meta else "no_meta"
    if header.layout.declared_bytes is None:
        msg = f"{name}: compressed pixels, and nothing says how; export it again"
        return Reason(code, msg)
    expected = BIG_PIXEL_TAG if header.transfer_syntax == BIG_ENDIAN else PIXEL_TAG
    try:
        with header.path.open("rb") as file:
            file.seek(header.layout.offset)
            tag = file.read(len(PIXEL_TAG))
    except OSError as error:
        return Reason("unreadable", unreadable(header.path, error).message)
    if tag == expected:
        return None
    msg = f"{name}: the pixels are not in the byte order that is declared; export it again"
    return Reason(code, msg)


def _is_plain_slice(header: SliceHeader) -> Reason | None:
    name, kinds = header.path.name, set(header.image_type)
    if "LOCALIZER" in kinds:
        return Reason("localizer", f"{name}: a localizer (scout view), not a slice; leave it out")
    derived = sorted(kinds & DERIVED_TYPES)
    if derived:
        msg = f"{name}: image type {derived[0]} is made from slices; scan the slices themselves"
        return Reason("derived_object", msg)
    if kinds & REFORMATS and not is_axial(header):
        what = "a reformat (MPR) across the long axis of the patient; scan the axial slices"
        return Reason("derived_object", f"{name}: {what}")
    if header.layout.samples != 1 or not header.layout.photometric.startswith("MONOCHROME"):
        colour = header.layout.photometric or f"{header.layout.samples} samples"
        return Reason("not_hu", f"{name}: pixels are {colour}, one grey value expected")
    return None


def is_axial(header: SliceHeader) -> bool:
    """Return whether a slice lies across the long axis of the patient, as far as it says."""
    cosines = header.placement.orientation
    if cosines is None:
        return False
    return abs(float(np.cross(cosines[:3], cosines[3:])[2])) >= AXIAL_COSINE


def _has_fair_size(header: SliceHeader) -> Reason | None:
    layout, name = header.layout, header.path.name
    size = f"{layout.columns}x{layout.rows} pixels"
    if max(layout.rows, layout.columns) > MAX_SIDE:
        return Reason("too_large", f"{name}: {size}, at most {MAX_SIDE} a side can be read")
    if min(layout.rows, layout.columns) < MIN_SIDE:
        return Reason("too_small", f"{name}: {size}, at least {MIN_SIDE} a side needed")
    return None


def _has_sound_pixels(header: SliceHeader) -> Reason | None:
    layout, name = header.layout, header.path.name
    if not header.transfer_syntax and header.has_meta:
        msg = f"{name}: no transfer syntax in the file meta information; export it again"
        return Reason("transfer_syntax", msg)
    problem = decoder_problem(header.transfer_syntax)
    if problem:
        return Reason("transfer_syntax", f"{name}: {problem}")
    bits = (layout.bits_allocated, layout.bits_stored, layout.high_bit)
    if layout.bits_allocated not in (8, 16, 32):
        return Reason("undecodable", f"{name}: {bits[0]} bits allocated; 8, 16 or 32 can be read")
    if not 0 < layout.bits_stored <= layout.high_bit + 1 <= layout.bits_allocated:
        msg = f"{name}: bits allocated, stored and high bit {bits} contradict each other"
        return Reason("bad_value", msg)
    if header.frame > 0:
        return None  # asked of the first frame for all
    return _native_length(header) if is_native(header) else _fragment_length(header)


def _native_length(header: SliceHeader) -> Reason | None:
    layout = header.layout
    left = _dataset_bytes(header) - layout.value_offset
    held = left if layout.declared_bytes is None else min(left, layout.declared_bytes)
    declared = layout.declared_bytes or 0
    # What one row, or one column, too few in the header leaves over.
    most_excess = layout.native_bytes // max(max(layout.rows, layout.columns) * layout.frames, 1)
    if declared - layout.native_bytes >= most_excess:
        msg = (
            f"{header.path.name}: {declared} bytes of pixels declared, but {layout.columns}x"
            f"{layout.rows} pixels are {layout.native_bytes}; export it again"
        )
        return Reason("bad_value", msg)
    if held >= layout.native_bytes:
        return None
    msg = f"{header.path.name}: {max(held, 0)} of {layout.native_bytes} bytes of pixels are there"
    return Reason("truncated", f"{msg}; copy the file again")


def _dataset_bytes(header: SliceHeader) -> int:
    """Return where the file ends, inflated as far as its pixels go where it is deflated."""
    if header.transfer_syntax != DEFLATED:
        return header.file_bytes
    end = header.layout.value_offset + header.layout.native_bytes
    try:
        return len(inflated(header.path, most_bytes=end))
    except (OSError, zlib.error):
        return 0  # what could be read before cannot be read now, or breaks off within the pixels


def _fragment_length(header: SliceHeader) -> Reason | None:
    try:
        is_whole = walk_fragments(header).is_whole
    except OSError as error:
        return Reason("unreadable", unreadable(header.path, error).message)
    if is_whole:
        return None
    msg = f"{header.path.name}: the compressed pixels end after the file does; copy it again"
    return Reason("truncated", msg)


def _has_hu(header: SliceHeader) -> Reason | None:
    name, layout = header.path.name, header.layout
    for keyword in ("RescaleSlope", "RescaleIntercept"):
        if keyword in header.bad_values:
            return Reason("bad_value", f"{name}: {keyword} is no finite number")
    if header.slope is None or header.intercept is None:
        return Reason("not_hu", f"{name}: no rescale slope and intercept, so no HU")
    if not 0 < header.slope <= MOST_STEP_HU:
        msg = f"{name}: rescale slope {header.slope} must be positive, at most {MOST_STEP_HU:g} HU"
        return Reason("bad_value", msg)
    if header.rescale_type.upper() not in ("", "HU", "US"):
        return Reason("not_hu", f"{name}: rescale type is {header.rescale_type!r}, HU expected")
    lowest_stored = -(2 ** (layout.bits_stored - 1)) if layout.is_signed else 0
    lowest_hu = lowest_stored * header.slope + header.intercept
    highest_hu = lowest_hu + (2**layout.bits_stored - 1) * header.slope
    if lowest_hu > AIR_MUST_FIT_HU or highest_hu < TISSUE_MUST_FIT_HU:
        msg = (
            f"{name}: values from {lowest_hu:g} HU to {highest_hu:g} HU can be stored; air and "
            f"tissue must fit ({AIR_MUST_FIT_HU:g} and {TISSUE_MUST_FIT_HU:g} HU)"
        )
        return Reason("not_hu", msg)
    return None


def _has_place(header: SliceHeader) -> Reason | None:
    name, placement = header.path.name, header.placement
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        if keyword in header.bad_values:
            return Reason("bad_value", f"{name}: {keyword} does not hold the numbers it must")
    if placement.position_mm is None or placement.orientation is None:
        msg = f"{name}: no position or orientation in the patient; export it again"
        return Reason("no_position", msg)
    if placement.pixel_spacing_mm is None:
        return Reason("missing_data", f"{name}: no pixel spacing; export it again")
    return None


def _has_fair_place(header: SliceHeader) -> Reason | None:
    """Ask a slice that has a place, by the rule before, whether there can be such a one."""
    name, placement = header.path.name, header.placement
    low_mm, high_mm = PIXEL_MM
    spacing, position = placement.pixel_spacing_mm or (), placement.position_mm or ()
    if not all(low_mm <= mm <= high_mm for mm in spacing):
        msg = f"{name}: pixel spacing {spacing} mm, must be from {low_mm:g} to {high_mm:g} mm"
        return Reason("bad_value", msg)
    if any(abs(mm) > FARTHEST_MM for mm in position):
        msg = f"{name}: position {position} mm, farther off than {FARTHEST_MM:g} mm"
        return Reason("bad_value", msg)
    cosines = np.reshape(placement.orientation or (), (2, 3))
    if np.abs(cosines @ cosines.T - np.eye(2)).max() > 2 * ORIENTATION_TOLERANCE:
        msg = f"{name}: orientation {placement.orientation} is not two directions at right angles"
        return Reason("bad_value", msg)
    return None


FILE_RULES: tuple[Rule, ...] = (
    _is_image,
    _is_ct,
    _has_fair_frames,
    _is_plain_slice,
    _has_fair_size,
    _has_known_encoding,
    _has_sound_pixels,
    _has_hu,
    _has_place,
    _has_fair_place,
)
"""In the order of asking: what it is, whether it is whole, what its values mean, where it lies."""

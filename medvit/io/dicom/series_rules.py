"""The rules that the slices of a DICOM series must meet together, and what to say of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations

import numpy as np

from medvit.io.case import Reason
from medvit.io.dicom.codestream import J2K_SYNTAXES
from medvit.io.dicom.fragments import walk_fragments
from medvit.io.dicom.geometry import (
    MIN_SLICES,
    ORIENTATION_TOLERANCE,
    PIXEL_SPACING_TOLERANCE_MM,
    Stack,
    name_of,
)
from medvit.io.dicom.header import SliceHeader
from medvit.io.dicom.rules import REFORMATS, judge_file
from medvit.io.dicom.stack_rules import Fault

LOSSY_SYNTAXES = frozenset(
    {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81"}
)
"""Transfer syntaxes that cannot be lossless."""

MOST_OVERLAP = 0.5
"""The share of its length that an acquisition may lie within another one."""


SeriesRule = Callable[[Sequence[SliceHeader]], Reason | None]


def judge_slices(headers: Sequence[SliceHeader]) -> tuple[Reason, ...]:
    """Return every reason why slices cannot be read, each by itself, or not together."""
    judged = [judge_file(header) for header in headers]
    partly = _partly_rescaled(headers, judged)
    if partly is not None:
        judged = [partly if each is not None and each.code == "not_hu" else each for each in judged]
    broken = [reason for reason in judged if reason is not None]
    if broken:
        return _grouped(broken, len(headers))
    odd = _absent_frames(headers) or _mixed(headers)
    return () if odd is None else (odd,)


def interleaved(stack: Stack) -> Fault | None:
    """Return the fault of two acquisitions whose slices lie among each other."""
    spans: dict[str, list[float]] = {}
    for header, place in zip(stack.headers, stack.along_mm, strict=True):
        spans.setdefault(header.acquisition, []).append(float(place))
    long = {name: places for name, places in spans.items() if len(places) >= MIN_SLICES}
    for (one, first), (other, second) in combinations(long.items(), 2):
        overlap_mm = min(first[-1], second[-1]) - max(first[0], second[0])
        shorter_mm = min(first[-1] - first[0], second[-1] - second[0])
        if overlap_mm > MOST_OVERLAP * shorter_mm:
            fact = (
                f"{name_of(stack.headers[0])}: acquisitions {one!r} and {other!r} lie among each "
                f"other over {overlap_mm:.2f} mm ({len(first)} and {len(second)} slices)"
            )
            return Fault("mixed_series", fact, "", "separate them by AcquisitionNumber")
    return None


def encoding_faults(headers: Sequence[SliceHeader]) -> tuple[Fault, ...]:
    """Return what is wrong with how slices are written and read right all the same."""
    found = (_contradicting_signs(headers), _broken_encoding(headers), _without_meta(headers))
    return tuple(fault for fault in found if fault is not None)


def remarks_on(headers: Sequence[SliceHeader]) -> tuple[Reason, ...]:
    """Return what a reader should know of a series that can be read."""
    found = []
    total = len(headers)
    lossy = [h for h in headers if h.is_lossy or h.transfer_syntax in LOSSY_SYNTAXES]
    if lossy:
        msg = f"{lossy[0].path.name}: compressed with loss ({len(lossy)} of {total} slices)"
        found.append(Reason("lossy_compression", f"{msg}; small findings may suffer"))
    burned = [h for h in headers if h.is_burned_in]
    if burned:
        msg = f"{burned[0].path.name}: marked as having text in its pixels"
        found.append(Reason("burned_in", f"{msg} ({len(burned)} of {total} slices)"))
    reformatted = [h for h in headers if REFORMATS & set(h.image_type)]
    if reformatted:
        msg = f"{reformatted[0].path.name}: interpolated from other slices (MPR)"
        found.append(Reason("derived_object", f"{msg}; fine detail may be smoothed"))
    rescales = Counter((h.slope, h.intercept) for h in headers)
    if len(rescales) > 1:
        usual = rescales.most_common(1)[0][0]
        odd = next(h for h in headers if (h.slope, h.intercept) != usual)
        msg = (
            f"{odd.path.name}: slope {odd.slope:g}, intercept {odd.intercept:g} where most slices "
            f"have {usual[0]:g} and {usual[1]:g} ({len(rescales)} different); each slice is "
            "rescaled by its own"
        )
        found.append(Reason("inconsistent_rescale", msg))
    return tuple(found)


def _grouped(broken: Iterable[Reason], total: int) -> tuple[Reason, ...]:
    reasons = list(broken)
    counts = Counter(reason.code for reason in reasons)
    first = {reason.code: reason for reason in reversed(reasons)}
    return tuple(
        Reason(
            code, first[code].message + (f" ({counts[code]} of {total} files)" if total > 1 else "")
        )
        for code in counts
    )


def _partly_rescaled(
    headers: Sequence[SliceHeader], judged: Sequence[Reason | None]
) -> Reason | None:
    """Return the fault of sound slices among others that lack nothing but a rescale."""
    without = [
        header
        for header, reason in zip(headers, judged, strict=True)
        if reason is not None
        and reason.code == "not_hu"
        and None in (header.slope, header.intercept)
    ]
    if not without or all(reason is not None for reason in judged):
        return None
    msg = (
        f"{name_of(without[0])}: no rescale slope and intercept, while other slices have them; "
        "export it again"
    )
    return Reason("inconsistent_rescale", msg)


def _absent_frames(headers: Sequence[SliceHeader]) -> Reason | None:
    """Return the fault of a multi-frame file that does not describe each of its frames."""
    counts = Counter(header.path for header in headers)
    odd = next((h for h in headers if counts[h.path] != h.layout.frames), None)
    if odd is None:
        return None
    msg = (
        f"{odd.path.name}: {odd.layout.frames} frames, and a place for {counts[odd.path]} of them; "
        "export it again"
    )
    return Reason("wrong_dimensions", msg)


def _contradicting_signs(headers: Sequence[SliceHeader]) -> Fault | None:
    odd = [h for h in headers if h.frame == 0 and _contradicts(h)]
    if not odd:
        return None
    fact = (
        f"{odd[0].path.name}: the JPEG 2000 sign flag contradicts pixel representation "
        f"{int(odd[0].layout.is_signed)} ({len(odd)} of {len(headers)} slices)"
    )
    return Fault("signedness", fact, "the header is used", "export it again")


def _contradicts(header: SliceHeader) -> bool:
    if header.transfer_syntax not in J2K_SYNTAXES:
        return False
    signed = walk_fragments(header).is_signed_j2k
    return signed is not None and signed != header.layout.is_signed


def _broken_encoding(headers: Sequence[SliceHeader]) -> Fault | None:
    odd = [h for h in headers if h.encoding_faults]
    if not odd:
        return None
    fact = f"{odd[0].path.name}: {odd[0].encoding_faults[0]} ({len(odd)} of {len(headers)} slices)"
    return Fault("encoding", fact, "it was read all the same", "export it again")


def _without_meta(headers: Sequence[SliceHeader]) -> Fault | None:
    odd = [h for h in headers if not h.has_meta]
    if not odd:
        return None
    fact = (
        f"{odd[0].path.name}: no file meta information says how the file is encoded "
        f"({len(odd)} of {len(headers)} slices)"
    )
    return Fault("no_meta", fact, "it was read as little endian, uncompressed", "export it again")


def _mixed(headers: Sequence[SliceHeader]) -> Reason | None:
    """Return the first way in which slices do not belong together."""
    for rule in SERIES_RULES:
        reason = rule(headers)
        if reason is not None:
            return reason
    return None


def _sizes(headers: Sequence[SliceHeader]) -> Reason | None:
    def size(header: SliceHeader) -> str:
        return f"{header.layout.columns}x{header.layout.rows}"

    other = _odd_one(headers, lambda first, other: size(first) != size(other))
    if other is None:
        return None
    what = f"{size(headers[0])} and {size(other)} pixels in one series; separate them"
    return Reason("mixed_series", f"{_names(headers[0], other)}: {what}")


def _orientations(headers: Sequence[SliceHeader]) -> Reason | None:
    def differ(first: SliceHeader, other: SliceHeader) -> bool:
        spread = _spread(first.placement.orientation, other.placement.orientation)
        return spread > ORIENTATION_TOLERANCE

    other = _odd_one(headers, differ)
    if other is None:
        return None
    count = len({np.round(h.placement.orientation or (), 2).tobytes() for h in headers})
    what = f"slices of one series lie in {count} different directions; separate them"
    return Reason("mixed_orientation", f"{_names(headers[0], other)}: {what}")


def _pixel_spacings(headers: Sequence[SliceHeader]) -> Reason | None:
    def differ(first: SliceHeader, other: SliceHeader) -> bool:
        spacings = (first.placement.pixel_spacing_mm, other.placement.pixel_spacing_mm)
        return _spread(*spacings) > PIXEL_SPACING_TOLERANCE_MM

    other = _odd_one(headers, differ)
    if other is None:
        return None
    one_mm, other_mm = (h.placement.pixel_spacing_mm for h in (headers[0], other))
    what = f"pixel spacing {one_mm} and {other_mm} mm in one series; separate them"
    return Reason("mixed_series", f"{_names(headers[0], other)}: {what}")


def _identities(headers: Sequence[SliceHeader]) -> Reason | None:
    uids = {
        "studies": [header.study_uid for header in headers],
        "series": [header.series_uid for header in headers],
        "frames of reference": [header.placement.frame_uid for header in headers],
    }
    for what, found in uids.items():
        count = len(set(found))
        if count > 1:
            other = headers[next(n for n, uid in enumerate(found) if uid != found[0])]
            msg = f"{_names(headers[0], other)}: {count} different {what} in one; separate them"
            return Reason("mixed_series", msg)
    return None


def _patients(headers: Sequence[SliceHeader]) -> Reason | None:
    named = [header for header in headers if header.patient_hash]
    other = _odd_one(named, lambda first, other: first.patient_hash != other.patient_hash)
    if other is None:
        return None
    count = len({header.patient_hash for header in named})
    msg = f"{_names(named[0], other)}: slices of {count} patients in one series; separate them"
    return Reason("mixed_series", msg)


def _kernels(headers: Sequence[SliceHeader]) -> Reason | None:
    counts = Counter(header.kernel for header in headers if header.kernel)
    if len(counts) < 2:
        return None
    found = " and ".join(f"{kernel!r} ({count} slices)" for kernel, count in counts.most_common(3))
    msg = (
        f"{headers[0].path.name}: {len(counts)} reconstructions in one series, with kernel "
        f"{found}; separate them by ConvolutionKernel"
    )
    return Reason("mixed_series", msg)


def _rescale_types(headers: Sequence[SliceHeader]) -> Reason | None:
    other = _odd_one(headers, lambda a, b: a.rescale_type.upper() != b.rescale_type.upper())
    if other is None:
        return None
    what = f"rescale types {headers[0].rescale_type!r} and {other.rescale_type!r} in one series"
    return Reason("inconsistent_rescale", f"{_names(headers[0], other)}: {what}; export it again")


SERIES_RULES: tuple[SeriesRule, ...] = (
    _sizes,
    _orientations,
    _pixel_spacings,
    _patients,
    _identities,
    _kernels,
    _rescale_types,
)
"""What slices of one series must share, the plainest first."""


def _odd_one(
    headers: Sequence[SliceHeader], differ: Callable[[SliceHeader, SliceHeader], bool]
) -> SliceHeader | None:
    return next((header for header in headers[1:] if differ(headers[0], header)), None)


def _names(first: SliceHeader, other: SliceHeader) -> str:
    return f"{name_of(first)} and {name_of(other)}"


def _spread(one: Sequence[float] | None, other: Sequence[float] | None) -> float:
    """Return the largest difference of two rows of numbers; no row differs from any."""
    if one is None or other is None:
        return 0.0 if one is other else float("inf")
    return float(np.abs(np.subtract(one, other)).max())

"""Series whose stored values do not mean what a hasty reader takes them for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from tests.faults.scan import SCAN, Array, Values
from tests.faults.slices import changed, put_words, store, tagged, worded
from tests.faults.truth import Exact, Fault, Truth, exact

HU = SCAN.hu()
NO_HU = frozenset({"not_hu", "missing_data"})
RESCALE = frozenset({"inconsistent_rescale"})
BITS = frozenset({"bad_value", "undecodable", "encoding"})


def _rescale_of(number: int) -> tuple[float, float]:
    """Return slope and intercept of a slice in a series where both change."""
    return 0.5 + 0.25 * number, -1024.0 - 16 * number


def _rescaled(number: int, dataset: Dataset) -> None:
    slope, intercept = _rescale_of(number)
    store(dataset, HU[number], slope=slope, intercept=intercept, signed=False)


def _rescaled_truth() -> list[Truth]:
    """Return the HU that are left after rounding to the steps of each slice."""
    hu: list[Array] = []
    for number, values in enumerate(HU):
        slope, intercept = _rescale_of(number)
        hu.append(np.rint((values - intercept) / slope) * slope + intercept)
    return [Exact(np.array(hu), SCAN.affine_lps(), tolerance_hu=0.01)]


def _first_unsigned(number: int, dataset: Dataset) -> None:
    store(dataset, HU[number], intercept=-1024 if number == 0 else 0, signed=number > 0)


def _no_rescale_on_one(number: int, dataset: Dataset) -> None:
    if number == 4:
        store(dataset, HU[number], intercept=0)
        del dataset.RescaleSlope, dataset.RescaleIntercept


def _outside() -> npt.NDArray[np.bool_]:
    """Return what lies outside a round field of view, `(z, y, x)`."""
    y, x = np.indices(SCAN.shape[1:])
    is_out = ((y - 15.5) / 16) ** 2 + ((x - 19.5) / 20) ** 2 > 1
    return np.broadcast_to(is_out, SCAN.shape)


def _padded_with(stored: int, *, signed: bool, intercept: int, vr: str = "") -> Callable[..., None]:
    def change(number: int, dataset: Dataset) -> None:
        words = HU[number] - intercept
        store(dataset, HU[number], intercept=intercept, signed=signed)
        put_words(dataset, np.where(_outside()[number], stored, words))
        dataset.PixelPaddingValue = stored
        if vr:
            dataset["PixelPaddingValue"].VR = vr

    return change


def _padded_truth() -> list[Truth]:
    return [Exact(HU, SCAN.affine_lps(), padded=_outside())]


def _bits(
    dataset: Dataset, words: Values, *, stored: int = 12, high_bit: int = 11, signed: bool
) -> None:
    dataset.BitsStored, dataset.HighBit = stored, high_bit
    dataset.PixelRepresentation = int(signed)
    put_words(dataset, words)


def _overlay_bits(number: int, dataset: Dataset) -> None:
    words = HU[number] + 1024
    overlay = np.indices(words.shape).sum(axis=0) % 3 == 0
    _bits(dataset, words | (overlay.astype(np.int32) * 0x9000), signed=False)


def _twelve_bits_signed(number: int, dataset: Dataset) -> None:
    dataset.RescaleIntercept = 0
    _bits(dataset, HU[number] & 0xFFF, signed=True)


def _high_bits(number: int, dataset: Dataset) -> None:
    _bits(dataset, (HU[number] + 1024) << 4, high_bit=15, signed=False)


def _bits_contradict(number: int, dataset: Dataset) -> None:
    dataset.BitsStored, dataset.HighBit = 20, 19


def _wide_range(number: int, dataset: Dataset) -> None:
    store(dataset, HU[number], intercept=-8192, signed=False)


def _lossy_flag(_number: int, dataset: Dataset) -> None:
    dataset.LossyImageCompression = "01"
    dataset.LossyImageCompressionRatio = 8


def _one() -> list[Truth]:
    return [exact(SCAN)]


VALUES = (
    Fault(
        "first_slice_unsigned",
        "values",
        "The first slice is unsigned with intercept -1024, the others signed with 0: sound.",
        changed(_first_unsigned),
        _one,
        must_read=True,
    ),
    Fault(
        "rescale_of_each_slice",
        "values",
        "Every slice has a slope and an intercept of its own.",
        changed(_rescaled),
        _rescaled_truth,
        refuse=RESCALE,
    ),
    Fault(
        "rescale_missing_on_one",
        "values",
        "One slice has no rescale.",
        changed(_no_rescale_on_one),
        refuse=NO_HU | RESCALE,
    ),
    Fault(
        "rescale_missing",
        "values",
        "No slice has a rescale, so stored values are not HU.",
        tagged(RescaleSlope=None, RescaleIntercept=None),
        asks_for_ct=True,
        refuse=NO_HU,
    ),
    Fault(
        "rescale_slope_zero",
        "values",
        "The rescale slope is 0: all the volume would be -1024 HU.",
        tagged(RescaleSlope=0),
        refuse=frozenset({"bad_value", "not_hu"}),
    ),
    Fault(
        "rescale_slope_not_a_number",
        "values",
        "The rescale slope of one slice is NaN.",
        worded("RescaleSlope", "nan", 4),
        refuse=frozenset({"bad_value", "not_hu"}),
    ),
    Fault(
        "rescale_slope_tiny",
        "values",
        "The rescale slope is 1e-300: all the volume would be -1024 HU.",
        worded("RescaleSlope", "1e-300"),
        refuse=frozenset({"bad_value", "not_hu"}),
    ),
    Fault(
        "rescale_slope_huge",
        "values",
        "The rescale slope is 1e+30.",
        worded("RescaleSlope", "1e+30"),
        refuse=frozenset({"bad_value", "not_hu"}),
    ),
    Fault(
        "rescale_intercept_huge",
        "values",
        "The rescale intercept is -2147483648: no tissue could be stored.",
        worded("RescaleIntercept", "-2147483648"),
        refuse=frozenset({"bad_value", "not_hu"}),
    ),
    Fault(
        "rescale_type_electron_density",
        "values",
        "The rescale type is ED: electron density, not HU.",
        tagged(RescaleType="ED"),
        asks_for_ct=True,
        refuse=frozenset({"not_hu"}),
    ),
    Fault(
        "rescale_type_of_one_slice",
        "values",
        "One slice has rescale type Z_EFF (atomic number), the others HU.",
        tagged(4, RescaleType="Z_EFF"),
        refuse=frozenset({"not_hu", "mixed_series"}) | RESCALE,
    ),
    Fault(
        "padding_2000",
        "values",
        "Stored -2000 pads what lies outside the field of view: sound.",
        changed(_padded_with(-2000, signed=True, intercept=0)),
        _padded_truth,
        must_read=True,
    ),
    Fault(
        "padding_beyond_the_sign",
        "values",
        "The padding value of signed pixels is written as unsigned 63536: sound all the same.",
        changed(_padded_with(63536, signed=True, intercept=0, vr="US")),
        _padded_truth,
        must_read=True,
    ),
    Fault(
        "twelve_bits_with_overlay",
        "values",
        "12 bits stored in 16, an overlay in the upper four: sound, as of old.",
        changed(_overlay_bits),
        _one,
        must_read=True,
    ),
    Fault(
        "twelve_bits_signed",
        "values",
        "12 bits signed, the upper four zero instead of the sign: sound.",
        changed(_twelve_bits_signed),
        _one,
        must_read=True,
    ),
    Fault(
        "high_bit_15",
        "values",
        "12 bits stored in the upper part of 16 (high bit 15), as of old.",
        changed(_high_bits),
        _one,
        refuse=BITS,
    ),
    Fault(
        "bits_contradict",
        "values",
        "20 bits stored in 16 allocated.",
        changed(_bits_contradict),
        _one,
        refuse=BITS,
        say=BITS,
    ),
    Fault(
        "intercept_8192",
        "values",
        "Unsigned with intercept -8192, the extended CT scale: sound.",
        changed(_wide_range),
        _one,
        must_read=True,
    ),
    Fault(
        "monochrome1",
        "values",
        "Shown inverted (MONOCHROME1); the HU are what they are.",
        tagged(PhotometricInterpretation="MONOCHROME1"),
        _one,
        refuse=frozenset({"not_hu", "bad_value"}),
    ),
    Fault(
        "lossy_before",
        "values",
        "Stored plainly, but marked as compressed with loss before.",
        changed(_lossy_flag),
        _one,
        must_read=True,
        say=frozenset({"lossy_compression"}),
    ),
    Fault(
        "burned_in",
        "values",
        "Marked as having text in its pixels.",
        tagged(BurnedInAnnotation="YES"),
        _one,
        must_read=True,
        say=frozenset({"burned_in"}),
    ),
)
"""Faults of what stored values mean."""

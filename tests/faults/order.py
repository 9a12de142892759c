"""Series whose slices are missing, double, mixed or out of order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from tests.faults.scan import SCAN, SMOOTH, Scan
from tests.faults.slices import OTHER_UID, changed, ct_slices, kept, save, save_all, tagged
from tests.faults.truth import Fault, Truth, exact, resampled

COUNT = SCAN.shape[0]
DOUBLE = frozenset({"duplicate_positions", "mixed_series"})
GAPS = frozenset({"missing_slices", "uneven_spacing"})

OTHER = replace(SCAN, noise_seed=8)
"""The same place with other noise: another kernel, another time."""

HALF_WAY = replace(SCAN, noise_seed=9, centre_lps_mm=(1.25, -2.5, 5.0))
"""Slices half way between those of SCAN."""


def _copies_of(*numbers: int) -> Callable[[Path], None]:
    """Return a writer that adds copies of files."""

    def write(folder: Path) -> None:
        paths = save_all(folder, ct_slices())
        for number in numbers:
            path = paths[number]
            path.with_name(f"{path.stem} (1).dcm").write_bytes(path.read_bytes())

    return write


def _sent_twice(folder: Path) -> None:
    slices = ct_slices()
    again = ct_slices()[4]
    again.SOPInstanceUID = generate_uid(entropy_srcs=["again"])
    again.InstanceNumber = COUNT + 1
    save_all(folder, [*slices, again])


def _conflicting(folder: Path) -> None:
    other = ct_slices(OTHER)[4]
    other.SOPInstanceUID = generate_uid(entropy_srcs=["other"])
    save_all(folder, [*ct_slices(), other])


def _together(scan: Scan, *, series_uid: str = "", **tags: object) -> Callable[[Path], None]:
    """Return a writer that puts a second scan beside the first, slice by slice."""

    def write(folder: Path) -> None:
        first, second = ct_slices(), ct_slices(scan)
        for number, dataset in enumerate(second):
            dataset.SOPInstanceUID = generate_uid(entropy_srcs=["second", str(number)])
            if series_uid:
                dataset.SeriesInstanceUID = series_uid
            else:
                dataset.InstanceNumber += COUNT
            for keyword, value in tags.items():
                setattr(dataset, keyword, value)
        save_all(folder, [dataset for pair in zip(first, second, strict=True) for dataset in pair])

    return write


def _shuffled(number: int, dataset: Dataset) -> None:
    order = np.random.default_rng(3).permutation(COUNT)
    dataset.InstanceNumber = int(order[number]) + 1


def _shuffled_names(folder: Path) -> None:
    order = np.random.default_rng(4).permutation(COUNT)
    for number, dataset in zip(order, ct_slices(), strict=True):
        save(dataset, folder / f"{number:04d}.dcm")


def _backwards(number: int, dataset: Dataset) -> None:
    dataset.InstanceNumber = COUNT - number


def _one() -> list[Truth]:
    return [exact(SCAN)]


ORDER = (
    Fault("sound", "order", "Nothing: the control.", kept(*range(COUNT)), _one, must_read=True),
    Fault(
        "missing_one",
        "order",
        "One slice in the middle is not there.",
        kept(0, 1, 2, 3, 5, 6, 7, 8, scan=SMOOTH),
        lambda: [resampled(SMOOTH)],
        refuse=GAPS,
        say=GAPS,
    ),
    Fault(
        "missing_two_apart",
        "order",
        "Two slices at different places are not there.",
        kept(0, 1, 3, 4, 5, 7, 8, scan=SMOOTH),
        lambda: [resampled(SMOOTH)],
        refuse=GAPS,
        say=GAPS,
    ),
    Fault(
        "missing_two_together",
        "order",
        "Two neighbouring slices are not there.",
        kept(0, 1, 2, 5, 6, 7, 8, scan=SMOOTH),
        lambda: [resampled(SMOOTH)],
        refuse=GAPS,
        say=GAPS,
    ),
    Fault(
        "every_other_missing_at_the_end",
        "order",
        "The last third has every other slice only.",
        kept(0, 1, 2, 3, 4, 6, 8, scan=SMOOTH),
        lambda: [resampled(SMOOTH)],
        refuse=GAPS,
        say=GAPS,
    ),
    Fault(
        "duplicate_file",
        "order",
        "One file is there twice under two names.",
        _copies_of(4),
        _one,
        refuse=DOUBLE,
        say=DOUBLE,
    ),
    Fault(
        "duplicate_files_all",
        "order",
        "Every file is there twice under two names.",
        _copies_of(*range(COUNT)),
        _one,
        refuse=DOUBLE,
        say=DOUBLE,
    ),
    Fault(
        "duplicate_sent_twice",
        "order",
        "One slice was sent twice, with another SOP instance UID and instance number.",
        _sent_twice,
        _one,
        refuse=DOUBLE,
        say=DOUBLE,
    ),
    Fault(
        "duplicate_conflicting",
        "order",
        "Two slices at one position hold different pixels.",
        _conflicting,
        refuse=DOUBLE,
    ),
    Fault(
        "two_series_in_one_folder",
        "order",
        "Two sound series lie in one folder, file by file.",
        _together(HALF_WAY, series_uid=OTHER_UID),
        lambda: [exact(SCAN), exact(HALF_WAY)],
        must_read=True,
    ),
    Fault(
        "two_kernels_under_one_uid",
        "order",
        "Two reconstructions of the same positions bear one series UID.",
        _together(OTHER, ConvolutionKernel="B70f"),
        lambda: [exact(SCAN), exact(OTHER)],
        refuse=DOUBLE,
    ),
    Fault(
        "two_kernels_half_way",
        "order",
        "Two reconstructions under one UID, the second half a step further: evenly spaced.",
        _together(HALF_WAY, ConvolutionKernel="B70f"),
        lambda: [exact(SCAN), exact(HALF_WAY)],
        refuse=DOUBLE,
    ),
    Fault(
        "two_acquisitions",
        "order",
        "The same positions were scanned twice, under one series UID.",
        _together(OTHER, AcquisitionNumber=2),
        lambda: [exact(SCAN), exact(OTHER)],
        refuse=DOUBLE,
    ),
    Fault(
        "four_d_phases",
        "order",
        "Two phases of breathing, named by trigger time alone, under one series UID.",
        _together(OTHER, TriggerTime="450", TemporalPositionIdentifier=2),
        lambda: [exact(SCAN), exact(OTHER)],
        refuse=DOUBLE | {"wrong_dimensions"},
    ),
    Fault(
        "instance_numbers_shuffled",
        "order",
        "Instance numbers do not follow the positions.",
        changed(_shuffled),
        _one,
        must_read=True,
    ),
    Fault(
        "instance_numbers_equal",
        "order",
        "Every slice has instance number 1.",
        tagged(InstanceNumber=1),
        _one,
        must_read=True,
    ),
    Fault(
        "instance_numbers_absent",
        "order",
        "No slice has an instance number.",
        tagged(InstanceNumber=None),
        _one,
        must_read=True,
    ),
    Fault(
        "instance_numbers_backwards",
        "order",
        "Instance numbers run from the head to the feet: sound.",
        changed(_backwards),
        _one,
        must_read=True,
    ),
    Fault(
        "sop_uids_equal",
        "order",
        "Every slice has the same SOP instance UID, as after a careless pseudonymisation.",
        tagged(SOPInstanceUID="1.2.3.4.5"),
        _one,
        must_read=True,
    ),
    Fault(
        "series_uid_missing",
        "order",
        "No slice has a series instance UID.",
        tagged(SeriesInstanceUID=None),
        _one,
        refuse=frozenset({"missing_data", "too_few_slices", "bad_value"}),
    ),
    Fault(
        "other_study_under_one_uid",
        "order",
        "The last four slices are of another study, under the same series UID.",
        tagged(5, 6, 7, 8, StudyInstanceUID="1.2.3.4.5"),
        refuse=frozenset({"mixed_series"}),
    ),
    Fault(
        "other_patient_under_one_uid",
        "order",
        "The last four slices are of another patient, under the same UIDs.",
        tagged(5, 6, 7, 8, PatientID="OTHER"),
        refuse=frozenset({"mixed_series"}),
    ),
    Fault(
        "file_names_shuffled",
        "order",
        "File names do not follow the positions: sound.",
        _shuffled_names,
        _one,
        must_read=True,
    ),
)
"""Faults of order and completeness."""

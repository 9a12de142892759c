"""What is told of a nodule beside its place and probability: one row of `nodules.csv`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from medvit.volume.lesion import Lesion
from medvit.volume.lung_sides import Side, Third

Texture = Literal["solid", "part_solid", "ground_glass", ""]
DiameterSource = Literal["measured", "network"]

LEAST_RECOVERY = 0.6
"""With less of its contrast left, any small nodule looks like ground glass."""

SOLID_SHARE, SMALL_SOLID_SHARE, SMALL_MM = 0.9, 0.6, 6.0
"""The blurred edge is a larger part of a small nodule."""

HAZY_SHARE, HAZY_HU = 0.03, -450.0
CALCIFIED_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class NoduleDetail:
    """Attributes of one nodule; what could not be told is None or empty.

    Attributes:
        finding_id: The row of `findings.csv` that this one belongs to.
        score: Of the network, before calibration.
        score_spread: Standard deviation of the network's score over three looks at the same
            32 voxels: as they are, mirrored along z, mirrored along x. 0 is full agreement; None
            beyond the most probable findings of a scan.
        diameter_from: `measured` in the voxels, or `network` where that is in doubt.
        measured_mm: Diameter from the voxels, doubtful or not.
        network_mm: Diameter as the network estimates it.
        doubt: Why the measurement is in doubt; empty when it is not.
        median_hu: Attenuation inside, the blurred edge left out.
        texture: `solid`, `part_solid` or `ground_glass`; empty when in doubt.
        calcified: Whether a tenth of it is denser than soft tissue; None when in doubt.
        side: The patient's side.
        third: Of the lungs' volume, by height; empty when the scan does not hold whole lungs.
        pleura_mm: From its edge to the nearest surface of the lung, the mediastinal one
            included; 0 where it touches. Fissures do not count.
        slice_number: From 1 in the order of position: `index_z` + 1.
        instance_number: Of the DICOM slice, as the scanner counted.
        frame: From 1, in the DICOM file of the slice.
        slice_location_mm: Position of the slice along its normal.
    """

    finding_id: str
    score: float
    score_spread: float | None
    diameter_from: DiameterSource
    measured_mm: float
    network_mm: float
    doubt: str
    median_hu: float
    texture: Texture
    calcified: bool | None
    side: Side
    third: Third
    pleura_mm: float | None
    slice_number: int
    instance_number: int | None
    frame: int | None
    slice_location_mm: float

    @property
    def diameter_mm(self) -> float:
        """The diameter that is reported."""
        return self.measured_mm if self.diameter_from == "measured" else self.network_mm


DETAIL_COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(NoduleDetail))


def texture_of(lesion: Lesion) -> Texture:
    """Return what a lesion is made of; empty when its outline or its contrast is in doubt.

    Solid parts are denser than -300 HU. The blurred edge is left out of the shares, but in a
    small nodule it reaches further in.
    """
    if lesion.doubt or lesion.recovery < LEAST_RECOVERY:
        return ""
    enough = SMALL_SOLID_SHARE if lesion.diameter_mm < SMALL_MM else SOLID_SHARE
    if lesion.solid_share > enough:
        return "solid"
    is_hazy = lesion.solid_share < HAZY_SHARE and lesion.hu < HAZY_HU
    return "ground_glass" if is_hazy else "part_solid"


def is_calcified(lesion: Lesion) -> bool | None:
    """Return whether a lesion holds calcium; None when its outline is in doubt."""
    return None if lesion.doubt else lesion.calcified_share >= CALCIFIED_SHARE

"""What a CT case is told of its nodules: measured in boxes around them, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from medvit.findings.nodule import NoduleDetail, is_calcified, texture_of
from medvit.geometry import Affine, index_to_lps
from medvit.inference.consistency import look_again
from medvit.inference.nodules import Nodule
from medvit.volume.lesion import Lesion, measure_lesion
from medvit.volume.lung_sides import LungSides, find_sides
from medvit.volume.lungs import LungMap
from medvit.volume.pleura import Pleura, find_pleura
from medvit.volume.pyramid import Pyramid
from medvit.volume.resample import VoxelGrid
from medvit.volume.volume import SliceOrigin
from pipelines.scanning.detectors import Detector


@dataclass(frozen=True, eq=False)
class NoduleObserver:
    """Looks at the nodules of one scan; nothing of it depends on which others there are.

    Attributes:
        lungs: Where they were found; places in lungs that are unsure are not told.
        origins: The DICOM slices of the volume; empty for other formats.
        spacing_mm: Voxel edge the detector was trained with.
    """

    pyramid: Pyramid
    lungs: LungMap
    origins: tuple[SliceOrigin, ...]
    detector: Detector
    spacing_mm: float

    def observe(self, nodule: Nodule, finding_id: str, *, looks_again: bool = True) -> NoduleDetail:
        """Return what is told of a nodule.

        Args:
            looks_again: Whether the network sees it again, for the spread of its score.

        Raises:
            ReadError: If the voxels around it cannot be read.
        """
        lesion = measure_lesion(self.pyramid, nodule.centre_lps_mm, nodule.diameter_mm)
        diameter_mm = nodule.diameter_mm if lesion.doubt else lesion.diameter_mm
        number = nodule.index_zyx[0]
        origin = self.origins[number] if self.origins else None
        return NoduleDetail(
            finding_id=finding_id,
            score=nodule.probability,
            score_spread=self._spread(nodule) if looks_again else None,
            diameter_from="network" if lesion.doubt else "measured",
            measured_mm=lesion.diameter_mm,
            network_mm=nodule.diameter_mm,
            doubt=lesion.doubt,
            median_hu=lesion.hu,
            texture=texture_of(lesion),
            calcified=is_calcified(lesion),
            side=self._sides.side_of(nodule.centre_lps_mm) if self._sides else "",
            third=self._sides.third_of(nodule.centre_lps_mm) if self._sides else "",
            pleura_mm=self._pleura_mm(lesion, nodule, diameter_mm),
            slice_number=number + 1,
            instance_number=origin.instance_number if origin else None,
            frame=origin.frame + 1 if origin else None,
            slice_location_mm=slice_location_mm(self.pyramid.levels[0].affine_lps, number),
        )

    def _spread(self, nodule: Nodule) -> float:
        module, place = self.detector.module, nodule.centre_lps_mm
        return float(look_again(self._grid, module, place, nodule.diameter_mm).std())

    def _pleura_mm(self, lesion: Lesion, nodule: Nodule, diameter_mm: float) -> float | None:
        if self._pleura is None:
            return None
        centre = nodule.centre_lps_mm if lesion.doubt else lesion.centre_lps_mm
        depth_mm = self._pleura.depth_mm(centre)
        return None if depth_mm is None else max(0.0, depth_mm - diameter_mm / 2)

    @cached_property
    def _grid(self) -> VoxelGrid:
        return VoxelGrid.of(self.pyramid.level_for(self.spacing_mm), self.spacing_mm)

    @cached_property
    def _sides(self) -> LungSides | None:
        return None if self.lungs.flagged else find_sides(self.lungs)

    @cached_property
    def _pleura(self) -> Pleura | None:
        return None if self.lungs.flagged else find_pleura(self.lungs)


def slice_location_mm(affine_lps: Affine, number: int) -> float:
    """Return the position of a slice along its normal: row direction cross column direction.

    Examples:
        >>> slice_location_mm(np.eye(4)[[2, 1, 0, 3]], 3)
        3.0
    """
    normal = np.cross(affine_lps[:3, 2], affine_lps[:3, 1])
    normal /= np.linalg.norm(normal)
    return float(index_to_lps(affine_lps, (number, 0, 0)) @ normal)

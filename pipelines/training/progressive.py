"""Progressive training as configs ask for it: coarse voxels first, fine ones last."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from pydantic import Field

from pipelines.config import Settings

if TYPE_CHECKING:
    from medvit.data.draws import Phase


class PhaseSettings(Settings):
    """One entry of `train.progressive`."""

    spacing_mm: float = Field(ge=0.5, le=4.0)
    share: float = Field(gt=0, le=1, description="part of all epochs")
    side: int | None = Field(
        None, ge=32, le=192, multiple_of=32, description="voxels of a crop; default: as ever"
    )


def check_phases(phases: Sequence[PhaseSettings], *, epochs: int, last_mm: float) -> None:
    """Check that phases can be run one after the other; no phase at all is fine.

    Raises:
        ValueError: If spacings do not fall to `last_mm`, shares do not sum to 1, or a
            phase gets no whole epoch.
    """
    from medvit.data.draws import phase_ends

    if not phases:
        return
    spacings = [phase.spacing_mm for phase in phases]
    if any(finer >= coarser for coarser, finer in pairwise(spacings)):
        msg = f"progressive spacings must fall from phase to phase, got {spacings} mm"
        raise ValueError(msg)
    if spacings[-1] != last_mm:
        msg = f"the last progressive phase must have {last_mm:g} mm, got {spacings[-1]:g} mm"
        raise ValueError(msg)
    phase_ends(epochs, [phase.share for phase in phases])


def phases_of(
    phases: Sequence[PhaseSettings], *, spacing_mm: float, side: int
) -> tuple[Phase, ...]:
    """Return the phases of a training; a single one where none is asked for.

    Args:
        spacing_mm: Side of a voxel without phases.
        side: Voxels of a crop, where a phase does not say.
    """
    from medvit.data.draws import Phase

    if not phases:
        return (Phase(spacing_mm, side),)
    return tuple(Phase(phase.spacing_mm, phase.side or side, phase.share) for phase in phases)

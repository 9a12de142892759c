"""A nodule that the readers of a scan agree on, and how many of them say so."""

from __future__ import annotations

from dataclasses import dataclass

from medvit.geometry import Triple


@dataclass(frozen=True, slots=True)
class AgreedNodule:
    """A nodule as the readers left it.

    Attributes:
        centre_lps_mm: As x, y, z.
        confirmed_by: Readers who say that it is a nodule.
        asked: Readers who said what it is; who is unsure does not count.
        measured_by: `name@version` of the model whose centre and diameter stand; empty where
            readers set them.
    """

    finding_id: str
    centre_lps_mm: Triple
    diameter_mm: float
    confirmed_by: int
    asked: int
    measured_by: str

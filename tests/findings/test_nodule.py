"""Words for what was measured."""

from __future__ import annotations

import pytest

from medvit.findings.nodule import is_calcified, texture_of
from medvit.volume.lesion import Doubt, Lesion


def lesion(
    hu: float, solid_share: float, *, diameter_mm: float = 10.0, doubt: Doubt = ""
) -> Lesion:
    return Lesion(diameter_mm, (0.0, 0.0, 0.0), hu, solid_share, 0.2, 0.9, doubt)


@pytest.mark.parametrize(
    ("hu", "solid_share", "diameter_mm", "texture"),
    [
        (-20.0, 0.97, 10.0, "solid"),
        (-20.0, 0.85, 10.0, "part_solid"),
        (-200.0, 0.85, 5.0, "solid"),
        (-600.0, 0.1, 10.0, "part_solid"),
        (-600.0, 0.0, 10.0, "ground_glass"),
        (-400.0, 0.0, 10.0, "part_solid"),
    ],
)
def test_texture_goes_by_the_solid_share(
    hu: float, solid_share: float, diameter_mm: float, texture: str
) -> None:
    assert texture_of(lesion(hu, solid_share, diameter_mm=diameter_mm)) == texture


def test_nothing_is_said_of_what_is_in_doubt() -> None:
    doubtful = lesion(-20.0, 0.97, doubt="no_edge")
    assert texture_of(doubtful) == ""
    assert is_calcified(doubtful) is None
    assert is_calcified(lesion(300.0, 1.0)) is True

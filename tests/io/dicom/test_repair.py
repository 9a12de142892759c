from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis.strategies import DrawFn, composite, floats, integers, lists, permutations

from medvit.geometry import index_to_lps, spacing_of
from medvit.io.dicom.header import SliceHeader
from medvit.io.dicom.repair import Plan, plan_series
from medvit.volume.straight import read_straight
from medvit.volume.volume import AIR_HU, Hu
from tests.make.dicom_headers import header

Points = npt.NDArray[Any]
ROWS, COLUMNS, ROW_MM, COLUMN_MM = 16, 12, 0.7, 0.5


@dataclass(frozen=True, slots=True)
class Scene:
    """Slices through a field of values that is linear in LPS mm, so known everywhere.

    Attributes:
        along_mm: (n,) places along the normal.
        slope: Way along the row and column direction for each mm along the normal.
        gradient: HU per mm along x, y, z.
        order: Of the files; `twice` are slices of which there is a copy.
    """

    rotation: Points
    along_mm: Points
    slope: tuple[float, float]
    gradient: Points
    order: tuple[int, ...] = ()
    twice: tuple[int, ...] = ()

    @property
    def positions(self) -> Points:
        along_row, along_column, normal = self.rotation
        aside = self.slope[0] * along_row + self.slope[1] * along_column
        places: Points = np.outer(self.along_mm, normal + aside)
        return places

    def hu_at(self, points: Points) -> Points:
        return points @ self.gradient + 40.0

    def headers(self) -> list[SliceHeader]:
        orientation = (*self.rotation[0].tolist(), *self.rotation[1].tolist())
        made = [
            header((x, y, z), orientation=orientation, name=f"{number:02d}.dcm")
            for number, (x, y, z) in enumerate(self.positions.tolist())
        ]
        copies = [
            header(
                made[number].placement.position_mm,
                orientation=orientation,
                name=f"copy{number:02d}.dcm",
            )
            for number in self.twice
        ]
        return [*(made[number] for number in self.order or range(len(made))), *copies]

    def plane(self, header: SliceHeader) -> Points:
        position = np.array(header.placement.position_mm)
        rows = np.outer(np.arange(ROWS) * ROW_MM, self.rotation[1])
        columns = np.outer(np.arange(COLUMNS) * COLUMN_MM, self.rotation[0])
        return self.hu_at(position + rows[:, None] + columns)


def read(plan: Plan, scene: Scene) -> Hu:
    planes = np.array([scene.plane(each) for each in plan.stack.headers], np.float32)
    if plan.straight is None:
        return planes
    whole = (slice(0, side) for side in plan.shape)
    return read_straight(plan.straight, lambda z, y, x: planes[z, y, x].copy(), *whole)


def planned(scene: Scene) -> Plan:
    plan = plan_series(scene.headers(), read=scene.plane)
    assert isinstance(plan, Plan), plan
    return plan


def is_inside(scene: Scene, points: Points) -> npt.NDArray[np.bool_]:
    """Look for each point at the slices around it: do they reach so far within their planes."""
    heights = points @ scene.rotation[2]
    places = scene.positions
    last = len(places) - 1
    above = np.clip(np.searchsorted(scene.along_mm, heights - 1e-6), 0, last)
    below = np.clip(np.searchsorted(scene.along_mm, heights + 1e-6, side="right") - 1, 0, last)
    inside = np.ones(len(points), bool)
    for near in (below, above):
        column = (points - places[near]) @ scene.rotation[0] / COLUMN_MM
        row = (points - places[near]) @ scene.rotation[1] / ROW_MM
        inside &= (column >= -1e-6) & (column <= COLUMNS - 1 + 1e-6)
        inside &= (row >= -1e-6) & (row <= ROWS - 1 + 1e-6)
    return inside


def check(scene: Scene, plan: Plan) -> None:
    """Hold every voxel against the field at the place where the affine puts it."""
    hu = read(plan, scene)
    assert hu.shape == plan.shape
    index = np.indices(plan.shape).reshape(3, -1).T
    points = index_to_lps(plan.affine_lps, index)
    inside = is_inside(scene, points)
    assert inside.sum() >= 0.4 * ROWS * COLUMNS * len(scene.along_mm) * (1 - 0.05)
    np.testing.assert_allclose(hu.ravel()[inside], scene.hu_at(points[inside]), atol=1e-3)
    axes = plan.affine_lps[:3, :3] / np.linalg.norm(plan.affine_lps[:3, :3], axis=0)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=4e-3)


@composite
def rotations(draw: DrawFn) -> Points:
    quaternion = np.array(draw(lists(integers(-9, 9), min_size=4, max_size=4).filter(any)), float)
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w)],
            [2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w)],
            [2 * (x * z + y * w), 2 * (y * z - x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


@composite
def slopes(draw: DrawFn) -> tuple[float, float]:
    steepness = np.tan(np.radians(draw(floats(0.3, 29.0))))
    way = draw(floats(0, 2 * np.pi))
    return float(steepness * np.cos(way)), float(steepness * np.sin(way))


GRADIENTS = lists(floats(-20, 20), min_size=3, max_size=3).map(np.array)
COUNT = 8


@settings(deadline=None, max_examples=25)
@given(
    rotation=rotations(),
    gradient=GRADIENTS,
    gap_mm=floats(0.3, 5.0),
    order=permutations(range(COUNT)),
    twice=lists(integers(0, COUNT - 1), unique=True, max_size=4),
)
def test_straight_stacks_keep_every_value_at_its_place(
    rotation: Points, gradient: Points, gap_mm: float, order: list[int], twice: list[int]
) -> None:
    along = np.arange(COUNT) * gap_mm
    scene = Scene(rotation, along, (0, 0), gradient, tuple(order), tuple(twice))
    plan = planned(scene)
    assert plan.straight is None
    assert [reason.code for reason in plan.repairs] == ["duplicate_positions"] * bool(twice)
    assert spacing_of(plan.affine_lps) == pytest.approx((gap_mm, ROW_MM, COLUMN_MM), abs=1e-6)
    check(scene, plan)


@settings(deadline=None, max_examples=25)
@given(
    rotation=rotations(),
    gradient=GRADIENTS,
    gap_mm=floats(0.3, 2.0),
    slope=slopes(),
    order=permutations(range(COUNT)),
    twice=lists(integers(0, COUNT - 1), unique=True, max_size=2),
)
def test_tilted_stacks_come_back_straight_with_every_value_at_its_place(
    rotation: Points,
    gradient: Points,
    gap_mm: float,
    slope: tuple[float, float],
    order: list[int],
    twice: list[int],
) -> None:
    along = np.arange(COUNT) * gap_mm
    scene = Scene(rotation, along, slope, gradient, tuple(order), tuple(twice))
    plan = planned(scene)
    codes = ["duplicate_positions", "gantry_tilt"] if twice else ["gantry_tilt"]
    assert [reason.code for reason in plan.repairs] == codes
    assert spacing_of(plan.affine_lps) == pytest.approx((gap_mm, ROW_MM, COLUMN_MM), abs=1e-6)
    assert plan.sources == tuple(range(COUNT))
    check(scene, plan)


@settings(deadline=None, max_examples=25)
@given(
    rotation=rotations(),
    gradient=GRADIENTS,
    gaps=lists(floats(1.5, 2.5), min_size=COUNT, max_size=COUNT).filter(
        lambda gaps: max(gaps) - min(gaps) > 0.4
    ),
    slope=lists(floats(-0.4, 0.4), min_size=2, max_size=2),
    order=permutations(range(COUNT + 1)),
)
def test_uneven_stacks_tilted_or_not_come_back_even_with_every_value_at_its_place(
    rotation: Points, gradient: Points, gaps: list[float], slope: list[float], order: list[int]
) -> None:
    along = np.cumsum([0.0, *gaps])
    if np.hypot(slope[0], slope[1]) < np.tan(np.radians(0.25)):
        slope = [0.0, 0.0]
    scene = Scene(rotation, along, (slope[0], slope[1]), gradient, tuple(order))
    plan = plan_series(scene.headers(), read=scene.plane)
    assert isinstance(plan, Plan), plan
    if plan.straight is None or len(plan.repairs) < 1 + any(slope):
        return  # within the tolerance of an even stack
    assert plan.repairs[-1].code == "uneven_spacing"
    step_mm = (along[-1] - along[0]) / (plan.shape[0] - 1)
    assert spacing_of(plan.affine_lps)[0] == pytest.approx(step_mm, abs=1e-6)
    told = re.search(r"to (\d+) slices every ([\d.]+) mm", plan.repairs[-1].message)
    assert told is not None
    assert int(told[1]) == plan.shape[0]
    assert float(told[2]) == pytest.approx(step_mm, abs=6e-4)
    nearest = [int(np.abs(along - step_mm * n).argmin()) for n in range(plan.shape[0])]
    off_mm = [abs(along[n] - along[s]) for n, s in zip(nearest, plan.sources, strict=True)]
    assert max(off_mm) < 2.5
    check(scene, plan)


def straight(heights: list[float], slope: tuple[float, float] = (0.0, 0.0)) -> Scene:
    return Scene(np.eye(3), np.array(heights), slope, np.array([1.0, 2.0, 3.0]))


def test_a_tilt_below_the_tolerance_stays_in_the_z_step() -> None:
    plan = planned(straight([0.0, 2.0, 4.0, 6.0], slope=(0.001, 0.002)))
    assert plan.repairs == ()
    np.testing.assert_allclose(plan.affine_lps[:3, 0], (0.002, 0.004, 2.0), atol=1e-9)


def test_an_uneven_stack_with_a_tilt_below_the_tolerance_keeps_it_in_the_z_step() -> None:
    plan = planned(straight([0.0, 2.0, 4.0, 6.5, 8.0], slope=(0.0, 0.002)))
    assert [reason.code for reason in plan.repairs] == ["uneven_spacing"]
    np.testing.assert_allclose(plan.affine_lps[:3, 0], (0.0, 0.004, 2.0), atol=1e-6)
    assert plan.shape == (5, ROWS, COLUMNS)


def test_the_canvas_of_a_tilt_grows_by_the_shift_and_no_more() -> None:
    plan = planned(straight([0.0, 2.0, 4.0, 6.0], slope=(0.0, 0.35)))
    assert plan.shape == (4, ROWS + 3, COLUMNS)
    hu = read(plan, straight([0.0, 2.0, 4.0, 6.0], slope=(0.0, 0.35)))
    assert (hu[3, :3] == AIR_HU).all()
    assert (hu[0, ROWS:] == AIR_HU).all()


def test_the_facts_of_a_repair_are_there_for_machines() -> None:
    scene = Scene(
        np.eye(3), np.arange(4) * 2.0, (0.0, 0.35), np.zeros(3), order=(3, 1, 0, 2), twice=(2,)
    )
    repair = planned(scene).repair
    assert repair is not None
    assert [method.split(":")[0] for method in repair.methods] == [
        "their HU are equal in every pixel, so the copies are left out",
        "sheared back",
    ]
    assert repair.dropped == ("copy02.dcm",)
    assert repair.tilt_deg == pytest.approx(np.degrees(np.arctan(0.35)), abs=1e-3)
    assert repair.gaps_mm == (2.0, 2.0)
    assert [each.file for each in repair.source_slices] == ["00.dcm", "01.dcm", "02.dcm", "03.dcm"]


def test_a_sound_series_needs_no_repair_and_has_no_facts_of_one() -> None:
    plan = planned(straight([0.0, 2.0, 4.0]))
    assert (plan.repairs, plan.repair, plan.sources) == ((), None, (0, 1, 2))


@settings(deadline=None, max_examples=30)
@given(order=permutations(range(6)))
def test_a_refusal_does_not_depend_on_the_order_of_the_files(order: list[int]) -> None:
    scene = straight([0.0, 4.0, 8.0, 15.0, 22.0, 29.0], slope=(0.0, 0.3))
    headers = scene.headers()
    found = plan_series([headers[number] for number in order], read=scene.plane)
    assert found == plan_series(headers, read=scene.plane)
    assert not isinstance(found, Plan)
    assert [reason.code for reason in found] == ["uneven_spacing", "gantry_tilt"]
    assert found[0].message.endswith("reconstruct the series with one slice distance")
    assert found[1].message.endswith("resample the series without tilt")


def test_what_cannot_be_repaired_is_told_before_what_could() -> None:
    scene = Scene(
        np.eye(3), np.array([0.0, 2.0, 4.0, 8.0]), (0.0, 0.35), np.ones(3), twice=(0,), order=()
    )
    headers = scene.headers()
    found = plan_series(headers, read=scene.plane)
    assert not isinstance(found, Plan)
    assert [r.code for r in found] == ["missing_slices", "duplicate_positions", "gantry_tilt"]


def test_acquisitions_among_each_other_are_refused_unless_they_are_copies() -> None:
    scene = Scene(np.eye(3), np.arange(6) * 2.0, (0, 0), np.ones(3), twice=(0, 1, 2, 3, 4, 5))
    one, two = scene.headers()[:6], scene.headers()[6:]
    alternate = [
        header(each.placement.position_mm, name=each.path.name, acquisition=str(number % 2))
        for number, each in enumerate(one)
    ]
    found = plan_series(alternate, read=scene.plane)
    assert not isinstance(found, Plan)
    assert [reason.code for reason in found] == ["mixed_series"]
    copies = [
        header(each.placement.position_mm, name=each.path.name, acquisition="9") for each in two
    ]
    plan = plan_series([*one, *copies], read=scene.plane)
    assert isinstance(plan, Plan)
    assert plan.repair is not None
    assert len(plan.repair.dropped) == 6


def test_no_slices_at_all_are_missing_data() -> None:
    found = plan_series([])
    assert not isinstance(found, Plan)
    assert [reason.code for reason in found] == ["missing_data"]

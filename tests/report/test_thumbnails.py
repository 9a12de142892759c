"""Pictures of findings."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from medvit.findings.finding import Finding
from medvit.geometry import affine_from
from medvit.report.thumbnails import (
    GAP_PX,
    IMAGE_PX,
    VIEW_PX,
    data_uri,
    defect_thumbnail,
    nodule_thumbnail,
)
from medvit.volume.volume import Volume
from tests.make.results import ct_case, nodule

PNG = b"\x89PNG\r\n\x1a\nrest"
CENTRE_MM = (40.0, 40.0, 40.0)


def _picture(uri: str) -> NDArray[np.int16]:
    encoded = uri.removeprefix("data:image/jpeg;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))), np.int16)


def _views(uri: str) -> list[NDArray[np.int16]]:
    picture = _picture(uri)
    return [
        picture[:, start : start + VIEW_PX]
        for start in (0, VIEW_PX + GAP_PX, 2 * (VIEW_PX + GAP_PX))
    ]


def _volume(hu: NDArray[np.float32], *, flip: bool = False) -> Volume:
    """Return a 1 mm volume; flipped, rows and columns run against patient axes."""
    if not flip:
        affine = affine_from((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0))
        return Volume(hu.shape, affine, lambda z, y, x: hu[z, y, x].copy())
    last = float(hu.shape[1] - 1)
    affine = affine_from((last, last, 0), (0, 0, 1), (0, -1, 0), (-1, 0, 0))
    turned = hu[:, ::-1, ::-1]
    return Volume(hu.shape, affine, lambda z, y, x: turned[z, y, x].copy())


def _finding(
    centre_mm: tuple[float, float, float] = CENTRE_MM, diameter_mm: float = 8.0
) -> Finding:
    x_mm, y_mm, z_mm = centre_mm
    plain = nodule(ct_case())
    return replace(plain, x_mm=x_mm, y_mm=y_mm, z_mm=z_mm, diameter_mm=diameter_mm)


def _lump() -> NDArray[np.float32]:
    """Return air with a bright block that lies left, posterior and superior of the centre."""
    hu = np.full((80, 80, 80), -1000, np.float32)
    hu[50:60, 50:60, 50:60] = 200
    return hu


def test_views_are_hung_as_a_reader_expects() -> None:
    axial = _views(nodule_thumbnail(_volume(_lump()), _finding((40, 40, 55))))[0]
    # 60 mm across: 15 mm to the patient's left is 0.75 of the way to the right.
    near, far = VIEW_PX // 4, 3 * VIEW_PX // 4
    assert axial[far, far].min() > 200
    assert axial[near, far].max() < 80
    coronal = _views(nodule_thumbnail(_volume(_lump()), _finding((40, 55, 40))))[1]
    assert coronal[near, far].min() > 200
    assert coronal[far, far].max() < 80
    sagittal = _views(nodule_thumbnail(_volume(_lump()), _finding((55, 40, 40))))[2]
    assert sagittal[near, far].min() > 200


def test_the_orientation_of_the_volume_does_not_show() -> None:
    plain = nodule_thumbnail(_volume(_lump()), _finding((50, 50, 50)))
    turned = nodule_thumbnail(_volume(_lump(), flip=True), _finding((50, 50, 50)))
    assert plain == turned


def test_the_circle_is_drawn_in_colour_around_the_nodule() -> None:
    axial = _views(nodule_thumbnail(_volume(_lump()), _finding(diameter_mm=20.0)))[0]
    coloured = np.argwhere(axial[..., 0] - axial[..., 2] > 80)
    radius = np.hypot(*(coloured - VIEW_PX / 2).T)
    expected = 10 * VIEW_PX / 60 * 1.25 + 3
    assert len(coloured) > 50
    assert np.abs(radius - expected).max() < 3


@pytest.mark.parametrize("centre_mm", [(0.0, 0.0, 0.0), (79.0, 79.0, 79.0), (500.0, 0.0, -90.0)])
def test_a_finding_at_the_edge_or_outside_is_padded_with_air(
    centre_mm: tuple[float, float, float],
) -> None:
    bright = np.full((80, 80, 80), 300, np.float32)
    picture = _picture(nodule_thumbnail(_volume(bright), _finding(centre_mm)))
    assert picture.shape == (VIEW_PX, 3 * VIEW_PX + 2 * GAP_PX, 3)
    assert (picture.max(axis=2) < 40).any()


def test_only_the_surroundings_are_read() -> None:
    read: list[int] = []
    hu = np.zeros((400, 80, 80), np.float32)

    def read_block(z: slice, y: slice, x: slice) -> NDArray[np.float32]:
        read.append(z.stop - z.start)
        return hu[z, y, x].copy()

    affine = affine_from((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0))
    nodule_thumbnail(Volume(hu.shape, affine, read_block), _finding((40, 40, 200)))
    assert max(read) <= 62


def test_a_finding_without_a_place_has_no_view() -> None:
    finding = replace(_finding(), z_mm=None)
    with pytest.raises(ValueError, match=f"{finding.finding_id}: a view needs a centre in mm"):
        nodule_thumbnail(_volume(_lump()), finding)


@pytest.mark.parametrize(
    ("shape", "size"), [((128, 128), (96, 96)), ((50, 200), (24, 96)), ((1, 1), (96, 96))]
)
def test_an_image_stands_beside_its_heat_map(shape: tuple[int, int], size: tuple[int, int]) -> None:
    pixels = np.full((*shape, 3), 0.5, np.float32)
    picture = _picture(defect_thumbnail(pixels, np.ones(shape, np.float32), None))
    height, width = size
    assert picture.shape == (height, 2 * width + GAP_PX, 3)
    assert np.abs(picture[:, : width - 4] - 128).max() < 12
    over = picture[height // 2, -width // 2]
    assert over[0] - over[2] > 60


def test_no_heat_leaves_the_image_as_it_is_and_the_box_is_drawn() -> None:
    pixels = np.full((96, 96, 3), 0.5, np.float32)
    picture = _picture(defect_thumbnail(pixels, np.zeros((96, 96), np.float32), (10, 20, 60, 90)))
    over = picture[:, IMAGE_PX + GAP_PX :]
    coloured = np.argwhere(over[..., 0] - over[..., 2] > 80)
    assert np.abs(coloured.min(axis=0) - [20, 10]).max() <= 1
    assert np.abs(coloured.max(axis=0) - [89, 59]).max() <= 1


def test_a_heat_map_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"heat map \(4, 4\) does not cover the image \(8, 8\)"):
        defect_thumbnail(np.zeros((8, 8, 3), np.float32), np.zeros((4, 4), np.float32), None)


def test_pictures_become_data_uris() -> None:
    uri = data_uri(PNG)
    assert uri.startswith("data:image/png;base64,")
    assert data_uri(uri) == uri
    assert data_uri(b"\xff\xd8\xffrest").startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize(
    "picture",
    [
        "https://example.org/x.png",
        "data:image/svg+xml;base64,AAAA",
        'data:image/png;base64,AA" onerror="alert(1)',
        b"GIF89a",
        b"",
        "",
    ],
)
def test_anything_else_is_refused(picture: str | bytes) -> None:
    with pytest.raises(ValueError, match="must be a PNG or JPEG"):
        data_uri(picture)

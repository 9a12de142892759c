"""Small pictures of findings: three views of a nodule, an image beside its heat map."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import map_coordinates

from medvit.findings.finding import Finding
from medvit.geometry import lps_to_index
from medvit.report.heat import under_heat
from medvit.volume.volume import AIR_HU, Volume
from medvit.volume.window import LUNG

VIEW_PX = 160
GAP_PX = 4
FIELD_MM = 60.0
FIELD_MAX_MM = 160.0
SCALE_BAR_MM = 10.0
IMAGE_PX = 96
JPEG_QUALITY = 80
MARK = (255, 158, 0)
INK = (20, 26, 30)
PAPER = (255, 255, 255)
DATA_URI = re.compile(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/]+={0,2}")
SIGNATURES = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}
# Rows and columns of each view as directions in LPS mm, as a reader hangs them:
# axial from below, coronal from the front, sagittal from the left; head up.
VIEWS = (
    (np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0])),
    (np.array([0.0, 0.0, -1.0]), np.array([1.0, 0.0, 0.0])),
    (np.array([0.0, 0.0, -1.0]), np.array([0.0, 1.0, 0.0])),
)

# Patient's right, left, front, back, head and feet at the left, right, top and bottom.
LETTERS = ("RLAP", "RLHF", "APHF")
LETTER_PX = 12

Grey = NDArray[np.uint8]
Box = tuple[int, int, int, int]


def nodule_thumbnail(volume: Volume, finding: Finding) -> str:
    """Return axial, coronal and sagittal views of a nodule, circled, as a data URI.

    The views are sampled in patient space (lung window, 10 mm bar at the lower left, letters
    of the patient's directions), so they look alike for every slice thickness and orientation
    of the volume.

    Raises:
        ValueError: If the finding has no place in mm.
        ReadError: If the pixels cannot be read.
    """
    centre_mm = _centre_mm(finding)
    diameter_mm = finding.diameter_mm or 0.0
    field_mm = min(max(FIELD_MM, 2.5 * diameter_mm), FIELD_MAX_MM)
    strip = Image.new("RGB", (3 * VIEW_PX + 2 * GAP_PX, VIEW_PX), PAPER)
    for number, hu in enumerate(_sample_views(volume, centre_mm, field_mm)):
        view = Image.fromarray(LUNG.apply(hu)).convert("RGB")
        _mark(view, radius_px=diameter_mm / 2 * VIEW_PX / field_mm)
        _draw_scale(view, px=SCALE_BAR_MM * VIEW_PX / field_mm)
        _draw_letters(view, LETTERS[number])
        strip.paste(view, (number * (VIEW_PX + GAP_PX), 0))
    return data_uri(_jpeg(strip))


def defect_thumbnail(
    pixels: NDArray[np.float32], heat: NDArray[np.float32], box: Box | None
) -> str:
    """Return an image beside itself under its heat map, with the box, as a data URI.

    Args:
        pixels: (h, w, 3) in 0..1.
        heat: (h, w) in 0..1.
        box: `(x_min, y_min, x_max, y_max)` in pixels, half-open.

    Raises:
        ValueError: If image and heat map differ in size.
    """
    if heat.shape != pixels.shape[:2]:
        msg = f"heat map {heat.shape} does not cover the image {pixels.shape[:2]}"
        raise ValueError(msg)
    plain = _fitted(pixels.clip(0, 1) * 255)
    over = under_heat(plain, heat)
    if box is not None:
        _draw_box(over, box, scale=over.width / pixels.shape[1])
    pair = Image.new("RGB", (2 * plain.width + GAP_PX, plain.height), PAPER)
    pair.paste(plain, (0, 0))
    pair.paste(over, (plain.width + GAP_PX, 0))
    return data_uri(_jpeg(pair))


def data_uri(picture: bytes | str) -> str:
    """Return a PNG or JPEG as a data URI; one that is a data URI already stays as it is.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(picture, str):
        if DATA_URI.fullmatch(picture):
            return picture
        msg = f"a thumbnail must be a PNG or JPEG data URI, got {picture[:30]!r}"
        raise ValueError(msg)
    for signature, kind in SIGNATURES.items():
        if picture.startswith(signature):
            return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"
    msg = f"a thumbnail must be a PNG or JPEG, got bytes that start with {picture[:4]!r}"
    raise ValueError(msg)


def _centre_mm(finding: Finding) -> NDArray[np.float64]:
    place = (finding.x_mm, finding.y_mm, finding.z_mm)
    if None in place:
        msg = f"{finding.finding_id}: a view needs a centre in mm, got {place}"
        raise ValueError(msg)
    return np.array(place, np.float64)


def _sample_views(
    volume: Volume, centre_mm: NDArray[np.float64], field_mm: float
) -> list[NDArray[np.float32]]:
    """Return the three views, (VIEW_PX, VIEW_PX) HU each; outside of the volume is air."""
    steps_mm = (np.arange(VIEW_PX) + 0.5) * field_mm / VIEW_PX - field_mm / 2
    rows_mm, columns_mm = steps_mm[:, None, None], steps_mm[None, :, None]
    points = [
        lps_to_index(volume.affine_lps, centre_mm + rows_mm * down + columns_mm * right)
        for down, right in VIEWS
    ]
    return [_sample(volume, index_zyx) for index_zyx in points]


def _sample(volume: Volume, index_zyx: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return HU at voxel indices (..., 3), reading only the box around them."""
    flat = index_zyx.reshape(-1, 3)
    low = np.clip(np.floor(flat.min(axis=0)).astype(int), 0, volume.shape)
    high = np.clip(np.ceil(flat.max(axis=0)).astype(int) + 1, 0, volume.shape)
    if (low >= high).any():
        return np.full(index_zyx.shape[:-1], AIR_HU, np.float32)
    block = volume.read_floored(*(slice(a, b) for a, b in zip(low, high, strict=True)))
    inside = np.moveaxis(index_zyx - low, -1, 0)
    sampled = map_coordinates(block, inside, order=1, mode="constant", cval=AIR_HU)
    return np.asarray(sampled, np.float32)


def _mark(view: Image.Image, *, radius_px: float) -> None:
    """Draw a circle that leaves the edge of the nodule visible."""
    centre = (view.width / 2, view.height / 2)
    ImageDraw.Draw(view).circle(centre, max(8.0, radius_px * 1.25 + 3), outline=MARK, width=1)


def _draw_scale(view: Image.Image, *, px: float) -> None:
    y = view.height - 6
    bar = ImageDraw.Draw(view)
    bar.rectangle((5, y - 1, 7 + px, y + 2), fill=INK)
    bar.rectangle((6, y, 6 + px, y + 1), fill=PAPER)


def _draw_letters(view: Image.Image, letters: str) -> None:
    """Write the directions in the middle of each side."""
    drawn, font = ImageDraw.Draw(view), ImageFont.load_default(LETTER_PX)
    far, half = view.width - 4, view.width / 2
    places = (((3, half), "lm"), ((far, half), "rm"), ((half, 3), "mt"), ((half, far), "mb"))
    for letter, (place, anchor) in zip(letters, places, strict=True):
        drawn.text(
            place, letter, fill=PAPER, font=font, anchor=anchor, stroke_width=1, stroke_fill=INK
        )


def _fitted(rgb: NDArray[np.float32]) -> Image.Image:
    """Return an image whose longer side is `IMAGE_PX`."""
    height, width = rgb.shape[:2]
    scale = IMAGE_PX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = Image.fromarray(np.floor(rgb + 0.5).astype(np.uint8))
    return image.resize(size, Image.Resampling.HAMMING if scale < 1 else Image.Resampling.BICUBIC)


def _draw_box(view: Image.Image, box: Box, *, scale: float) -> None:
    x_min, y_min, x_max, y_max = (edge * scale for edge in box)
    corners = (x_min, y_min, max(x_min, x_max - 1), max(y_min, y_max - 1))
    ImageDraw.Draw(view).rectangle(corners, outline=MARK, width=1)


def _jpeg(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return stream.getvalue()

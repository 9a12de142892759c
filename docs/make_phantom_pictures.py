"""Draw the pictures of docs/phantoms.md: made slices beside real ones, nodules, distractors."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from medvit.data.backgrounds import native_background
from medvit.data.chest.scanner import add_noise
from medvit.data.distractors import DISTRACTOR_KINDS, draw_distractor, insert_distractor
from medvit.data.insertion import insert_nodule
from medvit.data.nodule_sites import find_site
from medvit.data.nodule_spec import KINDS, Kind, NoduleSpec, draw_nodule
from medvit.data.phantom import Phantom, draw_phantom, make_phantom
from medvit.data.surface_phantom import LABELS, make_surface
from medvit.io.readers import open_volume
from medvit.volume.window import LUNG, SOFT_TISSUE, Window

Grey = NDArray[np.uint8]
Floats = NDArray[np.float32]
Triple = tuple[float, float, float]

TILE_PX, SMALL_PX, IMAGE_PX = 400, 170, 400
SOURCES = (
    ("lidc/LIDC-IDRI-0001", 0.5, "LIDC-IDRI-0001, 2.5 mm"),
    ("lidc/LIDC-IDRI-0002", 0.5, "LIDC-IDRI-0002, 1.25 mm"),
    ("lung_pet_ct_dx/A0002/series3_B40f", 0.6, "Lung-PET-CT-Dx A0002, 8 mm"),
)
MADE = ((721, 2.5, 4.0), (28, 1.25, 40.0), (633, 5.0, -50.0))
"""Seed, distance of slices and height of the slice in mm."""

SCANNER_MM: Triple = (0.7, 0.7, 0.7)
PSF_MM: Triple = (1.0, 0.9, 0.9)
NOISE_HU = 22.0


class Scanner(TypedDict):
    """How a volume was seen, as insertion asks for it."""

    spacing_mm: Triple
    psf_fwhm_mm: Triple
    noise_sd_hu: float


def main() -> None:
    """Write the PNGs beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ct", type=Path, help="folder with lidc and lung_pet_ct_dx")
    folder = parser.parse_args().ct
    out = Path(__file__).parent / "phantoms"
    out.mkdir(exist_ok=True)
    real = [(_slice(folder / name, at), label) for name, at, label in SOURCES]
    made = [(_made_slice(*each), f"made, {each[1]:g} mm") for each in MADE]
    for name, window in (("axial", LUNG), ("soft_tissue", SOFT_TISSUE)):
        rows = [[tile(hu, label, window) for hu, label in row] for row in (real, made)]
        _write(out / f"{name}.png", rows)
    _write(out / "planes.png", [_planes(12, 1.25), _planes(11, 2.5)])
    _write(out / "nodules.png", _nodules())
    _write(out / "distractors.png", _distractors())
    _write(out / "inserted.png", [_inserted(folder / SOURCES[n][0], n) for n in (0, 1)])
    _write(out / "steel.png", _steel())


def tile(hu: Floats, label: str = "", window: Window = LUNG, side_px: int = TILE_PX) -> Grey:
    """Return a picture with its longer side as long as a tile, and its name in a corner."""
    image = Image.fromarray(window.apply(np.asarray(hu, np.float32)))
    scale = side_px / max(image.size)
    wanted = (round(image.width * scale), round(image.height * scale))
    small = image.resize(wanted, Image.Resampling.BICUBIC)
    canvas = Image.new("L", (side_px, side_px))
    canvas.paste(small, ((side_px - small.width) // 2, (side_px - small.height) // 2))
    ImageDraw.Draw(canvas).text((6, 4), label, fill=235, stroke_width=2, stroke_fill=0)
    return np.asarray(canvas)


def _slice(folder: Path, at: float) -> Floats:
    volume = open_volume(folder)
    z = round(at * volume.shape[0])
    block: Floats = volume.read(slice(z, z + 1), slice(None), slice(None))
    return block.reshape(block.shape[1:])


def _made_slice(seed: int, slice_mm: float, height_mm: float) -> Floats:
    """Return a slice of a wide scan."""
    rng = np.random.default_rng(seed)
    drawn = draw_phantom(rng, spacing_mm=(slice_mm, 1.0, 1.0), n_nodules=2)
    pixel_mm = round(2 * (drawn.body.half_width_mm + 70) / IMAGE_PX, 4)
    start_mm = -(IMAGE_PX - 1) / 2 * pixel_mm
    spec = replace(
        drawn,
        shape=(drawn.shape[0], IMAGE_PX, IMAGE_PX),
        spacing_mm=(slice_mm, pixel_mm, pixel_mm),
        origin_mm=(drawn.origin_mm[0], start_mm, start_mm),
        is_round=True,
    )
    index = round((height_mm - spec.origin_mm[0]) / slice_mm)
    return np.asarray(make_phantom(spec, rng).hu[index], np.float32)


def _planes(seed: int, slice_mm: float) -> list[Grey]:
    """Return a coronal slice, and a sagittal one through each lung."""
    rng = np.random.default_rng(seed)
    phantom = make_phantom(draw_phantom(rng, spacing_mm=(slice_mm, 0.9, 0.9), n_nodules=5), rng)
    height, (_, rows, columns) = _height(phantom), phantom.hu.shape
    cuts = [phantom.hu[::-1, round(0.5 * rows)]]
    cuts += [phantom.hu[::-1, :, round(share * columns)] for share in (0.27, 0.7)]
    shown = [Image.fromarray(cut.astype(np.float32)) for cut in cuts]
    return [tile(np.asarray(cut.resize((cut.width, height)))) for cut in shown]


def _height(phantom: Phantom) -> int:
    z_mm, y_mm, _ = phantom.spacing_mm
    return round(len(phantom.hu) * z_mm / y_mm)


def _lung(rng: np.random.Generator) -> Floats:
    """Return 43 mm of lung with noise, and a wall at one end."""
    volume = np.full((61, 61, 61), -850, np.float32)
    volume[:, :6] = 40
    add_noise(volume, step_mm=SCANNER_MM, sd_hu=NOISE_HU, sharpness=0.4, rng=rng)
    return volume


def _nodules() -> list[list[Grey]]:
    """Return nodules of each kind, middle slices."""
    rng = np.random.default_rng(4)
    return [[_nodule(kind, rng) for _ in range(7)] for kind in KINDS]


def _nodule(kind: Kind, rng: np.random.Generator) -> Grey:
    spec = draw_nodule(rng, centre_index_zyx=(30, 30, 30), kinds=(kind,))
    while spec.diameter_mm < 6:
        spec = draw_nodule(rng, centre_index_zyx=(30, 30, 30), kinds=(kind,))
    volume = _lung(rng)
    scanner = Scanner(spacing_mm=SCANNER_MM, psf_fwhm_mm=PSF_MM, noise_sd_hu=NOISE_HU)
    insert_nodule(volume, spec, **scanner, rng=rng)
    return tile(volume[30], f"{kind.replace('_', '-')} {spec.diameter_mm:.0f} mm", side_px=SMALL_PX)


def _distractors() -> list[list[Grey]]:
    """Return distractors of each kind; of the thin ones the brightest of 9 slices."""
    rng = np.random.default_rng(4)
    scanner = Scanner(spacing_mm=SCANNER_MM, psf_fwhm_mm=PSF_MM, noise_sd_hu=NOISE_HU)
    rows: list[list[Grey]] = []
    for kind in DISTRACTOR_KINDS:
        row: list[Grey] = []
        while len(row) < 7:
            volume = _lung(rng)
            mask = volume < -500
            thing = draw_distractor(rng, volume, mask, spacing_mm=SCANNER_MM, kind=kind)
            if thing is None:
                continue
            insert_distractor(volume, thing, **scanner, rng=rng)
            z = round(thing.centre_index_zyx[0])
            reach = 4 if kind in {"vessel_bend", "scar"} else 0
            shown = volume[max(0, z - reach) : z + reach + 1].max(axis=0)
            row.append(tile(shown, kind.replace("_", " "), side_px=SMALL_PX))
        rows.append(row)
    return rows


def _inserted(folder: Path, seed: int) -> list[Grey]:
    """Return five places of a real scan in pairs: as it is, and with a nodule put in."""
    scan = native_background(open_volume(folder), [])
    rng = np.random.default_rng(seed)
    scanner = Scanner(
        spacing_mm=scan.spacing_mm, psf_fwhm_mm=scan.psf_fwhm_mm, noise_sd_hu=scan.noise_sd_hu
    )
    tiles: list[Grey] = []
    wanted: list[tuple[Kind, float]] = [
        ("solid", 8), ("solid", 14), ("part_solid", 15), ("ground_glass", 13), ("calcified", 7),
    ]  # fmt: skip
    for kind, diameter_mm in wanted:
        site = find_site(rng, scan.hu, scan.lungs, kind="isolated", spacing_mm=scan.spacing_mm)
        if site is None:
            continue
        drawn = draw_nodule(rng, centre_index_zyx=site, kinds=(kind,))
        spec: NoduleSpec = replace(drawn, diameter_mm=diameter_mm)
        hu = scan.hu.copy()
        insert_nodule(hu, spec, **scanner, rng=rng)
        z, y, x = (round(at) for at in site)
        part = np.s_[z, max(0, y - 36) : y + 36, max(0, x - 36) : x + 36]
        pair = [
            tile(scan.hu[part], "as it is", side_px=SMALL_PX),
            tile(hu[part], kind.replace("_", "-"), side_px=SMALL_PX),
        ]
        tiles.append(np.vstack(pair))
    return tiles


def _steel() -> list[list[Grey]]:
    count = len(LABELS)
    made = [make_surface(np.random.default_rng((1, n)), number=n).pixels for n in range(3 * count)]
    return [made[row * count : (row + 1) * count] for row in range(3)]


def _write(path: Path, rows: list[list[Grey]]) -> None:
    picture = np.vstack([np.hstack(row) for row in rows])
    Image.fromarray(picture).quantize(48).save(path, optimize=True)


if __name__ == "__main__":
    main()

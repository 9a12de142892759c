"""Draw the pictures of docs/phantoms.md: made slices beside real ones."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medvit.data.insertion import insert_nodule
from medvit.data.nodule_spec import KINDS, NoduleSpec, draw_nodule
from medvit.data.phantom import Phantom, draw_phantom, make_phantom
from medvit.data.surface_phantom import LABELS, make_surface
from medvit.io.readers import open_volume
from medvit.volume.window import LUNG, SOFT_TISSUE, Window

Grey = NDArray[np.uint8]
TILE_PX = 300
SOURCES = (
    ("lidc/LIDC-IDRI-0001", 0.5),
    ("lidc/LIDC-IDRI-0002", 0.5),
    ("lung_pet_ct_dx/A0002/series3_B40f", 0.45),
)


def main() -> None:
    """Write the PNGs beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ct", type=Path, help="folder with lidc and lung_pet_ct_dx")
    folder = parser.parse_args().ct
    out = Path(__file__).parent / "phantoms"
    out.mkdir(exist_ok=True)
    real = [_slice(folder / name, at) for name, at in SOURCES]
    made = [_made(seed, step_mm) for seed, step_mm in ((11, 2.5), (12, 1.25), (17, 5.0))]
    levels = (0.52, 0.7, 0.4)
    axial = [each.hu[round(at * len(each.hu))] for each, at in zip(made, levels, strict=True)]
    _write(out / "axial.png", [[tile(hu) for hu in real], [tile(hu) for hu in axial]])
    soft = [[tile(hu, SOFT_TISSUE) for hu in row] for row in (real, axial)]
    _write(out / "soft_tissue.png", soft)
    _write(out / "planes.png", [_planes(made[1]), _planes(made[0])])
    _write(out / "nodules.png", _nodules())
    _write(out / "steel.png", _steel())


def tile(hu: NDArray[np.float32] | NDArray[np.int16], window: Window = LUNG) -> Grey:
    """Return a picture with its longer side as long as a tile."""
    image = Image.fromarray(window.apply(np.asarray(hu, np.float32)))
    scale = TILE_PX / max(image.size)
    small = image.resize((round(image.width * scale), round(image.height * scale)))
    canvas = Image.new("L", (TILE_PX, TILE_PX))
    canvas.paste(small, ((TILE_PX - small.width) // 2, (TILE_PX - small.height) // 2))
    return np.asarray(canvas)


def _slice(folder: Path, at: float) -> NDArray[np.float32]:
    volume = open_volume(folder)
    z = round(at * volume.shape[0])
    block: NDArray[np.float32] = volume.read(slice(z, z + 1), slice(None), slice(None))
    return block.reshape(block.shape[1:])


def _made(seed: int, step_mm: float) -> Phantom:
    rng = np.random.default_rng(seed)
    spec = draw_phantom(rng, spacing_mm=(step_mm, 0.9, 0.9), n_nodules=5)
    return make_phantom(spec, rng)


def _planes(phantom: Phantom) -> list[Grey]:
    """Return a coronal slice, and a sagittal one through each lung."""
    z_mm, y_mm, _ = phantom.spacing_mm
    height = round(phantom.hu.shape[0] * z_mm / y_mm)
    _, rows, columns = phantom.hu.shape
    cuts = [phantom.hu[::-1, round(0.5 * rows)]]
    cuts += [phantom.hu[::-1, :, round(share * columns)] for share in (0.27, 0.7)]
    return [
        tile(np.asarray(Image.fromarray(cut.astype(np.float32)).resize((cut.shape[1], height))))
        for cut in cuts
    ]


def _nodules() -> list[list[Grey]]:
    """Return nodules of each kind in plain lung, middle slices."""
    rng = np.random.default_rng(4)
    rows = []
    for kind in KINDS:
        row: list[Grey] = []
        while len(row) < 4:
            spec = draw_nodule(rng, centre_index_zyx=(24, 24, 24))
            if spec.kind == kind and spec.diameter_mm > 6:
                row.append(_one(spec, rng))
        rows.append(row)
    return rows


def _one(spec: NoduleSpec, rng: np.random.Generator) -> Grey:
    volume = rng.normal(-850, 18, (49, 49, 49)).astype(np.float32)
    insert_nodule(
        volume,
        spec,
        spacing_mm=(0.7, 0.7, 0.7),
        psf_fwhm_mm=(1.0, 0.9, 0.9),
        noise_sd_hu=18,
        rng=rng,
    )
    return np.asarray(Image.fromarray(LUNG.apply(volume[24])).resize((150, 150)))


def _steel() -> list[list[Grey]]:
    count = len(LABELS)
    made = [make_surface(np.random.default_rng((1, n)), number=n).pixels for n in range(3 * count)]
    return [made[row * count : (row + 1) * count] for row in range(3)]


def _write(path: Path, rows: list[list[Grey]]) -> None:
    picture = np.vstack([np.hstack(row) for row in rows])
    Image.fromarray(picture).quantize(48).save(path, optimize=True)


if __name__ == "__main__":
    main()

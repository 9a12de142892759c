"""Made chests of any size for the scan benchmarks: 200 MB to 4 GB, DICOM or NIfTI, cached on disk.

A phantom of 512x512 is drawn once; larger ones are it on a finer grid, interpolated slice by
slice with noise of their own, so that no more than a few slices are ever in memory.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from medvit.data.dicom_writer import write_annotations, write_series
from medvit.data.phantom import Phantom, PlantedNodule, draw_phantom, make_phantom
from medvit.geometry import lps_to_index

Triple = tuple[float, float, float]
Slice = NDArray[np.int16]

BASE_SHAPE = (400, 512, 512)
BASE_SPACING_MM: Triple = (0.8, 0.75, 0.75)
N_NODULES = 8
NOISE_HU = 12.0
ANNOTATIONS = "annotations.csv"


@dataclass(frozen=True, slots=True)
class BigChest:
    """One volume to make.

    Attributes:
        seed: Of the body; the same seed is the same patient at any size.
        finer: Voxels along (z, y, x) for one of the base phantom.
        slices: Slices kept, from the bottom; None keeps all.
        form: `dicom`, `nii` or `nii.gz`.
    """

    name: str
    seed: int = 1
    finer: tuple[int, int, int] = (1, 1, 1)
    slices: int | None = None
    form: str = "dicom"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (z, y, x)."""
        z, y, x = (n * k for n, k in zip(BASE_SHAPE, self.finer, strict=True))
        return (self.slices or z, y, x)

    @property
    def spacing_mm(self) -> Triple:
        """Spacing along (z, y, x)."""
        z, y, x = (mm / k for mm, k in zip(BASE_SPACING_MM, self.finer, strict=True))
        return (z, y, x)


class FinerSlices:
    """Slices of a phantom on a finer grid, made when they are asked for."""

    def __init__(self, base: NDArray[np.int16], wanted: BigChest) -> None:
        self._base = base
        self._wanted = wanted
        self.shape = wanted.shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, number: int) -> Slice:
        if self._wanted.finer == (1, 1, 1):
            plane: Slice = self._base[number]
            return plane
        place = np.clip((number + 0.5) / self._wanted.finer[0] - 0.5, 0, len(self._base) - 1)
        low = int(place)
        high = min(low + 1, len(self._base) - 1)
        share = np.float32(place - low)
        mixed = self._base[low] * (1 - share) + self._base[high] * share
        for axis in (0, 1):
            mixed = _finer(mixed, self._wanted.finer[axis + 1], axis)
        noise = np.random.default_rng([self._wanted.seed, number]).standard_normal(
            mixed.shape, np.float32
        )
        values: Slice = np.clip(np.rint(mixed + NOISE_HU * noise), -1024, 3071).astype(np.int16)
        return values


def make_chest(wanted: BigChest, root: Path) -> Path:
    """Make a volume below `root`, unless it is there already, and return its folder.

    The folder `scan` in it holds the volume alone, `annotations.csv` beside it the nodules.
    """
    folder = root / wanted.name
    done = folder / "made.json"
    facts = json.loads(json.dumps(asdict(wanted)))
    if done.exists() and json.loads(done.read_text(encoding="utf-8")) == facts:
        return folder
    phantom = _with_slices(_base(wanted.seed, root), wanted)
    scan = folder / "scan"
    scan.mkdir(parents=True, exist_ok=True)
    series_uid = wanted.name
    if wanted.form == "dicom":
        series_uid = write_series(phantom, scan, seed=wanted.seed)
    else:
        _write_nifti(phantom, scan / f"{wanted.name}.{wanted.form}")
    write_annotations(folder / ANNOTATIONS, [(series_uid, each) for each in _inside(phantom)])
    done.write_text(json.dumps(facts), encoding="utf-8")
    return folder


def _inside(phantom: Phantom) -> list[PlantedNodule]:
    """Return the nodules whose centre lies in the slices that were kept."""
    depth = phantom.hu.shape[0]
    centres = np.array([nodule.centre_lps_mm for nodule in phantom.nodules])
    rows = lps_to_index(phantom.affine_lps, centres)[:, 0]
    return [each for each, row in zip(phantom.nodules, rows, strict=True) if 0 <= row <= depth - 1]


def _base(seed: int, root: Path) -> Phantom:
    """Return the phantom of 512x512, drawn once; its voxels lie in a mapped file."""
    rng = np.random.default_rng(seed)
    spec = draw_phantom(rng, spacing_mm=BASE_SPACING_MM, shape=BASE_SHAPE, n_nodules=N_NODULES)
    kept, facts = root / f"base-{seed}.npy", root / f"base-{seed}.json"
    if not facts.exists():
        made = make_phantom(spec, rng)
        root.mkdir(parents=True, exist_ok=True)
        np.save(kept, made.hu)
        stored = {"affine": made.affine_lps.tolist(), "nodules": [asdict(n) for n in made.nodules]}
        facts.write_text(json.dumps(stored), encoding="utf-8")
    known: dict[str, Any] = json.loads(facts.read_text(encoding="utf-8"))
    nodules = tuple(
        PlantedNodule(**{**row, "centre_lps_mm": tuple(row["centre_lps_mm"])})
        for row in known["nodules"]
    )
    hu = np.load(kept, mmap_mode="r")
    no_lungs = np.empty((0, 0, 0), bool)
    return Phantom(hu, no_lungs, BASE_SPACING_MM, np.array(known["affine"]), nodules)


def _with_slices(base: Phantom, wanted: BigChest) -> Phantom:
    finer = np.array(wanted.finer)
    # The finer grid covers the same extent: its first centre lies nearer to the edge.
    first = np.append(0.5 / finer - 0.5, 1.0)
    affine = base.affine_lps.copy()
    affine[:3, :3] /= finer
    affine[:3, 3] = (base.affine_lps @ first)[:3]
    slices: Any = FinerSlices(base.hu, wanted)
    return replace(base, hu=slices, spacing_mm=wanted.spacing_mm, affine_lps=affine)


def _finer(plane: NDArray[np.float32], factor: int, axis: int) -> NDArray[np.float32]:
    """Return a plane with `factor` times as many samples along an axis, linearly between."""
    if factor == 1:
        return plane
    length = plane.shape[axis]
    place = np.clip((np.arange(length * factor) + 0.5) / factor - 0.5, 0, length - 1)
    low = place.astype(np.intp)
    share = (place - low).astype(np.float32)
    high = np.minimum(low + 1, length - 1)
    form = (-1, 1) if axis == 0 else (1, -1)
    share = share.reshape(form)
    below, above = plane.take(low, axis), plane.take(high, axis)
    finer: NDArray[np.float32] = below + (above - below) * share
    return finer


def _write_nifti(phantom: Phantom, path: Path) -> None:
    """Write NIfTI-1 slice by slice; the axes (x, y, z) of LPS become those of RAS."""
    depth, height, width = phantom.hu.shape
    header: Any = nib.Nifti1Header()  # type: ignore[no-untyped-call]
    header.set_data_dtype(np.int16)
    header.set_data_shape((width, height, depth))
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ phantom.affine_lps[:, [2, 1, 0, 3]]
    header["sform_code"] = 1
    header["srow_x"], header["srow_y"], header["srow_z"] = to_ras[:3]
    header["pixdim"][1:4] = phantom.spacing_mm[::-1]
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    opening: Any = gzip.open if path.suffix == ".gz" else open
    with opening(path, "wb") as stream:
        stream.write(header.binaryblock)
        stream.write(b"\0" * 4)
        for number in range(depth):
            stream.write(phantom.hu[number].astype("<i2").tobytes())

"""The layout of the Medical Segmentation Decathlon: images, and masks of what is to be found.

Each part of a mask that hangs together is one finding, with its centre of mass and the
diameter of a sphere of its volume (Antonelli et al. 2022, arXiv:2106.05735, describe the
layout).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medvit.data.annotations.collected import Collected, SourcedMark, by_name, refuse
from medvit.errors import InputError
from medvit.geometry import index_to_lps
from medvit.io.case import Case
from medvit.io.discover import discover
from medvit.io.volumes.nifti import read_nifti
from medvit.io.volumes.stored_volume import volume_over
from medvit.io.volumes.stored_voxels import voxels_of
from medvit.volume.volume import Volume

CONTENTS = "dataset.json"
LEAST_DIAMETER_MM = 3.0
"""Smaller parts of a mask are ignored: no nodule counts below 3 mm."""

SLAB_SLICES = 32
TOUCHING = np.ones((3, 3, 3), dtype=bool)
"""Voxels that share a corner hang together."""

SAME_PLACE_MM = 0.01


def collect_decathlon(root: Path) -> Collected:
    """Read the training images of a decathlon task, and their masks.

    Raises:
        InputError: If `dataset.json`, an image or a mask is missing or breaks a rule.
        ReadError: If one cannot be read.
    """
    pairs = _pairs(root)
    cases = by_name(case for case, _ in pairs)
    nodules: list[SourcedMark] = []
    ignored: list[SourcedMark] = []
    for name, (_, mask) in zip(cases, pairs, strict=True):
        volume = _open_mask(mask, cases[name].files[0])
        for number, xyzd_mm in enumerate(findings_in(volume, name=mask.name), start=1):
            mark = SourcedMark(name, xyzd_mm, f"{mask.name}, part {number}")
            (nodules if xyzd_mm[3] >= LEAST_DIAMETER_MM else ignored).append(mark)
    return Collected(cases, nodules, ignored)


def findings_in(mask: Volume, *, name: str) -> Iterator[tuple[float, float, float, float]]:
    """Yield centre x, y, z in LPS mm and diameter of each part of a mask that hangs together.

    Args:
        mask: Whole numbers; what is not 0 belongs to a finding.
        name: What a message calls it.

    Raises:
        InputError: If a value is no whole number from 0 on.
    """
    voxels = [_belonging(mask, start, name=name) for start in range(0, mask.shape[0], SLAB_SLICES)]
    index = np.concatenate(voxels)  # (n, 3) as z, y, x
    if not len(index):
        return
    corner = index.min(axis=0)
    part = np.zeros(index.max(axis=0) - corner + 1, dtype=bool)
    part[tuple((index - corner).T)] = True
    labels, count = ndimage.label(part, structure=TOUCHING)
    own = labels[tuple((index - corner).T)]
    voxel_mm3 = abs(float(np.linalg.det(mask.affine_lps[:3, :3])))
    sizes = np.bincount(own, minlength=count + 1)[1:]
    sums = [np.bincount(own, weights=axis, minlength=count + 1)[1:] for axis in index.T]
    centres = index_to_lps(mask.affine_lps, np.column_stack(sums) / sizes[:, None])
    diameters = (6 * sizes * voxel_mm3 / np.pi) ** (1 / 3)
    for (x, y, z), diameter in zip(centres.tolist(), diameters.tolist(), strict=True):
        yield x, y, z, diameter


def _belonging(mask: Volume, start: int, *, name: str) -> NDArray[np.intp]:
    values = mask.read(slice(start, start + SLAB_SLICES), slice(None), slice(None))
    strange = values[(values < 0) | (values != np.rint(values))]
    if strange.size:
        msg = f"{name}: a mask holds whole numbers from 0 on, got {strange[0]:g}"
        raise InputError(msg, hint="name the mask, not the image, as label")
    found = np.argwhere(values)
    found[:, 0] += start
    return found


def _pairs(root: Path) -> list[tuple[Case, Path]]:
    file = root / CONTENTS
    try:
        contents = json.loads(file.read_text(encoding="utf-8"))
        entries = [(entry["image"], entry["label"]) for entry in contents["training"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{file}: no list of training images with labels ({type(error).__name__}: {error})"
        raise InputError(msg, hint="give the folder of a task, with dataset.json in it") from error
    faults: list[str] = []
    pairs = []
    for image, label in entries:
        files = [_inside(root, named, faults) for named in (image, label)]
        if files[0] is not None and files[1] is not None:
            pairs.append((discover(files[0]).cases[0], files[1]))
    refuse(faults, hint=f"correct {CONTENTS}, or unpack the task again")
    return pairs


def _inside(root: Path, named: Any, faults: list[str]) -> Path | None:
    path = root / str(named)
    if not path.resolve().is_relative_to(root.resolve()):
        faults.append(f"{CONTENTS}: {named} lies outside of its folder")
    elif not path.is_file():
        faults.append(f"{CONTENTS}: {named} is not there")
    else:
        return path
    return None


def _open_mask(path: Path, image_path: Path) -> Volume:
    """Open a mask, which would be refused as a CT.

    Raises:
        InputError: If it does not lie on the voxels of its image.
        ReadError: If it cannot be read.
    """
    grid, file = read_nifti(path, is_mask=True)
    file.check_holds(grid.header)
    mask = volume_over(grid, voxels_of(grid.header, file, None))
    image, _ = read_nifti(image_path)
    corners = np.array([[0, 0, 0], image.shape])
    apart_mm = [index_to_lps(each.affine_lps, corners) for each in (mask, image)]
    if mask.shape != image.shape or np.abs(apart_mm[0] - apart_mm[1]).max() > SAME_PLACE_MM:
        msg = f"{path.name}: {mask.shape} voxels that are not those of its image, {image.shape}"
        raise InputError(msg, hint="export image and mask on the same grid")
    return mask

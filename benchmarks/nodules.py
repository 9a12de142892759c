"""The shipped nodule detector on cases it was not trained on, beside a classical blob detector.

Unseen phantoms, nodules put into a real scan of a patient it has not seen
(LIDC-IDRI-0001), and that patient's own nodule. Made nodules are not patients: none
of these figures says how it does in a clinic.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from claims import Claim, write_claims
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from medvit.inference.nodules import detect_nodules
from medvit.io.discover import discover
from medvit.io.pyramids import hold_pyramid
from medvit.io.readers import open_volume
from medvit.metrics.froc import bootstrap_froc
from medvit.models.heads.centre import CentreMaps
from medvit.models.weights import load_model
from medvit.registry.registry import find_model
from medvit.volume.volume import Volume
from pipelines.nodule_evaluation import Outcome, Trial, insertion_trial, measure, phantom_trial

LIDC = Path(__file__).resolve().parents[2] / "shared/data/ct/lidc/LIDC-IDRI-0001"
FIRST_SEED = 5000
REAL_NODULE = (56.208, 86.343, -115.868, 23.35)  # LUNA16 annotations, LPS mm


class Blobs(nn.Module):
    """Scale-normalised Laplacian of Gaussian (Lindeberg 1998) at 1 mm, the rival.

    The score is the depth of the best response; the diameter follows from its scale,
    2 * sqrt(3) * sigma.
    """

    SIGMAS_MM = (1.0, 1.6, 2.5, 4.0, 6.3)
    stride = 2

    def forward(self, x: Tensor) -> CentreMaps:
        """Return maps over cells of 2 voxels."""
        volume = np.clip(x[0, 0].numpy() * 1.4, 0, 1)  # -1000..0 HU
        responses = np.stack(
            [-(sigma**2) * ndimage.gaussian_laplace(volume, sigma) for sigma in self.SIGMAS_MM]
        )
        best = responses.argmax(axis=0)
        depth = responses.max(axis=0)
        cells, places = _strongest(depth)
        sigma = np.array(self.SIGMAS_MM)[best].ravel()[places]
        offset = np.stack(np.unravel_index(places, depth.shape)).astype(np.float32)
        grid = np.stack(np.indices(cells.shape))
        offset = (offset + 0.5) / 2 - 0.5 - grid
        heat = np.log(np.maximum(cells, 1e-6) / np.maximum(1 - cells, 1e-6))
        diameter = np.log(2 * np.sqrt(3) * sigma)
        return CentreMaps(_map(heat[None]), _map(diameter[None]), _map(offset))


def _strongest(depth: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the strongest voxel of each 2x2x2 cell and its flat index."""
    d, h, w = (length // 2 for length in depth.shape)
    index = np.arange(depth.size).reshape(depth.shape)

    def cells(a: NDArray[Any]) -> NDArray[Any]:
        return a.reshape(d, 2, h, 2, w, 2).transpose(0, 2, 4, 1, 3, 5).reshape(d, h, w, 8)

    pick = cells(depth).argmax(axis=-1)[..., None]
    strongest = np.take_along_axis(cells(depth), pick, -1)[..., 0]
    return strongest, np.take_along_axis(cells(index), pick, -1)[..., 0]


def _map(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))[None]


def lidc_volume() -> Volume:
    return open_volume(next(case for case in discover(LIDC).cases if case.kind == "ct"))


def lidc_trial(number: int) -> Trial:
    return insertion_trial(
        lidc_volume(),
        name=f"lidc-0001-{number}",
        count=5,
        rng=np.random.default_rng(FIRST_SEED + number),
        excluded=[REAL_NODULE],
    )


def real_nodule(model: nn.Module) -> dict[str, float | None]:
    """Return the best mark inside the real nodule, and the marks that are more probable."""
    marks = detect_nodules(hold_pyramid(lidc_volume()), model).nodules
    x, y, z, diameter_mm = REAL_NODULE
    for rank, mark in enumerate(marks):
        away_mm = float(np.linalg.norm(np.array(mark.centre_lps_mm) - (x, y, z)))
        if away_mm < diameter_mm / 2:
            return {
                "probability": round(mark.probability, 4),
                "distance_mm": round(away_mm, 2),
                "diameter_mm": round(mark.diameter_mm, 2),
                "annotated_diameter_mm": diameter_mm,
                "more_probable_marks": rank,
                "marks": len(marks),
            }
    return {"probability": None, "marks": len(marks)}


def described(outcome: Outcome) -> dict[str, Any]:
    band = bootstrap_froc(list(outcome.matches), rng=np.random.default_rng(0))
    return {**asdict(outcome.froc), "cpm_95": band.cpm}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phantoms", type=int, default=20)
    parser.add_argument("--insertions", type=int, default=10)
    parser.add_argument("--model", default="nodule-swin3d")
    given = parser.parse_args()
    version = find_model(given.model, task="nodule")
    detector, _ = load_model(version.folder)
    sets: dict[str, list[Callable[[], Trial]]] = {
        "unseen phantoms": [
            partial(phantom_trial, FIRST_SEED + number) for number in range(given.phantoms)
        ],
    }
    if LIDC.is_dir():
        sets["insertions in an unseen patient"] = [
            partial(lidc_trial, number) for number in range(given.insertions)
        ]
    claims, tables = [], {}
    for name, trials in sets.items():
        ours, theirs = measure(detector, trials), measure(Blobs().eval(), trials)
        tables[name] = {"medvit": described(ours), "blobs": described(theirs)}
        rival = "Laplacian of Gaussian"
        claims += [
            Claim(
                f"CPM, {name}", round(ours.froc.cpm, 4), "", rival, round(theirs.froc.cpm, 4), 0.95
            ),
            Claim(
                f"sensitivity at 4 FP a scan, {name}",
                round(ours.froc.sensitivity[5], 4),
                "",
                rival,
                round(theirs.froc.sensitivity[5], 4),
                0.982,
            ),
        ]
    real = real_nodule(detector) if LIDC.is_dir() else None
    write_claims("nodules", claims, model=version.reference, tables=tables, real_nodule=real)


if __name__ == "__main__":
    main()

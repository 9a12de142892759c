"""What the order of tiles is worth: nodules inside the first tiles, against their number.

This is the ceiling that the schedule sets, whatever detector looks at the tiles: a
nodule counts as reached when its centre lies in the core of a chosen tile. The
constants were measured on phantoms 70000 to 70059 and on chest99; neither is here.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from claims import Claim, write_claims
from numpy.typing import NDArray

from medvit.data.phantom import draw_phantom, make_phantom
from medvit.geometry import lps_to_index
from medvit.io.readers import open_volume
from medvit.tiles.grid import Tile, TileForm, iter_tiles
from medvit.tiles.progressive import (
    EFFORTS,
    PlannedTile,
    plan_tiles,
    rank_tiles,
)
from medvit.volume.blobs import find_blobs
from medvit.volume.lungs import find_lungs
from medvit.volume.resample import VoxelGrid
from medvit.volume.volume import Volume, volume_of
from pipelines.nodules.evaluation import insertion_trial

CT = Path(__file__).resolve().parents[2] / "shared/data/ct"
LIDC, TUMOUR = CT / "lidc/LIDC-IDRI-0001", CT / "lung_pet_ct_dx/A0002/series3_B40f"
FIRST_SEED = 90000
FORM = TileForm(side=96, overlap=24, align=2)
SHARES = tuple(round(0.05 * n, 2) for n in range(21))
KNOWN: dict[Path, list[tuple[float, float, float]]] = {
    LIDC: [(56.208, 86.343, -115.868)],  # LUNA16 annotation, LPS mm
    TUMOUR: [(-60.0, -96.4, 184.0), (-65.2, -105.7, 200.0), (-51.3, -105.1, 216.0)],  # box middles
}

Places = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One scan: where its nodules come in the order of tiles.

    Attributes:
        tiles: Tiles over its lungs.
        boxed: Tiles over the box around its lungs that hold lung, laid side by side.
        by_yield: For each nodule, how many tiles are looked at before its own.
        by_volume: As `by_yield`, with the tiles that hold most lung first.
        efforts: For each effort the tiles looked at and which nodules lie in them.
        seconds: Processor time of finding lungs, finding blobs, and planning.
    """

    tiles: int
    boxed: int
    by_yield: list[int]
    by_volume: list[int]
    efforts: dict[str, tuple[int, list[bool]]]
    seconds: tuple[float, float, float]


def measure(volume: Volume, nodules_lps_mm: Places) -> Outcome:
    start = time.process_time()
    region = find_lungs(volume).region()
    lungs = time.process_time()
    blobs = find_blobs(volume, region)
    found = time.process_time()
    grid = VoxelGrid.of(volume, 1.0)
    plans = {
        effort: plan_tiles(region, grid, blobs, effort=effort, form=FORM) for effort in EFFORTS
    }
    planned = time.process_time()
    ranked = rank_tiles(region, grid, blobs, form=FORM)
    by_volume = sorted(ranked, key=lambda each: -region.litres_within(each.tile.core, on=grid))
    index = np.rint(lps_to_index(grid.affine_lps, nodules_lps_mm))
    box = region.box_on(grid)
    touches = partial(region.touches, on=grid)
    boxed = iter_tiles(box, side=FORM.side, overlap=FORM.overlap, keep=touches) if box else ()
    return Outcome(
        tiles=len(ranked),
        boxed=sum(1 for _ in boxed),
        by_yield=[rank_of(place, ranked) for place in index],
        by_volume=[rank_of(place, by_volume) for place in index],
        efforts={
            effort: (
                len(plan.tiles),
                [rank_of(place, plan.tiles) < len(plan.tiles) for place in index],
            )
            for effort, plan in plans.items()
        },
        seconds=(lungs - start, found - lungs, planned - found),
    )


def rank_of(place: Places, order: Sequence[PlannedTile]) -> int:
    """Return how many tiles come before the one whose core holds a place; all if none does."""
    for rank, planned in enumerate(order):
        if in_core(place, planned.tile):
            return rank
    return len(order)


def in_core(place: Places, tile: Tile) -> bool:
    return all(part.start <= at < part.stop for part, at in zip(tile.core, place, strict=True))


def phantom(seed: int) -> tuple[Volume, Places]:
    rng = np.random.default_rng(seed)
    spacing_mm = (float(rng.uniform(1.2, 1.6)),) * 3
    made = make_phantom(draw_phantom(rng, spacing_mm=spacing_mm), rng)
    centres = [nodule.centre_lps_mm for nodule in made.nodules]
    return volume_of(made.hu, made.affine_lps), np.array(centres).reshape(-1, 3)


def inserted(folder: Path, number: int) -> tuple[Volume, Places]:
    trial = insertion_trial(
        open_volume(folder),
        name=f"{folder.name}-{number}",
        count=5,
        rng=np.random.default_rng(FIRST_SEED + number),
        excluded=[(*centre, 30.0) for centre in KNOWN[folder]],
    )
    return trial.volume, np.array([(a.x_mm, a.y_mm, a.z_mm) for a in trial.planted])


def annotated(folder: Path) -> tuple[Volume, Places]:
    return open_volume(folder), np.array(KNOWN[folder])


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return recall against the share of tiles, and each effort's recall and tiles."""
    nodules = sum(len(outcome.by_yield) for outcome in outcomes)
    tiles = sum(outcome.tiles for outcome in outcomes)

    def curve(order: Callable[[Outcome], list[int]]) -> list[float]:
        return [
            round(
                sum(rank < round(share * o.tiles) for o in outcomes for rank in order(o)) / nodules,
                4,
            )
            for share in SHARES
        ]

    return {
        "scans": len(outcomes),
        "nodules": nodules,
        "tiles_a_scan": round(tiles / len(outcomes), 2),
        "tiles_a_scan_in_the_box": round(sum(o.boxed for o in outcomes) / len(outcomes), 2),
        "share_of_tiles": list(SHARES),
        "recall_by_yield": curve(lambda outcome: outcome.by_yield),
        "recall_by_volume": curve(lambda outcome: outcome.by_volume),
        "efforts": {
            effort: {
                "tiles_a_scan": round(
                    sum(o.efforts[effort][0] for o in outcomes) / len(outcomes), 2
                ),
                "share_of_tiles": round(sum(o.efforts[effort][0] for o in outcomes) / tiles, 4),
                "recall": round(sum(sum(o.efforts[effort][1]) for o in outcomes) / nodules, 4),
            }
            for effort in EFFORTS
        },
        "processor_seconds": dict(
            zip(
                ("lungs", "blobs", "planning three efforts"),
                np.mean([o.seconds for o in outcomes], axis=0).round(3).tolist(),
                strict=True,
            )
        ),
    }


def claims_of(name: str, found: dict[str, Any]) -> list[Claim]:
    by_volume = dict(zip(found["share_of_tiles"], found["recall_by_volume"], strict=True))

    def rival(effort: str) -> float:
        share = found["efforts"][effort]["share_of_tiles"]
        nearest = min(by_volume, key=lambda known: abs(known - share))
        return float(by_volume[nearest])

    claims = [
        Claim(
            f"nodules within reach, {effort}, {name}",
            found["efforts"][effort]["recall"],
            "",
            "as many tiles, those with most lung first",
            rival(effort),
            target,
        )
        for effort, target in (("fast", None), ("balanced", 0.99), ("full", 1.0))
    ]
    boxed = found["tiles_a_scan_in_the_box"]
    claims.append(
        Claim(
            f"tiles a scan, balanced, {name}",
            found["efforts"]["balanced"]["tiles_a_scan"],
            "tiles",
            "tiles of the lungs' box that hold lung",
            boxed,
            boxed,
            larger_is_better=False,
        )
    )
    return claims


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phantoms", type=int, default=30)
    parser.add_argument("--insertions", type=int, default=4)
    given = parser.parse_args()
    sets: dict[str, list[Callable[[], tuple[Volume, Places]]]] = {
        "unseen phantoms": [partial(phantom, FIRST_SEED + n) for n in range(given.phantoms)]
    }
    for folder, name in ((TUMOUR, "a whole chest, 8 mm slices"), (LIDC, "16 slices of 2.5 mm")):
        if folder.is_dir():
            sets[f"insertions in {name}"] = [
                partial(inserted, folder, n) for n in range(given.insertions)
            ]
    real = [folder for folder in KNOWN if folder.is_dir()]
    if real:
        sets["annotated lesions of two patients"] = [partial(annotated, folder) for folder in real]
    tables = {name: summary([measure(*make()) for make in trials]) for name, trials in sets.items()}
    claims = [claim for name, found in tables.items() for claim in claims_of(name, found)]
    write_claims("effort", claims, form=repr(FORM), tables=tables)


if __name__ == "__main__":
    main()

"""A whole chest scan, 512x512x99: time and peak memory of its pieces, beside MONAI.

Every piece runs in a process of its own, so that peak memory is its alone. `floor` is
Python with the imports and nothing else. The network is the one of configs, untrained:
its weights do not change its cost.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
RESULT = PROJECT / "benchmarks/results/progressive.json"
CHEST = PROJECT.parent / "shared/data/ct/chest99"
TILE = 96
RIVAL_OVERLAP = 0.5

Figures = dict[str, Any]


def _detector() -> Any:
    import torch

    from medvit.models.builders import build_model

    torch.manual_seed(0)
    return build_model("nodule_detector", backbone="swin3d_tiny").eval()


def floor(_folder: Path) -> Figures:
    import torch

    import medvit.inference.nodules

    return {"torch": torch.__version__, "module": medvit.inference.nodules.__name__}


def lungs(folder: Path) -> Figures:
    from medvit.io.readers import open_volume
    from medvit.volume.lungs import find_lungs

    found = find_lungs(open_volume(folder))
    return {"message": found.message}


def tiles(folder: Path) -> Figures:
    """Read every tile of the lungs from files, without a network."""
    from medvit.io.readers import open_volume
    from medvit.tiles.grid import iter_tiles
    from medvit.volume.lungs import find_lungs
    from medvit.volume.resample import VoxelGrid

    volume = open_volume(folder)
    region = find_lungs(volume).region()
    grid = VoxelGrid.of(volume, 1.0)
    box = region.box_on(grid)
    count = 0
    for tile in iter_tiles(box, side=TILE, overlap=24) if box else ():
        grid.read(*tile.box)
        count += 1
    return {"tiles": count}


def search(folder: Path) -> Figures:
    from medvit.inference.nodules import detect_nodules
    from medvit.io.readers import open_volume

    scan = detect_nodules(open_volume(folder), _detector())
    return {"tiles": scan.tiles, "nodules": len(scan.nodules)}


def _monai_volume(folder: Path) -> Any:
    from monai import transforms

    steps: Any = transforms
    load = steps.LoadImage(reader="PydicomReader", image_only=True, ensure_channel_first=True)
    return steps.Spacing(pixdim=(1.0, 1.0, 1.0), mode="bilinear")(load(folder))


def monai_load(folder: Path) -> Figures:
    return {"shape": list(_monai_volume(folder).shape)}


def monai_search(folder: Path) -> Figures:
    import torch
    from monai import inferers

    volume = _monai_volume(folder)[None]
    scaled = ((volume.clamp(-1000, 400) + 1000) / 1400).as_tensor()
    model = _detector()
    windows = 0

    def heat(x: torch.Tensor) -> torch.Tensor:
        nonlocal windows
        windows += len(x)
        return torch.nn.functional.interpolate(torch.cat(list(model(x)), dim=1), scale_factor=2)

    sliding: Any = inferers
    infer = sliding.SlidingWindowInferer((TILE,) * 3, sw_batch_size=1, overlap=RIVAL_OVERLAP)
    with torch.inference_mode():
        maps = infer(scaled, heat)
    return {"windows": windows, "shape": list(maps.shape)}


PIECES: dict[str, Callable[[Path], Figures]] = {
    "floor": floor,
    "lungs": lungs,
    "tiles": tiles,
    "search": search,
    "monai_load": monai_load,
    "monai_search": monai_search,
}


def measure_here(name: str, folder: Path) -> Figures:
    """Run one piece in this process and return its figures."""
    floor(folder)
    started = time.perf_counter()
    figures = PIECES[name](folder)
    seconds = time.perf_counter() - started
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_rss_mb": round(usage.ru_maxrss / 1024),
        "load_average": round(os.getloadavg()[0], 1),
        **figures,
    }


def measure(name: str, folder: Path) -> Figures:
    """Run one piece in a process of its own."""
    command = [sys.executable, __file__, "--piece", name, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last_words = done.stderr.strip().splitlines() or ["no message"]
        return {"error": f"exit {done.returncode}: {last_words[-1]}"}
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def claims_of(pieces: dict[str, Figures]) -> list[Figures]:
    """Return the claims that the measured pieces allow."""
    rows = [
        ("search of 512x512x99 for nodules", "search", "seconds", "s", "monai_search", 120.0),
        ("peak RSS of it", "search", "peak_rss_mb", "MB", "monai_search", 2048.0),
        ("lung localisation, from files", "lungs", "seconds", "s", "monai_load", 10.0),
        ("peak RSS of it", "lungs", "peak_rss_mb", "MB", "monai_load", 1024.0),
        ("all tiles at 1 mm, from files, no network", "tiles", "seconds", "s", "monai_load", 20.0),
        ("peak RSS of it", "tiles", "peak_rss_mb", "MB", "monai_load", 1024.0),
    ]
    return [
        _claim(name, pieces[piece], figure, unit, (rival, pieces.get(rival, {})), target)
        for name, piece, figure, unit, rival, target in rows
        if figure in pieces.get(piece, {})
    ]


def _claim(
    name: str, ours: Figures, figure: str, unit: str, rival: tuple[str, Figures], target: float
) -> Figures:
    value, other = ours[figure], rival[1].get(figure)
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "rival": RIVALS[rival[0]],
        "rival_value": other,
        "ratio": round(other / value, 2) if other and value else None,
        "target": target,
        "met": value <= target,
    }


RIVALS = {
    "monai_load": "MONAI LoadImage + Spacing to 1 mm",
    "monai_search": f"MONAI LoadImage + Spacing + sliding window {RIVAL_OVERLAP}, same network",
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=CHEST, help="a DICOM series")
    parser.add_argument("--piece", choices=PIECES, help="measure one piece here, print it")
    parser.add_argument("--only", nargs="*", choices=PIECES, help="measure these pieces")
    given = parser.parse_args(arguments)
    if given.piece:
        print(json.dumps(measure_here(given.piece, given.folder)))
        return
    pieces = {name: measure(name, given.folder) for name in given.only or PIECES}
    claims = claims_of(pieces)
    answer = {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "claims": claims,
        "pieces": pieces,
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(answer, indent=2) + "\n", encoding="utf-8")
    for claim in claims:
        sign = "met" if claim["met"] else "not met"
        rival = f"{claim['rival_value']!s:>8}"
        print(f"{claim['value']:8} {claim['unit']:3} {rival} {sign:8} {claim['name']}")


if __name__ == "__main__":
    main()

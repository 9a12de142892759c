"""Whole scans beside MONAI: time from files to findings, peak memory, first candidates, budgets.

`scan`: 512x512x400 as a DICOM series; `medvit scan` beside MONAI's LoadImage, Orientation,
Spacing and sliding window (overlap 0.5, Gaussian weights) with the same network and weights,
each in a process of its own. `cpm`: both on phantoms, scored by LUNA16's rules. `big`: 1 GB
and 4 GB, DICOM and NIfTI, under 2 GB and under 16 GB of memory: same findings, and how much
was held. `growth`: the same chest cut to 100 to 400 slices, and on finer grids: a plot.
Peak memory is the system's, of the whole process (`ru_maxrss`, as `time -v` shows it).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any

from big_chests import BigChest, make_chest
from claims import RESULTS, Claim, write_claims

PROJECT = Path(__file__).resolve().parents[1]
PLOT = PROJECT / "docs" / "pictures" / "memory_and_time.svg"
MODEL = "nodule-swin3d"
TILE, RIVAL_OVERLAP = 96, 0.5
RIVAL = "MONAI load + spacing + sliding window 0.5, same network"

CHEST = BigChest("chest400")
GB1 = BigChest("gb1-dicom", finer=(5, 1, 1))
GB1_NII = BigChest("gb1-nii", finer=(5, 1, 1), form="nii.gz")
GB4 = BigChest("gb4-dicom", finer=(5, 2, 2))
GB4_NII = BigChest("gb4-nii", finer=(5, 2, 2), form="nii")
CUTS = [BigChest(f"chest{n}", slices=n) for n in (100, 200, 300)]
PHANTOM_SEED, PHANTOMS = 910_000, 6
LEAST_PROBABILITY, MOST_MARKS = 0.01, 100

Row = dict[str, Any]


def run_measured(command: Sequence[str], *, cwd: Path) -> Row:
    """Run a command to its end; return its seconds, its peak memory and what it printed."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, cwd=cwd, stdout=out, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        out.seek(0)
        errors.seek(0)
        printed, complaints = out.read().decode(), errors.read().decode()
    if process.returncode != 0:
        msg = f"{' '.join(command)}: exit {process.returncode}: {complaints[-800:]}"
        raise RuntimeError(msg)
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_rss_mb": round(usage.ru_maxrss / 1024),
        "printed": printed,
        "complaints": complaints,
    }


def scan(folder: Path, *options: str, effort: str = "balanced") -> Row:
    """Run `medvit scan` on a folder in a fresh workspace and return its figures."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        out = Path(place) / "out"
        command = [
            *(sys.executable, "-m", "apps.cli", "scan", str(folder / "scan"), "--json"),
            *("--out", str(out), "--workspace", str(Path(place) / "workspace")),
            *("--effort", effort, *options),
        ]
        row = run_measured(command, cwd=PROJECT)
        answer = json.loads(row.pop("printed"))
        row.pop("complaints")
        findings = (out / "findings.csv").read_text(encoding="utf-8")
        with (out / "cases.csv").open(encoding="utf-8", newline="") as cases:
            verdicts = [case["verdict"] for case in csv.DictReader(cases)]
    kept = ("findings", "predicted_peak_mb", "measured_peak_mb")
    return {**row, **{name: answer[name] for name in kept}, "verdicts": verdicts, "rows": findings}


def rival_maps(path: Path) -> Row:
    """Search a scan as MONAI would, with our network; return its maps and their place."""
    import torch
    from monai import inferers, transforms

    steps: Any = transforms
    started = time.perf_counter()
    reader = "PydicomReader" if path.is_dir() else "NibabelReader"
    load = steps.LoadImage(reader=reader, image_only=True, ensure_channel_first=True)
    volume = steps.Spacing(pixdim=(1.0, 1.0, 1.0), mode="bilinear")(
        steps.Orientation(axcodes="LPS", labels=None)(load(path))
    )
    loaded = time.perf_counter()
    # (1, x, y, z) of MONAI to (1, 1, z, y, x) of the network.
    scaled = ((volume.clamp(-1000, 400) + 1000) / 1400).as_tensor().permute(0, 3, 2, 1)[None]
    model = _detector()
    windows = 0

    def heat(x: torch.Tensor) -> torch.Tensor:
        nonlocal windows
        windows += len(x)
        return torch.cat(list(model(x)), dim=1)

    sliding: Any = inferers
    infer = sliding.SlidingWindowInferer(
        (TILE,) * 3, sw_batch_size=1, overlap=RIVAL_OVERLAP, mode="gaussian"
    )
    with torch.inference_mode():
        maps = infer(scaled.contiguous().float(), heat)
    return {
        "maps": maps[0].numpy(),
        "affine_ras": volume.affine.numpy(),
        "load_seconds": round(loaded - started, 2),
        "search_seconds": round(time.perf_counter() - loaded, 2),
        "windows": windows,
    }


def rival_search(folder: Path) -> Row:
    """Return the seconds of the parts of MONAI's search."""
    row = rival_maps(folder)
    maps = row.pop("maps")
    return {**row, "affine_ras": row["affine_ras"].tolist(), "shape": list(maps.shape)}


def _detector() -> Any:
    from medvit.models.weights import load_model
    from medvit.registry.registry import find_model

    return load_model(find_model(MODEL, task="nodule").folder)[0]


def first_candidates(folder: Path) -> Row:
    """Return when the first candidate was told, from the start of a fresh process."""
    from medvit.inference.nodules import Watch, detect_nodules
    from medvit.io.pyramids import open_pyramid
    from medvit.io.scratch import Scratch

    told: list[float] = []
    with tempfile.TemporaryDirectory() as place:
        pyramid = open_pyramid(folder, scratch=Scratch.below(Path(place)))
        watch = Watch(candidates=lambda _: told.append(time.time()))
        scanned = detect_nodules(pyramid, _detector(), watch=watch)
    return {"told_at": told[0] if told else None, "tiles": scanned.tiles}


PIECES: dict[str, Callable[[Path], Row]] = {
    "rival_search": rival_search,
    "first_candidates": first_candidates,
}


def piece(name: str, folder: Path) -> Row:
    """Run a piece in a process of its own."""
    started = time.time()
    command = [sys.executable, __file__, "--piece", name, "--folder", str(folder)]
    row = run_measured(command, cwd=PROJECT)
    figures = json.loads(row.pop("printed").splitlines()[-1])
    row.pop("complaints")
    return {**row, **figures, "started_at": started}


def measure_scan(root: Path) -> tuple[list[Claim], Row]:
    folder = make_chest(CHEST, root)
    efforts = {effort: scan(folder, effort=effort) for effort in ("balanced", "fast", "full")}
    ours, theirs = efforts["balanced"], piece("rival_search", folder / "scan")
    first = piece("first_candidates", folder / "scan")
    wait_s = round(first["told_at"] - first["started_at"], 2)
    rss = "peak_rss_mb"
    claims = [
        Claim(
            "scan of 512x512x400, files to findings",
            *(ours["seconds"], "s", RIVAL, theirs["seconds"], round(theirs["seconds"] / 20, 1)),
            larger_is_better=False,
        ),
        Claim(
            "peak RSS of it",
            *(ours[rss], "MB", RIVAL, theirs[rss], 1200),
            larger_is_better=False,
        ),
        Claim("first candidates of it", wait_s, "s", "", None, 15.0, larger_is_better=False),
    ]
    return claims, {"efforts": efforts, "rival": theirs, "first": first}


def measure_cpm(_root: Path) -> tuple[list[Claim], Row]:
    """Score both on phantoms that nothing was tuned on, by LUNA16's rules."""
    from medvit.inference.nodules import NoduleSettings, detect_nodules
    from medvit.io.pyramids import hold_pyramid
    from medvit.io.writing.nifti import write_nifti
    from medvit.metrics.froc import Mark, froc
    from medvit.tiles.progressive import EFFORTS
    from pipelines.nodules.evaluation import phantom_trial

    names: list[str] = []
    planted: list[Any] = []
    marks: dict[str, list[Mark]] = {"rival": [], **{effort: [] for effort in EFFORTS}}
    for seed in range(PHANTOM_SEED, PHANTOM_SEED + PHANTOMS):
        trial = phantom_trial(seed)
        names.append(trial.name)
        planted += trial.planted
        pyramid = hold_pyramid(trial.volume)
        for effort in EFFORTS:
            settings = NoduleSettings(min_probability=LEAST_PROBABILITY, effort=effort)
            found = detect_nodules(pyramid, _detector(), settings=settings).nodules
            marks[effort] += [
                Mark(trial.name, *each.centre_lps_mm, each.probability) for each in found
            ]
        with tempfile.TemporaryDirectory() as place:
            write_nifti(trial.volume, Path(place) / "phantom.nii")
            marks["rival"] += rival_marks(Path(place) / "phantom.nii", trial.name)
    scores = {name: froc(found, planted, series=names) for name, found in marks.items()}
    ours, theirs = scores["balanced"].cpm, scores["rival"].cpm
    claims = [
        Claim(f"CPM on {PHANTOMS} phantoms", *(round(ours, 4), "", RIVAL, round(theirs, 4), None)),
        Claim(
            "CPM that balanced effort loses against it",
            *(round(theirs - ours, 4), "", "", None, 0.01),
            larger_is_better=False,
        ),
    ]
    return claims, {name: asdict(score) for name, score in scores.items()}


def rival_marks(path: Path, name: str) -> list[Any]:
    """Return the marks of MONAI's maps: the same peaks and the same suppression as ours."""
    import numpy as np

    from medvit.inference.marks import decode
    from medvit.inference.nms import suppress_near
    from medvit.metrics.froc import Mark

    row = rival_maps(path)
    found = decode(row["maps"], first_cell=(0, 0, 0), stride=2, min_probability=LEAST_PROBABILITY)
    index = np.concatenate([found.centres[:, ::-1], np.ones((len(found.scores), 1))], axis=1)
    centres = (index @ row["affine_ras"].T)[:, :3] * (-1, -1, 1)
    best = suppress_near(centres, found.diameters_mm, found.scores)[:MOST_MARKS]
    return [Mark(name, *centres[row].tolist(), float(found.scores[row])) for row in best]


def measure_big(root: Path) -> tuple[list[Claim], Row]:
    claims, rows = [], {}
    for chest in (GB1, GB1_NII, GB4, GB4_NII):
        folder = make_chest(chest, root)
        small, large = (scan(folder, "--max-ram", size) for size in ("2G", "16G"))
        rows[chest.name] = {"2G": small, "16G": large}
        shape = "x".join(map(str, reversed(chest.shape)))
        claims += [
            Claim(
                f"peak RSS of {shape} ({chest.form}) under --max-ram 2G",
                *(small["peak_rss_mb"], "MB", "the same under 16G", large["peak_rss_mb"], 2048),
                larger_is_better=False,
            ),
            Claim(
                f"rows of findings that differ between 2G and 16G, {shape} ({chest.form})",
                *(_differing(small["rows"], large["rows"]), "rows", "", None, 0),
                larger_is_better=False,
            ),
        ]
    return claims, rows


def _differing(one: str, other: str) -> int:
    rows = (one.splitlines(), other.splitlines())
    return abs(len(rows[0]) - len(rows[1])) + sum(a != b for a, b in zip(*rows, strict=False))


def measure_growth(root: Path) -> tuple[list[Claim], Row]:
    rows = {}
    for chest in (*CUTS, CHEST, GB1, GB4):
        row = scan(make_chest(chest, root), "--max-ram", "2G")
        rows[chest.name] = {**row, "shape": chest.shape, "voxel_bytes": _bytes_of(chest)}
    _plot(rows)
    peaks = [row["peak_rss_mb"] for row in rows.values()]
    spread = Claim(
        "largest by smallest peak RSS, 52 MB to 4.2 GB under --max-ram 2G",
        *(round(max(peaks) / min(peaks), 3), "", "volume sizes", 80.0, None),
        larger_is_better=False,
    )
    return [spread], rows


def _bytes_of(chest: BigChest) -> int:
    return 2 * prod(chest.shape)


def _plot(rows: dict[str, Row]) -> None:
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    x = [row["voxel_bytes"] / 2**20 for row in rows.values()]
    left.plot(x, [row["seconds"] for row in rows.values()], "o-")
    left.set(xscale="log", yscale="log", xlabel="volume, MiB", ylabel="scan, s")
    right.plot(x, [row["peak_rss_mb"] for row in rows.values()], "o-", label="measured")
    right.plot(x, [row["predicted_peak_mb"] for row in rows.values()], "x--", label="predicted")
    right.axhline(2048, color="grey", linewidth=1)
    right.set(xscale="log", ylim=(0, 2200), xlabel="volume, MiB", ylabel="peak RSS, MiB")
    right.legend()
    for axis in (left.xaxis, left.yaxis, right.xaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("{x:g}" if axis is left.yaxis else "")
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PLOT)


SECTIONS: dict[str, Callable[[Path], tuple[list[Claim], Row]]] = {
    "scan": measure_scan,
    "cpm": measure_cpm,
    "big": measure_big,
    "growth": measure_growth,
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], help="all when none")
    parser.add_argument("--chests", type=Path, default=Path("/tmp/medvit-chests"))
    parser.add_argument("--piece", choices=PIECES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.piece:
        print(json.dumps(PIECES[given.piece](given.folder)))
        return
    path = RESULTS / "progressive.json"
    kept = json.loads(path.read_text(encoding="utf-8")).get("sections", {}) if path.exists() else {}
    for name in given.sections or SECTIONS:
        claims, figures = SECTIONS[name](given.chests)
        kept[name] = {"claims": [asdict(claim) for claim in claims], "figures": figures}
    claims = [Claim(**row) for name in SECTIONS if name in kept for row in kept[name]["claims"]]
    write_claims("progressive", claims, sections=kept)


if __name__ == "__main__":
    main()

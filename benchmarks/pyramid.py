"""Building a pyramid beside pure decoding of the same volume: time, and peak memory against plan.

Both open the files first. `decode` then reads the slices once, in pieces as building does,
and throws them away; `build` makes the pyramid and keeps it on disk. Each runs in a process
of its own, imports done before its clock starts, on files the system has just read. The
volume is a chest of noise over smooth tissue, 12 bits deep, so that it packs like a CT.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from claims import Claim, write_claims
from numpy.typing import NDArray

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

SHARE = 0.70
"""Of the throughput of pure decoding that building is to reach."""

SPACING_MM = (0.7, 0.7, 0.7)
JPEG_LS = "1.2.840.10008.1.2.4.80"

Row = dict[str, Any]


def planes(slices: int, side: int) -> Iterator[NDArray[np.int16]]:
    """Yield slices of a body in air with noise; a scanner's noise takes about 5 bits."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    body = (y / 0.7) ** 2 + (x / 0.9) ** 2 < 1
    for number in range(slices):
        lungs = (y / 0.5) ** 2 + ((abs(x) - 0.4) / 0.3) ** 2 < np.sin(np.pi * number / slices)
        tissue = np.where(lungs, -850.0, 40.0 + 30 * np.sin(9 * x + number / 20))
        noisy = tissue + rng.normal(0, 15, (side, side))
        yield np.where(body, noisy, -1000).round().astype(np.int16)


def make_dicom(root: Path, slices: int, side: int, *, syntax: str = "") -> Path:
    from tests.make.dicom import CtSeries, ct_slice, save

    folder = root / "series"
    folder.mkdir()
    for number, plane in enumerate(planes(slices, side)):
        whole = np.broadcast_to(plane, (slices, side, side))
        dataset = ct_slice(CtSeries(hu=whole, spacing_mm=SPACING_MM), number)
        save(dataset, folder / f"{number:05d}.dcm")
        if syntax:
            dataset.compress(syntax, generate_instance_uid=False)
            dataset.save_as(folder / f"{number:05d}.dcm", enforce_file_format=True)
    return folder


def make_nifti(root: Path, slices: int, side: int, *, ending: str) -> Path:
    import nibabel as nib

    module: Any = nib
    values = np.stack(list(planes(slices, side))).transpose(2, 1, 0)
    image = module.Nifti1Image(values, np.diag([*SPACING_MM, 1.0]))
    image.header.set_xyzt_units("mm")
    image.to_filename(root / f"ct{ending}")
    return root / f"ct{ending}"


FORMS: dict[str, Callable[[Path, int, int], Path]] = {
    "native DICOM": make_dicom,
    "JPEG-LS DICOM": lambda root, slices, side: make_dicom(root, slices, side, syntax=JPEG_LS),
    "plain NIfTI": lambda root, slices, side: make_nifti(root, slices, side, ending=".nii"),
    "NIfTI in gzip": lambda root, slices, side: make_nifti(root, slices, side, ending=".nii.gz"),
}


def decode(path: Path, _: Path) -> Row:
    from medvit.io.readers import open_source
    from medvit.io.writing.cascade import PIECES, slab_depth
    from medvit.io.writing.slabs import iter_slabs

    passing = open_source(path).passing
    depth = max(2, slab_depth(passing.shape) // PIECES)
    slabs = sum(1 for _ in iter_slabs(passing, depth))
    return {"voxels": int(np.prod(passing.shape)), "slabs": slabs}


def build(path: Path, cache: Path) -> Row:
    from medvit.io.pyramid_memory import predicted_bytes
    from medvit.io.pyramids import open_pyramid
    from medvit.io.scratch import Scratch

    scratch = Scratch.below(cache)
    finest = open_pyramid(path, scratch=scratch).levels[0]
    held = 0 if scratch.pyramids is None else scratch.pyramids.held_bytes()
    return {"stored_mb": held / 2**20, "predicted_mb": predicted_bytes(finest.shape) / 2**20}


def find(path: Path, cache: Path) -> Row:
    """Open the pyramid that `build` left, and read a box of the finest level."""
    from medvit.io.pyramids import open_pyramid
    from medvit.io.scratch import Scratch

    finest = open_pyramid(path, scratch=Scratch.below(cache)).levels[0]
    box = [slice(side // 3, side // 3 + 96) for side in finest.shape]
    return {"first_hu": float(finest.read(box[0], box[1], box[2])[0, 0, 0])}


PIECES_OF_WORK: dict[str, Callable[[Path, Path], Row]] = {
    "decode": decode,
    "build": build,
    "find": find,
}


def measure_here(piece: str, path: Path, cache: Path) -> Row:
    """Run a piece in this process once its imports are done, its child processes too."""
    import medvit.io.pyramids  # noqa: F401
    from medvit.io.decoding.process import decoder

    decoder().start()
    _warm_up()
    before_kb = _reset_peak_kb()
    usage = _cpu_seconds()
    started = time.perf_counter()
    row = PIECES_OF_WORK[piece](path, cache)
    row |= {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": _cpu_seconds() - usage,
        "extra_mb": (_status_kb("VmHWM") - before_kb) / 1024,
        "peak_mb": _status_kb("VmHWM") / 1024,
        "load_average": os.getloadavg()[0],
    }
    return {
        key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()
    }


def _warm_up() -> None:
    """Write and read something small: what happens once in a process is no throughput."""
    from medvit.io.pyramids import open_pyramid
    from medvit.io.scratch import Scratch

    with tempfile.TemporaryDirectory() as folder:
        path = make_nifti(Path(folder), 8, 200, ending=".nii")
        open_pyramid(path, scratch=Scratch.below(Path(folder))).levels[1].read_all()


def _cpu_seconds() -> float:
    """Return what this process used; the decoding process, which runs on, is not in it."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _reset_peak_kb() -> int:
    Path("/proc/self/clear_refs").write_text("5")
    return _status_kb("VmRSS")


def _status_kb(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def measure(piece: str, path: Path, cache: Path) -> Row:
    """Run a piece in a process of its own."""
    command = [sys.executable, __file__, "--piece", piece, "--path", str(path)]
    done = subprocess.run(
        [*command, "--cache", str(cache)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        msg = f"{piece} of {path.name}: exit {done.returncode}: {done.stderr[-600:]}"
        raise RuntimeError(msg)
    row: Row = json.loads(done.stdout.splitlines()[-1])
    return row


def measure_form(form: str, *, slices: int, side: int, rounds: int) -> Row:
    """Return the fastest of some rounds of each piece."""
    rows: dict[str, list[Row]] = {piece: [] for piece in PIECES_OF_WORK}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        path = FORMS[form](root, slices, side)
        measure("decode", path, root)  # so that the files are in memory
        for number in range(rounds):
            for piece in PIECES_OF_WORK:
                rows[piece].append(measure(piece, path, root / str(number)))
    return {piece: min(each, key=lambda row: float(row["seconds"])) for piece, each in rows.items()}


def claims_of(form: str, rows: Row, size: str) -> list[Claim]:
    voxels = rows["decode"]["voxels"]
    pace, pure = (voxels / rows[piece]["seconds"] / 1e6 for piece in ("build", "decode"))
    extra, predicted = rows["build"]["extra_mb"], rows["build"]["predicted_mb"]
    return [
        Claim(
            f"pyramid of {size} {form}",
            round(pace, 1),
            "million voxels a second",
            "pure decoding",
            round(pure, 1),
            round(SHARE * pure, 1),
        ),
        Claim(
            f"peak extra memory of making it, {form}",
            round(extra),
            "MiB",
            "predicted",
            round(predicted),
            round(predicted),
            larger_is_better=False,
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("forms", nargs="*", help=f"all when none: {', '.join(FORMS)}")
    parser.add_argument("--slices", type=int, default=400)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--piece", choices=PIECES_OF_WORK, help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.piece:
        print(json.dumps(measure_here(given.piece, given.path, given.cache)))
        return
    size = f"{given.side}x{given.side}x{given.slices}"
    figures = {
        form: measure_form(form, slices=given.slices, side=given.side, rounds=given.rounds)
        for form in given.forms or FORMS
    }
    claims = [claim for form, rows in figures.items() for claim in claims_of(form, rows, size)]
    write_claims("pyramid", claims, figures=figures)


if __name__ == "__main__":
    main()

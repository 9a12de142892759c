"""The header pass over many files, and one box of a large volume, beside other readers."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from claims import Claim
from numpy.typing import NDArray
from reader_faults import Row, standard_error, volume_file

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

CHEST = PROJECT.parent / "shared/data/ct/chest99"
BOX = 64
BOXES = 25


Measure = Callable[[str, Path], Row]
"""Runs a piece by its name over a folder, in a process of its own."""


# Header pass: folders of one series each, sparse files of full length.


def make_headers(root: Path, *, files: int) -> None:
    """Write folders of up to 99 slices with UIDs of their own and pixels that cost no disk."""
    sources = sorted(CHEST.rglob("*.dcm")) if CHEST.is_dir() else []
    heads = [_head_of(path) for path in sources] or _made_heads()
    for number in range(files):
        series, place = divmod(number, len(heads))
        folder = root / f"{series:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        raw, size, uids = heads[place]
        for uid in uids:
            raw = raw.replace(uid, uid[:-6] + f"{series + 100000:06d}".encode())
        path = folder / f"{place:04d}.dcm"
        path.write_bytes(raw)
        os.truncate(path, size)


def _head_of(path: Path) -> tuple[bytes, int, tuple[bytes, ...]]:
    """Return a file up to its pixels, its length, and the UIDs to change."""
    import pydicom

    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    raw = path.read_bytes()
    end = raw.rindex(b"\xe0\x7f\x10\x00") + 12
    uids = (dataset.SeriesInstanceUID, dataset.SOPInstanceUID)
    return raw[:end], len(raw), tuple(str(uid).encode() for uid in uids)


def _made_heads() -> list[tuple[bytes, int, tuple[bytes, ...]]]:
    from tests.faults.scan import Scan
    from tests.faults.slices import ct_slices, save_all

    with tempfile.TemporaryDirectory() as folder:
        paths = save_all(Path(folder), ct_slices(Scan(shape=(99, 512, 512), noise_seed=None)))
        return [_head_of(path) for path in paths]


def headers_ours(folder: Path) -> Row:
    from medvit.io.discover import discover

    started = time.perf_counter()
    found = discover(folder)
    return _header_row(started, [len(case.files) for case in found.cases])


def headers_gdcm(folder: Path) -> Row:
    import SimpleITK as sitk  # noqa: N813

    started = time.perf_counter()
    reader, counts = sitk.ImageSeriesReader(), []
    for place in sorted(folder.iterdir()):
        series = reader.GetGDCMSeriesIDs(str(place))
        counts += [len(reader.GetGDCMSeriesFileNames(str(place), uid)) for uid in series]
    return _header_row(started, counts)


def _header_row(started: float, counts: list[int]) -> Row:
    seconds = time.perf_counter() - started
    return {"ms_a_file": 1000 * seconds / sum(counts), "files": sum(counts), "series": len(counts)}


def measure_headers(*, files: int, rounds: int, measure: Measure) -> tuple[list[Claim], Row]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "files"
        make_headers(root, files=files)
        rows: dict[str, dict[str, list[Row]]] = {"cold": {}, "warm": {}}
        for state in ["cold", *["warm"] * rounds]:
            for piece in ("headers_ours", "headers_gdcm"):
                if state == "cold":
                    _forget(root)
                row = measure(piece, root)
                if row["files"] != files:
                    msg = f"{piece}: {row['files']} of {files} files in its series"
                    raise RuntimeError(msg)
                rows[state].setdefault(piece, []).append(row)
    claims, figures = [], {}
    for state, pieces in rows.items():
        ours, rival = (
            round(statistics.median(row["ms_a_file"] for row in pieces[piece]), 4)
            for piece in ("headers_ours", "headers_gdcm")
        )
        figures[state] = pieces
        name = f"header pass over {files} DICOM files, {state}"
        target = round(rival / 3, 4)
        claims.append(
            Claim(
                name,
                ours,
                "ms a file",
                "SimpleITK GDCM series reader",
                rival,
                target,
                larger_is_better=False,
            )
        )
    return claims, figures


def _forget(root: Path) -> None:
    """Ask the system to drop what it keeps of files in memory; their names it may keep."""
    os.sync()
    for path in root.rglob("*.dcm"):
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


# One box of a large volume.


def make_box_volume(root: Path, form: str, *, slices: int) -> None:
    from tests.faults.formats import metaimage_head, nifti_head
    from tests.faults.scan import Scan
    from tests.faults.slices import ct_slice, save

    scan = Scan(shape=(slices, 512, 512), spacing_mm=(0.5, 0.7, 0.7), noise_seed=None)
    positions = scan.positions()
    if form != "dicom":
        head = {"nii": nifti_head, "mha": metaimage_head}[form](scan)
        with (root / f"ct.{form}").open("wb") as file:
            file.write(head)
            for number in range(slices):
                file.write(_plane(number).astype("<i2").tobytes())
        return
    for number in range(slices):
        dataset = ct_slice(scan, _plane(number), positions[number].tolist(), number)
        save(dataset, root / f"{number:05d}.dcm")


def _plane(number: int) -> NDArray[np.int32]:
    """Return a slice of noise between -1000 and 1000 HU that is told from all others."""
    rng = np.random.default_rng(number)
    return rng.integers(-1000, 1000, (512, 512), dtype=np.int32)


def _corners(slices: int) -> list[tuple[int, int, int]]:
    rng = np.random.default_rng(1)
    return [
        (int(rng.integers(slices - BOX)), *map(int, rng.integers(512 - BOX, size=2)))
        for _ in range(BOXES)
    ]


BoxReader = Callable[[int, int, int], NDArray[Any]]


def box_ours(folder: Path) -> BoxReader:
    from medvit.io.readers import open_volume

    volume = open_volume(folder)
    return lambda z, y, x: volume.read(slice(z, z + BOX), slice(y, y + BOX), slice(x, x + BOX))


def box_simpleitk(folder: Path) -> BoxReader:
    import SimpleITK as sitk  # noqa: N813

    path = volume_file(folder)
    if path is not None:
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.SetExtractSize([BOX] * 3)

        def extract(z: int, y: int, x: int) -> NDArray[Any]:
            reader.SetExtractIndex([x, y, z])
            return np.asarray(sitk.GetArrayFromImage(reader.Execute()))

        return extract
    series = sitk.ImageSeriesReader()
    (uid,) = series.GetGDCMSeriesIDs(str(folder))
    names = series.GetGDCMSeriesFileNames(str(folder), uid)

    def crop(z: int, y: int, x: int) -> NDArray[Any]:
        series.SetFileNames(names[z : z + BOX])
        image = series.Execute()
        return np.asarray(sitk.GetArrayViewFromImage(image))[:, y : y + BOX, x : x + BOX].copy()

    return crop


def box_nibabel(folder: Path) -> BoxReader:
    import nibabel as nib

    load: Any = nib.load
    voxels = load(volume_file(folder)).dataobj
    return lambda z, y, x: np.asarray(
        voxels[x : x + BOX, y : y + BOX, z : z + BOX].transpose(2, 1, 0)
    )


def _box_piece(prepare: Callable[[Path], BoxReader]) -> Callable[[Path], Row]:
    def run(folder: Path) -> Row:
        slices = int((folder.parent / "slices").read_text())
        with standard_error():
            prepare(folder.parent / "tiny")  # imports are not the volume's memory
        before = _reset_peak_kb()
        started = time.perf_counter()
        read = prepare(folder)
        opened = time.perf_counter() - started
        seconds, total = [], 0.0
        for corner in _corners(slices):
            started = time.perf_counter()
            box = read(*corner)
            seconds.append(time.perf_counter() - started)
            total += float(np.sum(box, dtype=np.float64))
        return {
            "open_ms": 1000 * opened,
            "box_ms": 1000 * statistics.median(seconds),
            "extra_mb": (_status_kb("VmHWM") - before) / 1024,
            "sum_hu": total,
        }

    return run


def _reset_peak_kb() -> int:
    """Set the peak of this process back to what it holds now, and return that."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status_kb("VmRSS")


def _status_kb(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def measure_box(*, slices: int, measure: Measure) -> tuple[list[Claim], Row]:
    claims: list[Claim] = []
    figures: dict[str, dict[str, Row]] = {}
    for form in ("mha", "nii", "dicom"):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            (root / "slices").write_text(str(slices))
            for name, count in (("tiny", BOX + 1), ("whole", slices)):
                (root / name).mkdir()
                make_box_volume(root / name, form, slices=count)
            pieces = ["box_ours", "box_simpleitk", *(["box_nibabel"] if form == "nii" else [])]
            figures[form] = {piece: measure(piece, root / "whole") for piece in pieces}
        sums = {row["sum_hu"] for row in figures[form].values()}
        if len(sums) > 1:
            print(f"{form}: the readers' boxes differ: {figures[form]}")
        claims += _box_claims(form, figures[form], megabytes=slices * 512 * 512 * 2 // 10**6)
    return claims, figures


def _box_claims(form: str, rows: dict[str, Row], *, megabytes: int) -> list[Claim]:
    ours = rows["box_ours"]
    return [
        Claim(
            f"{BOX}^3 box of a {megabytes} MB {form} volume, {what}",
            round(ours[figure], 2),
            unit,
            BOX_RIVALS[piece],
            round(rows[piece][figure], 2),
            target,
            larger_is_better=False,
        )
        for piece in rows
        if piece != "box_ours"
        for figure, unit, what, target in (
            ("box_ms", "ms", "warm", 100.0),
            ("extra_mb", "MB", "extra memory", 50.0),
        )
    ]


BOX_RIVALS = {"box_simpleitk": "SimpleITK", "box_nibabel": "nibabel"}

PIECES: dict[str, Callable[[Path], Row]] = {
    "headers_ours": headers_ours,
    "headers_gdcm": headers_gdcm,
    "box_ours": _box_piece(box_ours),
    "box_simpleitk": _box_piece(box_simpleitk),
    "box_nibabel": _box_piece(box_nibabel),
}

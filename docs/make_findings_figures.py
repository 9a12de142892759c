"""Measure what docs/findings.md says of diameters and textures, on nodules of known size.

    python docs/make_findings_figures.py CT_FOLDER [--count 40] [--phantoms 5]

Nodules of all kinds are put into real scans, one at a time, and planted in phantoms; the mark
is moved and the detector's diameter changed at random, as a detector would be wrong. Prints
one table in Markdown.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medvit.data.backgrounds import native_background
from medvit.data.insertion import insert_nodule
from medvit.data.nodule_sites import SITE_KINDS, find_site
from medvit.data.nodule_spec import KINDS, draw_nodule
from medvit.data.phantom import draw_phantom, make_phantom
from medvit.findings.nodule import is_calcified, texture_of
from medvit.geometry import index_to_lps
from medvit.io.readers import open_volume
from medvit.volume.lesion import Lesion, measure_lesion
from medvit.volume.pyramid import Pyramid
from medvit.volume.volume import volume_of

SCANS = ("lidc/LIDC-IDRI-0001", "lidc/LIDC-IDRI-0002", "chest99")
MOVED_MM, MOVED_SHARE, DIAMETER_LOG_SD = 0.3, 0.07, 0.2


@dataclass(frozen=True, slots=True)
class Row:
    """A nodule of known size, what the detector would say, and what was measured."""

    source: str
    kind: str
    site: str
    diameter_mm: float
    guess_mm: float
    found: Lesion


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of CT series")
    parser.add_argument("--count", type=int, default=40, help="nodules a scan")
    parser.add_argument("--phantoms", type=int, default=5)
    chosen = parser.parse_args()
    started_s = time.process_time()
    rows = [row for scan in SCANS for row in inserted(chosen.folder, scan, chosen.count)]
    rows += [row for seed in range(9000, 9000 + chosen.phantoms) for row in planted(seed)]
    sys.stdout.write("\n".join(table(rows)) + "\n")
    sys.stderr.write(f"{len(rows)} nodules, {time.process_time() - started_s:.0f} s CPU\n")


def inserted(folder: Path, scan: str, count: int) -> Iterator[Row]:
    """Yield nodules put into a real scan, each into an untouched copy of it."""
    volume, rng = open_volume(folder / scan), np.random.default_rng(5)
    background = native_background(volume, [])
    plain, free = background.hu.astype(np.float32), background.free()
    for number in range(count):
        site = SITE_KINDS[number % len(SITE_KINDS)]
        place = find_site(rng, plain, free, kind=site, spacing_mm=background.spacing_mm)
        if place is None:
            continue
        kinds = (KINDS[number // 2 % len(KINDS)],) if number % 2 else KINDS
        spec = draw_nodule(rng, centre_index_zyx=place, kinds=kinds)
        hu = plain.copy()
        insert_nodule(
            hu,
            spec,
            spacing_mm=background.spacing_mm,
            psf_fwhm_mm=background.psf_fwhm_mm,
            noise_sd_hu=background.noise_sd_hu,
            rng=rng,
        )
        pyramid = Pyramid((volume_of(np.rint(hu), volume.affine_lps),), (), ())
        centre = index_to_lps(volume.affine_lps, place)
        yield measured(pyramid, ("real scan", spec.kind, site), centre, spec.diameter_mm, rng)


def planted(seed: int) -> Iterator[Row]:
    """Yield the nodules of a phantom."""
    rng = np.random.default_rng(seed)
    in_plane_mm = float(rng.uniform(0.6, 0.85))
    spacing_mm = (float(rng.uniform(0.7, 2.5)), in_plane_mm, in_plane_mm)
    phantom = make_phantom(draw_phantom(rng, spacing_mm=spacing_mm, n_nodules=8), rng)
    pyramid = Pyramid((volume_of(phantom.hu, phantom.affine_lps),), (), ())
    for nodule in phantom.nodules:
        where = ("phantom", nodule.kind, nodule.site)
        yield measured(pyramid, where, np.array(nodule.centre_lps_mm), nodule.diameter_mm, rng)


def measured(
    pyramid: Pyramid,
    where: tuple[str, str, str],
    centre: np.ndarray,
    diameter_mm: float,
    rng: np.random.Generator,
) -> Row:
    """Measure at a mark that is a little wrong."""
    x, y, z = (centre + rng.normal(0, MOVED_SHARE * diameter_mm + MOVED_MM, 3)).tolist()
    guess_mm = diameter_mm * float(np.exp(rng.normal(0, DIAMETER_LOG_SD)))
    return Row(*where, diameter_mm, guess_mm, measure_lesion(pyramid, (x, y, z), guess_mm))


def table(rows: Sequence[Row]) -> list[str]:
    """Return the table: by source, place, kind and size."""
    lines = [
        "| nodules | n | sure | MAE, bias mm | near | estimate: MAE, near | texture told, right |",
        "|---|---|---|---|---|---|---|",
    ]
    groups = [("all", list(rows))]
    groups += [(s, [r for r in rows if r.source == s]) for s in ("real scan", "phantom")]
    groups += [(s, [r for r in rows if r.site == s]) for s in SITE_KINDS]
    groups += [(k, [r for r in rows if r.kind == k]) for k in KINDS]
    for low, high in ((3, 5), (5, 8), (8, 12), (12, 31)):
        name = f"{low} to {high if high < 31 else 30} mm"
        groups.append((name, [r for r in rows if low <= r.diameter_mm < high]))
    lines += [line(name, group) for name, group in groups if group]
    known = [r for r in rows if is_calcified(r.found) is not None]
    right = np.mean([is_calcified(r.found) == (r.kind == "calcified") for r in known])
    return [*lines, "", f"Calcium told in {len(known)} of {len(rows)}, right in {right:.2f}."]


def line(name: str, rows: Sequence[Row]) -> str:
    """Return one row of the table."""
    true = np.array([row.diameter_mm for row in rows])
    sure = np.array([not row.found.doubt for row in rows])
    error = np.array([row.found.diameter_mm for row in rows]) - true
    guess = np.array([row.guess_mm for row in rows]) - true
    allowed = np.maximum(1.0, 0.1 * true)
    told = [row for row in rows if texture_of(row.found)]
    right = [texture_of(r.found) == ("solid" if r.kind == "calcified" else r.kind) for r in told]
    near = (np.abs(error) <= allowed)[sure]
    return (
        f"| {name.replace('_', '-')} | {len(rows)} | {sure.mean():.2f} "
        f"| {np.abs(error[sure]).mean():.2f}, {error[sure].mean():+.2f} | {near.mean():.2f} "
        f"| {np.abs(guess).mean():.2f}, {(np.abs(guess) <= allowed).mean():.2f} "
        f"| {len(told) / len(rows):.2f}, {np.mean(right):.2f} |"
    )


if __name__ == "__main__":
    main()

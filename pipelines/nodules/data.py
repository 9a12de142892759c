"""What nodules are put into: made chests and real scans, as backgrounds of each phase."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medvit.errors import ConfigError, InputError
from pipelines.nodules.annotated_backgrounds import annotated_backgrounds
from pipelines.nodules.config import DataSettings, ScanSource

if TYPE_CHECKING:
    from medvit.data.annotated import AnnotatedScan
    from medvit.data.draws import Phase
    from medvit.data.nodule_crops import Background
    from medvit.data.nodule_items import CropPhase
    from medvit.data.patches import OpenCases
    from medvit.io.case import Case
    from medvit.io.scratch import Scratch


def crop_phases(
    data: DataSettings,
    phases: Sequence[Phase],
    *,
    annotated: Sequence[AnnotatedScan] = (),
    cache: Path,
    scratch: Scratch,
) -> tuple[CropPhase, ...]:
    """Return the backgrounds of every phase; voxels stay on the disk.

    Args:
        data: Made chests, and scans to put nodules into.
        phases: Of the training.
        annotated: Scans with real nodules.
        cache: Made chests are kept in `backgrounds` there, one file each, and what is found
            in annotated scans in `annotated`.
        scratch: Where the readers keep what they decode.

    Raises:
        ConfigError: If a scan named in the config is not below `data.root`.
        InputError: If no background is left.
    """
    from medvit.data.patches import OpenCases

    scans = () if data.root is None else data.scans
    scan_cases = [find_case(Path(data.root or "") / scan.source) for scan in scans]
    seeds = range(data.phantom_seed, data.phantom_seed + data.phantoms)
    made = tuple(_made_chest(cache / "backgrounds", seed) for seed in seeds)
    all_cases = [*(find_case(path) for path in made), *scan_cases, *(s.case for s in annotated)]
    cases = OpenCases(all_cases, scratch=scratch)
    sources = _Sources(data, cases, made, scans, tuple(annotated), cache / "annotated")
    return tuple(sources.phase(phase) for phase in phases)


@dataclass(frozen=True, slots=True, eq=False)
class _Sources:
    """All scans of a training: `cases` holds made chests, scans and annotated scans."""

    data: DataSettings
    cases: OpenCases
    made: tuple[Path, ...]
    scans: tuple[ScanSource, ...]
    annotated: tuple[AnnotatedScan, ...]
    kept: Path

    def phase(self, phase: Phase) -> CropPhase:
        """Return the backgrounds at the spacing of a phase."""
        from medvit.data.crop_augmentation import CropSettings
        from medvit.data.nodule_items import CropPhase

        spacing_mm, cases = phase.spacing_mm, self.cases
        backgrounds = [
            _chest_background(cases, number, path, spacing_mm)
            for number, path in enumerate(self.made)
        ]
        for number, scan in enumerate(self.scans, start=len(self.made)):
            background = _scan_background(cases, number, scan.ignored_xyzd_mm, spacing_mm)
            backgrounds += [background] * scan.weight
        real = annotated_backgrounds(
            self.annotated,
            cases,
            first=len(self.made) + len(self.scans),
            spacing_mm=spacing_mm,
            insertion_share=self.data.insertion_share,
            folder=self.kept,
        )
        shares = _shares(len(backgrounds), real, annotated_share=self.data.annotated_share)
        settings = CropSettings(
            side=phase.side,
            positive_share=self.data.positive_share,
            hard_share=self.data.hard_nodules,
        )
        return CropPhase((*backgrounds, *real), settings, shares)


def _shares(
    others: int, annotated: Sequence[Background], *, annotated_share: float
) -> tuple[float, ...]:
    """Return the part of the crops that each background gets; nothing where all are alike.

    An annotated scan counts for one, and for one more with each of its nodules.

    Raises:
        InputError: If there is no background at all.
    """
    if not others and not annotated:
        msg = "a training needs scans, got 0 made chests and 0 scans with lungs"
        raise InputError(msg, hint="set data.phantoms, data.scans or data.annotated")
    if not annotated:
        return ()
    counts = [1 + len(background.nodules) for background in annotated]
    together = annotated_share if others else 1.0
    shares = [(1 - together) / max(others, 1)] * others if others else []
    return (*shares, *(together * count / sum(counts) for count in counts))


def find_case(source: Path) -> Case:
    """Return the one CT case in a folder or file.

    Raises:
        ConfigError: If there is none, or more than one.
    """
    from medvit.io.discover import discover

    cases = [case for case in discover(source).cases if case.kind == "ct"]
    if len(cases) != 1:
        msg = f"{source}: one CT series expected, {len(cases)} found"
        raise ConfigError(msg, hint="name the folder of one series in data.scans")
    return cases[0]


def _made_chest(folder: Path, seed: int) -> Path:
    """Return the file of a made chest, which is made unless it is there.

    Its lungs lie beside it; they are written first, so a chest that is there is whole.
    """
    import numpy as np

    from medvit import atomic
    from medvit.data.backgrounds import make_chest
    from medvit.io.writing.metaimage import write_metaimage

    path = folder / f"chest-{seed}.mha"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        chest = make_chest(seed)
        content = io.BytesIO()
        bits, shape = np.packbits(chest.lungs), np.array(chest.lungs.shape)
        np.savez_compressed(content, lungs=bits, shape=shape, psf_fwhm_mm=chest.psf_fwhm_mm)
        atomic.write_bytes(path.with_suffix(".npz"), content.getvalue())
        write_metaimage(chest.volume, path)
    return path


def _chest_background(cases: OpenCases, number: int, path: Path, spacing_mm: float) -> Background:
    import numpy as np

    from medvit.data.backgrounds import chest_background
    from medvit.data.patches import CaseGrid

    with np.load(path.with_suffix(".npz"), allow_pickle=False) as file:
        shape = file["shape"].tolist()
        lungs = np.unpackbits(file["lungs"], count=int(np.prod(shape))).reshape(shape).astype(bool)
        z_mm, y_mm, x_mm = file["psf_fwhm_mm"].tolist()
    on = CaseGrid(cases, number, spacing_mm)
    fine = CaseGrid(cases, number, 1.0)
    return chest_background(lungs, (z_mm, y_mm, x_mm), lungs_affine=fine.affine_lps, on=on)


def _scan_background(
    cases: OpenCases,
    number: int,
    ignored_xyzd_mm: Sequence[Sequence[float]],
    spacing_mm: float,
) -> Background:
    from medvit.data.backgrounds import scan_background
    from medvit.data.patches import CaseGrid

    on = CaseGrid(cases, number, spacing_mm)
    return scan_background(cases.volume(number), ignored_xyzd_mm, on=on)

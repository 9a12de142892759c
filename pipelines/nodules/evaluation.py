"""How well a detector finds planted nodules: trials -> marks -> FROC by LUNA16's rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medvit.metrics.froc import Annotation, FrocResult, Mark, ScanMatches, froc, match_scans

if TYPE_CHECKING:
    from torch import nn

    from medvit.inference.nodules import NoduleSettings
    from medvit.volume.volume import Volume

LEAST_PROBABILITY = 0.01
"""Marks below it would only make the curve longer at its right end."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A scan in which it is known where every planted nodule lies.

    Attributes:
        excluded: Places that neither help nor hurt: lesions the scan had before.
        kinds: What each planted nodule is made of, in the order of `planted`.
    """

    name: str
    volume: Volume
    planted: tuple[Annotation, ...]
    excluded: tuple[Annotation, ...] = ()
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """Marks on a set of trials, and what they are worth."""

    marks: tuple[Mark, ...]
    matches: tuple[ScanMatches, ...]
    froc: FrocResult


def phantom_trial(seed: int) -> Trial:
    """Make a phantom scan with 1 to 6 nodules; slices of 0.7 to 2.5 mm."""
    from medvit.data.phantom import draw_phantom, make_phantom
    from medvit.volume.volume import volume_of

    rng = np.random.default_rng(seed)
    in_plane_mm = float(rng.uniform(0.6, 0.85))
    spacing_mm = (float(rng.uniform(0.7, 2.5)), in_plane_mm, in_plane_mm)
    phantom = make_phantom(draw_phantom(rng, spacing_mm=spacing_mm), rng)
    name = f"phantom-{seed}"
    planted = tuple(
        Annotation(name, *nodule.centre_lps_mm, nodule.diameter_mm) for nodule in phantom.nodules
    )
    kinds = tuple(nodule.kind for nodule in phantom.nodules)
    return Trial(name, volume_of(phantom.hu, phantom.affine_lps), planted, kinds=kinds)


def insertion_trial(
    volume: Volume,
    *,
    name: str,
    count: int,
    rng: np.random.Generator,
    excluded: Sequence[tuple[float, float, float, float]] = (),
) -> Trial:
    """Put nodules into a copy of a real scan, apart from each other and from `excluded`.

    Args:
        excluded: LPS centre and diameter in mm of lesions that are there already.
    """
    from medvit.data.backgrounds import native_background
    from medvit.data.insertion import insert_nodule
    from medvit.data.nodule_sites import draw_site
    from medvit.data.nodule_spec import draw_nodule
    from medvit.geometry import index_to_lps
    from medvit.volume.volume import volume_of

    scan = native_background(volume, excluded)
    hu, free = scan.hu.astype(np.float32), scan.free()
    planted, kinds = [], []
    for _ in range(count):
        site = draw_site(rng, hu, free, spacing_mm=scan.spacing_mm)
        if site is None:
            break
        spec = draw_nodule(rng, centre_index_zyx=site)
        insert_nodule(
            hu,
            spec,
            spacing_mm=scan.spacing_mm,
            psf_fwhm_mm=scan.psf_fwhm_mm,
            noise_sd_hu=scan.noise_sd_hu,
            rng=rng,
        )
        x_mm, y_mm, z_mm = index_to_lps(volume.affine_lps, np.array(site)).tolist()
        planted.append(Annotation(name, x_mm, y_mm, z_mm, spec.diameter_mm))
        kinds.append(spec.kind)
        scan.clear(free, site, spec.diameter_mm)
    known = tuple(Annotation(name, *row) for row in excluded)
    return Trial(name, volume_of(hu, volume.affine_lps), tuple(planted), known, tuple(kinds))


def search_trial(
    detector: nn.Module, trial: Trial, *, settings: NoduleSettings | None = None
) -> tuple[Mark, ...]:
    """Return the marks of a detector on a trial, down to a probability of 0.01.

    Args:
        settings: How the scan is searched, if not as usual.
    """
    from medvit.inference.nodules import NoduleSettings, detect_nodules
    from medvit.io.pyramids import hold_pyramid

    found = detect_nodules(
        hold_pyramid(trial.volume),
        detector,
        settings=settings or NoduleSettings(min_probability=LEAST_PROBABILITY),
    )
    return tuple(
        Mark(trial.name, *nodule.centre_lps_mm, nodule.probability) for nodule in found.nodules
    )


def measure(
    detector: nn.Module,
    trials: Sequence[Callable[[], Trial]],
    *,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Search every trial and score the marks; trials are made one at a time.

    Args:
        progress: Told how many trials are done.
    """
    marks: list[Mark] = []
    planted: list[Annotation] = []
    excluded: list[Annotation] = []
    names: list[str] = []
    for number, make in enumerate(trials, start=1):
        trial = make()
        names.append(trial.name)
        planted += trial.planted
        excluded += trial.excluded
        marks += search_trial(detector, trial)
        if progress is not None:
            progress(number)
    result = froc(marks, planted, excluded=excluded, series=names)
    matches = match_scans(marks, planted, excluded=excluded, series=names)
    return Outcome(tuple(marks), tuple(matches), result)

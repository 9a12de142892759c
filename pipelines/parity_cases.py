"""Cases that an export is judged on, given or made, and others to calibrate INT8 with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medvit.errors import ConfigError, InputError, ReadError

if TYPE_CHECKING:
    from medvit.data.foreground import Foreground
    from medvit.data.patches import OpenCases
    from medvit.export.sidecar import GreyInput, HuInput
    from medvit.io.case import Case
    from medvit.io.scratch import Scratch

Raw = NDArray[np.float32]

CALIBRATION_CASES = 100
MADE_TILES = 24
"""Made CT tiles; each takes seconds to make and to look at."""
MADE_SEED = 46
NODULES_A_TILE = 4


@dataclass(frozen=True, slots=True, eq=False)
class ParityCases:
    """What both networks see.

    Attributes:
        judged: Tiles (z, y, x) in HU, or pixels (h, w, 3) in 0..1.
        calibration: Other cases, for INT8.
        origin: Where they come from, in a sentence.
        unreadable: Images that could not be read.
    """

    judged: tuple[Raw, ...]
    calibration: tuple[Raw, ...]
    origin: str
    unreadable: int = 0


def made_cases(form: HuInput | GreyInput, *, most: int, calibrates: bool) -> ParityCases:
    """Return made tiles of lung with nodules, or made images of steel."""
    make = _made_tile if form.kind == "hu" else _made_image
    count = min(most, MADE_TILES) if form.kind == "hu" else most
    more = min(count, CALIBRATION_CASES) if calibrates else 0
    numbers = range(count + more)
    cases = tuple(make(form, number) for number in numbers)
    what = "CT tiles with nodules" if form.kind == "hu" else "images of steel with defects"
    return ParityCases(cases[:count], cases[count:], f"{count} made {what}")


def given_cases(
    root: Path, form: HuInput | GreyInput, *, most: int, calibrates: bool, scratch: Scratch
) -> ParityCases:
    """Return cases from a folder or file.

    Raises:
        InputError: If there is no such path, or nothing in it can be used.
    """
    if not root.exists():
        msg = f"{root}: no such file or folder"
        raise InputError(msg, hint="check the path given by --cases")
    if form.kind == "hu":
        return _tiles_of(root, form, most=most, calibrates=calibrates, scratch=scratch)
    return _images_of(root, most=most, calibrates=calibrates, scratch=scratch)


def _images_of(root: Path, *, most: int, calibrates: bool, scratch: Scratch) -> ParityCases:
    from medvit.io.discover import discover
    from medvit.io.readers import read_image

    found = [
        case for case in discover(root, archives=scratch.archives).cases if case.kind == "image"
    ]
    more = min(CALIBRATION_CASES, len(found) // 3) if calibrates else 0
    wanted = _spread(found, min(len(found), most + more))
    images: list[Raw] = []
    unreadable = 0
    for case in wanted:
        try:
            images.append(read_image(case, scratch=scratch).pixels)
        except ReadError:
            unreadable += 1
    if not images:
        msg = f"{root}: no image in it can be read, {len(found)} found"
        raise InputError(msg, hint="give a folder of images, or leave --cases out for made ones")
    more = min(more, len(images) // 3)
    every = len(images) // more if more else 0
    aside = {number * every for number in range(more)}
    judged = tuple(image for number, image in enumerate(images) if number not in aside)
    calibration = tuple(images[number] for number in sorted(aside))
    return ParityCases(judged, calibration, f"{len(judged)} of {len(found)} images", unreadable)


def _tiles_of(
    root: Path, form: HuInput, *, most: int, calibrates: bool, scratch: Scratch
) -> ParityCases:
    """Return tiles centred in lungs; INT8 is calibrated on another scan than it is judged on."""
    from medvit.data.patches import OpenCases
    from pipelines.usable_scans import find_usable_scans

    try:
        scans = find_usable_scans(root, least_mm=form.spacing_mm, scratch=scratch)
    except ConfigError as error:
        msg = f"{root}: no CT scan in it can be used as a case"
        raise InputError(msg, hint=error.hint) from error
    cases, foregrounds = scans.cases.cases, scans.foregrounds
    aside = 1 if calibrates and len(cases) > 1 else 0
    judged = _lung_tiles(
        OpenCases(cases[aside:], scratch=scratch), foregrounds[aside:], form, count=most
    )
    calibration: tuple[Raw, ...] = ()
    if aside:
        first = OpenCases(cases[:aside], scratch=scratch)
        calibration = _lung_tiles(first, foregrounds[:aside], form, count=min(most, MADE_TILES))
    elif calibrates:
        calibration = tuple(_made_tile(form, number) for number in range(MADE_TILES))
    origin = f"{most} tiles from the lungs of {len(cases) - aside} scans"
    return ParityCases(judged, calibration, origin, len(scans.unused))


def _lung_tiles(
    cases: OpenCases, foregrounds: Sequence[Foreground], form: HuInput, *, count: int
) -> tuple[Raw, ...]:
    from medvit.data.draws import DrawKey, Phase
    from medvit.data.patches import VolumePatches

    phase = Phase(share=1.0, spacing_mm=form.spacing_mm, side=form.side)
    patches = VolumePatches(cases, foregrounds, phases=(phase,), lungs_share=1.0, seed=MADE_SEED)
    return tuple(patches[DrawKey(0, number)] for number in range(count))


def _made_tile(form: HuInput | GreyInput, number: int) -> Raw:
    from medvit.data.phantom import draw_phantom, make_phantom
    from medvit.export.sidecar import HuInput

    if not isinstance(form, HuInput):
        msg = f"a CT tile needs a form in HU, got {form.kind}"
        raise TypeError(msg)
    rng = np.random.default_rng((MADE_SEED, number))
    spec = draw_phantom(
        rng,
        spacing_mm=(form.spacing_mm,) * 3,
        shape=(form.side,) * 3,
        n_nodules=NODULES_A_TILE,
    )
    return make_phantom(spec, rng).hu.astype(np.float32)


def _made_image(_form: HuInput | GreyInput, number: int) -> Raw:
    from medvit.data.surface_phantom import make_surface

    rng = np.random.default_rng((MADE_SEED, number))
    grey = make_surface(rng, number=number).pixels.astype(np.float32) / 255
    return np.repeat(grey[:, :, None], 3, axis=2)


def _spread(items: Sequence[Case], count: int) -> list[Case]:
    """Return so many items, evenly spread over a sorted list.

    Examples:
        >>> _spread([0, 1, 2, 3, 4, 5], 3)
        [0, 2, 4]
    """
    return [items[number * len(items) // count] for number in range(count)]

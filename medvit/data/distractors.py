"""Things put into a CT that are no nodules: vessel bends, scars, rib ends, sham insertions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medvit.data.blending import Floats, Scanner, Triple, grain, raise_to, split
from medvit.data.insertion import outline
from medvit.data.nodule_shape import cover
from medvit.data.nodule_sites import SiteKind, draw_site, find_site
from medvit.data.nodule_spec import NoduleSpec, draw_nodule

DistractorKind = Literal["vessel_bend", "scar", "rib_end", "sham"]
DISTRACTOR_KINDS: tuple[DistractorKind, ...] = ("vessel_bend", "scar", "rib_end", "sham")
DISTRACTOR_SHARES = (0.35, 0.2, 0.15, 0.3)

_SITES: dict[DistractorKind, SiteKind] = {
    "vessel_bend": "isolated",
    "scar": "pleural",
    "rib_end": "pleural",
}
CLEAR_MM = 4.0
_UNEVEN_HU = {"vessel_bend": 8.0, "scar": 25.0, "rib_end": 40.0}

Line = NDArray[np.float64]
"""(n, 4): points (z, y, x) in mm from the centre, and the radius there."""


@dataclass(frozen=True, slots=True, eq=False)
class Distractor:
    """One thing that a detector must leave alone.

    Attributes:
        centre_index_zyx: Where it is, in voxels of the volume, with fractions.
        lines: What it is drawn from; none for a sham.
        hu: Attenuation of its tissue.
        sham: The nodule whose outline is filled with plain parenchyma.
    """

    kind: DistractorKind
    centre_index_zyx: Triple
    lines: tuple[Line, ...] = ()
    hu: float = 0.0
    sham: NoduleSpec | None = None

    @property
    def clear_mm(self) -> float:
        """Diameter of the ball in which no nodule may be centred; 0 for a sham."""
        return (
            2 * float(max((line[:, 3].max() for line in self.lines), default=-CLEAR_MM / 2))
            + CLEAR_MM
        )


def draw_distractor(
    rng: np.random.Generator,
    volume_hu: Floats,
    lung_mask: NDArray[np.bool_],
    *,
    spacing_mm: Triple,
    kind: DistractorKind | None = None,
) -> Distractor | None:
    """Draw a distractor and a place for it; None when no place was found.

    Args:
        lung_mask: (z, y, x), where its centre may be.
        kind: By default drawn by `DISTRACTOR_SHARES`.
    """
    if kind is None:
        kind = DISTRACTOR_KINDS[int(rng.choice(len(DISTRACTOR_KINDS), p=DISTRACTOR_SHARES))]
    if kind == "sham":
        site = draw_site(rng, volume_hu, lung_mask, spacing_mm=spacing_mm)
        if site is None:
            return None
        return Distractor(kind, site, sham=draw_nodule(rng, centre_index_zyx=site))
    site = find_site(rng, volume_hu, lung_mask, kind=_SITES[kind], spacing_mm=spacing_mm)
    if site is None:
        return None
    if kind == "vessel_bend":
        return Distractor(kind, site, _vessel_bend(rng), float(rng.uniform(0, 90)))
    outward = _outward(volume_hu, site, spacing_mm)
    if kind == "scar":
        return Distractor(kind, site, _scar(rng, outward), float(rng.uniform(-250, 40)))
    return Distractor(kind, site, _rib_end(rng, outward), float(rng.uniform(150, 500)))


def insert_distractor(
    volume_hu: Floats,
    distractor: Distractor,
    *,
    spacing_mm: Triple,
    psf_fwhm_mm: Triple,
    noise_sd_hu: float,
    rng: np.random.Generator,
) -> None:
    """Put a distractor into a volume, in place, blended as nodules are."""
    scanner = Scanner(spacing_mm, psf_fwhm_mm, noise_sd_hu)
    if distractor.sham is not None:
        _insert_sham(volume_hu, distractor.sham, scanner, rng)
        return
    lines, centre = distractor.lines, distractor.centre_index_zyx
    reach_mm = max(
        float((np.linalg.norm(line[:, :3], axis=1) + line[:, 3]).max()) for line in lines
    )
    box = scanner.box(centre, reach_mm, volume_hu.shape)
    if box is None:
        return
    layers = split(volume_hu[box], scanner)
    inside = scanner.cover(partial(_cover_of_lines, lines), centre, box)
    target = np.full(inside.shape, distractor.hu, np.float32)
    sd_hu = _UNEVEN_HU[distractor.kind]
    target += grain(rng, target.shape, spacing_mm=spacing_mm, sd_hu=sd_hu)
    raise_to(volume_hu, box, inside, target, layers)


def _insert_sham(
    volume_hu: Floats, spec: NoduleSpec, scanner: Scanner, rng: np.random.Generator
) -> None:
    """Blend plain parenchyma in where a nodule would go: a detector must not see it."""
    shape = outline(np.random.default_rng(spec.shape_seed), spec)
    box = scanner.box(spec.centre_index_zyx, shape.reach_mm, volume_hu.shape)
    if box is None:
        return
    layers = split(volume_hu[box], scanner)
    inside = scanner.cover(partial(cover, shape), spec.centre_index_zyx, box)
    # Walls and large vessels stay: only lung is replaced by lung.
    inside *= np.clip((-450 - layers.base) / 150, 0, 1)
    target = layers.lung_hu + layers.noise + np.float32(rng.uniform(-15, 15))
    volume_hu[box] += inside * (target - volume_hu[box])


def _vessel_bend(rng: np.random.Generator) -> tuple[Line, ...]:
    """Two arms of 9 to 20 mm that meet at 40 to 120 degrees, now and then a third at the knee."""
    first, aside = _frame(rng)
    angle = np.deg2rad(rng.uniform(40, 120))
    second = np.cos(angle) * first + np.sin(angle) * aside
    radius_mm = float(rng.uniform(0.7, 2.0))
    ends = [first * rng.uniform(9, 20), second * rng.uniform(9, 20)]
    t = np.linspace(0, 1, 11)[:, None]
    control = -0.15 * (ends[0] + ends[1])
    points = (1 - t) ** 2 * ends[0] + 2 * t * (1 - t) * control + t**2 * ends[1]
    points -= points[5]
    radii = radius_mm * (0.25 + 0.75 * np.sin(np.pi * t[:, 0]) ** 0.6)
    lines = [np.column_stack([points, radii])]
    if rng.random() < 0.4:
        third = -_unit(first + second) * rng.uniform(6, 14) + rng.normal(0, 1.5, 3)
        along = np.linspace(0, 1, 5)[:, None]
        lines.append(np.column_stack([along * third, radius_mm * (0.9 - 0.6 * along)]))
    return tuple(lines)


def _scar(rng: np.random.Generator, outward: Line) -> tuple[Line, ...]:
    """One to three crooked bands of 10 to 35 mm that run from the pleura into the lung."""
    bands = []
    for _ in range(int(rng.integers(1, 4))):
        way = _unit(-outward + rng.normal(0, 0.5, 3))
        steps = way + rng.normal(0, 0.35, (7, 3))
        steps[0] = 2 * outward
        path = np.cumsum(steps, axis=0)
        path *= rng.uniform(10, 35) / 6
        path -= path[0] - outward * 2
        radii = rng.uniform(0.5, 1.5) * rng.uniform(0.5, 1.2, 7) * np.linspace(1.2, 0.6, 7)
        bands.append(np.column_stack([path, radii]))
    return tuple(bands)


def _rib_end(rng: np.random.Generator, outward: Line) -> tuple[Line, ...]:
    """A bony bump that stands 1 to 4 mm into the lung, 6 to 16 mm long along the wall."""
    along = _unit(np.cross(outward, rng.normal(0, 1, 3)))
    radius_mm = float(rng.uniform(3, 7))
    half_mm = float(rng.uniform(3, 8))
    middle = outward * (radius_mm - rng.uniform(0, 2))
    at = np.linspace(-1, 1, 5)
    points = middle + at[:, None] * half_mm * along
    return (np.column_stack([points, radius_mm * (1 - 0.25 * at**2)]),)


def _outward(volume_hu: Floats, site: Triple, spacing_mm: Triple) -> Line:
    """Return the unit vector (z, y, x) in mm toward what is denser than lung."""
    centre = np.rint(site).astype(int)
    reach = np.ceil(8 / np.array(spacing_mm)).astype(int)
    low = np.maximum(centre - reach, 0)
    high = np.minimum(centre + reach + 1, volume_hu.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    dense = ndimage.gaussian_filter(
        (volume_hu[box] > -400).astype(np.float32), [2.5 / mm for mm in spacing_mm]
    )
    slope = np.array([np.gradient(dense, axis=axis)[tuple(centre - low)] for axis in range(3)])
    return _unit(slope / spacing_mm + 1e-9)


def _cover_of_lines(
    lines: tuple[Line, ...], offsets_mm: tuple[Floats, Floats, Floats], edge_mm: float
) -> Floats:
    """Return how much of each point lies within tapering tubes along lines."""
    z, y, x = offsets_mm
    depth = np.full(np.broadcast_shapes(z.shape, y.shape, x.shape), -99, np.float32)
    for line in lines:
        for start, end in zip(
            line[:-1].astype(np.float32), line[1:].astype(np.float32), strict=True
        ):
            way = end[:3] - start[:3]
            share = way / max(float(way @ way), 1e-9)
            dz, dy, dx = z - start[0], y - start[1], x - start[2]
            along = np.clip(dz * share[0] + dy * share[1] + dx * share[2], 0, 1)
            away = np.sqrt(
                (dz - along * way[0]) ** 2 + (dy - along * way[1]) ** 2 + (dx - along * way[2]) ** 2
            )
            np.maximum(depth, start[3] + along * (end[3] - start[3]) - away, out=depth)
    covered: Floats = np.clip(depth / np.float32(edge_mm) + np.float32(0.5), 0, 1)
    return covered


def _frame(rng: np.random.Generator) -> tuple[Line, Line]:
    """Return two unit vectors at right angles."""
    first = _unit(rng.normal(0, 1, 3))
    return first, _unit(np.cross(first, rng.normal(0, 1, 3)))


def _unit(vector: Line) -> Line:
    unit: Line = vector / np.linalg.norm(vector)
    return unit

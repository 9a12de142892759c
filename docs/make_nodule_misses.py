"""Write docs/misses.md: which planted nodules the shipped detector misses, and how they look.

After `python benchmarks/nodules.py`, whose trials it makes again from their seeds:
python docs/make_nodule_misses.py
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rich.progress import track

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "benchmarks"))

from nodule_trials import figures, make_trial, read_trials  # noqa: E402

from medvit.data.nodule_spec import KINDS  # noqa: E402
from medvit.geometry import lps_to_index  # noqa: E402
from medvit.metrics.froc import Annotation, Mark, match_scans, thresholds_at  # noqa: E402
from medvit.volume.volume import Volume  # noqa: E402
from medvit.volume.window import LUNG  # noqa: E402

Floats = NDArray[np.float32]
Grey = NDArray[np.uint8]

FP_PER_SCAN = 4.0
LUNG_HU = -500.0
"""What is denser around a nodule is vessel, wall or heart, and no lung to stand out from."""
CORE, SHELL_MM = 0.7, (1.5, 5.0)
VIEW_MM, VIEW_PX, COLUMNS = 50.0, 128, 8
WITHOUT_TERMS = "chest99"
CONTRASTS = (0.0, 2.0, 4.0, 8.0, np.inf)
SIZES = (0.0, 6.0, 10.0, 20.0, np.inf)


@dataclass(frozen=True, slots=True)
class Seen:
    """A planted nodule as the detector and a reader see it.

    Attributes:
        score: Of the best mark on it; NaN without any.
        contrast: Of its core with the lung around it, in sds of that lung.
        view: The axial slice through its middle, 50 mm wide, lung window.
        may_be_shown: Whether the terms of its scan allow pictures.
    """

    kind: str
    diameter_mm: float
    score: float
    contrast: float
    view: Grey
    may_be_shown: bool


def main() -> None:
    """Write the page and its picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nodule-swin3d")
    journal = PROJECT / "medvit-workspace/bench-nodules/trials.jsonl"
    parser.add_argument("--journal", type=Path, default=journal)
    given = parser.parse_args()
    rows = list(read_trials(given.journal).values())
    cut, scores = best_scores(rows, given.model)
    seen = [each for row in track(rows, "scans") for each in look(row, scores[row["name"]])]
    missed = sorted(
        (each for each in seen if not each.score >= cut), key=lambda each: each.contrast
    )
    picture = PROJECT / "docs/pictures/nodule_misses.png"
    montage([each.view for each in missed if each.may_be_shown]).save(picture, optimize=True)
    page = "\n".join(page_of(seen, missed, figures(rows, given.model), scans=len(rows)))
    (PROJECT / "docs/misses.md").write_text(page, encoding="utf-8")


def best_scores(
    rows: Sequence[dict[str, Any]], model: str
) -> tuple[float, dict[str, NDArray[np.float64]]]:
    """Return the score at `FP_PER_SCAN`, and the best score of each nodule by scan."""
    planted = [_of(Annotation, each, row["name"]) for row in rows for each in row["planted"]]
    excluded = [_of(Annotation, each, row["name"]) for row in rows for each in row["excluded"]]
    marks = [_of(Mark, each, row["name"]) for row in rows for each in row["marks"][model]]
    names = [row["name"] for row in rows]
    matches = match_scans(marks, planted, excluded=excluded, series=names)
    (cut,) = thresholds_at(matches, [FP_PER_SCAN])
    if cut is None:
        msg = f"no score keeps to {FP_PER_SCAN:g} false marks a scan"
        raise ValueError(msg)
    return cut, {match.series_uid: match.scores for match in matches}


def _of(kind: Any, values: dict[str, Any], name: str) -> Any:
    return kind(**{**values, "series_uid": name})


def look(row: dict[str, Any], scores: NDArray[np.float64]) -> Iterator[Seen]:
    """Yield the nodules of a trial."""
    trial = make_trial(row["name"])
    for planted, kind, score in zip(trial.planted, trial.kinds, scores, strict=True):
        centre = (planted.x_mm, planted.y_mm, planted.z_mm)
        contrast = contrast_of(trial.volume, centre, planted.diameter_mm)
        view = view_of(trial.volume, centre)
        may_be_shown = not row["name"].startswith(WITHOUT_TERMS)
        yield Seen(kind, planted.diameter_mm, float(score), contrast, view, may_be_shown)


def contrast_of(volume: Volume, centre: tuple[float, float, float], diameter_mm: float) -> float:
    """Return how far the core of a nodule stands out from the lung around, in its sds.

    0 where it is not in lung.
    """
    spacing = np.array(volume.spacing_mm)
    index = lps_to_index(volume.affine_lps, np.array(centre))
    radius = diameter_mm / 2
    reach = np.ceil((radius + SHELL_MM[1]) / spacing).astype(int)
    low = np.clip(np.floor(index).astype(int) - reach, 0, None)
    high = np.minimum(np.ceil(index).astype(int) + reach + 1, volume.shape)
    hu = volume.read(*(slice(a, b) for a, b in zip(low, high, strict=True)))
    axes = [
        (np.arange(a, b) - at) * mm for a, b, at, mm in zip(low, high, index, spacing, strict=True)
    ]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    away = np.sqrt(z**2 + y**2 + x**2)
    core = hu[away <= max(CORE * radius, spacing.min())]
    around = (away >= radius + SHELL_MM[0]) & (away <= radius + SHELL_MM[1]) & (hu < LUNG_HU)
    lung = hu[around]
    if lung.size < 2 or not core.size:
        return 0.0
    middle = float(np.median(lung))
    sd = 1.4826 * float(np.median(np.abs(lung - middle)))
    return (float(core.mean()) - middle) / max(sd, 1.0)


def view_of(volume: Volume, centre: tuple[float, float, float]) -> Grey:
    """Return the axial slice around a place, (VIEW_PX, VIEW_PX)."""
    z, y, x = lps_to_index(volume.affine_lps, np.array(centre))
    spacing = volume.spacing_mm
    half = [int(np.ceil(VIEW_MM / 2 / mm)) for mm in spacing[1:]]
    at = min(max(round(float(z)), 0), volume.shape[0] - 1)
    rows, columns = (
        np.arange(round(float(middle)) - n, round(float(middle)) + n + 1)
        for middle, n in zip((y, x), half, strict=True)
    )
    page = volume.read(slice(at, at + 1), slice(0, volume.shape[1]), slice(0, volume.shape[2]))[0]
    inside = page[np.ix_(rows.clip(0, page.shape[0] - 1), columns.clip(0, page.shape[1] - 1))]
    picture = Image.fromarray(LUNG.apply(inside)).resize((VIEW_PX, VIEW_PX))
    return np.asarray(picture)


def montage(views: Sequence[Grey]) -> Image.Image:
    """Return views in rows, each with a tick towards its middle."""
    lines = -(-len(views) // COLUMNS)
    sheet = Image.new("L", (COLUMNS * (VIEW_PX + 2), lines * (VIEW_PX + 2)), 255)
    for number, view in enumerate(views):
        tile = Image.fromarray(view.copy())
        pen, middle = ImageDraw.Draw(tile), VIEW_PX // 2
        pen.line((middle, 0, middle, 14), fill=255)
        pen.line((0, middle, 14, middle), fill=255)
        down, along = divmod(number, COLUMNS)
        sheet.paste(tile, (along * (VIEW_PX + 2), down * (VIEW_PX + 2)))
    return sheet


def page_of(
    seen: Sequence[Seen], missed: Sequence[Seen], table: dict[str, Any], *, scans: int
) -> Iterator[str]:
    """Yield the lines of the page."""
    low, high = table["cpm_95"]
    unmarked = sum(bool(np.isnan(each.score)) for each in missed)
    yield "# Which nodules the shipped detector misses"
    yield ""
    yield (
        "Written by `python docs/make_nodule_misses.py` from the trials of "
        f"`benchmarks/nodules.py`: {scans} scans with {len(seen)} planted nodules, "
        "none of them learnt from. CPM "
        f"{table['cpm']:.3f} ({low:.3f} to {high:.3f} over draws of scans). At {FP_PER_SCAN:g} "
        f"false marks a scan {len(seen) - len(missed)} are found and {len(missed)} missed."
    )
    for what, edges, unit in (("diameter_mm", SIZES, "mm"), ("contrast", CONTRASTS, "sd")):
        told = {"diameter_mm": "diameter", "contrast": "contrast with the lung around, in its sds"}
        yield ""
        yield f"Found, of how many, by kind and {told[what]}:"
        yield ""
        yield from rows_of(seen, {id(each) for each in missed}, what, edges, unit)
    yield ""
    yield (
        f"Of the missed ones {unmarked} have no mark at all among the 100 most probable of their "
        "scan, the others one below the cut. Below are those in made chests and in LIDC-IDRI-0001 "
        "(Armato et al., doi 10.7937/K9/TCIA.2015.LO9QL9SX, CC BY 3.0), the faintest first; ticks "
        "point at the middle, 50 mm a side, lung window:"
    )
    yield ""
    yield "![Axial views of missed nodules](pictures/nodule_misses.png)"
    yield ""
    yield (
        "What was tried against it: [models.md](models.md#lung-nodules). What it marks in real "
        "scans, one by one: [its card](../medvit/weights/nodule-swin3d/README.md)."
    )
    yield ""


def rows_of(
    seen: Sequence[Seen], missed: set[int], what: str, edges: Sequence[float], unit: str
) -> Iterator[str]:
    """Yield a table of how many of each kind were found, by a figure of theirs."""
    spans = [*pairwise(edges), (-np.inf, np.inf)]
    names = [f"{a:g} to {b:g} {unit}" for a, b in spans[:-2]]
    names += [f"{edges[-2]:g} {unit} and more", "all"]
    yield f"| kind | {' | '.join(names)} |"
    yield f"|---|{'---|' * len(names)}"
    for kind in KINDS:
        cells = []
        for low, high in spans:
            own = [s for s in seen if s.kind == kind and low <= max(getattr(s, what), 0.0) < high]
            found = sum(id(each) not in missed for each in own)
            cells.append(f"{found} of {len(own)}" if own else "-")
        yield f"| {kind.replace('_', ' ')} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()

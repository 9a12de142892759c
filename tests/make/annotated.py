"""Folders of annotated scans, as they are downloaded: tiny, and without patients."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medvit.geometry import index_to_lps
from medvit.io.writing.metaimage import write_metaimage
from medvit.volume.volume import Volume
from tests.make.chest import Ball, centred_affine, make_chest
from tests.make.nifti import write_nifti
from tests.make.volumes import write_metaimage as write_tiny

HEADING = ("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm")
SUBSETS = 10

Row = Sequence[object]


def write_rows(path: Path, rows: Iterable[Row], heading: Sequence[str] = HEADING) -> Path:
    """Write a CSV and return its path."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([heading, *rows])
    return path


def uid(number: int) -> str:
    """Return the series UID of scan `number`."""
    return f"1.2.826.0.1.3680043.8.498.{number + 1}"


def write_luna16(
    root: Path,
    rows: Sequence[Row] = (),
    *,
    excluded: Sequence[Row] | None = (),
    volumes: Sequence[Volume] = (),
) -> Path:
    """Write ten subsets of one scan each, with LUNA16's two tables.

    Scan n is in subset n. Without volumes scans have 5x6x7 voxels, from (-10, 20, -30.5) to
    (-7, 23.75, -22.5) LPS mm.
    """
    for number in range(SUBSETS):
        folder = root / f"subset{number}"
        folder.mkdir(parents=True)
        path = folder / f"{uid(number)}.mhd"
        if volumes:
            write_metaimage(volumes[number], path)
        else:
            write_tiny(path)
    write_rows(root / "annotations.csv", rows)
    if excluded is not None:
        folder = root / "evaluationScript" / "annotations"
        folder.mkdir(parents=True)
        write_rows(folder / "annotations_excluded.csv", excluded)
    (root / "candidates.csv").write_text("seriesuid,coordX,coordY,coordZ,class\nbroken\n")
    return root


def chest_with(*balls: Ball) -> Volume:
    """Return a coarse chest with a ball of soft tissue at each place."""
    shape = (56, 60, 76)
    return make_chest(shape, centred_affine(shape, (4.0, 5.0, 5.0)), balls=balls)


def write_decathlon(root: Path, masks: Sequence[npt.NDArray[np.uint8]]) -> Path:
    """Write images `case_0`... with their masks, both in the order (i, j, k) of NIfTI."""
    entries = []
    for number, mask in enumerate(masks):
        image = np.full(mask.shape, -900, dtype=np.int16)
        for folder, values in (("imagesTr", image), ("labelsTr", mask)):
            write_nifti(root / folder / f"case_{number}.nii.gz", values)
        entries.append(
            {
                "image": f"./imagesTr/case_{number}.nii.gz",
                "label": f"./labelsTr/case_{number}.nii.gz",
            }
        )
    contents = {"name": "Lung", "labels": {"0": "background", "1": "cancer"}, "training": entries}
    (root / "dataset.json").write_text(json.dumps(contents))
    return root


def contours_xml(
    series_uid: str,
    sessions: Sequence[Sequence[Sequence[tuple[str, float, str, Sequence[tuple[int, int]]]]]],
) -> str:
    """Return an XML file of LIDC readers.

    Args:
        series_uid: Of the series.
        sessions: For each reader the nodules; for each nodule the contours, as SOP UID, z in
            mm, `TRUE` or `FALSE` for inclusion, and points (x, y).
    """
    parts = []
    for session in sessions:
        parts.append("<readingSession>")
        for number, contours in enumerate(session, start=1):
            parts.append(f"<unblindedReadNodule><noduleID>N{number}</noduleID>")
            for sop_uid, z_mm, inclusion, points in contours:
                edges = "".join(
                    f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>"
                    for x, y in points
                )
                parts.append(
                    f"<roi><imageZposition>{z_mm} </imageZposition>"
                    f"<imageSOP_UID>{sop_uid}</imageSOP_UID>"
                    f"<inclusion>{inclusion}</inclusion>{edges}</roi>"
                )
            parts.append("</unblindedReadNodule>")
        parts.append("</readingSession>")
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<LidcReadMessage xmlns="http://www.nih.gov">'
        f"<ResponseHeader><SeriesInstanceUid>{series_uid}</SeriesInstanceUid></ResponseHeader>"
        f"{''.join(parts)}</LidcReadMessage>"
    )


def square(left: int, top: int, side: int) -> list[tuple[int, int]]:
    """Return the closed outline of a square of pixels, its corners at both ends included."""
    right, bottom = left + side - 1, top + side - 1
    return [
        *((x, top) for x in range(left, right)),
        *((right, y) for y in range(top, bottom)),
        *((x, bottom) for x in range(right, left, -1)),
        *((left, y) for y in range(bottom, top, -1)),
    ]


def place_of(volume: Volume, index_zyx: Sequence[float]) -> tuple[float, float, float]:
    """Return the LPS mm point of an index."""
    x, y, z = index_to_lps(volume.affine_lps, index_zyx).tolist()
    return x, y, z

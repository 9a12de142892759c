"""The shipped nodule detector on cases it was not trained on, beside a classical one of blobs.

Unseen phantoms; nodules put into scans of patients it has not seen; and the real
findings at hand, one by one. What a convolutional network of equal cost makes of the
same training: `nodule_backbones.py`. Made nodules are not patients: none of these
figures says how it does in a clinic.

Every searched scan is kept in `--work`, so an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from claims import Claim, write_claims
from nodule_trials import (
    BLOBS,
    FP_AT,
    HOSTS,
    LIDC_NODULE,
    SCANS,
    TUMOUR,
    detector,
    figures,
    open_scan,
    searched,
    trial_names,
)

from medvit.inference.nodules import detect_nodules
from medvit.io.pyramids import hold_pyramid
from medvit.registry.registry import find_model

REAL = {
    "LIDC-IDRI-0001": ("lidc/LIDC-IDRI-0001", LIDC_NODULE),
    "Lung-PET-CT-Dx A0002 (trained on as background, its tumour left out of the loss)": (
        "lung_pet_ct_dx/A0002/series3_B40f",
        TUMOUR,
    ),
    "chest99 (no annotation)": ("chest99", None),
}


def real_findings(model: str) -> Iterator[dict[str, Any]]:
    """Search the real scans; tell the rank of the annotated finding, and list all marks."""
    for name, (folder, finding) in REAL.items():
        marks = detect_nodules(hold_pyramid(open_scan(folder)), detector(model, None)).nodules
        listed = [
            {
                "centre_lps_mm": [round(x, 1) for x in mark.centre_lps_mm],
                "diameter_mm": round(mark.diameter_mm, 1),
                "probability": round(mark.probability, 3),
            }
            for mark in marks
        ]
        row: dict[str, Any] = {"scan": name, "marks": len(marks), "first_marks": listed[:10]}
        if finding is not None:
            away = [float(np.linalg.norm(np.array(m.centre_lps_mm) - finding[:3])) for m in marks]
            inside = [rank for rank, mm in enumerate(away, 1) if mm < finding[3] / 2]
            row |= {
                "annotated_diameter_mm": finding[3],
                "rank": inside[0] if inside else None,
                "distance_mm": round(away[inside[0] - 1], 2) if inside else None,
            }
        yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phantoms", type=int, default=60)
    parser.add_argument("--insertions", type=int, default=40, help="scans, over all hosts")
    parser.add_argument("--model", default="nodule-swin3d")
    parser.add_argument("--work", type=Path, default=Path("medvit-workspace/bench-nodules"))
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="scans at a time")
    given = parser.parse_args()
    models = [given.model, BLOBS]
    claims, tables = [], {}
    sets = trial_names(phantoms=given.phantoms, insertions=given.insertions)
    for title, names in sets.items():
        rows = searched(names, models, given.work / "trials.jsonl", workers=given.workers)
        tables[title] = {model: figures(rows, model) for model in models}
        ours, theirs = tables[title][given.model], tables[title][BLOBS]
        for what, target, value in (
            ("CPM", 0.95, lambda table: table["cpm"]),
            ("sensitivity at 4 FP a scan", 0.982, lambda table: table["sensitivity"][FP_AT]),
        ):
            pair = (round(value(ours), 4), round(value(theirs), 4))
            claims.append(Claim(f"{what}, {title}", pair[0], "", BLOBS, pair[1], target))
    version = find_model(given.model, task="nodule")
    there = any((SCANS / host.folder).is_dir() for host in HOSTS.values())
    real = list(real_findings(given.model)) if there else []
    write_claims("nodules", claims, model=version.reference, tables=tables, real=real)


if __name__ == "__main__":
    main()

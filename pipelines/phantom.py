"""Make practice data with known answers: seed -> phantom -> DICOM series or images, labels."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from medvit.data.dicom_writer import write_annotations, write_series
from medvit.data.phantom import PlantedNodule, draw_phantom, make_phantom
from medvit.data.surface_phantom import make_surface, write_surfaces
from medvit.errors import InputError
from medvit.workspace import Workspace
from pipelines.run_record import write_run_record

Progress = Callable[[float, float, str], None]

ANNOTATIONS = "annotations.csv"


class PhantomSettings(BaseModel):
    """What to make.

    Attributes:
        out: Folder to write to; must be new or empty.
        image_px: Side of a CT slice in pixels.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    out: Path
    count: int = Field(1, ge=1, le=100_000)
    seed: int = Field(0, ge=0)
    kind: Literal["ct", "surface"] = "ct"
    image_px: int = Field(320, ge=64, le=1024)


@dataclass(frozen=True, slots=True)
class PhantomSummary:
    """What was made.

    Attributes:
        made: Scans or images.
        marks: Nodules planted, or defect boxes.
        run: Folder that holds `run.json`; None without a workspace.
    """

    out: Path
    kind: str
    made: int
    marks: int
    run: Path | None

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "out": str(self.out),
            "kind": self.kind,
            "made": self.made,
            "marks": self.marks,
            "run": None if self.run is None else str(self.run),
        }


def run(
    settings: PhantomSettings,
    *,
    workspace: Workspace | None = None,
    progress: Progress | None = None,
) -> PhantomSummary:
    """Make practice data; the same settings make the same files.

    Raises:
        InputError: If the folder holds something already or cannot be written.
    """
    started = time.perf_counter()
    advance = progress or (lambda _done, _total, _what: None)
    _require_empty(settings.out)
    make = _make_scans if settings.kind == "ct" else _make_surfaces
    marks = make(settings, advance)
    folder = None if workspace is None else workspace.new_run("phantom")
    if folder is not None:
        record = {
            "command": "phantom",
            "state": "done",
            "settings": settings.model_dump(mode="json"),
            "device": "cpu",
            "counts": {"made": settings.count, "marks": marks},
            "seconds": round(time.perf_counter() - started, 2),
        }
        write_run_record(folder, record)
    return PhantomSummary(settings.out, settings.kind, settings.count, marks, folder)


def _require_empty(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        held = sum(1 for _ in out.iterdir())
    except OSError as error:
        msg = f"{out}: cannot be made or read ({error.strerror})"
        raise InputError(msg, hint="name a folder that can be written") from error
    if held:
        msg = f"{out}: practice data need an empty folder, this one holds {held} entries"
        raise InputError(msg, hint="name a new folder")


def _make_scans(settings: PhantomSettings, advance: Progress) -> int:
    """Write `ct-<n>` folders and one `annotations.csv`; return the number of nodules."""
    rows: list[tuple[str, PlantedNodule]] = []
    for number in range(settings.count):
        name = f"ct-{number + 1:03d}"
        advance(number, settings.count, name)
        rng = np.random.default_rng((settings.seed, number))
        spec = draw_phantom(rng, image_px=settings.image_px)
        phantom = make_phantom(spec, rng)
        kernel = "LUNG" if spec.sharpness > 0.5 else "STANDARD"
        uid = write_series(
            phantom, settings.out / name, seed=settings.seed * 100_000 + number, kernel=kernel
        )
        rows.extend((uid, nodule) for nodule in phantom.nodules)
    write_annotations(settings.out / ANNOTATIONS, rows)
    advance(settings.count, settings.count, "")
    return len(rows)


def _make_surfaces(settings: PhantomSettings, advance: Progress) -> int:
    """Write images with `manifest.csv` and `coco.json`; return the number of boxes."""
    surfaces = []
    for number in range(settings.count):
        advance(number, settings.count, f"image {number + 1}")
        surfaces.append(make_surface(np.random.default_rng((settings.seed, number)), number=number))
    write_surfaces(settings.out, surfaces, seed=settings.seed)
    advance(settings.count, settings.count, "")
    return sum(len(surface.boxes) for surface in surfaces)

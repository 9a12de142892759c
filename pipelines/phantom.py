"""Make practice data with known answers: seed -> phantom -> DICOM series or images, labels."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from medvit.data.dicom_writer import write_series
from medvit.data.nodule_spec import KINDS, Kind
from medvit.data.phantom import PhantomSpec, draw_phantom, make_phantom
from medvit.data.surface_phantom import make_surface, write_surfaces
from medvit.errors import ConfigError, InputError
from medvit.workspace import Workspace
from pipelines.phantom_log import ScanTruth, add_to_log, begin_log, read_log, write_tables
from pipelines.run_record import write_run_record

logger = logging.getLogger(__name__)

Progress = Callable[[float, float, str], None]

HEADER_BYTES, SURFACE_BYTES = 1500, 60_000
SIZED_SCANS = 32
CT_ONLY = ("image_px", "slice_mm", "nodules", "nodule_kinds")


class PhantomSettings(BaseModel):
    """What to make.

    Attributes:
        out: Folder to write to; new, empty, or that of a run with the same settings.
        image_px: Side of a CT slice in pixels.
        slice_mm: Distance of CT slices; by default 0.5 to 5 mm, drawn for each scan.
        nodules: Nodules in each scan; by default 1 to 6, drawn for each.
        nodule_kinds: Kinds of nodules; by default all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    out: Path
    count: int = Field(1, ge=1, le=100_000)
    seed: int = Field(0, ge=0)
    kind: Literal["ct", "surface"] = "ct"
    image_px: int = Field(320, ge=64, le=1024)
    slice_mm: float | None = Field(None, ge=0.5, le=5)
    nodules: int | None = Field(None, ge=0, le=30)
    nodule_kinds: tuple[Kind, ...] = Field(KINDS, min_length=1)


@dataclass(frozen=True, slots=True)
class PhantomSummary:
    """What was made.

    Attributes:
        made: Scans or images.
        marks: Nodules planted, or defect boxes.
        resumed: Scans that were there already.
        run: Folder that holds `run.json`; None without a workspace.
    """

    out: Path
    kind: str
    made: int
    marks: int
    resumed: int
    run: Path | None

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "out": str(self.out),
            "kind": self.kind,
            "made": self.made,
            "marks": self.marks,
            "resumed": self.resumed,
            "run": None if self.run is None else str(self.run),
        }


def parse_kinds(names: str) -> tuple[Kind, ...]:
    """Return the kinds of nodules named in a text, with commas; all for an empty one.

    Raises:
        ConfigError: If a name is none of `KINDS`.

    Examples:
        >>> parse_kinds("ground_glass, solid")
        ('solid', 'ground_glass')
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in KINDS:
            msg = f"a nodule is {', '.join(KINDS)}; got {name!r}"
            raise ConfigError(msg, hint="name kinds with commas between them")
    return tuple(kind for kind in KINDS if kind in wanted) or KINDS


def run(
    settings: PhantomSettings,
    *,
    workspace: Workspace | None = None,
    progress: Progress | None = None,
) -> PhantomSummary:
    """Make practice data; the same settings make the same files.

    Scans that a run with the same settings has finished are kept, so one that was cut off
    goes on, and a larger `count` adds scans. Images are made anew.

    Raises:
        ConfigError: If options for CT come with images.
        InputError: If the folder holds something else, cannot be written or is too full.
    """
    started = time.perf_counter()
    advance = progress or (lambda _done, _total, _what: None)
    _require_fit(settings)
    make = _make_scans if settings.kind == "ct" else _make_surfaces
    marks, resumed = make(settings, advance)
    advance(settings.count, settings.count, "")
    folder = None if workspace is None else workspace.new_run("phantom")
    if folder is not None:
        record = {
            "command": "phantom",
            "state": "done",
            "settings": settings.model_dump(mode="json"),
            "device": "cpu",
            "counts": {"made": settings.count, "marks": marks, "resumed": resumed},
            "seconds": round(time.perf_counter() - started, 2),
        }
        write_run_record(folder, record)
    return PhantomSummary(settings.out, settings.kind, settings.count, marks, resumed, folder)


def _require_fit(settings: PhantomSettings) -> None:
    fields = type(settings).model_fields
    odd = [name for name in CT_ONLY if getattr(settings, name) != fields[name].default]
    if settings.kind == "surface" and odd:
        msg = f"{odd[0]} is an option of CT scans, got kind=surface"
        raise ConfigError(msg, hint="leave it out, or make kind ct")


def _make_scans(settings: PhantomSettings, advance: Progress) -> tuple[int, int]:
    """Write `ct-<n>` folders and their tables; return the nodules, and the scans there before."""
    out = settings.out
    logged = settings.model_dump(mode="json", exclude={"out", "count"})
    truths = read_log(out, logged)
    resumed = len(truths)
    if resumed > settings.count:
        msg = f"{out}: holds {resumed} scans already, {settings.count} were asked for"
        raise InputError(msg, hint="name a new folder, or ask for as many")
    _require_room(settings, settings.count - resumed)
    begin_log(out, logged, truths)
    for number in range(resumed, settings.count):
        name = f"ct-{number + 1:03d}"
        advance(number, settings.count, name)
        truths.append(_make_scan(settings, number, out / name))
        add_to_log(out, truths[-1])
    write_tables(out, truths)
    return sum(len(truth.nodules) for truth in truths), resumed


def _make_scan(settings: PhantomSettings, number: int, folder: Path) -> ScanTruth:
    """Make one series, whole or not at all."""
    spec, rng = _draw(settings, number)
    phantom = make_phantom(spec, rng)
    if len(phantom.nodules) < spec.n_nodules:
        logger.warning(
            "%s: %d of %d nodules found a place", folder.name, len(phantom.nodules), spec.n_nodules
        )
    draft = folder.with_name(f".{folder.name}")
    for left_over in (draft, folder):  # what a run that was cut off did not log
        if left_over.exists():
            shutil.rmtree(left_over)
    kernel = "LUNG" if spec.sharpness > 0.5 else "STANDARD"
    uid = write_series(phantom, draft, seed=settings.seed * 100_000 + number, kernel=kernel)
    draft.rename(folder)
    return ScanTruth(uid, phantom.nodules, phantom.distractors)


def _draw(settings: PhantomSettings, number: int) -> tuple[PhantomSpec, np.random.Generator]:
    """Draw scan `number`; the generator goes on to make it."""
    rng = np.random.default_rng((settings.seed, number))
    spec = draw_phantom(
        rng,
        image_px=settings.image_px,
        slice_mm=settings.slice_mm,
        n_nodules=settings.nodules,
    )
    return replace(spec, kinds=settings.nodule_kinds), rng


def _require_room(settings: PhantomSettings, count: int) -> None:
    """Refuse what the disk cannot hold before the first scan is made."""
    bytes_each = float(SURFACE_BYTES)
    if settings.kind == "ct":
        shapes = [_draw(settings, n)[0].shape for n in range(min(settings.count, SIZED_SCANS))]
        bytes_each = float(np.mean([z * (2 * y * x + HEADER_BYTES) for z, y, x in shapes]))
    needed, free = round(count * bytes_each), shutil.disk_usage(settings.out).free
    if needed > free:
        msg = (
            f"{settings.out}: {count} of kind {settings.kind} need about {needed / 1e9:.1f} GB,"
            f" {free / 1e9:.1f} GB are free"
        )
        raise InputError(msg, hint="make room, lower --count, or name a folder on another disk")


def _make_surfaces(settings: PhantomSettings, advance: Progress) -> tuple[int, int]:
    """Write images with `manifest.csv` and `coco.json`; return the number of boxes."""
    _require_empty(settings.out)
    _require_room(settings, settings.count)
    surfaces = []
    for number in range(settings.count):
        advance(number, settings.count, f"image {number + 1}")
        surfaces.append(make_surface(np.random.default_rng((settings.seed, number)), number=number))
    write_surfaces(settings.out, surfaces, seed=settings.seed)
    return sum(len(surface.boxes) for surface in surfaces), 0


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

"""Export a registered model: network -> file of another program -> parity gate -> folder."""

from __future__ import annotations

import json
import logging
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from medvit import atomic
from medvit.errors import ConfigError, GateRefusedError, InputError, MedvitError
from medvit.workspace import Workspace
from pipelines.run_record import environment, write_run_record
from pipelines.scanning.memory import peak_rss_mb

if TYPE_CHECKING:
    from torch import nn

    from medvit.export.parity import Parity
    from medvit.export.sidecar import Format, GreyInput, HuInput, Rule, Sidecar
    from medvit.models.weights import ModelCard
    from pipelines.parity_cases import ParityCases

FORMATS = ("onnx", "onnx-int8", "tensorrt", "torch")
PARITY_FILE = "parity.json"
PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy")

Progress = Callable[[float, float, str], None]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """What is exported, and how it is judged.

    Attributes:
        model: `name` or `name@version`.
        format: One of `FORMATS`.
        out: Folder to write; must not exist or be empty. None: in the run folder.
        cases: Images or scans to judge on; None makes some.
        most_cases: At most so many images, or tiles of scans.
        tile_side: Voxels on a side of a CT tile; the exported graph takes no other.
    """

    model: str
    format: str = "onnx"
    out: Path | None = None
    cases: Path | None = None
    most_cases: int = 200
    tile_side: int = 96


def run(
    settings: ExportSettings, *, workspace: Workspace, progress: Progress | None = None
) -> dict[str, Any]:
    """Export, judge, and return the answer; a refused export leaves `parity.json` alone.

    Raises:
        ConfigError: If the format or what it needs is missing, or the model is no detector.
        InputError: If `out` holds something, or no case can be read.
        GateRefusedError: If the exported network disagrees with its source.
    """
    from medvit.export.formats import require
    from medvit.models.weights import load_model
    from medvit.registry.registry import find_model

    started_s = time.perf_counter()
    wanted = _format_of(settings.format)
    require(wanted)
    network, card = load_model(find_model(settings.model, models=workspace.models).folder)
    source = _source_sidecar(card, wanted, network, tile_side=settings.tile_side)
    _require_empty(settings.out)
    cases = _cases(settings, source, workspace)
    folder = workspace.new_run("export")
    out = settings.out or folder / "exported"
    try:
        answer = _export(network, source, cases, out=out, progress=progress)
    except MedvitError as error:
        _record(folder, settings, card, started_s, state="refused", failures=[error.message])
        raise
    _record(folder, settings, card, started_s, state="done", failures=[])
    return {"run": str(folder), "model": card.reference, "out": str(out), **answer}


def _export(
    network: nn.Module,
    source: Sidecar,
    cases: ParityCases,
    *,
    out: Path,
    progress: Progress | None,
) -> dict[str, Any]:
    """Write into a draft beside `out`; only what passes the gate gets there."""
    from medvit.export.formats import FILES, write_network
    from medvit.export.sidecar import write_sidecar
    from medvit.models.weights import file_sha256

    advance = progress or (lambda _done, _total, _what: None)
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".export-", dir=out.parent))
    try:
        advance(0, len(cases.judged), f"writing {FILES[source.format]}")
        outputs = write_network(
            network,
            draft,
            wanted=source.format,
            shape=source.input.shape,
            calibration=[source.input.prepare(case.copy()) for case in cases.calibration],
        )
        sha256 = file_sha256(draft / FILES[source.format])
        write_sidecar(draft, source.model_copy(update={"outputs": outputs, "sha256": sha256}))
        report, faults = judge(network, source, draft, cases, progress=progress)
        atomic.write_text(draft / PARITY_FILE, json.dumps(report, indent=2) + "\n")
        draft.chmod(0o755)
        if faults:
            out.mkdir(exist_ok=True)
            shutil.copyfile(draft / PARITY_FILE, out / PARITY_FILE)
            msg = f"{source.model} as {source.format} is refused: {'; '.join(faults)}"
            raise GateRefusedError(msg, hint=f"see {out / PARITY_FILE}")
        draft.replace(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return {"format": source.format, "file": str(out / FILES[source.format]), "parity": report}


def judge(
    network: nn.Module,
    source: Sidecar,
    folder: Path,
    cases: ParityCases,
    *,
    progress: Progress | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """Hold an exported folder to its source; return the report and why it is refused, if so.

    Args:
        network: The source.
        source: What the model's card says, apart from the exported file.
        folder: Holds the exported network and its sidecar, which is all that is read there.

    Raises:
        GateRefusedError: If the sidecar is missing or broken, or the file was altered.
    """
    import torch

    from medvit.errors import ModelError
    from medvit.export.formats import open_network
    from medvit.export.parity import ENOUGH_CASES, Side, compare
    from medvit.export.sidecar import read_sidecar

    def run_source(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.inference_mode():
            found = network.eval()(x)
        return (found,) if isinstance(found, torch.Tensor) else tuple(found)

    try:
        sidecar = read_sidecar(folder)
    except ModelError as error:
        raise GateRefusedError(error.message, hint=error.hint) from error
    advance = progress or (lambda _done, _total, _what: None)
    parity = compare(
        Side(source.input.prepare, run_source, source.rule),
        Side(sidecar.input.prepare, open_network(folder, sidecar), sidecar.rule),
        cases.judged,
        progress=lambda done: advance(done, len(cases.judged), "comparing"),
    )
    faults = parity.faults(quantised=sidecar.format == "onnx-int8")
    notes = _notes(parity, cases, enough=ENOUGH_CASES)
    for note in notes:
        _log.warning("%s: %s", source.model, note)
    return _report(sidecar, source, cases, parity, faults=faults, notes=notes), faults


def _notes(parity: Parity, cases: ParityCases, *, enough: int) -> list[str]:
    """Return what weakens the judgement without refusing the export."""
    notes = []
    if parity.cases < enough:
        notes.append(f"judged on {parity.cases} cases, fewer than {enough}")
    if not parity.decisions:
        notes.append("no case had a finding, so only outputs were compared, not decisions")
    if cases.unreadable:
        notes.append(f"{cases.unreadable} cases could not be read")
    latency = parity.as_json()["latency_ms"]
    if latency["exported"] and latency["exported"]["p50"] >= latency["source"]["p50"]:
        notes.append("the exported network is no faster than its source on this machine")
    return notes


def _report(
    sidecar: Sidecar,
    source: Sidecar,
    cases: ParityCases,
    parity: Parity,
    *,
    faults: list[str],
    notes: list[str],
) -> dict[str, Any]:
    import torch

    return {
        "verdict": "refuse" if faults else "pass",
        "reasons": faults,
        "notes": notes,
        "model": source.model,
        "format": sidecar.format,
        "file": sidecar.file,
        "sha256": sidecar.sha256,
        "origin": cases.origin,
        "calibration_cases": len(cases.calibration),
        "threshold": source.rule.threshold,
        **parity.as_json(),
        "machine": {
            "processor": platform.machine(),
            "threads": torch.get_num_threads(),
            **environment(),
        },
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _format_of(name: str) -> Format:
    if name not in FORMATS:
        msg = f"--format must be one of {', '.join(FORMATS)}, got {name!r}"
        raise ConfigError(msg)
    return cast("Format", name)


def _require_empty(out: Path | None) -> None:
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        msg = f"{out}: an export goes into a folder of its own, but something is there"
        raise InputError(msg, hint="give --out a new or empty folder")


def _source_sidecar(
    card: ModelCard, wanted: Format, network: nn.Module, *, tile_side: int
) -> Sidecar:
    """Return what a runner of this model must know, as its card says; file and hash to come.

    Raises:
        ConfigError: If the model has no decisions to be held to, or tiles do not fit it.
    """
    from medvit.export.formats import FILES
    from medvit.export.sidecar import GreyInput, Rule, Sidecar

    if card.task == "backbone":
        msg = f"{card.reference} is a backbone to start from, and has no decisions to be held to"
        raise ConfigError(msg, hint="export a nodule or defect model; see `medvit models list`")
    if card.architecture.builder == "defect_detector":
        msg = f"{card.reference} finds boxes on images: only classifiers and nodule models export"
        raise ConfigError(msg, hint="scan with it as it is, or export a classifier")
    given: HuInput | GreyInput
    if card.task == "nodule":
        given, rule = _of_detector(card, network, tile_side=tile_side)
    else:
        given = GreyInput(side_px=int(card.preprocessing["side_px"]))
        rule = Rule(
            classes=card.classes,
            temperature=card.calibration.get("temperature", 1.0),
            threshold=card.thresholds.get("probability"),
        )
    return Sidecar(
        format=wanted,
        model=card.reference,
        task=card.task,
        weights_sha256=card.weights_sha256,
        file=FILES[wanted],
        sha256="",
        input=given,
        outputs=(),
        rule=rule,
    )


def _of_detector(card: ModelCard, network: nn.Module, *, tile_side: int) -> tuple[HuInput, Rule]:
    """Return what a detector takes and how it decides, as `medvit scan` uses it."""
    from medvit.data.nodule_crops import HIGH_HU, LOW_HU
    from medvit.export.sidecar import HuInput, Rule
    from medvit.inference.nodules import NoduleSettings

    usual = NoduleSettings()
    stride = int(cast("Any", network).stride)
    smallest = int(getattr(cast("Any", network).backbone, "smallest_side", stride))
    if tile_side % stride or tile_side < smallest:
        msg = f"--tile-side must be a multiple of {stride}, at least {smallest}, got {tile_side}"
        raise ConfigError(msg)
    spacing_mm = float(card.preprocessing.get("spacing_mm", usual.spacing_mm))
    threshold = card.thresholds.get("probability", usual.min_probability)
    given = HuInput(spacing_mm=spacing_mm, side=tile_side, low_hu=LOW_HU, high_hu=HIGH_HU)
    return given, Rule(classes=card.classes, threshold=threshold, stride=stride)


def _cases(settings: ExportSettings, source: Sidecar, workspace: Workspace) -> ParityCases:
    from medvit.io.scratch import Scratch
    from pipelines.parity_cases import given_cases, made_cases

    calibrates = source.format == "onnx-int8"
    if settings.cases is None:
        return made_cases(source.input, most=settings.most_cases, calibrates=calibrates)
    return given_cases(
        settings.cases,
        source.input,
        most=settings.most_cases,
        calibrates=calibrates,
        scratch=Scratch.below(workspace.cache),
    )


def _record(
    folder: Path,
    settings: ExportSettings,
    card: ModelCard,
    started_s: float,
    *,
    state: str,
    failures: list[str],
) -> None:
    record = {
        "command": "export",
        "state": state,
        "settings": {
            "format": settings.format,
            "most_cases": settings.most_cases,
            "tile_side": settings.tile_side,
            "cases": "made" if settings.cases is None else "given",
        },
        "model": card.reference,
        "model_sha256": card.weights_sha256,
        "device": "cpu",
        "seconds": round(time.perf_counter() - started_s, 1),
        "predicted_peak_mb": None,
        "measured_peak_mb": round(peak_rss_mb(), 1),
        "failures": failures,
    }
    write_run_record(folder, record)

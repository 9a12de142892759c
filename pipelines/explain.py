"""Explain one case: pixels -> map -> how true it is -> picture, arrays and figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from medvit import atomic
from medvit.errors import InputError
from medvit.io.scratch import Scratch
from medvit.workspace import Workspace
from pipelines.config import Settings
from pipelines.explaining.maps import (
    CLASS_SPECIFIC,
    Explanation,
    Method,
    Rounds,
    explain_image,
    explain_nodule,
)
from pipelines.explaining.subject import Subject, find_subject
from pipelines.run_record import write_run_record
from pipelines.scanning.detectors import TASK_OF_KIND
from pipelines.scanning.memory import peak_rss_mb

if TYPE_CHECKING:
    from medvit.explain.faithfulness import Faithfulness
    from medvit.models.weights import ModelCard

PICTURE, ARRAYS, FIGURES = "heat.png", "heat.npz", "explanation.json"


class ExplainSettings(Settings):
    """What is explained, and how."""

    case: str = Field(description="an image file, or the id of a case or a finding")
    method: Method = "gradcam"
    label: str = Field("", description="class to explain; the most probable one if empty")
    model: str = Field("", description="NAME[@VERSION]; else the one that made the finding")
    out: Path | None = Field(None, description="where to write; else the run folder")
    steps: int = Field(16, ge=2, le=256, description="pieces in which the image goes and comes")
    random_maps: int = Field(8, ge=1, le=100, description="maps of noise to compare with")
    seed: int = Field(0, ge=0, description="of that noise")


def run(settings: ExplainSettings, *, workspace: Workspace) -> dict[str, Any]:
    """Explain a case, and keep picture, arrays and figures.

    Returns:
        What `explanation.json` holds, with `run`, `picture` and `arrays`.

    Raises:
        InputError: If the case is not found, or `out` holds an explanation already.
        ModelError: If the model cannot be explained by this method.
        ConfigError: If the model does not know the class.
        ReadError: If the case cannot be read.
    """
    if settings.out is not None and (settings.out / FIGURES).exists():
        msg = f"{settings.out} holds an explanation already, and none is overwritten"
        raise InputError(msg, hint="name another folder with --out")
    subject = find_subject(settings.case, workspace)
    found, card = _explained(subject, settings, workspace)
    run_folder = workspace.new_run("explain")
    folder = settings.out or run_folder
    told = {
        "case_id": subject.case.case_id,
        "finding_id": subject.finding.finding_id if subject.finding else "",
        "model": card.reference,
        "method": settings.method,
        "title": title_of(settings.method, found.label),
        "class_specific": settings.method in CLASS_SPECIFIC,
        "label": found.label,
        "probability": found.probability,
        "faithfulness": figures_of(found.faithfulness),
    }
    _write(folder, found, told)
    record = {
        "command": "explain",
        "state": "done",
        "settings": settings.model_dump(mode="json", exclude={"case"}),
        "models": {card.reference: card.weights_sha256},
        "counts": {"cases": 1},
        "metrics": told["faithfulness"],
        "measured_peak_mb": round(peak_rss_mb(), 1),
        "failures": [],
    }
    write_run_record(run_folder, record)
    files = {"picture": str(folder / PICTURE), "arrays": str(folder / ARRAYS)}
    return {**told, "run": str(run_folder), **files}


def title_of(method: Method, label: str) -> str:
    """Return what a map shows, in words that claim no more than is true.

    Examples:
        >>> title_of("gradcam", "scratch"), title_of("rollout", "scratch")
        ('what speaks for scratch', 'where it looked')
    """
    return f"what speaks for {label}" if method in CLASS_SPECIFIC else "where it looked"


def figures_of(measured: Faithfulness) -> dict[str, Any]:
    """Return the figures of a map as they are kept."""
    return {
        "deletion_auc": measured.deletion_auc,
        "insertion_auc": measured.insertion_auc,
        "gain": measured.gain,
        "beaten": measured.beaten,
        "random": {
            "deletion_auc": float(np.mean(measured.random_deletion)),
            "insertion_auc": float(np.mean(measured.random_insertion)),
            "maps": len(measured.random_deletion),
        },
        "deletion": list(measured.deletion),
        "insertion": list(measured.insertion),
    }


def _explained(
    subject: Subject, settings: ExplainSettings, workspace: Workspace
) -> tuple[Explanation, ModelCard]:
    from medvit.models.weights import load_model
    from medvit.registry.registry import find_model

    finding, case = subject.finding, subject.case
    named = settings.model or (finding.model if finding else "") or None
    version = find_model(named, task=TASK_OF_KIND[case.kind], models=workspace.models)
    model, card = load_model(version.folder)
    scratch = Scratch.below(workspace.cache)
    rounds = Rounds(settings.steps, settings.random_maps, settings.seed)
    if case.kind == "ct" and finding is not None:
        from medvit.io.pyramids import open_pyramid
        from medvit.io.readers import open_source

        pyramid = open_pyramid(open_source(case, scratch=scratch), scratch=scratch)
        answer = explain_nodule(
            pyramid, finding, model, card, method=settings.method, rounds=rounds
        )
        return answer, card
    from medvit.io.readers import read_image

    label = settings.label or _known(finding.label if finding else "", card)
    pixels = read_image(case, scratch=scratch).pixels
    answer = explain_image(pixels, model, card, method=settings.method, label=label, rounds=rounds)
    return answer, card


def _known(label: str, card: ModelCard) -> str:
    """Return a finding's label if the model knows it; readers may have given it another."""
    return label if label in card.classes else ""


def _write(folder: Path, found: Explanation, told: dict[str, Any]) -> None:
    from medvit.report.heat_pictures import heat_pair

    try:
        folder.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(folder / PICTURE, heat_pair(found.pixels, found.heat))
        with (folder / ARRAYS).open("wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **found.arrays)
        atomic.write_text(folder / FIGURES, json.dumps(told, indent=2) + "\n")
    except OSError as error:
        msg = f"{folder}: the explanation cannot be written ({error.strerror})"
        raise InputError(msg, hint="name a folder you may write to with --out") from error

"""Find labels that are likely wrong: manifest -> features -> evidence -> a queue to look at."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from medvit.atomic import write_text
from medvit.data.manifest import Manifest, ManifestRow, read_manifest
from medvit.errors import ConfigError, InputError, ModelError
from medvit.report.suspects import (
    MOST_SHOWN,
    SuspectRow,
    SuspectSummary,
    suspects_csv,
    suspects_page,
)
from medvit.store.store import Store
from medvit.workspace import Workspace
from pipelines.config import Settings
from pipelines.evaluating.classification import true_label
from pipelines.labelling.suspect_queue import queue_suspects
from pipelines.run_record import write_run_record

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from medvit.data.grey import Channels
    from medvit.learn.noise.evidence import Evidence

    Images = NDArray[np.uint8]
    Floats = NDArray[np.float64]

TEXTURE_PX = 128
SHOWN_NEIGHBOURS = 5
LEAST_CHANCE = 0.5
"""A label that is more likely right than wrong is no suspect."""

logger = logging.getLogger(__name__)

Progress = Callable[[float, float, str], None]


class SuspectSettings(Settings):
    """Which labels are looked at, by which features."""

    manifest: Path
    root: Path | None = Field(None, description="what paths are relative to; else the manifest")
    model: str = Field("auto", description="a registered model, none, or auto: the shipped one")
    split: str = Field("", description="train, val or test; empty: all labelled images")


@dataclass(frozen=True, slots=True)
class SuspectResult:
    """What was found.

    Attributes:
        summary: Noise rate, its interval, and notes.
        suspects: Most suspicious first.
        features: What the labels were judged by.
        problems: Path and sentence of each image that could not be read.
        run: Folder with `suspects.csv`, `report.html` and `run.json`.
        queued: How many of them wait in the queue of the review app.
    """

    summary: SuspectSummary
    suspects: tuple[SuspectRow, ...]
    features: tuple[str, ...]
    problems: tuple[tuple[str, str], ...]
    run: Path
    queued: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "noise_rate": round(self.summary.noise_rate, 6),
            "interval": [round(edge, 6) for edge in self.summary.interval],
            "mixture_rate": self.summary.mixture_rate,
            "suspects": [_plain(row) for row in self.suspects],
            "queued": self.queued,
            "images": self.summary.images,
            "features": list(self.features),
            "warnings": list(self.summary.notes),
            "problems": [{"path": path, "message": told} for path, told in self.problems],
            "report": str(self.run / "report.html"),
            "run": str(self.run),
        }


def run(
    settings: SuspectSettings, workspace: Workspace, *, progress: Progress | None = None
) -> SuspectResult:
    """Rank the labels of a manifest by how likely they are wrong; nothing is relabelled.

    Those that the store has as cases go into its queue of likely label errors.

    Raises:
        InputError: If no image can be read.
        ConfigError: If there are too few labels, classes or groups to judge by.
        ModelError: If the model that was named gives no features of images.
        StoreError: If the store cannot be opened or written.
    """
    from medvit.learn.noise.evidence import weigh_labels

    manifest = read_manifest(settings.manifest, may_straddle=True)
    rows = _labelled(manifest, settings)
    root = settings.root or settings.manifest.parent
    seen = _Features(_model(settings, workspace))
    rows, problems = seen.read(rows, root, progress=progress)
    names = sorted({label for _, label in rows})
    labels = np.array([names.index(label) for _, label in rows], dtype=np.intp)
    groups = [row.group or row.path for row, _ in rows]
    try:
        evidence = weigh_labels(seen.stacked(), labels, groups=groups)
    except ValueError as error:
        msg = f"{settings.manifest}: {error}"
        hint = "label images of a second class, or give column group the parts they show"
        raise ConfigError(msg, hint=hint) from error
    notes = _notes(evidence, rows, labels, names)
    estimate = evidence.estimate
    summary = SuspectSummary(
        settings.manifest.name,
        len(rows),
        estimate.noise_rate,
        estimate.interval,
        evidence.mixture_rate,
        notes,
    )
    suspects = _suspects(evidence, rows, labels, names)
    folder = workspace.new_run("labels-suspects")
    with Store.open(workspace.store_url) as store:
        queued = queue_suspects(store, suspects, root=root)
    result = SuspectResult(summary, suspects, seen.names, tuple(problems), folder, queued)
    _keep(result, settings, root)
    return result


def _plain(row: SuspectRow) -> dict[str, Any]:
    found = {key: value for key, value in asdict(row).items() if key != "neighbours"}
    found["confidence"] = round(row.confidence, 6)
    found["neighbours"] = [{"path": path, "label": label} for path, label in row.neighbours]
    return found


def _labelled(manifest: Manifest, settings: SuspectSettings) -> list[tuple[ManifestRow, str]]:
    rows = [(row, true_label(manifest, row)) for row in manifest.rows]
    rows = [(row, label) for row, label in rows if label]
    if settings.split:
        rows = [(row, label) for row, label in rows if row.split == settings.split]
    if not rows:
        where = f" in split {settings.split}" if settings.split else ""
        msg = f"{settings.manifest}: no labelled image{where}, so there is no label to doubt"
        raise ConfigError(msg, hint="fill the column label, or choose another --split")
    return rows


@dataclass(frozen=True, slots=True)
class _Judge:
    """A network that gives features, and what it wants to see."""

    name: str
    net: nn.Module
    side_px: int
    channels: Channels


def _model(settings: SuspectSettings, workspace: Workspace) -> _Judge | None:
    from medvit.models.backbone import Backbone2d
    from medvit.models.heads.classify import DefectClassifier
    from medvit.models.weights import load_model
    from medvit.registry.registry import DEFAULT_NAMES, find_model

    if settings.model == "none":
        return None
    name = DEFAULT_NAMES["defect"] if settings.model == "auto" else settings.model
    try:
        version = find_model(name, models=workspace.models)
    except ModelError:
        if settings.model != "auto":
            raise
        logger.warning("no model %s: labels are judged by texture alone", name)
        return None
    net, card = load_model(version.folder)
    encoder = net.backbone if isinstance(net, DefectClassifier) else net
    if not isinstance(encoder, Backbone2d):
        msg = f"{version.reference} is a {version.task} model, which gives no features of images"
        raise ModelError(msg, hint="name a model that `medvit train` or `medvit pretrain` made")
    how = card.preprocessing
    side_px, channels = int(how.get("side_px", TEXTURE_PX)), how.get("channels", "grey")
    return _Judge(version.reference, encoder.eval(), side_px, channels)


class _Features:
    """What images look like, read once: texture, and what a network makes of them."""

    def __init__(self, judge: _Judge | None) -> None:
        self.judge = judge
        self.texture: list[Floats] = []
        self.deep: list[Floats] = []

    @property
    def names(self) -> tuple[str, ...]:
        return ("texture",) if self.judge is None else ("texture", self.judge.name)

    def stacked(self) -> list[Floats]:
        """Return each kind of features (n, d)."""
        kinds = [self.texture] if self.judge is None else [self.texture, self.deep]
        return [np.stack(kind) for kind in kinds]

    def read(
        self,
        rows: Sequence[tuple[ManifestRow, str]],
        root: Path,
        *,
        progress: Progress | None,
    ) -> tuple[list[tuple[ManifestRow, str]], list[tuple[str, str]]]:
        """Return the rows that could be read, and path and reason of the others."""
        kept: list[tuple[ManifestRow, str]] = []
        problems: list[tuple[str, str]] = []
        for number, (row, label) in enumerate(rows):
            try:
                self._look(root, row.path)
            except InputError as error:
                problems.append((row.path, error.message))
            else:
                kept.append((row, label))
            if progress is not None:
                progress(number + 1, len(rows), "")
        if not kept:
            msg = f"none of {len(rows)} images can be read, the first: {problems[0][1]}"
            raise InputError(msg, hint="check --root and the column path")
        return kept, problems

    def _look(self, root: Path, path: str) -> None:
        from medvit.data.surface import load_images
        from medvit.data.texture import texture_features

        grey = load_images(root, [path], side_px=TEXTURE_PX, channels="grey")[0]
        if self.judge is not None:
            self.deep.append(self._deep(root, path, self.judge))
        self.texture.append(texture_features(grey))

    def _deep(self, root: Path, path: str, judge: _Judge) -> Floats:
        import torch

        from medvit.data.surface import as_input, load_images

        image = load_images(root, [path], side_px=judge.side_px, channels=judge.channels)[0]
        with torch.inference_mode():
            grid = judge.net(as_input(image)[None]).float()
        found: Floats = grid.mean(dim=(2, 3))[0].double().cpu().numpy()
        return found


def _suspects(
    evidence: Evidence,
    rows: Sequence[tuple[ManifestRow, str]],
    labels: NDArray[np.intp],
    names: Sequence[str],
) -> tuple[SuspectRow, ...]:
    suggested = evidence.suggested(labels)
    found = []
    for place in evidence.order.tolist():
        chance = float(evidence.chances[place])
        if chance <= LEAST_CHANCE:
            continue
        near = evidence.neighbours.places[place, :SHOWN_NEIGHBOURS].tolist()
        neighbours = tuple((rows[other][0].path, rows[other][1]) for other in near)
        row, label = rows[place]
        found.append(SuspectRow(row.path, label, names[suggested[place]], chance, neighbours))
    return tuple(found)


def _notes(
    evidence: Evidence,
    rows: Sequence[tuple[ManifestRow, str]],
    labels: NDArray[np.intp],
    names: Sequence[str],
) -> tuple[str, ...]:
    from medvit.learn.noise.two_nets import MOST_WRONG

    notes = []
    rate = evidence.estimate.noise_rate
    if rate > MOST_WRONG:
        notes.append(f"{rate:.0%} of the labels seem wrong, more than half: trust neither list")
    if evidence.rates_differ:
        other = evidence.mixture_rate or 0.0
        notes.append(f"noise rates differ: {rate:.0%} by folds, {other:.0%} by a mixture of losses")
    alone = sorted({names[labels[at]] for at in np.flatnonzero(~evidence.is_judged)})
    if alone:
        told = ", ".join(alone)
        notes.append(f"not judged, fewer than two images of other groups are called: {told}")
    if not any(row.group for row, _ in rows):
        notes.append("no groups are named: copies of an image vouch for each other's label")
    return tuple(notes)


def _keep(result: SuspectResult, settings: SuspectSettings, root: Path) -> None:
    for note in result.summary.notes:
        logger.warning("%s", note)
    shown = result.suspects[:MOST_SHOWN]
    pictures = dict(_pictures(shown, root))
    write_text(result.run / "suspects.csv", suspects_csv(result.suspects))
    page = suspects_page(result.summary, result.suspects, pictures)
    write_text(result.run / "report.html", page)
    record = {"command": "labels suspects", "state": "done", "device": "cpu"}
    answer = result.as_json()
    counts = {"images": result.summary.images, "suspects": len(result.suspects)}
    kept = {key: answer[key] for key in ("noise_rate", "interval", "mixture_rate", "features")}
    failures = {"failures": answer["problems"], "warnings": answer["warnings"]}
    written = {"settings": settings.model_dump(mode="json"), "counts": counts}
    write_run_record(result.run, {**record, **written, **kept, **failures})


def _pictures(suspects: Sequence[SuspectRow], root: Path) -> Iterator[tuple[str, Images]]:
    from medvit.data.surface import load_images

    wanted = [
        path for row in suspects for path in (row.path, *(name for name, _ in row.neighbours))
    ]
    for path in dict.fromkeys(wanted):
        yield path, load_images(root, [path], side_px=TEXTURE_PX, channels="colour")[0]

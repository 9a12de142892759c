"""Plan a training: fingerprint of the data -> choices with reasons -> a config that trains.

Labels -> images, each decoded once -> duplicates -> split -> fingerprint -> config.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from medvit.atomic import write_text
from medvit.data.labels.formats import read_labels
from medvit.data.labels.label_set import Problem
from medvit.data.manifest import ManifestRow, write_manifest
from medvit.data.splits import SplitShares, split_by_group
from medvit.errors import ConfigError
from medvit.workspace import Workspace
from pipelines.classifying.config import ClassifyConfig
from pipelines.config import Settings, apply_override, check_config
from pipelines.plan_rules import Choice, Start, choose, notes, shipped_weights
from pipelines.run_record import write_run_record
from pipelines.split import path_from

if TYPE_CHECKING:
    from medvit.data.duplicates.surfaces import Surface
    from medvit.data.fingerprint import Fingerprint, NoiseEstimate

Progress = Callable[[float, float, str], None]
AUTO = "auto"
LEAST_A_CLASS = 2
WEIGHED_PX = 128
MOST_WEIGHED = 3_000
"""Images whose labels are weighed: a sample tells the share of wrong ones well enough."""


class PlanSettings(Settings):
    """What is planned.

    Attributes:
        source: A manifest, a folder, or labels in any format of `labels import`.
        out: Config to write; by default `<name>.yaml` in the working folder. Where the data
            have no split, a manifest with one is written beside it.
        weights: A registered model to start from, `none`, or `auto`: the shipped one where that
            was measured to pay.
    """

    source: Path
    out: Path | None = None
    images: Path | None = None
    name: str = ""
    weights: str = "auto"
    realtime: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """A config and why it is as it is."""

    config: Path
    manifest: Path
    choices: tuple[Choice, ...]
    notes: tuple[str, ...]
    fingerprint: Fingerprint
    problems: tuple[Problem, ...]
    run: Path

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "config": str(self.config),
            "manifest": str(self.manifest),
            "choices": [asdict(choice) for choice in self.choices],
            "notes": list(self.notes),
            "fingerprint": asdict(self.fingerprint),
            "problems": [asdict(problem) for problem in self.problems],
            "run": str(self.run),
        }


def run(settings: PlanSettings, workspace: Workspace, *, progress: Progress | None = None) -> Plan:
    """Look at the data, choose, and write a config that `medvit train` takes.

    Raises:
        ConfigError: If nothing can be trained on the data; the message says why not.
    """
    from medvit.data.duplicates.search import find_duplicates
    from medvit.data.duplicates.surfaces import read_surfaces
    from medvit.data.fingerprint import fingerprint

    start = None if settings.weights == AUTO else _start(settings.weights, workspace)
    labels = read_labels(settings.source, images=settings.images)
    rows = [image.row for image in labels.images]
    _check_trainable(settings.source, rows)
    surfaces, broken = read_surfaces(labels.root, [row.path for row in rows], progress=progress)
    duplicates = find_duplicates(surfaces, progress=progress)
    readable = {surface.path for surface in surfaces}
    rows = [row for row in rows if row.path in readable]
    _check_trainable(settings.source, rows)
    if not any(row.split for row in rows):
        rows = _split(rows, [(each.first, each.second) for each in duplicates])
    _check_sides(settings.source, rows)
    found = fingerprint(rows, surfaces, duplicates=len(duplicates))
    found = replace(found, images=len(labels.images), unreadable=len(broken))
    found = replace(found, noise=_noise(rows, surfaces) or found.noise)
    start = start or _shipped(found, workspace, realtime=settings.realtime)
    choices = choose(found, start=start, realtime=settings.realtime)
    out = settings.out or Path(f"{settings.source.resolve().stem}.yaml")
    manifest = out.with_name(f"{out.stem}-split.csv")
    moved = [replace(row, path=path_from(manifest, labels.root / row.path)) for row in rows]
    name = settings.name or settings.source.resolve().stem.lower().replace("_", "-")
    text = config_text(choices, name=name, manifest=manifest, source=settings.source.name)
    check_config(ClassifyConfig, yaml.safe_load(text), name=out.name)
    write_manifest(manifest, moved, labels.soft_classes)
    write_text(out, text)
    folder = workspace.new_run("plan")
    problems = (*labels.problems, *(Problem(each.path, each.message) for each in broken))
    plan = Plan(out, manifest, choices, notes(found), found, tuple(problems), folder)
    record = {"command": "plan", "state": "done", "settings": settings.model_dump(mode="json")}
    write_run_record(folder, {**record, "device": "cpu", "plan": plan.as_json()})
    return plan


def _split(rows: Sequence[ManifestRow], edges: Sequence[tuple[str, str]]) -> list[ManifestRow]:
    """Return rows with splits that keep groups and overlapping images together."""
    from medvit.data.duplicates.groups import connected

    first: dict[str, str] = {}
    same = [(row.path, first.setdefault(row.group, row.path)) for row in rows if row.group]
    group_of = connected([row.path for row in rows], [*same, *edges])
    grouped = [replace(row, group=group_of[row.path]) for row in rows]
    return list(split_by_group(grouped, shares=SplitShares()))


def _shipped(found: Fingerprint, workspace: Workspace, *, realtime: bool) -> Start:
    from medvit.registry.registry import find_model

    weights, reason = shipped_weights(found, realtime=realtime)
    if weights != "none":
        weights = find_model(weights).reference  # as it ships, whatever this workspace retrained
    return replace(_start(weights, workspace), reason=reason)


def _start(weights: str, workspace: Workspace) -> Start:
    """Return what a training starts from, with the backbone that its card names.

    Raises:
        ModelError: If there is no such model.
    """
    if weights == "none":
        return Start(reason="asked for by --weights none")
    if weights.startswith("hf:"):
        return Start(weights)
    from medvit.models.card import CARD_FILE, read_card
    from medvit.registry.registry import find_model

    folder = Path(weights)
    if not (folder / CARD_FILE).is_file():
        folder = find_model(weights, models=workspace.models).folder
    card = read_card(folder)
    own = card.architecture.builder if card.task == "backbone" else ""
    return Start(weights, str(card.architecture.arguments.get("backbone", own)))


def _noise(rows: Sequence[ManifestRow], surfaces: Sequence[Surface]) -> NoiseEstimate | None:
    """Return how many labels are wrong by cross-validation, None where that cannot be told."""
    import numpy as np
    from PIL import Image

    from medvit.data.fingerprint import LEAST_FOR_NOISE, NoiseEstimate
    from pipelines.classifying.noisy import weigh

    row_of = {row.path: row for row in rows if row.label and row.split in ("train", "")}
    known = [surface for surface in surfaces if surface.path in row_of]
    known = known[:: 1 + len(known) // MOST_WEIGHED]
    names = sorted({row_of[each.path].label for each in known})
    groups = [row_of[each.path].group or each.path for each in known]
    if len(known) < LEAST_FOR_NOISE or len(names) < 2 or len(set(groups)) < 2:
        return None
    side = (WEIGHED_PX, WEIGHED_PX)
    images = np.stack([np.asarray(Image.fromarray(each.grey).resize(side)) for each in known])
    labels = np.array([names.index(row_of[each.path].label) for each in known])
    estimate = weigh(images, labels, groups=groups).estimate
    return NoiseEstimate(estimate.noise_rate, *estimate.interval)


def config_text(choices: Sequence[Choice], *, name: str, manifest: Path, source: str) -> str:
    """Return a config as YAML with the reason above every choice.

    Examples:
        >>> text = config_text([Choice("train.lr", 0.1, "why")], name="n", manifest=Path("m.csv"),
        ...     source="s")
        >>> print(text.partition("train:")[2].strip())
        # why
          lr: 0.1
    """
    values: dict[str, Any] = {"task": "classify"}
    apply_override(values, f"data.manifest={_plain(str(manifest))}")
    apply_override(values, f"model.name={_plain(name)}")
    reasons = {choice.key: choice.reason for choice in choices}
    for choice in choices:
        apply_override(values, f"{choice.key}={_plain(choice.value)}")
    lines = [f"# Planned by medvit for {source!r}; every reason stands above its key."]
    for key, value in values.items():
        if not isinstance(value, dict):
            lines.append(f"{key}: {_plain(value)}")
            continue
        lines.append(f"{key}:")
        for part, content in value.items():
            if f"{key}.{part}" in reasons:
                lines.append(f"  # {reasons[f'{key}.{part}']}")
            lines.append(f"  {part}: {_plain(content)}")
    return "\n".join(lines) + "\n"


def _plain(value: str | float) -> str:
    return yaml.safe_dump(value, allow_unicode=True, width=10_000).removesuffix("...\n").strip()


def _check_trainable(source: Path, rows: Sequence[ManifestRow]) -> None:
    """Refuse data that no classifier can be trained on, with what would have to be added."""
    counts: dict[str, int] = {}
    for row in rows:
        if row.label:
            counts[row.label] = counts.get(row.label, 0) + 1
    told = ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"
    if len(counts) < 2:
        msg = f"{source}: a classifier needs readable images of at least 2 classes, found: {told}"
        raise ConfigError(msg, hint="label images of a second class")
    if sum(counts.values()) < 2 * LEAST_A_CLASS:
        msg = (
            f"{source}: {sum(counts.values())} labelled images in {len(counts)} classes ({told}) "
            f"are too few: at least {LEAST_A_CLASS} a class are needed to train on one and "
            "judge on another"
        )
        raise ConfigError(msg, hint="add images; five a class are a sensible beginning")


def _check_sides(source: Path, rows: Sequence[ManifestRow]) -> None:
    """Refuse a split that trains on fewer than two classes, or misses one that is judged."""
    trained = {row.label for row in rows if row.split == "train" and row.label}
    missing = sorted({row.label for row in rows if row.label} - trained)
    if missing or len(trained) < 2:
        msg = f"{source}: classes without a training image: {', '.join(missing) or 'all but one'}"
        raise ConfigError(msg, hint="add images of other groups, or move some to split train")

"""The report at the end of a pretraining: did it pay, with the same labels and without?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import medvit
from medvit import atomic
from medvit.errors import ConfigError
from medvit.workspace import Workspace
from pipelines.pretraining.image_config import PretrainConfig, ReportSettings
from pipelines.pretraining.objective import start_backbone
from pipelines.training.weights import take_backbone

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from medvit.data.labelled import LabelledImages
    from medvit.data.manifest import Manifest, ManifestRow
    from medvit.learn.pretraining.payoff import Score
    from medvit.learn.pretraining.surface_views import SurfaceViewSettings
    from medvit.learn.pretraining.watch import Probe
    from medvit.models.backbone import Backbone2d

GIVEN, PLAIN = "pretrained", "random weights"
MOST_TUNED = 3
"""Draws that are also fine-tuned on: each is a training of its own."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Labelled images of split train and of split val, with their groups."""

    train: LabelledImages
    val: LabelledImages
    groups: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of labelled images."""
        return len(self.train.paths) + len(self.val.paths)

    def probe(self, *, every: int) -> Probe | None:
        """Return what features are asked about during the training; None without two classes."""
        from medvit.learn.pretraining.surface_batches import group_numbers
        from medvit.learn.pretraining.watch import Probe

        labels, groups = self.train.labels, group_numbers(self.groups)
        if (
            not every
            or not len(labels)
            or int(labels.max()) == int(labels.min())
            or bool((groups == groups[0]).all())
        ):
            return None
        return Probe(self.train.images, labels, groups, every=every)


def find_labelled(config: PretrainConfig, manifest: Manifest, *, root: Path) -> Labelled:
    """Read the labelled images of train and val; there may be none."""
    from medvit.data.labelled import load_labelled

    classes = manifest.classes
    side = config.data.side_px
    train, val = (
        load_labelled(manifest, split, root=root, side_px=side, classes=classes)
        for split in ("train", "val")
    )
    return Labelled(train, val, tuple(row.group for row in _labelled_rows(manifest, "train")))


def _labelled_rows(manifest: Manifest, split: str) -> list[ManifestRow]:
    return [row for row in manifest.of(split) if row.label or row.soft]


def check_report(config: PretrainConfig, manifest: Manifest) -> None:
    """Refuse a report that the labels do not allow, before hours are spent.

    Raises:
        ConfigError: If train or val lack a class, or train has fewer images of one than shots.
    """
    if config.report is None:
        return
    for split in ("train", "val"):
        rows = _labelled_rows(manifest, split)
        counts = {name: sum(row.label == name for row in rows) for name in manifest.classes}
        need = max([1, *config.report.shots]) if split == "train" else 1
        short = [f"{name} {count}" for name, count in counts.items() if count < need]
        if len(counts) < 2 or short:
            msg = (
                f"{manifest.file}: the report needs two classes and {need} labelled images of each "
                f"in split {split}, found {', '.join(short) or f'{len(counts)} classes'}"
            )
            raise ConfigError(msg, hint="label more images, lower report.shots, or set report=null")


def write_payoff(
    config: PretrainConfig,
    workspace: Workspace,
    backbone: Backbone2d,
    *,
    labelled: Labelled,
    folder: Path,
) -> dict[str, Any] | None:
    """Score all starts, write `payoff.json` and `payoff.html`, and return what the card keeps.

    Queries are the images of split val, which pretraining never saw, and whose groups no
    support has.
    """
    if config.report is None:
        return None
    from medvit.learn.pretraining.payoff import overall, payoffs
    from medvit.report.evaluation_page import Heading
    from medvit.report.pretraining import payoff_page

    starts = {GIVEN: backbone, **_rivals(config, workspace)}
    scores = [
        score
        for name, net in starts.items()
        for score in _scores(name, net, labelled, config=config)
    ]
    tables = {name: payoffs(scores, given=GIVEN, plain=name) for name in starts if name != GIVEN}
    found = tables[PLAIN]
    asked = f"{len(labelled.val.paths)} images of split val, never seen in pretraining"
    answer = {
        "verdict": overall(found),
        "against": PLAIN,
        "draws": config.report.draws,
        "asked": asked,
        "rows": [{**asdict(one), "verdict": one.verdict} for one in found],
    }
    others = {
        name: {"verdict": overall(rows), "rows": [asdict(one) for one in rows]}
        for name, rows in tables.items()
        if name != PLAIN
    }
    whole = {**answer, "others": others, "scores": [asdict(score) for score in scores]}
    atomic.write_text(folder / "payoff.json", json.dumps(whole, indent=2) + "\n")
    heading = Heading(
        f"Did the pretraining of {config.model.name} pay?", datetime.now(UTC), medvit.__version__
    )
    page = payoff_page(heading, tables, asked=asked, draws=config.report.draws)
    atomic.write_text(folder / "payoff.html", page)
    return {**answer, "others": {name: other["verdict"] for name, other in others.items()}}


def _rivals(config: PretrainConfig, workspace: Workspace) -> dict[str, Backbone2d]:
    """Return what the pretrained backbone is compared with, by name."""
    fresh = config.model_copy(update={"model": config.model.model_copy(update={"weights": "none"})})
    rivals = {PLAIN: start_backbone(fresh, workspace).net}
    if config.model.weights != "none":
        rivals[f"{config.model.weights} as it was"] = start_backbone(config, workspace).net
    for name in config.report.against if config.report else ():
        net = start_backbone(fresh, workspace).net
        take_backbone(net, name, workspace, name=config.model.backbone)
        rivals[name] = net
    return rivals


def _scores(
    name: str, net: Backbone2d, labelled: Labelled, *, config: PretrainConfig
) -> Iterator[Score]:
    import numpy as np

    from medvit.learn.pretraining.payoff import ALL, Score, draw_support, probe_accuracies
    from medvit.learn.pretraining.watch import grid_means

    report = config.report or ReportSettings()
    side = report.side_px or config.data.side_px
    train, val = labelled.train, labelled.val
    known, asked = (grid_means(net, part.images, side_px=side) for part in (train, val))
    for shots in (*report.shots, ALL):
        for draw in range(report.draws):
            rng = np.random.default_rng((config.train.seed, shots, draw))
            places = draw_support(train.labels.tolist(), labelled.groups, shots=shots, rng=rng)
            labels = train.labels[places]
            right = probe_accuracies(
                known[places], labels, asked, val.labels, mean=known.mean(dim=0)
            )
            if report.tune_steps and draw < MOST_TUNED:
                right["fine-tuned"] = _tuned(
                    net, (train.images[places], labels), val.images, val.labels, config=config
                )
            for way, accuracy in right.items():
                yield Score(name, way, shots, draw, accuracy)


def _tuned(
    net: Backbone2d,
    support: tuple[NDArray[np.uint8], Tensor],
    query: NDArray[np.uint8],
    truth: Tensor,
    *,
    config: PretrainConfig,
) -> float:
    from medvit.learn.pretraining.payoff import share_right
    from medvit.learn.pretraining.short_tuning import TuneSettings, tuned_logits

    report = config.report or ReportSettings()
    settings = TuneSettings(steps=report.tune_steps, seed=config.train.seed)
    views = _views(config, side_px=report.side_px or config.data.side_px)
    return share_right(tuned_logits(net, support, query, views=views, settings=settings), truth)


def _views(config: PretrainConfig, *, side_px: int) -> SurfaceViewSettings:
    from medvit.learn.pretraining.surface_views import SurfaceViewSettings

    own = config.views.model_dump() | {"side_px": side_px, "local_share": 0.0}
    return SurfaceViewSettings(**own)

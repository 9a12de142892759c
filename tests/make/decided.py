"""A workspace with scanned surface images, a base classifier, and decisions of readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from medvit.findings.finding import CaseResult
from medvit.io.case import Case
from medvit.io.discover import discover
from medvit.learn.classify import predict_features
from medvit.learn.tuning.prototype import tied_covariance_head
from medvit.models.builders import defect_classifier
from medvit.models.weights import Architecture, ModelCard, save_model
from medvit.store.rows import Decision
from medvit.store.store import Store
from medvit.workspace import Workspace
from pipelines.retraining.imported import add_imported
from pipelines.retraining.snapshot import home_of
from tests.make.surface import surface_image

KNOWN = ("lines", "plain")
NAME = "steel-defects"
SIDE_PX = 32


@dataclass(frozen=True, slots=True)
class Plant:
    """A workspace, and its cases by file name.

    Attributes:
        images: Folder of the images.
        truth: What each image shows.
    """

    workspace: Workspace
    images: Path
    cases: Mapping[str, Case]
    truth: Mapping[str, str]

    def decide(self, names: Sequence[str], *, reader: str = "ann", label: str = "") -> None:
        """Let a reader name what images show: the truth, or one label for all."""
        with Store.open(self.workspace.store_url) as store:
            for name in names:
                store.decide(
                    Decision(
                        self.cases[name].case_id,
                        None,
                        "relabel",
                        reader,
                        label=label or self.truth[name],
                    )
                )

    def freeze(self, names: Sequence[str]) -> None:
        """Keep images for the gate, as an import with split `test` does."""
        home = home_of(self.workspace, "defect")
        add_imported(home, {self.cases[name].case_id: ("test", "") for name in names})

    def named(self, label: str) -> list[str]:
        """Return the images that show a class, by name."""
        return sorted(name for name, shown in self.truth.items() if shown == label)


def build_plant(folder: Path, *, counts: Mapping[str, int], grain: float = 3) -> Plant:
    """Make images of `surface_image`, scan them as `lines`, register a model of two classes."""
    images = folder / "line"
    images.mkdir(parents=True)
    rng = np.random.default_rng(8)
    truth = {}
    for label, count in counts.items():
        for number in range(count):
            name = f"{label}-{number:02}.png"
            shown = surface_image(label, side_px=SIDE_PX, rng=rng, grain=grain)
            Image.fromarray(shown).save(images / name)
            truth[name] = label
    workspace = Workspace(folder / "workspace")
    workspace.prepare()
    register_base(workspace.models)
    cases = {case.source: case for case in discover(images).cases}
    with Store.open(workspace.store_url) as store:
        run = store.start_run("scan", {}, model=f"{NAME}@base", model_sha256="0" * 64)
        for case in cases.values():
            result = CaseResult(case, "accept", "ok", "", "lines", 0.9, (), 0.1, 1.0)
            store.save_result(run, result)
    return Plant(workspace, images, cases, truth)


def register_base(models: Path) -> None:
    """Register a classifier of two classes: drawn features, class means of a few images."""
    torch.manual_seed(3)
    net = defect_classifier(backbone="vit_tiny_stem", classes=len(KNOWN)).eval()
    rng = np.random.default_rng(1)
    shown = [surface_image(label, side_px=SIDE_PX, rng=rng) for label in KNOWN for _ in range(12)]
    labels = torch.arange(len(KNOWN)).repeat_interleave(12)
    features = predict_features(net, np.stack(shown))
    net.head = tied_covariance_head(features, labels, names=KNOWN)
    card = ModelCard(
        name=NAME,
        version="base",
        task="defect",
        architecture=Architecture(
            builder="defect_classifier",
            arguments={"backbone": "vit_tiny_stem", "classes": len(KNOWN)},
        ),
        classes=KNOWN,
        preprocessing={"side_px": SIDE_PX, "channels": "grey"},
    )
    save_model(models / NAME / "base", net, card)
    (models / NAME / "production").write_text("base\n", encoding="utf-8")

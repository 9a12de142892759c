"""Retraining of boxes that is interrupted, or meets a full disk, goes on to the same weights."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

from medvit.errors import InputError
from medvit.findings.finding import CaseResult
from medvit.io.discover import discover
from medvit.labels.places import BOX
from medvit.models.builders import defect_detector
from medvit.models.card import Architecture, ModelCard
from medvit.models.weights import save_model
from medvit.registry.registry import find_model
from medvit.store.rows import Decision
from medvit.store.store import Store
from medvit.workspace import Workspace
from pipelines.retrain import RetrainSettings, run
from pipelines.retraining import box_learning
from tests.make.registry import no_file_above
from tests.make.spots import write_spots

pytestmark = pytest.mark.slow

NAME = "spots"
RETRAIN = RetrainSettings(model=NAME, strategy="replay")
KEPT_BYTES = 20_000
"""A file may grow so far: manifests may, checkpoints and weights may not."""


def reviewed_boxes(folder: Path, images: Path) -> Workspace:
    """Return a workspace whose images bear a reader's boxes, and a detector that knows nothing."""
    workspace = Workspace(folder)
    workspace.prepare()
    how: dict[str, Any] = {
        "backbone": "cnn_small",
        "classes": 2,
        "width": 16,
        "strides_px": [8, 16],
    }
    torch.manual_seed(6)
    card = ModelCard(
        name=NAME,
        version="1",
        task="defect",
        architecture=Architecture(builder="defect_detector", arguments=how),
        classes=("bright", "dark"),
        preprocessing={"side_px": 64, "image_px": 64, "channels": "grey"},
        thresholds={"bright": 0.3, "dark": 0.3},
    )
    save_model(workspace.models / NAME / "1", defect_detector(**how).eval(), card)
    truth = write_spots(images, count=16, seed=2)
    with Store.open(workspace.store_url) as store:
        number = store.start_run("scan", {}, model=f"{NAME}@1", model_sha256="0" * 64)
        for case in discover(images).cases:
            result = CaseResult(case, "accept", "ok", "", "", None, (), 0.1, 1.0)
            store.save_result(number, result)
            for box in truth[case.source]:
                place = {name: float(getattr(box, name)) for name in BOX}
                added = Decision(case.case_id, None, "add", "ann", label=box.label, geometry=place)
                store.decide(added)
    return workspace


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Workspace]:
    """Return a function that makes equal workspaces; a training takes six steps in them."""
    monkeypatch.setitem(box_learning.COURSES, "replay", box_learning.BoxCourse(6, 2e-3, 0.1))
    return lambda name: reviewed_boxes(tmp_path / name / "w", tmp_path / name / "line")


def weights(workspace: Workspace, version: str) -> str:
    return find_model(f"{NAME}@{version}", models=workspace.models).sha256


def test_interrupted_it_goes_on_to_the_same_weights(make: Callable[[str], Workspace]) -> None:
    whole, broken = make("whole"), make("broken")
    first = run(RETRAIN, whole)
    assert (first.model, first.metrics["epochs"]) == (f"{NAME}@2", 6)

    def stop(_done: float, _total: float, what: str) -> None:
        if what.startswith("epoch 3"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(RETRAIN, broken, progress=stop)
    assert find_model(NAME, models=broken.models).version == "1"
    again = run(RETRAIN, broken)
    assert (again.run.name, again.metrics["epochs"]) == ("1", 6)
    assert weights(broken, "2") == weights(whole, "2") != weights(whole, "1")
    assert again.metrics == first.metrics


def test_a_full_disk_is_told_and_with_room_it_goes_on_to_the_same_weights(
    make: Callable[[str], Workspace],
) -> None:
    whole, broken = make("whole"), make("broken")
    run(RETRAIN, whole)
    with ExitStack() as until_now:

        def fill(_done: float, _total: float, what: str) -> None:
            if what.startswith("epoch 3"):
                until_now.enter_context(no_file_above(KEPT_BYTES))

        with pytest.raises(InputError, match=r"takes no more \(File too large\)") as error:
            run(RETRAIN, broken, progress=fill)
    assert str(broken.folder) in error.value.message
    assert "the same command goes on" in error.value.hint
    assert find_model(NAME, models=broken.models).version == "1"
    assert run(RETRAIN, broken).run.name == "1"
    assert weights(broken, "2") == weights(whole, "2")

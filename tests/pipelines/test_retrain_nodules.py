"""Decisions about scans become a detector: nodules, hard negatives, and what stays open."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medvit.findings.finding import CaseResult, Finding
from medvit.io.discover import discover
from medvit.io.writing.metaimage import write_metaimage
from medvit.models.weights import load_model
from medvit.registry.registry import find_model
from medvit.store.rows import Decision
from medvit.store.store import Store
from medvit.workspace import Workspace
from pipelines.labelling.store import settled_nodules
from pipelines.retrain import RetrainSettings, run
from pipelines.retraining import nodules
from tests.make.chest import Ball, Point, make_chest
from tests.make.models import NODULE, register_untrained

BALLS = (Ball((70.0, 0.0, 20.0), 12.0), Ball((-70.0, 10.0, -10.0), 14.0))
WRONG, OPEN = (70.0, 30.0, 20.0), (-70.0, -30.0, -10.0)


def sphere(centre: Point, diameter_mm: float) -> dict[str, float]:
    return dict(zip(("x_mm", "y_mm", "z_mm", "diameter_mm"), (*centre, diameter_mm), strict=True))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Return a workspace with one scan: two nodules added, a mark rejected, one left open."""
    scans = tmp_path / "scans"
    scans.mkdir()
    write_metaimage(make_chest(balls=BALLS, noise=np.random.default_rng(1)), scans / "one.mha")
    workspace = Workspace(tmp_path / "workspace")
    workspace.prepare()
    register_untrained(workspace.models)
    (case,) = discover(scans).cases
    of = (case.case_id, "ct", case.source, "")
    marks = tuple(
        Finding(*of, name, "nodule", 0.7, **sphere(centre, 6.0), model=f"{NODULE}@test")  # type: ignore[arg-type]
        for name, centre in (("f-1", WRONG), ("f-2", OPEN))
    )
    with Store.open(workspace.store_url) as store:
        number = store.start_run("scan", {}, model=f"{NODULE}@test", model_sha256="0" * 64)
        store.save_result(number, CaseResult(case, "accept", "ok", "", "", None, marks, 1.0, 1.0))
        store.decide(Decision(case.case_id, "f-1", "relabel", "ann", label="vessel"))
        for ball in BALLS:
            place = sphere(ball.centre_lps_mm, ball.diameter_mm)
            store.decide(Decision(case.case_id, None, "add", "ann", label="nodule", geometry=place))
    return workspace


@pytest.mark.slow
def test_a_reviewed_scan_makes_a_detector(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = nodules._config

    def tiny(card: object) -> object:
        made = config(card)  # type: ignore[arg-type]
        train = made.train.model_copy(
            update={"epochs": 1, "crops_per_epoch": 2, "batch_size": 2, "lookouts": 2}
        )
        data = made.data.model_copy(update={"phantoms": 0})
        return made.model_copy(update={"train": train, "data": data})

    monkeypatch.setattr(nodules, "_config", tiny)
    result = run(RetrainSettings(task="nodule"), workspace)
    assert (result.model, result.gate.verdict) == (f"{NODULE}@1", "undecided")
    assert "2 nodules and 1 rejected marks" in result.plan["reason"]
    models = workspace.models
    champion, challenger = (find_model(f"{NODULE}@{v}", models=models) for v in ("test", "1"))
    assert champion.production
    assert champion.sha256 != challenger.sha256
    assert load_model(challenger.folder)[1].parents == (champion.reference,)
    table = (workspace.folder / "datasets" / "nodule" / "1" / "excluded.csv").read_text("utf-8")
    assert len(table.splitlines()) == 2  # the mark that nobody decided about
    assert len(settled_nodules(workspace)) == 2

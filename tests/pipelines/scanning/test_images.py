"""One image under a model: boxes as findings, and what does not fit is refused with a figure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medvit.io.case import Case, Reason
from medvit.io.discover import discover
from medvit.io.triage import triage
from medvit.io.verdict import Triage
from medvit.models.builders import defect_detector
from medvit.models.weights import Architecture, ModelCard
from medvit.registry.registry import ModelVersion
from medvit.tiles.budget import BudgetError
from medvit.tiles.footprint import MIB
from pipelines.scanning.detectors import Detector
from pipelines.scanning.images import BOXES_BYTES, examine_image
from pipelines.scanning.limits import Limits
from pipelines.scanning.memory import current_rss_mb
from pipelines.scanning.workbench import Workbench
from tests.inference.test_defect_tiles import planned, sheet

CLASSES = ("dent", "scratch")


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    torch.manual_seed(0)
    net = defect_detector(backbone="cnn_small", classes=2, width=8).eval()
    card = ModelCard(
        name="boxes",
        version="1",
        task="defect",
        architecture=Architecture(builder="defect_detector"),
        classes=CLASSES,
        preprocessing={"side_px": 32, "image_px": 32},
        thresholds=dict.fromkeys(CLASSES, 0.0),
    )
    folder = tmp_path_factory.mktemp("model")
    version = ModelVersion("boxes", "1", "defect", folder, "0" * 64, True, {})
    return Detector(version, net, card)


def bench(folder: Path, *, max_bytes: int = 1 << 34) -> Workbench:
    return Workbench(folder, folder / "tiles", Limits(max_bytes))


def image_case(folder: Path, *, width: int, height: int) -> Case:
    grey = np.random.default_rng(0).integers(0, 255, (height, width)).astype(np.uint8)
    Image.fromarray(grey).save(folder / "sheet.png")
    return discover(folder / "sheet.png").cases[0]


@pytest.mark.parametrize("width", [32, 100])
def test_every_box_is_a_finding_of_whole_pixels(
    detector: Detector, tmp_path: Path, width: int
) -> None:
    case = image_case(tmp_path, width=width, height=30)
    outcome = examine_image(case, triage(case), detector, bench(tmp_path))
    assert outcome.findings
    best = max(outcome.findings, key=lambda each: each.probability)
    assert (outcome.label, outcome.probability) == (best.label, best.probability)
    assert len({each.finding_id for each in outcome.findings}) == len(outcome.findings)
    for each in outcome.findings:
        assert each.x_min is not None
        assert each.x_max is not None
        assert 0 <= each.x_min < each.x_max <= width
    assert case.case_id in outcome.pictures


def test_a_sound_surface_has_no_label(detector: Detector, tmp_path: Path) -> None:
    card = detector.card.model_copy(update={"thresholds": dict.fromkeys(CLASSES, 1.0)})
    case = image_case(tmp_path, width=40, height=30)
    strict = replace(detector, card=card)
    outcome = examine_image(case, triage(case), strict, bench(tmp_path))
    assert (outcome.label, outcome.probability, outcome.findings) == ("", None, ())


def test_a_classifier_that_knows_sound_surfaces_finds_each_defect_of_a_sheet(
    detector: Detector, tmp_path: Path
) -> None:
    net, card = planned()
    pixels = sheet((8, 8, 1.0), (152, 120, 0.0))
    Image.fromarray(np.round(pixels * 255).astype(np.uint8)).save(tmp_path / "sheet.png")
    case = discover(tmp_path / "sheet.png").cases[0]
    model = replace(detector, module=net, card=card)
    outcome = examine_image(case, triage(case), model, bench(tmp_path))
    assert sorted(each.label for each in outcome.findings) == ["bright", "dark"]
    assert len({each.finding_id for each in outcome.findings}) == 2
    best = max(outcome.findings, key=lambda each: each.probability)
    assert (outcome.label, outcome.probability) == (best.label, best.probability)
    whole = examine_image(
        case, triage(case), replace(model, card=without_tiles(card)), bench(tmp_path)
    )
    assert (whole.label, whole.findings) == ("sound", ())  # shrunk, both defects vanish


def without_tiles(card: ModelCard) -> ModelCard:
    return card.model_copy(update={"preprocessing": {"side_px": 64}})


def test_an_image_beyond_the_memory_is_refused_with_what_it_needs(
    detector: Detector, tmp_path: Path
) -> None:
    case = image_case(tmp_path, width=40, height=30)
    large = Triage("accept", (Reason("ok", ""),), (1, 3000, 20_000))
    with pytest.raises(BudgetError) as told:
        examine_image(case, large, detector, bench(tmp_path, max_bytes=2 << 30))
    needed = told.value.smallest_bytes
    assert needed > 3000 * 20_000 * BOXES_BYTES + current_rss_mb() * MIB * 0.5

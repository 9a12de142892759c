"""The gate, and a change of production, with models that really run."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from medvit.data.annotated import AnnotatedScan
from medvit.data.manifest import ManifestRow, read_manifest, write_manifest
from medvit.io.case import Case
from medvit.models.builders import build_model
from medvit.models.weights import Architecture, ModelCard, save_model
from medvit.registry.production import promote, rollback
from medvit.registry.registry import find_model
from medvit.workspace import Workspace
from pipelines import scan, train
from pipelines.classifying.config import ClassifyConfig
from pipelines.config import check_config
from pipelines.gate import GateSettings, frozen_images, frozen_scans, judge
from pipelines.gating.answers import Answers, Cost, answers_of, keep_answers, kept_file
from pipelines.models import CompareSettings, compare_models
from tests.make.models import DEFECT, register_untrained
from tests.make.raster import grey, write_image
from tests.make.registry import put_version
from tests.make.surface import write_surface_set
from tests.make.volumes import write_metaimage


def learn(manifest: Path, workspace: Workspace) -> str:
    values = {
        "task": "classify",
        "data": {"manifest": str(manifest), "side_px": 32},
        "model": {"name": "tiny"},
        "train": {"epochs": 1, "batch_size": 12, "lr": 1e-3},
        "tuning": {"method": "prototype"},
        "views": {"side_px": 32},
    }
    config = check_config(ClassifyConfig, values, name="tiny.yaml")
    return str(train.run(config, workspace)["model"])


@pytest.mark.slow
def test_a_challenger_that_learned_shuffled_labels_is_refused(tmp_path: Path) -> None:
    manifest = write_surface_set(tmp_path, per_split={"train": 24, "val": 2, "test": 40})
    workspace = Workspace(tmp_path / "w")
    champion = learn(manifest, workspace)
    rows = read_manifest(manifest).rows
    rng = np.random.default_rng(0)
    taught = [row.label for row in rows if row.split == "train"]
    shuffled = iter(rng.permutation(taught).tolist())
    wrong = [
        ManifestRow(r.path, next(shuffled) if r.split == "train" else r.label, r.split, r.group)
        for r in rows
    ]
    write_manifest(tmp_path / "shuffled.csv", wrong)
    challenger = learn(tmp_path / "shuffled.csv", workspace)
    settings = CompareSettings(champion=champion, challenger=challenger, manifest=manifest)
    answer = compare_models(settings, workspace=workspace)
    assert answer["gate"]["verdict"] == "refuse"
    assert answer["gate"]["reasons"][0].startswith("worse on accuracy: ")
    assert answer["warnings"] == []  # both tell what they saw, and it is not the test split
    assert find_model("tiny", models=workspace.models).reference == challenger  # the newest
    costs = [each for each in answer["figures"] if each["name"].startswith("milliseconds")]
    assert min(costs[0]["champion"], costs[0]["challenger"]) > 0

    leaking = settings.model_copy(update={"split": "train"})
    refused = compare_models(leaking, workspace=workspace)
    assert refused["gate"]["reasons"][0].startswith(
        "tiny@1 was trained on 72 of the 72 frozen cases: dots-train-0.png"
    )


@pytest.mark.slow
def test_a_scan_keeps_the_model_it_began_with(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    for number in (1, 2):
        register_untrained(workspace.models, version=str(number), seed=number)
    shutil.rmtree(workspace.models / "nodule-swin3d")
    (workspace.models / DEFECT / "production").unlink()
    promote(workspace.models, DEFECT, "1", by="ann", reason="the first")
    for number in range(2):
        write_image(tmp_path / "images" / f"{number}.png", np.roll(grey(), number, axis=1))
    settings = scan.ScanSettings(sources=(tmp_path / "images",), out=tmp_path / "one")
    moved: list[str] = []

    def progress(done: float, _total: float, _what: str) -> None:
        if done >= 1 and not moved:
            change = promote(workspace.models, DEFECT, "2", by="ann", reason="in the middle")
            moved.append(change.to_version)

    scan.run(settings, workspace=workspace, progress=progress)
    assert moved == ["2"]
    first = findings(tmp_path / "one")
    assert {row["model"] for row in first} == {f"{DEFECT}@1"}
    scan.run(settings.model_copy(update={"out": tmp_path / "two"}), workspace=workspace)
    assert {row["model"] for row in findings(tmp_path / "two")} == {f"{DEFECT}@2"}
    rollback(workspace.models, DEFECT, by="ann", reason="worse")
    scan.run(settings.model_copy(update={"out": tmp_path / "three"}), workspace=workspace)
    one, three = (tmp_path / name / "findings.csv" for name in ("one", "three"))
    assert one.read_bytes() == three.read_bytes()


def findings(out: Path) -> list[dict[str, str]]:
    with (out / "findings.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_detectors_are_weighed_by_froc_and_their_nodules_by_size(tmp_path: Path) -> None:
    """Forty patients with one nodule each, at 3 mm of the origin of an empty scan."""
    file = tmp_path / "scan.mhd"
    write_metaimage(file)
    place = (-9.0, 21.0, -29.0)
    scans = tuple(
        AnnotatedScan(
            name=f"1.2.{number}",
            patient=f"patient {number}",
            case=Case(f"case-{number}", "ct", file.name, tmp_path, (file,)),
            nodules=np.array([[*place, 5.0 if number % 2 else 8.0]]),
            ignored=np.empty((0, 4)),
        )
        for number in range(40)
    )
    frozen = frozen_scans("forty scans", scans)
    kept = tmp_path / "gate"
    versions = []
    for version, found, false in (("1", 34, 2), ("2", 40, 2)):
        made = put_version(
            tmp_path / "models",
            version,
            name="nodule",
            task="nodule",
            classes=("nodule",),
            thresholds={"probability": 0.4},
        )
        hit, beside = (*place, 0.9), (place[0] + 50, *place[1:], 0.5)
        marks = [[*([hit] if at < found else []), *[beside] * (at < false)] for at in range(40)]
        answers = Answers(tuple(marks), Cost(1.0, 10.0, "cpu"))
        keep_answers(kept_file(made, frozen, kept), answers, about={})
        versions.append(made)
    settings = GateSettings(folder=kept, rounds=60, rare_classes="allow")
    answer = judge(versions[0], versions[1], frozen, settings=settings, out=tmp_path / "out")
    assert answer.verdict == "promote"
    assert answer.reasons[0].startswith("better on CPM: 0.850 to 1.000 (+0.150, +0.0")
    names = {part["name"]: part["cases"] for part in answer.figures["parts"]}
    assert names == {
        "nodules found at the operating point": 40,
        "3 to 6 mm": 20,
        "6 to 10 mm": 20,
    }
    figures = {each["name"]: each for each in answer.figures["figures"]}
    assert figures["false marks a scan there"]["challenger"] == 0.05
    assert figures["nodules found there"]["champion"] == 0.85
    page = answer.report.read_text()
    assert page.count("<img ") == 6  # nodules gained, in three views each
    assert "wide-pictures" in page


@pytest.mark.slow
def test_a_detector_of_boxes_answers_with_its_best_box(tmp_path: Path) -> None:
    manifest = write_surface_set(tmp_path, per_split={"test": 2})
    torch.manual_seed(2)
    how = {"backbone": "cnn_small", "classes": 3, "width": 16}
    card = ModelCard(
        name="boxes",
        version="1",
        task="defect",
        architecture=Architecture(builder="defect_detector", arguments=how),
        classes=("dots", "lines", "plain"),
        preprocessing={"side_px": 64, "image_px": 64, "channels": "grey"},
    )
    save_model(tmp_path / "m" / "boxes" / "1", build_model("defect_detector", **how), card)
    detector = find_model("boxes", models=tmp_path / "m", shipped=tmp_path / "none")
    frozen = frozen_images(manifest)
    settings = GateSettings(folder=tmp_path / "gate", rounds=40)
    answer = judge(detector, detector, frozen, settings=settings, out=tmp_path / "out")
    assert answer.verdict == "undecided"
    said = answers_of(detector, frozen, folder=tmp_path / "gate").answers
    assert [len(each) for each in said] == [2] * 6
    assert {label for label, _ in said} <= set(card.classes)
    assert answer.figures["primary"]["difference"]["champion"] == np.mean(
        [label == case.label for (label, _), case in zip(said, frozen.cases, strict=True)]
    )


@pytest.mark.slow
@pytest.mark.shared_data
def test_shipped_steel_is_not_worse_and_not_better_than_itself(
    tmp_path: Path, shared_data: Path, project: Path
) -> None:
    images = shared_data / "defects" / "x-sdd" / "images"
    rows = read_manifest(project / "configs" / "splits" / "xsdd.csv").of("val")
    write_manifest(tmp_path / "some.csv", rows[::4])
    frozen = frozen_images(tmp_path / "some.csv", split="val", root=images)
    shipped = find_model("steel-defects")
    settings = GateSettings(folder=tmp_path / "gate")
    answer = judge(shipped, shipped, frozen, settings=settings, out=tmp_path / "out")
    assert answer.verdict == "undecided"
    assert answer.figures["cases"] == 39
    difference = answer.figures["primary"]["difference"]
    assert (difference["low"], difference["high"]) == (0, 0)
    assert difference["champion"] > 0.9

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medvit.data.annotated import AnnotatedScan
from medvit.data.phantom import draw_phantom, make_phantom
from medvit.io.case import Case
from medvit.learn.fit import EpochReport
from medvit.metrics.froc import froc
from medvit.metrics.luna16_csv import read_annotations, read_marks, read_series
from medvit.registry.registry import find_model
from medvit.volume.volume import volume_of
from medvit.workspace import Workspace
from pipelines import train
from pipelines.nodules.config import NoduleConfig
from pipelines.nodules.folds import of_fold, write_truth
from tests.make.annotated import uid, write_luna16

TINY = [
    "data.validation_scans=0",
    "model.width=8",
    "train.epochs=1",
    "train.crops_per_epoch=2",
    "train.batch_size=2",
    "train.crop_side=32",
    "train.workers=0",
    "train.lookouts=1",
]


def luna16(root: Path, *words: str) -> NoduleConfig:
    config = train.load("train/nodule_luna16", [*TINY, f"data.root={root}", *words])
    assert isinstance(config, NoduleConfig)
    return config


def test_a_fold_has_a_config_and_a_model_of_its_own(tmp_path: Path) -> None:
    config = of_fold(luna16(tmp_path), 3)
    settings = config.data.annotated_settings
    assert settings is not None
    assert (settings.fold, settings.root) == (3, tmp_path)
    assert config.model.name == "nodule-luna16-fold3"
    assert luna16(tmp_path).data.annotated_settings != settings


def test_the_truth_is_written_as_luna16_has_it(tmp_path: Path) -> None:
    case = Case("ct-0", "ct", "a.mha", tmp_path, (tmp_path / "a.mha",))
    nodules = np.array([[-128.6994211, -175.3192718, -298.3875064, 5.651470635]])
    scans = [
        AnnotatedScan("1.2.3", "p", case, nodules, np.array([[1.0, 2.0, 3.0, 10.0]])),
        AnnotatedScan("1.2.4", "q", case, np.zeros((0, 4)), np.zeros((0, 4))),
    ]
    write_truth(tmp_path, scans)
    (found,) = read_annotations(tmp_path / "annotations.csv")
    assert (found.x_mm, found.y_mm, found.z_mm, found.diameter_mm) == tuple(nodules[0])
    (other,) = read_annotations(tmp_path / "annotations_excluded.csv", is_excluded=True)
    assert (other.series_uid, other.diameter_mm) == ("1.2.3", 10.0)
    assert read_series(tmp_path / "seriesuids.csv") == ["1.2.3", "1.2.4"]


def write_tiny_luna16(root: Path) -> Path:
    """Write ten phantoms of a third of a chest's size, whose lungs fit into one tile."""
    volumes, rows = [], []
    for number in range(10):
        rng = np.random.default_rng((20, number))
        phantom = make_phantom(draw_phantom(rng, spacing_mm=(5.0, 5.0, 5.0), n_nodules=3), rng)
        affine = np.diag([*[THIRD] * 3, 1.0]) @ phantom.affine_lps
        volumes.append(volume_of(phantom.hu, affine))
        rows += [
            (uid(number), *np.multiply(nodule.centre_lps_mm, THIRD), THIRD * nodule.diameter_mm)
            for nodule in phantom.nodules
        ]
    return write_luna16(root, rows, excluded=[], volumes=volumes)


THIRD = 0.33


def numbered(runs: Path) -> list[Path]:
    return [folder for folder in runs.iterdir() if folder.name.isdigit()]


@pytest.mark.slow
def test_ten_folds_of_a_luna16_folder_end_in_one_official_froc(tmp_path: Path) -> None:
    root = write_tiny_luna16(tmp_path / "luna")
    workspace = Workspace(tmp_path / "workspace")
    config = luna16(root)
    epochs: list[EpochReport] = []

    def interrupt(report: EpochReport) -> None:
        epochs.append(report)
        if len(epochs) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.run(config, workspace, progress=interrupt)
    answer = train.run(config, workspace)
    assert [len(numbered(workspace.runs(name))) for name in ("train", "folds")] == [10, 1]
    assert answer["models"] == [f"nodule-luna16-fold{fold}@1" for fold in range(10)]
    folder = Path(answer["run"])
    marks = read_marks(folder / "predictions.csv")
    for fold in range(10):
        part = json.loads((folder / f"fold-{fold}.json").read_text(encoding="utf-8"))
        own = read_marks(Path(part["run"]) / "predictions.csv")
        assert {mark.series_uid for mark in own} <= {uid(fold)}
        assert [mark for mark in marks if mark.series_uid == uid(fold)] == own
    assert read_series(folder / "seriesuids.csv") == sorted(uid(fold) for fold in range(10))
    nodules = read_annotations(root / "annotations.csv")
    again = froc(marks, nodules, series=[uid(fold) for fold in range(10)])
    assert answer["metrics"]["n_annotations"] == len(nodules) == 30
    assert answer["metrics"]["n_scans"] == 10
    assert answer["metrics"]["sensitivity"] == pytest.approx(again.sensitivity)
    assert answer["metrics"]["cpm"] == pytest.approx(again.cpm)
    assert Path(answer["report"]).is_file()
    assert find_model("nodule-luna16-fold9@1", task="nodule", models=workspace.models)
    lock = json.loads((root / "folds.json").read_text(encoding="utf-8"))
    assert [lock["scans"][uid(fold)]["fold"] for fold in range(10)] == list(range(10))

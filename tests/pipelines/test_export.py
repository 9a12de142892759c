"""Exports of small models, judged for real, and sabotaged ones, refused for real."""

from __future__ import annotations

import copy
import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from medvit.errors import ConfigError, GateRefusedError, InputError
from medvit.export import formats
from medvit.export.sidecar import SIDECAR_FILE, Sidecar, read_sidecar
from medvit.models.weights import file_sha256, load_model
from medvit.workspace import Workspace
from pipelines.export import ExportSettings, judge, run
from pipelines.parity_cases import ParityCases, made_cases
from tests.make.models import DEFECT, NODULE, register_untrained

INSTALLED = all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))
needs_onnx = pytest.mark.skipif(not INSTALLED, reason="the export extra is not installed")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("workspace")
    register_untrained(folder / "models")
    return Workspace(folder)


def export(workspace: Workspace, model: str, out: Path, **more: Any) -> dict[str, Any]:
    return run(ExportSettings(model, out=out, most_cases=6, **more), workspace=workspace)


@pytest.fixture(scope="module")
def exported(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "steel"
    answer = export(workspace, DEFECT, out, format="torch")
    assert answer["parity"]["verdict"] == "pass"
    return out


def judged(workspace: Workspace, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Hold a folder to the registered defect model."""
    network, _ = load_model(workspace.models / DEFECT / "test")
    source = source_of(workspace)
    return judge(network, source, folder, cases_for(source))


def source_of(workspace: Workspace) -> Sidecar:
    from pipelines.export import _source_sidecar

    network, card = load_model(workspace.models / DEFECT / "test")
    return _source_sidecar(card, "torch", network, tile_side=96)


def cases_for(source: Sidecar) -> ParityCases:
    return made_cases(source.input, most=4, calibrates=False)


def test_a_program_of_torch_runs_without_medvit_in_any_batch(exported: Path) -> None:
    names = sorted(path.name for path in exported.iterdir())
    assert names == ["model.pt2", "parity.json", "preprocessing.json"]
    module = torch.export.load(exported / "model.pt2").module()
    for batch in (1, 3):
        assert module(torch.rand(batch, 1, 64, 64))[0].shape == (batch, 3)
    report = json.loads((exported / "parity.json").read_text(encoding="utf-8"))
    assert report["sha256"] == file_sha256(exported / "model.pt2")
    assert report["origin"] == "6 made images of steel with defects"
    assert (report["cases"], report["flips"]) == (6, 0)
    assert report["notes"][0] == "judged on 6 cases, fewer than 200"


Sabotage = Callable[[dict[str, Any]], None]


def lose_temperature(sidecar: dict[str, Any]) -> None:
    sidecar["rule"]["temperature"] = 2.0


def swap_classes(sidecar: dict[str, Any]) -> None:
    sidecar["rule"]["classes"].reverse()


def add_threshold(sidecar: dict[str, Any]) -> None:
    sidecar["rule"]["threshold"] = 0.9


@pytest.mark.parametrize("sabotage", [lose_temperature, swap_classes, add_threshold])
def test_a_sidecar_with_another_rule_fails(
    workspace: Workspace, exported: Path, tmp_path: Path, sabotage: Sabotage
) -> None:
    folder = tmp_path / "sabotaged"
    shutil.copytree(exported, folder)
    values = json.loads((folder / SIDECAR_FILE).read_text(encoding="utf-8"))
    sabotage(values)
    (folder / SIDECAR_FILE).write_text(json.dumps(values), encoding="utf-8")
    report, faults = judged(workspace, folder)
    assert report["verdict"] == "refuse"
    assert "classes, temperature or threshold are not those of the model's card" in faults


def test_an_image_of_another_size_fails(
    workspace: Workspace, exported: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "sabotaged"
    shutil.copytree(exported, folder)
    text = (folder / SIDECAR_FILE).read_text(encoding="utf-8")
    smaller = Sidecar.model_validate_json(text.replace('"side_px": 64', '"side_px": 56'))
    network, _ = load_model(workspace.models / DEFECT / "test")
    source = source_of(workspace)
    sides = (source.input.shape, smaller.input.shape)
    assert sides == ((1, 64, 64), (1, 56, 56))
    formats.write_network(network, folder, wanted="torch", shape=smaller.input.shape)
    sha256 = file_sha256(folder / smaller.file)
    changed = smaller.model_copy(update={"sha256": sha256})
    (folder / SIDECAR_FILE).write_text(changed.model_dump_json(), encoding="utf-8")
    _, faults = judge(network, source, folder, cases_for(source))
    assert "outputs differ by" in faults[0]


def test_a_missing_sidecar_and_an_altered_file_are_refused(
    workspace: Workspace, exported: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "bare"
    shutil.copytree(exported, folder)
    with (folder / "model.pt2").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(GateRefusedError, match="is not the sidecar's"):
        judged(workspace, folder)
    (folder / SIDECAR_FILE).unlink()
    with pytest.raises(GateRefusedError, match="not run without it"):
        judged(workspace, folder)


@pytest.mark.parametrize("part", ["weights", "contrast"])
def test_a_graph_with_altered_numbers_leaves_only_the_reason(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    write = formats.write_network

    def write_altered(network: nn.Module, folder: Path, **more: Any) -> tuple[str, ...]:
        altered: Any = copy.deepcopy(network)
        if part == "weights":
            altered.head.weight.data[0, 0] += 0.5
        else:  # by what images are normalised, inside the graph
            settings = altered.backbone.settings
            object.__setattr__(settings, "contrast_std", settings.contrast_std * 1.1)
        return write(altered, folder, **more)

    monkeypatch.setattr(formats, "write_network", write_altered)
    with pytest.raises(GateRefusedError, match="refused: outputs differ by") as error:
        export(workspace, DEFECT, tmp_path / "out", format="torch")
    assert error.value.hint == f"see {tmp_path / 'out' / 'parity.json'}"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["parity.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    latest = workspace.latest_run("export")
    assert latest is not None
    record = json.loads((latest / "run.json").read_text(encoding="utf-8"))
    assert record["state"] == "refused"


@needs_onnx
def test_a_detector_as_onnx_decides_alike_on_given_and_made_tiles(
    workspace: Workspace, tmp_path: Path
) -> None:
    answer = export(workspace, NODULE, tmp_path / "out", tile_side=32)
    assert answer["parity"]["origin"] == "6 made CT tiles with nodules"
    assert answer["parity"]["decisions"] > 0
    assert answer["parity"]["flips"] == 0
    sidecar = read_sidecar(tmp_path / "out")
    assert sidecar.outputs == ("heat", "log_diameter", "offset")
    assert sidecar.rule.stride == 2
    run_graph = formats.open_network(tmp_path / "out", sidecar)
    for batch in (1, 2):
        assert run_graph(torch.rand(batch, 1, 32, 32, 32))[0].shape == (batch, 1, 16, 16, 16)


@needs_onnx
def test_int8_is_calibrated_on_other_images_than_it_is_judged_on(
    workspace: Workspace, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(9):
        grey = np.random.default_rng(number).integers(0, 256, (70, 70), dtype=np.uint8)
        Image.fromarray(grey).save(images / f"{number}.png")
    try:
        report = export(workspace, DEFECT, tmp_path / "out", format="onnx-int8", cases=images)
        report = report["parity"]
    except GateRefusedError:  # an untrained network is no more sure than INT8 is exact
        report = json.loads((tmp_path / "out/parity.json").read_text(encoding="utf-8"))
    assert (report["cases"], report["calibration_cases"]) == (6, 3)
    assert report["origin"] == "6 of 9 images"
    assert 0 < report["max_abs_diff"] < 1


def test_wrong_usage_is_refused_before_anything_is_written(
    workspace: Workspace, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"must be one of onnx, onnx-int8, .*, got 'onxx'"):
        export(workspace, DEFECT, tmp_path / "out", format="onxx")
    with pytest.raises(InputError, match="nowhere: no such file or folder"):
        export(workspace, DEFECT, tmp_path / "out", format="torch", cases=tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="multiple of 2, at least 8, got 33"):
        export(workspace, NODULE, tmp_path / "out", format="torch", tile_side=33)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "note.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="something is there"):
        export(workspace, DEFECT, tmp_path, format="torch")
    with pytest.raises(InputError, match="no image in it can be read, 0 found"):
        export(workspace, DEFECT, tmp_path / "out", format="torch", cases=tmp_path)

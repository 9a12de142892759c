from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medvit.errors import ModelError
from medvit.export.sidecar import (
    SIDECAR_FILE,
    GreyInput,
    HuInput,
    Rule,
    Sidecar,
    read_sidecar,
    write_sidecar,
)
from medvit.models.weights import file_sha256


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(b"a graph")
    sidecar = Sidecar(
        format="onnx",
        model="nodules@1",
        task="nodule",
        weights_sha256="0" * 64,
        file="model.onnx",
        sha256=file_sha256(tmp_path / "model.onnx"),
        input=HuInput(spacing_mm=1, side=32, low_hu=-1000, high_hu=400),
        outputs=("heat", "log_diameter", "offset"),
        rule=Rule(classes=("nodule",), threshold=0.489, stride=2),
    )
    write_sidecar(tmp_path, sidecar)
    return tmp_path


def change(folder: Path, *keys: str) -> None:
    """Take a value out of the sidecar."""
    path = folder / SIDECAR_FILE
    values = json.loads(path.read_text(encoding="utf-8"))
    part = values
    for key in keys[:-1]:
        part = part[key]
    del part[keys[-1]]
    path.write_text(json.dumps(values), encoding="utf-8")


def test_a_sidecar_is_read_as_it_was_written(folder: Path) -> None:
    sidecar = read_sidecar(folder)
    assert sidecar.rule.threshold == 0.489
    assert sidecar.input.shape == (1, 32, 32, 32)


def test_without_a_sidecar_nothing_is_run(folder: Path) -> None:
    (folder / SIDECAR_FILE).unlink()
    with pytest.raises(ModelError, match=r"preprocessing\.json: an exported network is not run"):
        read_sidecar(folder)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (("rule", "threshold"), "a detector needs a threshold, got none"),
        (("input", "low_hu"), "low_hu"),
        (("input",), "input"),
    ],
)
def test_what_a_runner_must_know_may_not_be_lost(
    folder: Path, keys: tuple[str, ...], message: str
) -> None:
    change(folder, *keys)
    with pytest.raises(ModelError, match=message):
        read_sidecar(folder)


def test_an_altered_network_is_refused(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"another graph")
    with pytest.raises(ModelError, match=r"model\.onnx: sha256 \w{12} is not the sidecar's"):
        read_sidecar(folder)


def test_inputs_are_prepared_as_they_were_for_training() -> None:
    hu = np.array([-2000.0, -1000, -300, 400, 900, 0, 0, 0], np.float32).reshape(2, 2, 2)
    x = HuInput(spacing_mm=1, side=2, low_hu=-1000, high_hu=400).prepare(hu)
    assert x.shape == (1, 1, 2, 2, 2)
    assert x.flatten()[:5].tolist() == [0, 0, 0.5, 1, 1]
    pixels = np.zeros((4, 6, 3), np.float32)
    pixels[..., 0] = 0.75
    grey = GreyInput(side_px=4).prepare(pixels)
    assert grey.shape == (1, 1, 4, 4)
    assert set(grey.flatten().tolist()) == {0.25}

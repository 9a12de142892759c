from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.apps.cli.conftest import Medvit


def test_wrong_usage_ends_with_two(medvit: Medvit, tmp_path: Path) -> None:
    answer = medvit("export", "steel-defects", "--format", "onxx", "--json")
    assert answer.code == 2
    assert answer.message.endswith("got 'onxx'")
    answer = medvit("export", "no-such-model", "--format", "torch", "--json")
    assert (answer.code, answer.message) == (2, "there is no model 'no-such-model'")
    missing = tmp_path / "nowhere"
    words = ("export", "steel-defects", "--format", "torch", "--cases", missing, "--json")
    assert medvit(*words).message == f"{missing}: no such file or folder"


def test_tensorrt_is_refused_where_it_is_missing(medvit: Medvit) -> None:
    if importlib.util.find_spec("onnxruntime") is None:
        pytest.skip("the export extra is not installed")
    answer = medvit("export", "nodule-swin3d", "--format", "tensorrt", "--json")
    assert answer.code == 2
    assert answer.message.startswith("onnxruntime has no TensorrtExecutionProvider here")


@pytest.mark.slow
def test_a_good_export_ends_with_zero_and_says_what_it_compared(
    medvit: Medvit, tmp_path: Path
) -> None:
    words = ("export", "steel-defects", "--format", "torch", "--out", tmp_path / "out")
    answer = medvit(*words, "--most-cases", 4)
    assert answer.code == 0
    assert "compared on 4 made images of steel with defects" in answer.stdout
    assert "0 of 4 decisions changed" in answer.stdout
    again = medvit(*words, "--json")
    assert (again.code, "something is there" in again.message) == (2, True)

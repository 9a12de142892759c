from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from medvit.errors import ConfigError, ModelError
from medvit.models.builders import build_backbone, build_model
from medvit.models.weights import (
    CARD_FILE,
    WEIGHTS_FILE,
    Architecture,
    ModelCard,
    load_model,
    save_model,
)

ARGUMENTS = {"backbone": "swin3d_tiny", "width": 8}


def saved(folder: Path) -> ModelCard:
    torch.manual_seed(0)
    card = ModelCard(
        name="tiny",
        version="1",
        task="nodule",
        architecture=Architecture(builder="nodule_detector", arguments=ARGUMENTS),
        classes=("nodule",),
    )
    return save_model(folder, build_model("nodule_detector", **ARGUMENTS), card)


def test_a_model_comes_back_as_it_was(tmp_path: Path) -> None:
    card = saved(tmp_path / "1")
    torch.manual_seed(0)
    expected = build_model("nodule_detector", **ARGUMENTS).state_dict()
    module, read = load_model(tmp_path / "1")
    assert read == card
    assert not module.training
    assert all(torch.equal(value, expected[key]) for key, value in module.state_dict().items())


def test_a_version_is_never_overwritten(tmp_path: Path) -> None:
    saved(tmp_path / "1")
    with pytest.raises(ModelError, match=r"1 exists, and a model version is never overwritten"):
        saved(tmp_path / "1")
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


@pytest.mark.skipif(os.name != "posix", reason="asks for permissions of POSIX")
def test_whoever_may_read_the_folder_may_read_the_weights(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        saved(tmp_path / "1")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "1").iterdir()}
    assert modes == dict.fromkeys((WEIGHTS_FILE, CARD_FILE, "SHA256SUMS"), 0o644)


def test_altered_weights_are_refused(tmp_path: Path) -> None:
    saved(tmp_path / "1")
    path = tmp_path / "1" / WEIGHTS_FILE
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"sha256 \w{12} is not the card's \w{12}"):
        load_model(tmp_path / "1")


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    saved(tmp_path / "1")
    path = tmp_path / "1" / CARD_FILE
    card = json.loads(path.read_text(encoding="utf-8"))
    card["architecture"]["arguments"]["width"] = 16
    path.write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(ModelError, match="weights do not fit nodule_detector"):
        load_model(tmp_path / "1")


@pytest.mark.parametrize("text", ["", "[]", '{"name": "tiny"}', '{"name": "../x"}'])
def test_a_card_that_breaks_the_rules_is_refused(tmp_path: Path, text: str) -> None:
    saved(tmp_path / "1")
    (tmp_path / "1" / CARD_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=r"model\.json: not a valid model card"):
        load_model(tmp_path / "1")


def test_a_name_that_is_a_path_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\.\./x"):
        ModelCard(
            name="../x",
            version="1",
            task="nodule",
            architecture=Architecture(builder="nodule_detector"),
            classes=(),
        )


def test_an_unknown_network_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="unknown network 'swin4d'") as error:
        build_backbone("swin4d")
    assert "swin3d_tiny" in error.value.hint

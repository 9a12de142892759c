"""Networks of the transformers zoo, made here, saved in a folder and read as backbones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel

from medvit.errors import ModelError
from medvit.models.blocks import block_names, parameter_depths
from medvit.models.builders import build_model, image_backbone
from medvit.models.hub import hub_arguments, load_hub, read_hub
from medvit.models.layers.adapter import insert_adapters

PLAIN = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 64,
    "patch_size": 16,
}
STEPS: dict[str, Any] = {
    "embed_dim": 8,
    "depths": [1, 1],
    "num_heads": [1, 2],
    "window_size": 4,
    "image_size": 64,
}
LEVELS: dict[str, Any] = {
    "hidden_sizes": [8, 16, 24, 32],
    "depths": [1, 1, 1, 1],
    "num_attention_heads": [1, 1, 2, 2],
    "image_size": 64,
}
MOBILE: dict[str, Any] = {
    "hidden_sizes": [16, 24, 32],
    "neck_hidden_sizes": [8, 8, 16, 16, 24, 24, 32],
    "image_size": 64,
}
FAMILIES: dict[str, tuple[dict[str, Any], int, int]] = {  # config, channels, stride
    "vit": (PLAIN, 32, 16),
    "deit": (PLAIN, 32, 16),
    "beit": ({**PLAIN, "use_relative_position_bias": True}, 32, 16),
    "dinov2": (PLAIN, 32, 16),
    "dinov2_with_registers": (PLAIN, 32, 16),
    "dinov3_vit": ({**PLAIN, "num_register_tokens": 4}, 32, 16),
    "swin": (STEPS, 16, 8),
    "swinv2": (STEPS, 16, 8),
    "pvt": (LEVELS, 32, 32),
    "pvt_v2": (LEVELS, 32, 32),
    "convnext": ({**LEVELS, "num_attention_heads": None}, 32, 32),
    "convnextv2": ({**LEVELS, "num_attention_heads": None}, 32, 32),
    "mobilevit": (MOBILE, 32, 32),
}


def save(folder: Path, family: str) -> str:
    torch.manual_seed(0)
    values = {key: value for key, value in FAMILIES[family][0].items() if value is not None}
    config = AutoConfig.for_model(family, **values)
    net = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    net.save_pretrained(folder)
    colours = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}
    (folder / "preprocessor_config.json").write_text(json.dumps(colours), encoding="utf-8")
    return f"hf:{folder}"


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gives_a_grid_with_the_weights_of_its_folder(
    tmp_path: Path, family: str
) -> None:
    name = save(tmp_path, family)
    settings = read_hub(name)
    net = load_hub(name, settings).eval()
    _, channels, stride = FAMILIES[family]
    assert (net.widths, net.strides_px) == ((channels,), (stride,))
    assert net(torch.rand(2, 1, 64, 64)).shape == (2, channels, 64 // stride, 64 // stride)
    source = AutoModel.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(value, source[key]) for key, value in net.net.state_dict().items())
    assert len(block_names(net)) >= 2
    assert max(parameter_depths(net).values()) >= 2


def test_grey_is_shown_as_three_equal_colours_centred_as_the_folder_says(tmp_path: Path) -> None:
    name = save(tmp_path, "vit")
    settings = read_hub(name)
    net = load_hub(name, settings).eval()
    x = torch.rand(2, 1, 64, 64)
    source = AutoModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        tokens = source(pixel_values=(x.expand(-1, 3, -1, -1) - 0.5) / 0.25).last_hidden_state
        grid = tokens[:, 1:].mT.reshape(2, 32, 4, 4)
        torch.testing.assert_close(net(x), grid, atol=1e-5, rtol=1e-4)


def test_a_card_builds_it_again_without_the_folder(tmp_path: Path) -> None:
    name = save(tmp_path / "net", "dinov2")
    settings = read_hub(name)
    arguments = json.loads(json.dumps(hub_arguments(settings)))
    given = {"backbone": "hf:gone", "classes": 3, "hub": arguments}
    one, two = (build_model("defect_classifier", **given).eval() for _ in range(2))
    two.load_state_dict(one.state_dict())
    x = torch.rand(1, 1, 96, 64)  # positions are interpolated
    assert torch.equal(one(x), two(x))
    assert insert_adapters(two.backbone, width=2) == 2  # type: ignore[arg-type]
    assert torch.equal(one(x), two(x))


def test_sizes_that_a_network_does_not_take_are_named(tmp_path: Path) -> None:
    net = image_backbone(save(tmp_path / "vit", "vit"))
    with pytest.raises(ValueError, match=r"multiples of 16 px for this network, got \(70, 64\)"):
        net(torch.rand(1, 1, 70, 64))
    pvt = image_backbone(save(tmp_path / "pvt", "pvt"))
    with pytest.raises(ValueError, match=r"takes images of 64 px and fails at \(128, 128\)"):
        pvt(torch.rand(1, 1, 128, 128))


def test_names_and_folders_that_lead_nowhere_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="hf:medvit/none: no such folder, not in the") as caught:
        read_hub("hf:medvit/none")
    assert "give its folder" in caught.value.hint
    with pytest.raises(ModelError, match="holds no network that transformers can read"):
        read_hub(f"hf:{tmp_path}")
    with pytest.raises(ModelError, match="'hf:' names no network"):
        read_hub("hf:")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    name, other = save(tmp_path / "vit", "vit"), save(tmp_path / "pvt", "pvt_v2")
    weights = (tmp_path / "pvt" / "model.safetensors").read_bytes()
    (tmp_path / "vit" / "model.safetensors").write_bytes(weights)
    assert other
    with pytest.raises(ModelError, match=r"0 of 3\d tensors are in the file"):
        load_hub(name, read_hub(name))


def test_pickled_weights_are_never_read(tmp_path: Path) -> None:
    name = save(tmp_path, "vit")
    (tmp_path / "model.safetensors").unlink()
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="no network that transformers can read"):
        load_hub(name, read_hub(name))

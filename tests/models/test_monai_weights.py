from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.networks.nets.swin_unetr import SwinTransformer, filter_swinunetr
from torch import Tensor

from medvit.models.monai_weights import map_monai_keys, our_name
from medvit.models.swin3d import Swin3d

State = dict[str, Any]


@pytest.fixture(scope="module")
def theirs() -> State:
    """Return the state dict of MONAI's encoder at feature size 12: 118 weights, 8 buffers."""
    torch.manual_seed(3)
    net = SwinTransformer(1, 12, (7, 7, 7), (2, 2, 2), (2, 2, 2, 2), (1, 2, 4, 8))
    return dict(net.state_dict())


@pytest.fixture(scope="module")
def own() -> dict[str, Tensor]:
    net = Swin3d(embed_dim=12, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8))
    return dict(net.state_dict())


def published_ssl(state: State) -> State:
    """Name the entries as `model_swinvit.pt` does, with the heads it carries."""
    tensors = {f"module.{key.replace('mlp.linear', 'mlp.fc')}": v for key, v in state.items()}
    heads = ("norm.weight", "norm.bias", "rotation_head.weight", "contrastive_head.bias")
    return {"epoch": 1, "state_dict": tensors | {f"module.{h}": torch.ones(2) for h in heads}}


def published_autoencoder(state: State) -> State:
    """Name the entries as `ssl_pretrained_weights.pth` does: lists of stages count twice."""
    names = {
        key: f"encoder.{key}" if key.startswith("patch") else f"encoder.{key[:10]}0.{key[10:]}"
        for key in state
    }
    extra = {"encoder.mask_token": torch.ones(1), "out.conv.conv.bias": torch.ones(1)}
    return {"model": {names[key]: value for key, value in state.items()} | extra}


def prefixed(prefix: str) -> Callable[[State], State]:
    return lambda state: {prefix + key: value for key, value in state.items()}


LAYOUTS: dict[str, tuple[Callable[[State], State], int]] = {
    "model_swinvit.pt": (published_ssl, 4),
    "ssl_pretrained_weights.pth": (published_autoencoder, 2),
    "bare": (prefixed(""), 0),
    "swinViT": (prefixed("swinViT."), 0),
    "swin_vit": (prefixed("swin_vit."), 0),
    "module.swinViT": (prefixed("module.swinViT."), 0),
    "module.swin_vit": (prefixed("module.swin_vit."), 0),
    "encoder": (prefixed("encoder."), 0),
}


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_each_published_layout_matches_126_of_126(
    layout: str, theirs: State, own: dict[str, Tensor]
) -> None:
    rename, extra = LAYOUTS[layout]
    mapped, report = map_monai_keys(rename(theirs), own)
    assert (report.matched, report.total, len(report.dropped)) == (126, 126, extra)
    assert mapped.keys() == own.keys()
    assert torch.equal(
        mapped["stages.3.blocks.1.fc2.weight"], theirs["layers4.0.blocks.1.mlp.linear2.weight"]
    )


def test_the_second_family_is_read_as_monai_reads_it(theirs: State) -> None:
    for key, value in published_autoencoder(theirs)["model"].items():
        known = filter_swinunetr(key, value)  # type: ignore[no-untyped-call]
        assert known is None or our_name(key) == our_name(known[0])


def test_heads_are_dropped_by_name(theirs: State, own: dict[str, Tensor]) -> None:
    report = map_monai_keys(published_ssl(theirs), own)[1]
    assert report.dropped[2:] == ("module.rotation_head.weight", "module.contrastive_head.bias")


def test_index_buffers_may_be_left_out_but_not_by_half(
    theirs: State, own: dict[str, Tensor]
) -> None:
    bare = {key: value for key, value in theirs.items() if "position_index" not in key}
    assert map_monai_keys(bare, own)[1].matched == 126
    one = "layers1.0.blocks.0.attn.relative_position_index"
    with pytest.raises(ValueError, match="119 of 126") as error:
        map_monai_keys(bare | {one: theirs[one]}, own)
    assert "stages.3.blocks.0.attn.relative_position_index is missing" in str(error.value)


def spoilt(state: State, key: str, value: Tensor | None) -> State:
    copy = dict(state)
    if value is None:
        del copy[key]
    else:
        copy[key] = value
    return copy


TABLE = "layers2.0.blocks.0.attn.relative_position_bias_table"
INDEX = "layers2.0.blocks.0.attn.relative_position_index"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("patch_embed.proj.bias", None, ["125 of 126", "patch_embed.bias is missing"]),
        (TABLE, torch.zeros(1331, 2), ["bias_table is (1331, 2), expected (2197, 2)"]),
        (INDEX, torch.zeros(343, 343), ["position_index orders the tokens of a window"]),
        (INDEX, torch.zeros(216, 216), ["is (216, 216), expected (343, 343) for windows of 7"]),
        (
            "layers1.0.blocks.0.norm1.weight",
            torch.full((12,), torch.nan),
            ["125 of 126", "stages.0.blocks.0.norm1.weight holds values that are not finite"],
        ),
        (
            "layers1.0.blocks.0.norm1.weight",
            torch.ones(12, dtype=torch.int64),
            ["stages.0.blocks.0.norm1.weight is torch.int64, expected floating point"],
        ),
        (
            "layers3.0.blocks.7.norm1.weight",
            torch.ones(48),
            ["layers3.0.blocks.7.norm1.weight is part of an encoder that this network is not"],
        ),
        (
            "layers1c.0.layer.conv1.conv.weight",
            torch.ones(12, 12, 3, 3, 3),
            ["layers1c.0.layer.conv1.conv.weight is part of an encoder"],
        ),
        (
            "module.patch_embed.proj.bias",
            torch.ones(12),
            ["patch_embed.proj.bias and module.patch_embed.proj.bias are both patch_embed.bias"],
        ),
    ],
)
def test_what_does_not_match_is_named(
    key: str, value: Tensor | None, words: list[str], theirs: State, own: dict[str, Tensor]
) -> None:
    with pytest.raises(ValueError, match="weights match") as error:
        map_monai_keys(spoilt(theirs, key, value), own)
    for word in words:
        assert word in str(error.value)


def test_another_feature_size_is_said_in_one_sentence(theirs: State) -> None:
    wide = Swin3d(embed_dim=24, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8)).state_dict()
    with pytest.raises(ValueError, match="the file's feature size is 12, this network's 24"):
        map_monai_keys(theirs, wide)


def test_a_partial_match_is_loaded_only_when_told(theirs: State, own: dict[str, Tensor]) -> None:
    some = {key: value for key, value in theirs.items() if not key.startswith("layers4")}
    with pytest.raises(ValueError, match="95 of 126"):
        map_monai_keys(some, own)
    mapped, report = map_monai_keys(some, own, allow_partial=True)
    assert (report.matched, report.total) == (95, 126)
    assert torch.equal(
        mapped["stages.3.downsample.norm.bias"], own["stages.3.downsample.norm.bias"]
    )


def test_a_file_without_a_swin_is_refused_even_then(own: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match="weights match 0 of 126"):
        map_monai_keys({"conv1.weight": torch.ones(3)}, own, allow_partial=True)


@pytest.mark.parametrize(("theirs_n", "ours_n"), [(1, 4), (4, 1), (3, 2)])
def test_channels_of_the_patch_embedding_are_averaged_and_shared_out(
    theirs_n: int, ours_n: int, theirs: State, own: dict[str, Tensor]
) -> None:
    weight = torch.randn(12, theirs_n, 2, 2, 2)
    state = spoilt(theirs, "patch_embed.proj.weight", weight)
    net = own | {"patch_embed.weight": torch.zeros(12, ours_n, 2, 2, 2)}
    mapped, report = map_monai_keys(state, net)
    for channel in range(ours_n):
        torch.testing.assert_close(
            mapped["patch_embed.weight"][:, channel], weight.mean(dim=1) / ours_n
        )
    assert report.changed == (
        f"patch_embed.weight was averaged over {theirs_n} channels and shared out over {ours_n}",
    )


def test_one_channel_shared_out_gives_the_numbers_of_before(theirs: State) -> None:
    one = Swin3d(1, 12, (2, 2, 2, 2), (1, 2, 4, 8)).eval()
    four = Swin3d(4, 12, (2, 2, 2, 2), (1, 2, 4, 8)).eval()
    for net in (one, four):
        net.load_monai(theirs, merging="1.5")
    x = torch.randn(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(four(x.expand(-1, 4, -1, -1, -1))[0], one(x)[0])

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from medvit.errors import ConfigError, ModelError
from medvit.models.builders import build_model, nodule_detector
from medvit.models.checkpoint import convert_checkpoint, load_foreign, read_checkpoint
from medvit.models.swin3d import Swin3d
from medvit.models.weights import Architecture, ModelCard, file_sha256, load_model, save_model

TENSORS = {"module.a": torch.arange(6.0).view(2, 3), "module.b": torch.ones(2)}


@pytest.mark.parametrize("wrapper", ["", "state_dict", "model"])
def test_tensors_are_found_where_published_files_keep_them(tmp_path: Path, wrapper: str) -> None:
    path = tmp_path / "weights.pt"
    torch.save({wrapper: TENSORS, "epoch": 3} if wrapper else TENSORS, path)
    found = read_checkpoint(path)
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[key], TENSORS[key]) for key in found)


def test_safetensors_are_read_too(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "weights.safetensors")
    assert read_checkpoint(tmp_path / "weights.safetensors").keys() == TENSORS.keys()


class Hostile:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_hostile_pickle_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    torch.save({"state_dict": TENSORS, "x": Hostile(trace)}, tmp_path / "weights.pt")
    with pytest.raises(ModelError, match=r"weights\.pt: refused, it holds more than tensors"):
        read_checkpoint(tmp_path / "weights.pt")
    assert not trace.exists()
    torch.load(tmp_path / "weights.pt", weights_only=False)  # the trap is real
    assert trace.exists()


def test_a_pickle_in_the_old_format_is_refused(tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    path = tmp_path / "weights.pth"
    torch.save(Hostile(trace), path, _use_new_zipfile_serialization=False)
    with pytest.raises(ModelError, match="not a whole file in the format of torch"):
        read_checkpoint(path)
    assert not trace.exists()


def test_a_whole_network_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "net.pt")
    with pytest.raises(ModelError) as error:
        read_checkpoint(tmp_path / "net.pt")
    assert error.value.hint == "save the state_dict of the network alone"


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pt":
        torch.save(TENSORS, path)
    else:
        save_file(TENSORS, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelError, match=r"weights\.\w+: not a whole"):
        read_checkpoint(path)


def test_a_file_is_bounded_packed_and_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"a": torch.zeros(10_000)}, path)
    with pytest.raises(ModelError, match=r"weights\.pt: \d+ bytes, but at most 10000 are read"):
        read_checkpoint(path, most_bytes=10_000)
    squeezed = tmp_path / "squeezed.pt"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(squeezed, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))
    with pytest.raises(ModelError, match=r"squeezed\.pt: unpacks to \d+ bytes, but at most 10000"):
        read_checkpoint(squeezed, most_bytes=10_000)


def test_a_small_storage_behind_a_huge_tensor_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1).expand(1000, 1000)}, tmp_path / "weights.pt")
    with pytest.raises(ModelError, match="tensors of 4000000 bytes, but at most 100000"):
        read_checkpoint(tmp_path / "weights.pt", most_bytes=100_000)


@pytest.mark.parametrize("content", [[torch.ones(1)], {"epoch": 3}, {"state_dict": {}}])
def test_a_file_without_named_tensors_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(ModelError, match=r"a list|no tensors among its \d entries"):
        read_checkpoint(tmp_path / "weights.pt")


def test_a_hash_holds_a_file_to_what_was_published(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(TENSORS, path)
    assert read_checkpoint(path, sha256=file_sha256(path).upper())
    with pytest.raises(ModelError, match=r"sha256 \w{12} is not the expected aaaaaaaaaaaa"):
        read_checkpoint(path, sha256="a" * 64)


def test_conversion_keeps_every_value_and_never_overwrites(tmp_path: Path) -> None:
    shared = torch.arange(8.0)
    torch.save(
        {"state_dict": {"a": shared, "b": shared[2:], "c": shared.view(2, 4).T}}, tmp_path / "w.pt"
    )
    target = tmp_path / "w.safetensors"
    assert convert_checkpoint(tmp_path / "w.pt", target) == 3
    found = load_file(target)
    assert found["b"].tolist() == [2, 3, 4, 5, 6, 7]
    assert torch.equal(found["c"], shared.view(2, 4).T)
    with pytest.raises(ModelError, match="exists, and weights are never overwritten"):
        convert_checkpoint(tmp_path / "w.pt", target)


def test_weights_of_another_size_name_the_file(tmp_path: Path) -> None:
    torch.save({"patch_embed.proj.weight": torch.zeros(48, 1, 2, 2, 2)}, tmp_path / "w.pt")
    net = Swin3d(embed_dim=12, depths=(2,), num_heads=(1,))
    with pytest.raises(ModelError, match=r"w\.pt: weights match 0 of") as error:
        load_foreign(net, tmp_path / "w.pt", merging="pre1.5")
    assert "feature size is 48, this network's 12" in error.value.message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.pt: no such weights file"):
        read_checkpoint(tmp_path / "none.pt")


def test_a_model_on_foreign_weights_is_the_same_after_saving(tmp_path: Path) -> None:
    """The card must say that the weights are MONAI's: the file of tensors cannot."""
    torch.manual_seed(0)
    arguments = {"classes": 2, "feature_size": 12, "merging": "pre1.5"}
    net = build_model("swin_unetr", **arguments).eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.1)
    card = ModelCard(
        name="segmenter",
        version="1",
        task="nodule",
        architecture=Architecture(builder="swin_unetr", arguments=arguments),
        classes=("background", "nodule"),
    )
    save_model(tmp_path / "1", net, card)
    again = load_model(tmp_path / "1")[0]
    x = torch.rand(1, 1, 64, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.equal(net(x), again(x))
        again.backbone.follow_monai("1.5")  # type: ignore[operator, union-attr]
        assert not torch.allclose(net(x), again(x), atol=1e-3)


def test_conventions_of_monai_are_for_a_swin() -> None:
    assert nodule_detector(backbone="swin3d_base", width=8, merging="pre1.5")
    with pytest.raises(ConfigError, match="is for a 3D Swin, but segresnet_small is none"):
        nodule_detector(backbone="segresnet_small", merging="pre1.5")
    with pytest.raises(ValueError, match=r"merging must be one of pre1\.5, 1\.5, v2, got '1\.4'"):
        nodule_detector(backbone="swin3d_base", merging="1.4")  # type: ignore[arg-type]


def test_a_partial_file_is_loaded_only_when_told() -> None:
    net = Swin3d(embed_dim=12, depths=(1,), num_heads=(1,))
    state = {"patch_embed.proj.weight": torch.ones(12, 1, 2, 2, 2)}
    with pytest.raises(ValueError, match="weights match 1 of 19"):
        net.load_monai(state, merging="1.5")
    report = net.load_monai(state, merging="1.5", allow_partial=True)
    assert (report.matched, report.total) == (1, 19)
    assert net.patch_embed.weight.eq(1).all()

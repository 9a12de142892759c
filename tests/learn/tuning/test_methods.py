"""Which parameters learn under each way of tuning, how fast, and that a resumed run is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from torch.nn import functional as F  # noqa: N812
from torch.utils.data import DataLoader

from medvit.data.surface import EpochOrder, LabelledViews
from medvit.learn.classify import TunedObjective
from medvit.learn.fit import FitSettings, fit
from medvit.learn.tuning.depth import classifier_depths, deepest, depth_groups
from medvit.learn.tuning.frozen import rest_frozen, train_only
from medvit.learn.tuning.gradual import Opening
from medvit.learn.tuning.methods import METHODS, prepare
from medvit.learn.tuning.tuned import Method, Tuned, TuningOptions
from medvit.models.cnn import Cnn
from medvit.models.heads.classify import DefectClassifier
from medvit.models.swin2d import Swin2d
from medvit.models.vit import Vit, VitSettings

SHAPE = VitSettings(embed_dim=8, depth=3, num_heads=2, stem_channels=(4, 4), registers=1)


def classifier(seed: int = 0) -> DefectClassifier:
    torch.manual_seed(seed)
    return DefectClassifier(Vit(SHAPE), classes=3)


def learning(net: DefectClassifier) -> set[str]:
    return {name for name, parameter in net.named_parameters() if parameter.requires_grad}


HEAD = {"head.weight", "head.bias"}


def test_each_method_opens_what_it_says_and_no_more() -> None:
    everything = {name for name, _ in classifier().named_parameters()}
    opened = {}
    for method in METHODS:
        net = classifier()
        prepare(net, method)
        opened[method] = learning(net)
    assert opened["full"] == opened["layer_decay"] == everything
    assert opened["gradual"] == HEAD | {"backbone.norm.weight", "backbone.norm.bias"}
    assert opened["head"] == HEAD
    assert opened["prototype"] == set()
    assert opened["prompt"] == HEAD | {"backbone.prompts.tokens"}
    assert all(".adapter." in name for name in opened["adapter"] - HEAD)
    assert len(opened["adapter"] - HEAD) == 3 * 6
    norms = {
        name for name in everything if ".norm" in name or "stem.1." in name or "stem.4." in name
    }
    assert opened["head_norm"] == HEAD | norms


@pytest.mark.parametrize("method", ["head", "head_norm", "adapter", "prompt", "gradual"])
def test_frozen_tensors_are_bit_identical_after_steps_and_open_ones_move(
    tmp_path: Path, method: Method
) -> None:
    net = classifier()
    tuned = prepare(net, method, TuningOptions(open_after=1.0))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    chosen = learning(net)
    with pytest.raises(_StopError):
        train(net, tmp_path, epochs=10, tuned=tuned, stop_after=1)
    after = net.state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    statistics = {name for name in moved if name.split(".")[-1] in STATISTICS}
    assert moved - statistics == chosen
    assert bool(statistics) == (method == "head_norm")  # frozen batch norms keep theirs


class _StopError(Exception):
    """Ends a training in its middle."""


STATISTICS = {"running_mean", "running_var", "num_batches_tracked"}


def batches() -> DataLoader[Any]:
    rng = np.random.default_rng(0)
    labels = np.arange(12) % 3
    stripes = (np.arange(16) // np.array([[1], [2], [4]]) % 2 * 120)[labels][:, None, :]
    images = (stripes + rng.integers(0, 60, (12, 16, 16))).astype(np.uint8)
    data = LabelledViews(images, torch.from_numpy(labels), views=None, seed=0)
    return DataLoader(data, batch_size=4, sampler=EpochOrder(12, seed=0), drop_last=True)


def train(
    net: DefectClassifier, folder: Path, *, epochs: int, tuned: Tuned, stop_after: int = 0
) -> None:
    def stop(report: Any) -> None:
        if report.epoch == stop_after:
            raise _StopError

    objective = TunedObjective(net, loss=torch.nn.CrossEntropyLoss(), tuned=tuned, lr=1e-2)
    settings = FitSettings(epochs=epochs, lr=1e-2, warmup_epochs=0)
    how: dict[str, Any] = {"settings": settings, "folder": folder, "progress": stop}
    fit(objective, batches(), **how, observers=tuned.observers)


def test_the_rates_of_layer_decay_by_hand() -> None:
    net = classifier()
    tuned = prepare(net, "layer_decay", TuningOptions(layer_decay=0.5))
    groups = depth_groups(net, lr=0.16, weight_decay=0.05, lr_scale=tuned.lr_scale)
    rates = {group["depth"]: group["lr"] for group in groups}
    assert rates == pytest.approx({0: 0.01, 1: 0.02, 2: 0.04, 3: 0.08, 4: 0.16})
    depths = classifier_depths(net)
    assert depths["backbone.stem.0.weight"] == depths["backbone.registers"] == 0
    assert depths["backbone.blocks.1.attn.qkv.weight"] == 2
    assert depths["backbone.norm.weight"] == depths["head.weight"] == 4
    plain = [id(p) for g in groups if g["weight_decay"] == 0 for p in g["params"]]
    undecayed = {name for name, p in net.named_parameters() if id(p) in plain}
    assert undecayed == {
        name for name, p in net.named_parameters() if p.ndim < 2 or name.endswith("registers")
    }


def test_ratios_of_layer_decay_stay_the_same_along_the_schedule(tmp_path: Path) -> None:
    net, seen = classifier(), []
    tuned = prepare(net, "layer_decay", TuningOptions(layer_decay=0.5))

    objective = TunedObjective(net, loss=torch.nn.CrossEntropyLoss(), tuned=tuned, lr=1e-2)

    class Rates(Callback):
        def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
            seen.append({g["depth"]: g["lr"] for g in optimizer.param_groups})

    settings = FitSettings(epochs=2, lr=1e-2, warmup_epochs=1)
    fit(objective, batches(), settings=settings, folder=tmp_path, observers=[Rates()])
    assert len(seen) == 6
    for rates in seen:
        assert rates[0] == pytest.approx(rates[4] / 16)
    assert seen[0][4] == pytest.approx(1e-2 / 3)
    assert seen[2][4] == pytest.approx(1e-2)


def test_depths_of_other_backbones_rise_from_stem_to_head() -> None:
    for backbone, blocks in ((Cnn((4, 8)), 4), (Swin2d(8, (2, 2), (2, 2), 4), 4)):
        depths = classifier_depths(DefectClassifier(backbone, classes=2))
        assert {*depths.values()} >= {0, 1, blocks}
        assert depths["head.weight"] == deepest(depths)
    assert depths["backbone.levels.0.merging.reduction.weight"] == 2
    assert depths["backbone.levels.1.blocks.0.fc1.weight"] == 3


def test_gradual_opening_is_a_function_of_the_epoch() -> None:
    opening = Opening(classifier(), open_after=0.5)
    assert [opening.opens_at(depth, epochs=16) for depth in (4, 3, 2, 1, 0)] == [0, 2, 4, 6, 8]
    counts = [opening.open_for(epoch, epochs=16) for epoch in range(10)]
    assert counts == sorted(counts)
    assert counts[8] == counts[9] == sum(p.numel() for p in opening.net.parameters())
    group = {"depth": 3}
    warmths = [opening.warmth(group, step=step, steps=4, epochs=16) for step in (8, 9, 11, 12, 40)]
    assert warmths == [0.25, 0.5, 1.0, 1.0, 1.0]
    assert opening.warmth({"depth": 4}, step=0, steps=4, epochs=16) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gradual", "layer_decay", "adapter"])
def test_a_resumed_tuning_ends_where_an_uninterrupted_one_does(
    tmp_path: Path, method: Method
) -> None:
    whole = classifier()
    train(whole, tmp_path / "whole", epochs=4, tuned=prepare(whole, method))
    cut = classifier()
    with pytest.raises(_StopError):
        train(cut, tmp_path / "cut", epochs=4, tuned=prepare(cut, method), stop_after=3)
    again = classifier(seed=5)
    train(again, tmp_path / "cut", epochs=4, tuned=prepare(again, method))
    for one, two in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, two)


def test_frozen_parts_are_in_evaluation_mode_and_the_rest_in_training() -> None:
    net = classifier()
    train_only(net, chosen=lambda name: "blocks.2." in name)
    net.train()
    rest_frozen(net)
    vit = net.get_submodule("backbone")
    assert not vit.get_submodule("stem").training
    assert not vit.get_submodule("blocks.0.drop_path").training
    assert vit.get_submodule("blocks.2").training
    assert vit.get_submodule("blocks.2.drop_path").training


def test_a_method_that_does_not_fit_the_network_says_so() -> None:
    with pytest.raises(ValueError, match="plain Transformer of medvit, got Cnn"):
        prepare(DefectClassifier(Cnn((4, 8)), classes=2), "prompt")
    with pytest.raises(ValueError, match="layer_decay must lie in"):
        TuningOptions(layer_decay=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["gradual", "adapter", "prompt"])
def test_a_small_task_is_learnt(tmp_path: Path, method: Method) -> None:
    net = classifier()
    before = float(F.cross_entropy(*answers(net)))
    train(net, tmp_path, epochs=15, tuned=prepare(net, method))
    assert float(F.cross_entropy(*answers(net))) < 0.9 * before


def answers(net: DefectClassifier) -> tuple[torch.Tensor, torch.Tensor]:
    net.eval()
    data = batches().dataset
    pairs = [data[0, index] for index in range(12)]
    with torch.no_grad():
        return net(torch.stack([image for image, _ in pairs])), torch.stack([y for _, y in pairs])

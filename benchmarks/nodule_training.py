"""A training step of the shipped nodule detector beside MONAI's detection tutorial.

The rival is the RetinaNet of MONAI's LUNA16 tutorial: ResNet-50 in 3D (first stride 2, 2, 1 along
z, y, x as the tutorial has them last to first), a pyramid of two levels, heads for three anchors.
MONAI's anchors and matching need torchvision, which has no build for a processor, so the
rival's loss is a plain one on its heads' outputs: it is spared its matching. Both take the same
patches in the same precision; each runs in a process of its own, whose peak of memory counts.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from claims import Claim, write_claims
from torch import Tensor, nn

MOST_MB = 6000.0
OURS, REDUCED, RIVAL = "nodule-swin3d", "nodule-swin3d, second look", "MONAI RetinaNet ResNet-50"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=64, help="voxels of a cubic patch")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=4, help="the best one counts")
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--only", choices=(OURS, REDUCED, RIVAL), help="in this process")
    settings = parser.parse_args()
    if settings.only:
        print(json.dumps(measured(settings)))
        return
    rows = {name: in_own_process(name) for name in (OURS, REDUCED, RIVAL)}
    rival = rows[RIVAL]
    claims = []
    for name in (OURS, REDUCED):
        rate, peak = rows[name]["patches_per_s"], rows[name]["peak_mb"]
        what = f"{name}: training, {settings.batch} patches of {settings.side}^3"
        claims += [
            Claim(what, rate, "patches/s", RIVAL, rival["patches_per_s"], None),
            Claim(what, peak, "MB at its peak", RIVAL, rival["peak_mb"], MOST_MB, False),
        ]
    write_claims("nodule_training", claims, settings=vars(settings), rows=rows)


def in_own_process(name: str) -> dict[str, Any]:
    """Measure one network in a fresh process."""
    words = [sys.executable, *sys.argv, "--only", name]
    answer = subprocess.run(words, capture_output=True, text=True, check=True)
    return dict(json.loads(answer.stdout))


def measured(settings: argparse.Namespace) -> dict[str, Any]:
    torch.manual_seed(0)
    loss_of, network = rival() if settings.only == RIVAL else ours(settings.only == REDUCED)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)
    dtype = getattr(torch, settings.precision)
    best = float("inf")
    for _ in range(settings.rounds):
        pixels = torch.rand(settings.batch, 1, *(settings.side,) * 3)
        started = time.perf_counter()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = loss_of(pixels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        best = min(best, time.perf_counter() - started)
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "patches_per_s": round(settings.batch / best, 3),
        "peak_mb": round(peak_kb * 1024 / 1e6, 1),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }


def ours(reduction: bool) -> tuple[Callable[[Tensor], Tensor], nn.Module]:
    from medvit.data.nodule_items import NoduleBatch
    from medvit.learn.nodules import NoduleObjective
    from medvit.models.builders import nodule_detector

    objective = NoduleObjective(nodule_detector(backbone="swin3d_tiny", reduction=reduction))
    row = torch.tensor([[20.0, 24.0, 28.0, 8.0]])

    def loss_of(pixels: Tensor) -> Tensor:
        n = len(pixels)
        loss: Tensor = objective(NoduleBatch(pixels, [row] * n, [row[:0]] * n, 1.0))["loss"]
        return loss

    return loss_of, objective


def rival() -> tuple[Callable[[Tensor], Tensor], nn.Module]:
    from monai.apps.detection.networks.retinanet_network import (
        RetinaNetClassificationHead,
        RetinaNetRegressionHead,
    )
    from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork
    from monai.networks.nets.resnet import resnet50

    trunk = resnet50(
        spatial_dims=3, n_input_channels=1, conv1_t_size=(7, 7, 7), conv1_t_stride=(2, 2, 1)
    )
    for unused in ("layer3", "layer4", "fc"):
        delattr(trunk, unused)
    pyramid = FeaturePyramidNetwork(spatial_dims=3, in_channels_list=[256, 512], out_channels=256)
    classes = RetinaNetClassificationHead(256, 3, 1, spatial_dims=3)
    boxes = RetinaNetRegressionHead(256, 3, spatial_dims=3)
    network = nn.ModuleList([trunk, pyramid, classes, boxes])

    def loss_of(pixels: Tensor) -> Tensor:
        x = trunk.maxpool(trunk.act(trunk.bn1(trunk.conv1(pixels))))
        first = trunk.layer1(x)
        maps = pyramid({"0": first, "1": trunk.layer2(first)})
        levels = list(maps.values())
        scores, corners = classes(levels), boxes(levels)
        loss: Tensor = sum(
            (s.float().sigmoid().square().mean() + c.float().abs().mean())
            for s, c in zip(scores, corners, strict=True)
        )
        return loss

    return loss_of, network


if __name__ == "__main__":
    main()

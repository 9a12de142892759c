"""Image backbones beside a plain ViT of transformers of the same sizes: a training step, a pass.

Networks take turns, so that a slow moment of the machine falls on all of them; the best round
of processor time counts. Each ViT of ours has its rival of equal width, depth and patch.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from claims import Claim, write_claims
from torch import Tensor, nn

from medvit.models.builders import image_backbone
from medvit.models.hub import HubBackbone, HubSettings

NAMES = (
    "vit_tiny_stem",
    "vit_tiny",
    "vit_small",
    "swin2d_micro",
    "swin2d_tiny",
    "hybrid_small",
    "cnn_small",
)
RIVALS = {"vit_tiny": (192, 3), "vit_small": (384, 6)}
SIDE_PX = 224


class Classifier(nn.Module):
    """A backbone, its mean, and seven classes."""

    def __init__(self, backbone: nn.Module, channels: int) -> None:
        super().__init__()
        self.backbone, self.head = backbone, nn.Linear(channels, 7)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (n, 7)."""
        logits: Tensor = self.head(self.backbone(x).mean(dim=(2, 3)))
        return logits


def plain_vit(width: int, heads: int) -> HubBackbone:
    """Return transformers' ViT of 12 blocks and patches of 16, with fused attention."""
    config = {
        "model_type": "vit",
        "hidden_size": width,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "num_hidden_layers": 12,
        "image_size": SIDE_PX,
    }
    return HubBackbone(HubSettings(config))


def training_step(net: nn.Module, images: Tensor) -> None:
    """Run forward and backward."""
    net.train()
    net(images).square().mean().backward()
    net.zero_grad(set_to_none=True)


@torch.inference_mode()
def inference(net: nn.Module, images: Tensor) -> None:
    """Run forward."""
    net.eval()
    net(images)


def processor_seconds(
    work: Callable[[nn.Module, Tensor], None], net: nn.Module, x: Tensor
) -> float:
    """Return the processor time of one call."""
    started = time.process_time()
    work(net, x)
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    images = torch.rand(
        given.batch, 1, SIDE_PX, SIDE_PX, generator=torch.Generator().manual_seed(0)
    )
    bodies: dict[str, Any] = {name: image_backbone(name) for name in NAMES}
    bodies |= {f"transformers {name}": plain_vit(*RIVALS[name]) for name in RIVALS}
    nets = {name: Classifier(body, body.out_channels) for name, body in bodies.items()}
    jobs = {"training step": training_step, "inference": inference}
    best = {(name, job): float("inf") for name in nets for job in jobs}
    for _ in range(given.rounds):
        for name, net in nets.items():
            for job, work in jobs.items():
                best[name, job] = min(best[name, job], processor_seconds(work, net, images))
    rows = [
        {
            "name": name,
            "parameters": sum(p.numel() for p in net.backbone.parameters()),
            **{f"{job}, images per CPU second": rate(best[name, job], given) for job in jobs},
        }
        for name, net in nets.items()
    ]
    claims = []
    for name in NAMES:
        rival = f"transformers {name if name in RIVALS else 'vit_tiny'}"
        for job in jobs:
            pair = (rate(best[name, job], given), rate(best[rival, job], given))
            target = 1.5 * pair[1] if name in RIVALS and job == "training step" else None
            unit = "images per CPU second"
            claims.append(Claim(f"{name}, {job}", pair[0], unit, rival, pair[1], target))
    threads = torch.get_num_threads()
    write_claims("backbones2d", claims, rows=rows, threads=threads, batch=given.batch)


def rate(seconds: float, given: argparse.Namespace) -> float:
    """Return images per second."""
    return round(float(given.batch) / seconds, 2)


if __name__ == "__main__":
    main()

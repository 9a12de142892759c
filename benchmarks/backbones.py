"""Encoders of volumes side by side: parameters, operations and seconds for one tile.

Networks take turns, so that a slow moment of the machine falls on all of them; the best
round of processor time counts. Attention is counted as the products it is made of.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from claims import Claim, write_claims
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from medvit.models.builders import build_model

RIVAL = "swin3d_tiny"
NAMES = (
    RIVAL,
    "segresnet_small",
    "swin3d_tiny_factorised",
    "swin3d_tiny_residual",
    "swin3d_tiny_global",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=96, help="voxels of the cubic tile")
    parser.add_argument("--rounds", type=int, default=10)
    settings = parser.parse_args()
    tile = torch.rand(1, 1, *(settings.side,) * 3, generator=torch.Generator().manual_seed(0))
    networks = {name: build_model(name).eval() for name in NAMES}
    seconds = dict.fromkeys(NAMES, float("inf"))
    for _ in range(settings.rounds):
        for name, network in networks.items():
            seconds[name] = min(seconds[name], processor_seconds(network, tile))
    rows = [
        {
            "name": name,
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "gflop": round(gigaflops(network, tile), 2),
            "seconds": round(seconds[name], 4),
        }
        for name, network in networks.items()
    ]
    write_claims("backbones", [claim for row in rows for claim in claims(row, rows[0])], rows=rows)


def claims(row: dict[str, Any], rival: dict[str, Any]) -> list[Claim]:
    return [
        Claim(f"{row['name']}, {key}", row[key], unit, RIVAL, rival[key], None, False)
        for key, unit in (("gflop", "GFLOP"), ("seconds", "s"))
        if row is not rival
    ]


def processor_seconds(network: nn.Module, tile: torch.Tensor) -> float:
    with torch.inference_mode():
        started = time.process_time()
        network(tile)
        return time.process_time() - started


def gigaflops(network: nn.Module, tile: torch.Tensor) -> float:
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        network(tile)
    return counter.get_total_flops() / 1e9


if __name__ == "__main__":
    main()

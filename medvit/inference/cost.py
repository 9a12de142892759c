"""What a network holds in memory while it looks at tiles: measured once, then known."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, fields
from pathlib import Path

import torch
from torch import nn

from medvit import atomic
from medvit.inference.one_thread import one_thread
from medvit.tiles.footprint import NetworkCost
from medvit.tiles.resident import PeakMeter, release_free

COST_VERSION = 3
"""Goes into every key; raise it when a network holds more or less with the same weights."""

SETTLING_RUNS = 4
"""Runs after which a network holds no more than in the one before, on the processor."""

FIELDS = tuple(field.name for field in fields(NetworkCost))

logger = logging.getLogger(__name__)

_measured: dict[str, NetworkCost] = {}


def network_cost(
    model: nn.Module, *, side: int, model_sha256: str, folder: Path | None = None
) -> NetworkCost:
    """Return what a network holds for tiles; measured on the first call of all.

    The figure is kept for this model, side, device and version of
    torch: by this process, and in a file of `folder`. A file that is damaged, or a folder
    that cannot be written, costs a measurement and nothing else.

    Args:
        model: Takes tiles (n, 1, z, y, x), in evaluation mode.
        side: Voxels along the edge of a tile.
    """
    device = next(model.parameters()).device
    key = _key(model_sha256, side, device)
    if key not in _measured:
        kept = _read(folder / f"{key}.json") if folder is not None else None
        _measured[key] = kept or measure_cost(model, side=side, device=device)
        if folder is not None and kept is None:
            _keep(folder / f"{key}.json", _measured[key])
    return _measured[key]


def _read(path: Path) -> NetworkCost | None:
    """Return what a file says, None if there is none or it is damaged."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        cost = NetworkCost(**{name: int(kept[name]) for name in FIELDS})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        logger.warning("%s: not readable, measured anew: %s", path.name, type(error).__name__)
        return None
    return cost if min(asdict(cost).values()) >= 0 else None


def _keep(path: Path, cost: NetworkCost) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_text(path, json.dumps(asdict(cost)))
    except OSError as error:
        logger.warning("%s: not kept: %s", path.name, error.strerror or type(error).__name__)


def measure_cost(model: nn.Module, *, side: int, device: torch.device) -> NetworkCost:
    """Run a network on empty tiles and return what it held.

    The first run also pays for what is kept for the next ones, and the next ones find gaps
    that they do not fit into; the largest figure counts, from before the first.
    """
    release_free()
    with one_thread(), PeakMeter() as meter:
        first = _device_bytes(model, side, 1, device)
        further = 0
        if device.type == "cuda":
            further = max(0, _device_bytes(model, side, 2, device) - first)
        else:
            for _ in range(SETTLING_RUNS - 1):
                _device_bytes(model, side, 1, device)
    release_free()
    return NetworkCost(meter.rise_bytes, first, further)


def _device_bytes(model: nn.Module, side: int, batch: int, device: torch.device) -> int:
    """Run the network once; return what it took of the GPU, 0 where there is none."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    with torch.inference_mode():
        model(torch.zeros(batch, 1, side, side, side, device=device))
    if device.type != "cuda":
        return 0
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _key(model_sha256: str, side: int, device: torch.device) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    parts = [COST_VERSION, model_sha256, side, torch.__version__, name]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

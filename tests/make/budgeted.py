"""A search within a memory budget, as a process of its own: `python -m tests.make.budgeted`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def main() -> None:
    from medvit.tiles.resident import settle_allocator

    settle_allocator()
    parser = argparse.ArgumentParser()
    parser.add_argument("volume", type=Path)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--max-ram", required=True)
    print(json.dumps(search(parser.parse_args())))


def search(given: argparse.Namespace) -> dict[str, Any]:
    """Return what was found and held, or the refusal of the budget."""
    from medvit.errors import InputError
    from medvit.inference.nodules import NoduleSettings, detect_nodules
    from medvit.inference.tile_search import SearchMeans
    from medvit.io.pyramids import open_pyramid
    from medvit.io.readers import open_source
    from medvit.io.scratch import Scratch
    from medvit.models.weights import load_model
    from medvit.registry.registry import ModelVersion
    from medvit.tiles.budget import parse_bytes
    from medvit.tiles.resident import MIB, resident_bytes
    from pipelines.scanning.budget import plan_search
    from pipelines.scanning.detectors import Detector
    from pipelines.scanning.limits import Limits
    from pipelines.scanning.memory import peak_rss_mb

    module, card = load_model(given.model)
    version = ModelVersion(
        card.name, card.version, "nodule", given.model, card.weights_sha256, True, {}
    )
    scratch = Scratch.below(given.scratch)
    source = open_source(given.volume, scratch=scratch)
    settings = NoduleSettings()
    try:
        plan = plan_search(
            source.volume,
            Detector(version, module, card),
            settings,
            Limits(parse_bytes(given.max_ram)),
            costs=given.scratch / "costs",
        )
    except InputError as error:
        return {"message": error.message, "hint": error.hint}
    held_mb = resident_bytes() / MIB
    pyramid = open_pyramid(source, scratch=scratch, slab_bytes=plan.pyramid_slab_bytes)
    means = SearchMeans(plan.readers, plan.read_ahead, plan.tile_batch, plan.blend_slab_bytes)
    found = detect_nodules(pyramid, module, settings=settings, means=means)
    return {
        "budget_mb": parse_bytes(given.max_ram) / MIB,
        "held_mb": held_mb,
        "predicted_mb": plan.predicted_peak_mb,
        "measured_mb": peak_rss_mb(),
        "tiles": found.tiles,
        "nodules": [[*n.centre_lps_mm, n.diameter_mm, n.probability] for n in found.nodules],
        "readers": plan.readers,
        "slab_mb": plan.pyramid_slab_bytes / MIB,
    }


if __name__ == "__main__":
    main()

"""Versions of models whose weights are a few bytes: enough for a registry, too little to run."""

from __future__ import annotations

import hashlib
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medvit.models.card import CARD_FILE, SUMS_FILE, WEIGHTS_FILE, Architecture, ModelCard
from medvit.registry.registry import ModelVersion, find_model

NAME = "steel"


def put_version(
    models: Path, version: str, *, name: str = NAME, content: bytes = b"", **fields: Any
) -> ModelVersion:
    """Write a version of a model, and return it."""
    folder = models / name / version
    folder.mkdir(parents=True)
    content = content or version.encode()
    values: dict[str, Any] = {"task": "defect", "classes": ("hole", "scratch"), **fields}
    card = ModelCard(
        name=name,
        version=version,
        architecture=Architecture(builder="defect_classifier"),
        weights_sha256=hashlib.sha256(content).hexdigest(),
        **values,
    )
    text = card.model_dump_json()
    (folder / WEIGHTS_FILE).write_bytes(content)
    (folder / CARD_FILE).write_text(text)
    sums = {CARD_FILE: hashlib.sha256(text.encode()).hexdigest(), WEIGHTS_FILE: card.weights_sha256}
    (folder / SUMS_FILE).write_text("".join(f"{s}  {n}\n" for n, s in sorted(sums.items())))
    return find_model(f"{name}@{version}", models=models, shipped=models / "none")


@contextmanager
def no_file_above(most_bytes: int) -> Iterator[None]:
    """Let no file grow beyond a length: writing on fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

"""A model on disk: `model.safetensors`, and `model.json` that says what it is."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from medvit import atomic
from medvit.errors import ModelError
from medvit.models.builders import build_model
from medvit.models.card import (
    CARD_FILE,
    DRAFT_PREFIX,
    NAME_PATTERN,
    SUMS_FILE,
    WEIGHTS_FILE,
    Architecture,
    ModelCard,
    file_sha256,
    read_card,
)

__all__ = [
    "CARD_FILE",
    "NAME_PATTERN",
    "WEIGHTS_FILE",
    "Architecture",
    "ModelCard",
    "file_sha256",
    "load_model",
    "read_card",
    "save_model",
]


def save_model(
    folder: Path,
    module: nn.Module,
    card: ModelCard,
    *,
    texts: Mapping[str, str | bytes] | None = None,
) -> ModelCard:
    """Write a model folder at once: it is there whole or not at all.

    Args:
        folder: Where it will be.
        module: Whose weights are kept.
        card: What is said of it.
        texts: Further files by name, such as `README.md`; `{reference}` is filled in, bytes
            are written as they are.

    Returns:
        The card with the hash of the weights.

    Raises:
        ModelError: If the folder exists, for a version is never overwritten; or if it cannot
            be written, as on a full disk.
    """
    if folder.exists():
        raise _exists(folder)
    draft = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=DRAFT_PREFIX, dir=folder.parent))
        card = _fill(draft, module, card, texts or {})
        draft.chmod(0o755)
        draft.replace(folder)
        atomic.sync_folder(folder.parent)
    except OSError as error:
        if folder.exists():
            raise _exists(folder) from error
        msg = f"{folder}: the model cannot be saved ({error.strerror})"
        raise ModelError(msg, hint="free some space; nothing was registered") from error
    finally:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)
    return card


def _exists(folder: Path) -> ModelError:
    msg = f"{folder} exists, and a model version is never overwritten"
    return ModelError(msg, hint="choose another version")


def _fill(
    draft: Path, module: nn.Module, card: ModelCard, texts: Mapping[str, str | bytes]
) -> ModelCard:
    tensors = {key: value.detach().contiguous() for key, value in module.state_dict().items()}
    atomic.write_bytes(draft / WEIGHTS_FILE, save(tensors))
    card = card.model_copy(update={"weights_sha256": file_sha256(draft / WEIGHTS_FILE)})
    atomic.write_text(draft / CARD_FILE, card.model_dump_json(indent=2) + "\n")
    for name, text in texts.items():
        content = text.replace("{reference}", card.reference) if isinstance(text, str) else text
        atomic.write_bytes(draft / name, content.encode() if isinstance(content, str) else content)
    names = sorted((WEIGHTS_FILE, CARD_FILE, *texts))
    sums = "".join(f"{file_sha256(draft / name)}  {name}\n" for name in names)
    atomic.write_text(draft / SUMS_FILE, sums)
    return card


def load_model(folder: Path) -> tuple[nn.Module, ModelCard]:
    """Return a network in evaluation mode with its card.

    Raises:
        ModelError: If the weights were altered since the card was written, or
            do not fit the architecture.
    """
    card = read_card(folder)
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        msg = f"{path}: the weights of {card.reference} are missing"
        raise ModelError(msg)
    found = file_sha256(path)
    if found != card.weights_sha256:
        msg = f"{path}: sha256 {found[:12]} is not the card's {card.weights_sha256[:12]}"
        raise ModelError(msg, hint="the file was altered; restore or register it anew")
    module = build_model(card.architecture.builder, **card.architecture.arguments)
    try:
        module.load_state_dict(load_file(path))
    except (RuntimeError, SafetensorError) as error:
        msg = f"{path}: weights do not fit {card.architecture.builder}: {error}"
        raise ModelError(msg) from error
    return module.eval(), card

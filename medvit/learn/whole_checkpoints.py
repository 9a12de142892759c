"""Checkpoints of a training that a crash or a full disk leaves whole: the last one, or the new one.

Lightning writes one into the folder of temporary files and moves it. From another disk that is a
copy onto the last one, and where it ends half-way the training could never go on.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from medvit import atomic


class WholeCheckpoints(TorchCheckpointIO):
    """Replaces a checkpoint in its own folder, at once."""

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | os.PathLike[str],
        storage_options: Any | None = None,
    ) -> None:
        """Write a checkpoint, and wait until it is on the disk.

        Raises:
            OSError: If the disk is full; the last checkpoint stays.
            ValueError: If options are given, for a local file has none.
        """
        if storage_options is not None:
            msg = f"a checkpoint on a local disk takes no options, got {storage_options!r}"
            raise ValueError(msg)
        content = io.BytesIO()
        torch.save(checkpoint, content)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(Path(path), content.getvalue())

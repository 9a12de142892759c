"""A checkpoint that cannot be written leaves the last one whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from medvit.learn.whole_checkpoints import WholeCheckpoints
from tests.make.registry import no_file_above


def test_a_full_disk_leaves_the_last_checkpoint_whole_and_nothing_beside_it(
    tmp_path: Path,
) -> None:
    file = tmp_path / "checkpoints" / "last.ckpt"
    kept = WholeCheckpoints()
    kept.save_checkpoint({"weights": torch.ones(2000)}, file)
    with no_file_above(4096), pytest.raises(OSError, match="File too large"):
        kept.save_checkpoint({"weights": torch.zeros(2000)}, file)
    assert torch.load(file, weights_only=True)["weights"].sum() == 2000
    assert list(file.parent.iterdir()) == [file]


def test_options_of_remote_disks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"takes no options, got \{'region': 1\}"):
        WholeCheckpoints().save_checkpoint({}, tmp_path / "a.ckpt", {"region": 1})

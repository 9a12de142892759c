"""What a job keeps in the workspace while it reads."""

from __future__ import annotations

import os
from pathlib import Path

from medvit.io.scratch import Scratch
from medvit.workspace import Workspace


def scratch_of_one_pass(workspace: Workspace) -> Scratch:
    """Return where archives are unpacked; decoded volumes are not kept, they are read once.

    Nothing is created before it is needed, and a workspace that cannot be written is no
    reason not to read.
    """
    if not _may_be_written(workspace.folder.absolute()):
        return Scratch()
    return Scratch(archives=Scratch.below(workspace.cache).archives)


def _may_be_written(folder: Path) -> bool:
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    return os.access(nearest, os.W_OK | os.X_OK)

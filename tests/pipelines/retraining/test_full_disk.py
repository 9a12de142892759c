"""A disk that is really full under `medvit retrain`: a clear error, and nothing is harmed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from medvit.registry.registry import find_model
from medvit.workspace import Workspace
from tests.make.breaking import BALLAST, Moment, start
from tests.make.decided import NAME
from tests.pipelines.retraining.conftest import (
    COUNTS,
    RETRAIN,
    Registry,
    asked,
    check_unharmed,
    registry_of,
)

pytestmark = pytest.mark.slow

DECISIONS = sum(COUNTS.values())
SHIPPED, BASE, CHALLENGER = "2026.11.2", "base", "1"
BEFORE = Registry(frozenset({SHIPPED, BASE}), BASE, ())
AFTER = Registry(frozenset({SHIPPED, BASE, CHALLENGER}), BASE, ())
MOVED = Registry(frozenset({SHIPPED, BASE, CHALLENGER}), CHALLENGER, ())

MOMENTS = (
    (Moment("os.rename", r"/datasets/defect/1$"), BEFORE),
    (Moment("os.rename", r"/checkpoints/last\.ckpt$"), BEFORE),
    (Moment("os.mkdir", r"/models/steel-defects/\.draft-"), BEFORE),
    (Moment("os.rename", r"/gate/looks\.json$"), AFTER),
    (Moment("open", r"/\.run\.json-"), MOVED),
)
"""When the disk fills: before the run; before checkpoints; while the challenger is saved; before
the gate's page; before the run is closed. After each: what the registry says."""


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A disk of its own, and how it is filled; without the right to mount, growth is forbidden."""

    folder: Path
    deed: str

    def make_room(self) -> None:
        """Remove what filled it."""
        (self.folder / BALLAST).unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300m", "medvit-test", str(folder)]
    try:
        mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    yield SmallDisk(folder, f"fill={folder}" if mounted else "stop-growth")
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_full_at_every_step_it_says_so_and_goes_on_once_there_is_room(
    disk: SmallDisk, copied: Callable[[Path], Workspace], undisturbed: str
) -> None:
    workspace = copied(disk.folder / "workspace")
    words = [*RETRAIN, "--workspace", str(workspace.folder)]
    for moment, expected in MOMENTS:
        process = start(words, deed=disk.deed, at=moment)
        stdout, stderr = process.communicate(timeout=300)
        assert process.returncode == 2, (moment, stdout, stderr)
        assert "Traceback" not in stderr, (moment, stderr)
        error = json.loads(stdout)["error"]
        assert str(workspace.folder) in error["message"], (moment, error)
        assert "space" in error["hint"] or "disk" in error["hint"], (moment, error)
        disk.make_room()
        assert registry_of(workspace) == expected, moment
        check_unharmed(workspace, DECISIONS)
    code, answer = asked(workspace, *RETRAIN)
    assert (code, answer["model"], answer["promoted"]) == (0, f"{NAME}@1", True), answer
    assert registry_of(workspace) == MOVED
    assert find_model(f"{NAME}@1", models=workspace.models).sha256 == undisturbed

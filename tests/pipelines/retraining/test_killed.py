"""`kill -9` under `medvit retrain`: production stands, and the same command ends the same."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from medvit.registry.production import CUT_SHORT, history
from medvit.registry.registry import find_model
from medvit.workspace import Workspace
from tests.make.breaking import Moment, start
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
BEFORE = frozenset({SHIPPED, BASE})
AFTER = frozenset({SHIPPED, BASE, CHALLENGER})

MOMENTS = (
    (Moment("os.rename", rf"/{NAME}/1$"), Registry(BEFORE, BASE, ())),
    (Moment("open", rf"/{NAME}$"), Registry(AFTER, BASE, ())),
    (Moment("os.rename", r"/gate/answers/"), Registry(AFTER, BASE, ())),
    (Moment("os.rename", r"/gate/gate\.json$"), Registry(AFTER, BASE, ())),
    (Moment("open", rf"/{NAME}/history\.jsonl$"), Registry(AFTER, BASE, ())),
    (Moment("os.rename", rf"/{NAME}/production$"), Registry(AFTER, BASE, (CUT_SHORT,))),
    (Moment("os.rename", r"/retrain/1/run\.json$"), Registry(AFTER, CHALLENGER, ())),
)
"""A version written and not yet named; named a moment ago; while the gate judges; its verdict not
kept; before the promotion; between history and pointer; before the run is closed. After each: what
the registry says."""


def kill_when(found: Callable[[], object], words: Sequence[str]) -> None:
    """Start a command and kill it from outside as soon as something is there."""
    process = start(words)
    deadline = time.monotonic() + 240
    while not found():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "what was waited for did not come in 240 s"
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL


def check_end(workspace: Workspace, weights_sha256: str) -> None:
    """Check that the same command goes on, and ends as if nothing had happened."""
    code, answer = asked(workspace, *RETRAIN)
    assert (code, answer["model"], answer["promoted"]) == (0, f"{NAME}@1", True), answer
    assert Path(answer["run"]).name == "1"
    assert registry_of(workspace) == Registry(AFTER, CHALLENGER, ())
    assert find_model(f"{NAME}@1", models=workspace.models).sha256 == weights_sha256
    moves = [(each.from_version, each.to_version) for each in history(workspace.models, NAME)]
    assert moves == [(BASE, CHALLENGER)]
    check_unharmed(workspace, DECISIONS)
    assert asked(workspace, *RETRAIN)[0] == 3  # nothing is left to do


def test_killed_while_it_learns_and_while_the_challenger_is_saved(
    copied: Callable[[Path], Workspace], undisturbed: str, tmp_path: Path
) -> None:
    workspace = copied(tmp_path / "workspace")
    words = [*RETRAIN, "--workspace", str(workspace.folder)]
    run, versions = workspace.runs("retrain") / "1", workspace.models / NAME
    kill_when((run / "checkpoints" / "last.ckpt").exists, words)
    assert registry_of(workspace) == Registry(BEFORE, BASE, ())
    check_unharmed(workspace, DECISIONS)
    kill_when(lambda: any(versions.glob(".draft-*")), words)
    assert not (versions / CHALLENGER).exists()
    assert registry_of(workspace) == Registry(BEFORE, BASE, ())
    check_unharmed(workspace, DECISIONS)
    check_end(workspace, undisturbed)


def test_killed_at_every_step_from_saving_to_production(
    copied: Callable[[Path], Workspace], undisturbed: str, tmp_path: Path
) -> None:
    workspace = copied(tmp_path / "workspace")
    words = [*RETRAIN, "--workspace", str(workspace.folder)]
    for moment, expected in MOMENTS:
        process = start(words, deed="kill", at=moment)
        said = process.communicate(timeout=300)
        assert process.returncode == -signal.SIGKILL, (moment, said)
        assert registry_of(workspace) == expected, moment
        check_unharmed(workspace, DECISIONS)
    check_end(workspace, undisturbed)

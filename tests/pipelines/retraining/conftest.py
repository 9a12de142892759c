"""A plant whose readers have decided, and what an undisturbed retraining makes of it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from medvit.registry.registry import find_model
from medvit.store.store import Store
from medvit.workspace import Workspace
from pipelines.retraining.lock import alone
from tests.make.breaking import start
from tests.make.decided import NAME, Plant, build_plant

COUNTS = {"lines": 45, "plain": 45, "dots": 15}
FROZEN = {"lines": 32, "plain": 32, "dots": 8}
"""Enough for the gate to promote a challenger that is better on the coarse grain of this line."""

RETRAIN = ("retrain", "--task", "defect", "--strategy", "adapter", "--promote", "--json")


@dataclass(frozen=True, slots=True)
class Registry:
    """What `medvit models` says: versions of the plant's model, production, and faults."""

    versions: frozenset[str]
    production: str
    faults: tuple[str, ...]


def asked(workspace: Workspace, *words: str) -> tuple[int, dict[str, Any]]:
    """Run a command to its end; return its exit code and its answer."""
    process = start([*words, "--workspace", str(workspace.folder)])
    stdout, stderr = process.communicate(timeout=300)
    assert "Traceback" not in stderr, stderr
    answer = json.loads(stdout)
    assert isinstance(answer, dict)
    return process.returncode, answer


def registry_of(workspace: Workspace) -> Registry:
    """Ask the command line what is registered, what is in production, and whether all is whole."""
    code, listed = asked(workspace, "models", "list", "--json")
    assert code == 0
    own = [each for each in listed["models"] if each["name"] == NAME]
    (meant,) = [each["version"] for each in own if each["production"]]
    code, checked = asked(workspace, "models", "verify", "--json")
    faults = tuple(each["message"] for each in checked["faults"])
    assert code == (6 if faults else 0)
    return Registry(frozenset(each["version"] for each in own), meant, faults)


def check_unharmed(workspace: Workspace, decisions: int) -> None:
    """Check that the lock is free, and that the store is whole with every decision in it."""
    with alone(workspace.folder):
        pass
    with sqlite3.connect(workspace.folder / "store.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM decisions").fetchone() == (decisions,)
    connection.close()
    with Store.open(workspace.store_url) as store:
        assert store.list_cases()[1] == decisions  # one decision a case


@pytest.fixture(scope="session")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    """Return a plant whose readers have named every image; many are frozen."""
    plant = build_plant(tmp_path_factory.mktemp("plant"), counts=COUNTS, grain=15)
    plant.decide(sorted(plant.truth))
    for label, count in FROZEN.items():
        plant.freeze(plant.named(label)[:count])
    return plant


@pytest.fixture(scope="session")
def copied(decided: Plant) -> Callable[[Path], Workspace]:
    """Return a function that makes a workspace of its own of the plant's."""

    def copy(folder: Path) -> Workspace:
        shutil.copytree(decided.workspace.folder, folder)
        return Workspace(folder)

    return copy


@pytest.fixture(scope="session")
def undisturbed(
    copied: Callable[[Path], Workspace], tmp_path_factory: pytest.TempPathFactory
) -> str:
    """Return the SHA-256 of the weights of a challenger that nobody disturbed."""
    workspace = copied(tmp_path_factory.mktemp("undisturbed") / "workspace")
    code, answer = asked(workspace, *RETRAIN)
    assert (code, answer["gate"]["verdict"], answer["promoted"]) == (0, "promote", True), answer
    assert answer["model"] == f"{NAME}@1"
    return find_model(f"{NAME}@1", models=workspace.models).sha256

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from apps.cli.__main__ import run
from medvit.store.store import Store
from tests.make.models import register_untrained


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said, and how it ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def payload(self) -> dict[str, Any]:
        value = json.loads(self.stdout)
        assert isinstance(value, dict)
        return value

    @property
    def message(self) -> str:
        error = self.payload["error"]
        assert set(error) == {"code", "message", "hint"}
        return str(error["message"])


Medvit = Callable[..., Answer]


@pytest.fixture(scope="session")
def untrained_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a `models` folder with untrained default models."""
    models = tmp_path_factory.mktemp("registry") / "models"
    register_untrained(models)
    return models


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store that was migrated once, to be copied."""
    file = tmp_path_factory.mktemp("store") / "store.db"
    Store.open(f"sqlite:///{file}").close()
    return file


@pytest.fixture
def workspace(tmp_path: Path, untrained_models: Path, empty_store: Path) -> Path:
    """Return a workspace of its own whose models are untrained."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    shutil.copyfile(empty_store, folder / "store.db")
    (folder / "models").symlink_to(untrained_models)
    return folder


@pytest.fixture
def medvit(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Medvit:
    """Return a function that runs a command in this process."""
    monkeypatch.setenv("MEDVIT_WORKSPACE", str(workspace))
    monkeypatch.delenv("MEDVIT_STORE", raising=False)

    def call(*words: object) -> Answer:
        capsys.readouterr()
        code = run([str(word) for word in words])
        said = capsys.readouterr()
        return Answer(code, said.out, said.err)

    return call

"""`medvit track` and `--mlflow` as people and scripts use them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.apps.cli.conftest import Medvit
from tests.make.decided import build_plant
from tests.make.mlflow_server import PROJECT, OwnMlflow, own_mlflow
from tests.make.surface import write_surface_set
from tests.pipelines.test_tracked_run import run_folder

CLOSED = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnMlflow]:
    with own_mlflow(tmp_path_factory.mktemp("mlflow")) as found:
        yield found


def config(folder: Path, **changes: object) -> Path:
    manifest = write_surface_set(folder, per_split={"train": 6, "val": 2, "test": 2})
    values = {
        "task": "classify",
        "data": {"manifest": str(manifest), "side_px": 32},
        "model": {"name": "tiny"},
        "train": {"epochs": 2, "batch_size": 6, "lr": 1e-3},
        "views": {"side_px": 32},
        **changes,
    }
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return file


@pytest.mark.slow
def test_a_training_answers_with_its_run_on_the_server(
    medvit: Medvit, server: OwnMlflow, tmp_path: Path
) -> None:
    own = ("--workspace", tmp_path / "w", "--json", "--mlflow", server.uri)
    answer = medvit("train", config(tmp_path), *own)
    assert answer.code == 0, answer.stdout
    from mlflow import MlflowClient

    run = MlflowClient(tracking_uri=server.uri).get_run(answer.payload["mlflow_run"])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["final/n"] == answer.payload["metrics"]["n"]


@pytest.mark.slow
def test_a_training_that_breaks_a_rule_of_its_own_failed(
    medvit: Medvit, server: OwnMlflow, tmp_path: Path
) -> None:
    own = ("--workspace", tmp_path / "w", "--json", "--mlflow", server.uri)
    answer = medvit("train", config(tmp_path), "train.lr=1e30", "train.warmup_epochs=0", *own)
    assert answer.code == 2
    assert "the loss is nan" in answer.message
    notes = json.loads((tmp_path / "w" / "runs" / "train" / "1" / "mlflow.json").read_text())
    (run_id,) = notes["runs"].values()
    from mlflow import MlflowClient

    assert MlflowClient(tracking_uri=server.uri).get_run(run_id).info.status == "FAILED"


@pytest.mark.slow
def test_a_retraining_tells_what_the_gate_said(
    medvit: Medvit, server: OwnMlflow, tmp_path: Path
) -> None:
    plant = build_plant(tmp_path / "plant", counts={"lines": 16, "plain": 16, "dots": 6})
    plant.decide(sorted(plant.truth), reader="annabell")
    own = ("--workspace", plant.workspace.folder, "--by", "annabell", "--json")
    answer = medvit("retrain", *own, "--mlflow", server.uri)
    from mlflow import MlflowClient

    run = MlflowClient(tracking_uri=server.uri).get_run(answer.payload["mlflow_run"])
    assert run.info.run_name == "retrain/1 steel-defects"
    assert run.data.tags["medvit.gate"] == answer.payload["gate"]["verdict"]
    assert run.data.tags["medvit.promoted"] == "False"
    assert run.data.tags["medvit.champion"] == answer.payload["champion"]
    assert run.data.params["strategy"] == "auto"
    assert "annabell" not in server.heard


@pytest.mark.slow
def test_runs_made_earlier_are_sent_once(
    medvit: Medvit, server: OwnMlflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run_folder(tmp_path, model="tiny@1", metrics={"accuracy": 0.5})
    monkeypatch.setenv("MEDVIT_MLFLOW", server.uri)
    answer = medvit("track", folder, "--json")
    assert (answer.code, answer.stderr) == (0, "")
    assert answer.payload["server"] == server.uri
    (row,) = answer.payload["runs"]
    assert (row["run"], row["experiment"]) == (str(folder), "medvit train")
    assert row["new_figures"] == 2
    again = medvit("track", folder)
    assert again.stdout == f"{folder}: 0 new figures, medvit train, run {row['mlflow_run']}\n"


def test_a_folder_that_is_no_run_is_refused_before_anything_is_sent(
    medvit: Medvit, tmp_path: Path
) -> None:
    run = run_folder(tmp_path)
    answer = medvit("track", run, tmp_path, "--mlflow", CLOSED, "--json")
    assert (answer.code, answer.payload["error"]["code"]) == (2, "input")
    assert answer.message.startswith(f"{tmp_path}: no run.json there")
    assert not (run / "mlflow.json").exists()


@pytest.mark.slow
def test_a_server_that_does_not_answer_ends_the_command_with_two(
    medvit: Medvit, tmp_path: Path
) -> None:
    answer = medvit("track", run_folder(tmp_path), "--mlflow", CLOSED, "--json")
    assert (answer.code, answer.payload["error"]["code"]) == (2, "input")
    assert f"the tracking server {CLOSED} took nothing" in answer.message


@pytest.mark.parametrize("command", [("train", "train/classify_defects"), ("retrain",)])
def test_a_uri_of_no_server_is_refused_before_anything_is_done(
    medvit: Medvit, command: tuple[str, ...], tmp_path: Path
) -> None:
    answer = medvit(*command, "--mlflow", "mlruns", "--workspace", tmp_path / "w", "--json")
    assert (answer.code, answer.payload["error"]["code"]) == (2, "config")
    assert "--mlflow takes a URI of http, https, sqlite, got 'mlruns'" in answer.message
    assert not (tmp_path / "w").exists()


WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "mlflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from apps.cli.__main__ import main
main()
"""


@pytest.mark.slow
def test_without_the_extra_nothing_is_trained_and_the_way_out_is_named(tmp_path: Path) -> None:
    words = ["train", str(config(tmp_path)), "--json", "--workspace", str(tmp_path / "w")]
    command = [sys.executable, "-c", WITHOUT, *words, "--mlflow", CLOSED]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT)
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"]) == (2, "config")
    assert error["message"] == "tracking needs MLflow, and mlflow is not installed"
    assert error["hint"] == 'pip install "medvit[mlflow]"'
    assert not (tmp_path / "w").exists()

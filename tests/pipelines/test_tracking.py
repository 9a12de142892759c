"""Trainings that a real MLflow service is told of: whole, interrupted, killed, and unheard."""

from __future__ import annotations

import csv
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from medvit.errors import ConfigError, InputError
from medvit.learn.fit import EpochReport, Progress
from medvit.workspace import Workspace
from pipelines import train
from pipelines.tracking import TRACKING_FILE, Tracker, track
from pipelines.tracking_server import address_of
from tests.make.mlflow_server import PASSWORD, PROJECT, USER, OwnMlflow, own_mlflow
from tests.make.surface import write_surface_set
from tests.pipelines.classifying.test_train import SPLITS, config_file, settings
from tests.pipelines.test_tracked_run import run_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

FOLDER_OF_A_PATIENT = "MILLER_ANNA_1956"
DEAD = "http://lab:hush@127.0.0.1:1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnMlflow]:
    with own_mlflow(tmp_path_factory.mktemp("mlflow")) as found:
        yield found


def config(folder: Path, *, epochs: int = 3, **changes: Any) -> Path:
    images = folder / FOLDER_OF_A_PATIENT
    images.mkdir(parents=True)
    manifest = write_surface_set(images, per_split=SPLITS)
    training = {"epochs": epochs, "batch_size": 6, "lr": 1e-3}
    return config_file(folder, settings(manifest, train=training, **changes))


def teach(folder: Path, file: Path, progress: Progress | None = None) -> Path:
    """Train as a config says, and return the run folder."""
    return Path(train.run(train.load(file), Workspace(folder / "w"), progress=progress)["run"])


def run_of(uri: str, folder: Path) -> tuple[MlflowClient, Run]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    (run_id,) = json.loads((folder / TRACKING_FILE).read_text(encoding="utf-8"))["runs"].values()
    return client, client.get_run(run_id)


def history(client: MlflowClient, run: Run, name: str) -> list[tuple[int, float]]:
    found = client.get_metric_history(run.info.run_id, name)
    return sorted((metric.step, metric.value) for metric in found)


def table(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the columns of `metrics.csv`: pairs of step and value."""
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = {*rows[0]} - {"step"}
    return {
        name: [(int(row["step"]), float(row[name])) for row in rows if row[name]] for name in names
    }


@pytest.mark.slow
def test_a_training_arrives_whole_and_names_no_one(
    server: OwnMlflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "annabell")
    monkeypatch.setenv("USER", "annabell")
    seen: list[EpochReport] = []
    tracker = Tracker(server.uri, progress=seen.append)
    folder = teach(tmp_path, config(tmp_path), tracker)
    client, run = run_of(server.uri, folder)
    assert run.info.status == "RUNNING"
    assert history(client, run, "loss") == table(folder)["loss"]
    run_id = tracker.end("done", folder)

    client, run = run_of(server.uri, folder)
    assert (run.info.run_id, run.info.run_name) == (run_id, "train/1 tiny")
    assert (run.info.status, run.info.user_id) == ("FINISHED", "unknown")
    assert client.get_experiment(run.info.experiment_id).name == "medvit train"
    assert [report.epoch for report in seen] == [1, 2, 3]
    for name, column in table(folder).items():
        assert history(client, run, name) == column, name
    assert [step for step, _ in history(client, run, "val/loss")] == [1, 2, 3]
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert run.data.metrics["final/accuracy"] == record["metrics"]["accuracy"]
    assert run.data.params["train.lr"] == "0.001"
    assert run.data.tags["medvit.model"] == "tiny@1"
    assert run.data.tags["medvit.model_sha256"] == record["model_sha256"]
    assert run.data.tags["medvit.cut_short"] == "False"
    for word in (FOLDER_OF_A_PATIENT, str(tmp_path), "annabell", socket.gethostname()):
        assert word not in server.heard
    assert "data.manifest" not in run.data.params


@pytest.mark.slow
def test_figures_are_there_after_each_epoch(server: OwnMlflow, tmp_path: Path) -> None:
    there: list[int] = []
    tracker = Tracker(server.uri)

    def count(_report: EpochReport) -> None:
        client, run = run_of(server.uri, tmp_path / "w" / "runs" / "train" / "1")
        there.append(len(client.get_metric_history(run.info.run_id, "loss")))

    tracker.progress = count
    teach(tmp_path, config(tmp_path), tracker)
    assert there == [0, 1, 2]


@pytest.mark.slow
def test_an_interrupted_training_goes_on_in_its_run(server: OwnMlflow, tmp_path: Path) -> None:
    def interrupt(report: EpochReport) -> None:
        if report.epoch == 3:
            raise KeyboardInterrupt

    file = config(tmp_path, epochs=4)
    tracker = Tracker(server.uri, progress=interrupt)
    with pytest.raises(KeyboardInterrupt):
        teach(tmp_path, file, tracker)
    first = tracker.end("interrupted")
    folder = tmp_path / "w" / "runs" / "train" / "1"
    client, run = run_of(server.uri, folder)
    assert (run.info.status, len(history(client, run, "loss"))) == ("KILLED", 2)

    states: list[str] = []
    tracker = Tracker(server.uri)
    tracker.progress = lambda _report: states.append(run_of(server.uri, folder)[1].info.status)
    teach(tmp_path, file, tracker)
    assert tracker.end("done", folder) == first
    assert states == ["RUNNING", "RUNNING"]
    client, run = run_of(server.uri, folder)
    assert run.info.status == "FINISHED"
    assert len(table(folder)["loss"]) == 4
    for name, column in table(folder).items():
        assert history(client, run, name) == column, name


@pytest.mark.slow
def test_a_killed_training_goes_on_in_its_run(server: OwnMlflow, tmp_path: Path) -> None:
    file = config(tmp_path, epochs=30)
    words = ["-m", "apps.cli", "train", str(file), "--mlflow", server.uri]
    words += ["--workspace", str(tmp_path / "w"), "--json"]
    folder = tmp_path / "w" / "runs" / "train" / "1"
    child = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, cwd=PROJECT)
    deadline = time.monotonic() + 60
    while not (folder / "metrics.csv").is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    child.send_signal(signal.SIGKILL)
    child.wait()
    client, run = run_of(server.uri, folder)
    sent = len(history(client, run, "loss"))
    assert run.info.status == "RUNNING"
    assert 0 < sent < 30

    tracker = Tracker(server.uri)
    teach(tmp_path, file, tracker)
    assert tracker.end("done", folder) == run.info.run_id
    client, run = run_of(server.uri, folder)
    assert history(client, run, "loss") == table(folder)["loss"]
    assert len(table(folder)["loss"]) == 30


@pytest.mark.slow
def test_what_is_computed_and_not_trained_is_sent_at_the_end(
    server: OwnMlflow, tmp_path: Path
) -> None:
    tracker = Tracker(server.uri)
    folder = teach(tmp_path, config(tmp_path, tuning={"method": "prototype"}), tracker)
    assert not (folder / TRACKING_FILE).exists()
    tracker.end("done", folder)
    _, run = run_of(server.uri, folder)
    assert run.data.params["tuning.method"] == "prototype"
    assert {"train/loss", "val/loss", "final/accuracy"} <= run.data.metrics.keys()


@pytest.mark.slow
def test_one_fold_after_the_other_is_a_run_of_its_own(server: OwnMlflow, tmp_path: Path) -> None:
    first, second, whole = (run_folder(tmp_path / name, model=f"{name}@1") for name in "abc")
    (second / "run.json").rename(second / "config.json")
    tracker = Tracker(server.uri)
    for folder in (first, first, second):
        tracker.look(folder)
    statuses = [run_of(server.uri, folder)[1].info.status for folder in (first, second)]
    assert statuses == ["FINISHED", "RUNNING"]
    tracker.end("done", whole)
    names = [run_of(server.uri, folder)[1].info.run_name for folder in (first, second, whole)]
    assert len({*names}) == 3
    assert run_of(server.uri, second)[1].info.status == "FINISHED"


@pytest.mark.slow
def test_a_dead_server_leaves_the_training_whole_and_is_told_of_once(
    server: OwnMlflow, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="pipelines"):
        tracker = Tracker(DEAD)
        folder = teach(tmp_path / "a", config(tmp_path / "a"), tracker)
        assert tracker.end("done", folder) is None
    whole = teach(tmp_path / "b", config(tmp_path / "b"))
    assert (folder / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    (warning,) = [each.getMessage() for each in caplog.records if each.name == "pipelines.tracking"]
    assert "the tracking server http://127.0.0.1:1 took nothing: no connection; " in warning
    assert f"medvit track {folder} --mlflow http://127.0.0.1:1" in warning
    assert "hush" not in warning
    assert all(b"hush" not in file.read_bytes() for file in folder.rglob("*") if file.is_file())
    assert track([folder], server.uri)["runs"][0]["new_figures"] > 0
    assert len(json.loads((folder / TRACKING_FILE).read_text())["runs"]) == 1


@pytest.mark.slow
def test_a_server_that_falls_asleep_is_waited_for_once(
    server: OwnMlflow,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    waits = []

    class Timed(Tracker):
        def look(self, folder: Path) -> None:
            started_s = time.monotonic()
            super().look(folder)
            waits.append(time.monotonic() - started_s)

    with ExitStack() as night:

        def put_to_sleep(report: EpochReport) -> None:
            if report.epoch == 2:
                night.enter_context(server.asleep())

        tracker = Timed(server.uri, progress=put_to_sleep)
        folder = teach(tmp_path, config(tmp_path, epochs=5), tracker)
    assert [wait > 0.9 for wait in waits] == [False, False, True, False, False, False]
    assert tracker.end("done", folder)
    client, run = run_of(server.uri, folder)
    assert history(client, run, "loss") == table(folder)["loss"]
    (warning,) = [each.getMessage() for each in caplog.records if each.name == "pipelines.tracking"]
    assert "took nothing: it did not answer in time" in warning


@pytest.mark.slow
def test_a_run_is_sent_once_whoever_sends_it(server: OwnMlflow, tmp_path: Path) -> None:
    folder = run_folder(tmp_path, model="tiny@1", metrics={"accuracy": 0.5, "loss": 0.25})
    (folder / "metrics.csv").write_text("epoch,step,loss\n0,3,0.5\n1,7,0.25\n", encoding="utf-8")
    first, again = (track([folder], server.uri)["runs"][0] for _ in range(2))
    assert (first.pop("new_figures"), again.pop("new_figures")) == (7, 0)
    assert first == again
    client, run = run_of(server.uri, folder)
    assert history(client, run, "loss") == [(3, 0.5), (7, 0.25)]
    assert (run.info.end_time, run.info.start_time) == (1778051289000, 1778051276500)
    # The answer to the opening of a run may be lost; the key of the folder finds the run again.
    notes = json.loads((folder / TRACKING_FILE).read_text(encoding="utf-8"))
    (folder / TRACKING_FILE).write_text(json.dumps({**notes, "runs": {}}), encoding="utf-8")
    lost = track([folder], server.uri)["runs"][0]
    assert (lost["mlflow_run"], lost["new_figures"]) == (first["mlflow_run"], 0)


@pytest.mark.slow
def test_a_run_that_was_deleted_there_is_sent_anew(server: OwnMlflow, tmp_path: Path) -> None:
    folder = run_folder(tmp_path, metrics={"accuracy": 0.5})
    before = track([folder], server.uri)["runs"][0]["mlflow_run"]
    client, run = run_of(server.uri, folder)
    client.delete_run(run.info.run_id)
    after = track([folder], server.uri)["runs"][0]
    assert after["mlflow_run"] != before
    assert after["new_figures"] == 2


@pytest.mark.slow
def test_many_and_long_settings_and_figures_go_through(server: OwnMlflow, tmp_path: Path) -> None:
    many = {f"setting{number}": "x" * 2000 for number in range(250)}
    figures = {f"class {number} (%)": number for number in range(1200)}
    folder = run_folder(tmp_path, settings=many, metrics=figures)
    assert track([folder], server.uri)["runs"][0]["new_figures"] == 1201
    _, run = run_of(server.uri, folder)
    assert len(run.data.params) == 250
    assert set(run.data.params["setting7"]) == {"x"}
    assert run.data.metrics["final/class 1199 ___"] == 1199


@pytest.mark.slow
def test_a_name_and_a_password_open_the_server_and_are_kept_nowhere(
    server: OwnMlflow, tmp_path: Path
) -> None:
    folder = run_folder(tmp_path, metrics={"accuracy": 0.5})
    host = server.uri.removeprefix("http://")
    with server.locked():
        with pytest.raises(InputError, match=f"{server.uri} took nothing: .*401") as caught:
            track([folder], f"http://{USER}:wrong-{quote(PASSWORD, safe='')}@{host}")
        assert "pa55" not in caught.value.message
        answer = track([folder], f"http://{USER}:{quote(PASSWORD, safe='')}@{host}")
    assert answer["server"] == server.uri
    assert answer["runs"][0]["new_figures"] == 2
    assert "pa55" not in json.dumps(answer) + (folder / TRACKING_FILE).read_text(encoding="utf-8")


@pytest.mark.slow
def test_an_sqlite_file_takes_runs_without_a_server(tmp_path: Path) -> None:
    folder = run_folder(tmp_path, metrics={"accuracy": 0.5})
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert [track([folder], uri)["runs"][0]["new_figures"] for _ in range(2)] == [2, 0]
    _, run = run_of(uri, folder)
    assert run.data.metrics["final/accuracy"] == 0.5


@pytest.mark.slow
def test_a_file_that_is_no_store_is_told_at_once(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    wrong = tmp_path / "notes.txt"
    wrong.write_text("no database\n" * 100, encoding="utf-8")
    with pytest.raises(InputError, match="file is not a database"):
        track([folder], f"sqlite:///{wrong}")
    with pytest.raises(InputError, match="unable to open database file"):
        track([folder], f"sqlite:///{tmp_path / 'absent' / 'mlflow.db'}")


@pytest.mark.parametrize("uri", ["", "mlruns", "postgresql://ann:hush@host/db", "sqlite://", "//"])
def test_a_uri_of_another_kind_is_refused_without_its_secrets(uri: str) -> None:
    with pytest.raises(ConfigError, match="takes a URI of http, https, sqlite, got") as caught:
        address_of(uri)
    assert "hush" not in caught.value.message


@pytest.mark.slow
def test_notes_that_were_altered_are_named(server: OwnMlflow, tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    (folder / TRACKING_FILE).write_text("[", encoding="utf-8")
    with pytest.raises(InputError, match=r"mlflow\.json: not to be read"):
        track([folder], server.uri)


QUIET = """
from pipelines.tracking import Tracker
Tracker("http://127.0.0.1:1")
from mlflow.telemetry import get_telemetry_client
from mlflow.telemetry.utils import is_telemetry_disabled
print(is_telemetry_disabled(), get_telemetry_client())
"""


@pytest.mark.slow
def test_mlflow_tells_its_makers_nothing() -> None:
    kept = ("PATH", "HOME", "PYTHONPATH")
    bare = {name: value for name, value in os.environ.items() if name in kept}
    said = subprocess.run(
        [sys.executable, "-c", QUIET],
        env=bare,
        capture_output=True,
        text=True,
        check=True,
        cwd=PROJECT,
    )
    assert said.stdout.strip() == "True None"

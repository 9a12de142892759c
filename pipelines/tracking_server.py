"""An MLflow server, or a store of its own on this disk, as medvit speaks to it.

Only `mlflow.MlflowClient` is used, which keeps no state of its own. Besides what it is given it
sends its version; the user of a run is `unknown`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit, urlunsplit

from medvit.errors import ConfigError, InputError
from pipelines.tracked_run import Figure, TrackedRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

KEY_TAG = "medvit.key"
SQLITE = "sqlite:///"
SCHEMES = ("http", "https", "sqlite")
TELEMETRY_OFF = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
IMPATIENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Where the environment does not say otherwise: a server that is gone must not hold a training."""
FIGURES_A_BATCH = 500
WORDS_A_BATCH = 100
"""MLflow takes 1000 metrics and 100 params in one request."""
STATUS = {
    "running": "RUNNING",
    "done": "FINISHED",
    "failed": "FAILED",
    "interrupted": "KILLED",
}
LONGEST_REASON = 200
Item = TypeVar("Item")


class TrackingServer:
    """Keeps runs; nothing is asked of it before a run is opened.

    Args:
        uri: `http://HOST:PORT`, https, or `sqlite:///FILE`; may hold a name and a password.

    Attributes:
        address: The URI without name, password and query, to be shown and written down.

    Raises:
        ConfigError: If the package is missing, or the URI is of another kind.
    """

    def __init__(self, uri: str) -> None:
        self.address = address_of(uri)
        self._uri = uri
        self._make = _client_class()
        self._client: MlflowClient | None = None

    @property
    def mark(self) -> str:
        """A hash of the address, to know it again by."""
        return hashlib.sha256(self.address.encode()).hexdigest()[:16]

    def open_run(self, run: TrackedRun, *, key: str, run_id: str | None) -> ServerRun:
        """Return the run as it was opened before, or a new one.

        Args:
            run: What is told of it.
            key: Of the run folder; finds a run again whose id was not answered in time.
            run_id: What the server called it, if that is known.

        Raises:
            InputError: If the server does not answer, or refuses; named without credentials.
        """
        with self._answering() as client:
            found = _by_id(client, run_id) or _by_key(client, run, key)
            return _server_run(client, found)

    def send(self, there: ServerRun, run: TrackedRun) -> int:
        """Send what the server lacks of a run, and return how many figures that were.

        Raises:
            InputError: If the server does not answer, or refuses.
        """
        with self._answering():
            return there.send(run)

    @contextmanager
    def _answering(self) -> Iterator[MlflowClient]:
        """Yield the client, and turn what it raises into one kind of error."""
        try:
            if self._client is None:
                _check_store(self._uri)
                self._client = self._make(tracking_uri=self._uri)
            yield self._client
        except ImportError as error:
            msg = f"{self.address}: this kind of store needs {error.name}"
            raise ConfigError(msg, hint="pip install mlflow, or name the http address") from error
        except Exception as error:  # whatever the client raises must not end a training
            reason = _reason(error, uri=self._uri)
            msg = f"the tracking server {self.address} took nothing: {reason}"
            hint = "check the address, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            raise InputError(msg, hint=hint) from None


@dataclass(slots=True)
class ServerRun:
    """One run on a server, and what is there of it.

    Attributes:
        params: By name; they never change.
        tags: By name.
        steps: The steps of each figure.
        status: As MLflow calls it.
        times_ms: When a step was first tried: an answer may be lost, and MLflow takes a figure
            of the same step and time only once.
    """

    client: MlflowClient
    run_id: str
    params: dict[str, str]
    tags: dict[str, str]
    steps: dict[str, set[int]]
    status: str
    times_ms: dict[int, int] = field(default_factory=dict)

    def send(self, run: TrackedRun) -> int:
        """Send what is not there yet; return how many figures that were."""
        self._send_words(run)
        when_ms = round(1000 * (run.ended_s or time.time()))
        count = self._send_figures(run.figures, when_ms)
        status = STATUS.get(run.state, "FINISHED")
        if status == "RUNNING" != self.status:
            self.client.update_run(self.run_id, status=status)
        elif status != self.status:
            self.client.set_terminated(self.run_id, status=status, end_time=when_ms)
        self.status = status
        return count

    def _send_words(self, run: TrackedRun) -> None:
        from mlflow.entities import Param, RunTag

        params = [each for each in run.settings.items() if each[0] not in self.params]
        for some in _batches(params, WORDS_A_BATCH):
            self.client.log_batch(self.run_id, params=[Param(*each) for each in some])
            self.params.update(some)
        tags = [each for each in run.tags.items() if self.tags.get(each[0]) != each[1]]
        if tags:
            self.client.log_batch(self.run_id, tags=[RunTag(*each) for each in tags])
            self.tags.update(tags)

    def _send_figures(self, figures: Sequence[Figure], when_ms: int) -> int:
        from mlflow.entities import Metric

        fresh = [each for each in figures if each.step not in self.steps.get(each.name, ())]
        for some in _batches(fresh, FIGURES_A_BATCH):
            times = [self.times_ms.setdefault(each.step, when_ms) for each in some]
            metrics = [
                Metric(each.name, each.value, time_ms, each.step)
                for each, time_ms in zip(some, times, strict=True)
            ]
            self.client.log_batch(self.run_id, metrics=metrics)
            for each in some:
                self.steps.setdefault(each.name, set()).add(each.step)
        return len(fresh)


def address_of(uri: str) -> str:
    """Return a URI without what is secret in it.

    Raises:
        ConfigError: If it is neither of a server nor of an SQLite file.

    Examples:
        >>> address_of("https://ann:secret@tracking.example:5000/mlflow?token=1")
        'https://tracking.example:5000/mlflow'
    """
    parts = urlsplit(uri)
    if parts.scheme == "sqlite" and uri.startswith(SQLITE) and len(uri) > len(SQLITE):
        return uri.partition("?")[0]
    shown = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    if parts.scheme in ("http", "https") and parts.hostname:
        return shown.rstrip("/")
    msg = f"--mlflow takes a URI of {', '.join(SCHEMES)}, got {shown!r}"
    raise ConfigError(msg, hint=f"such as http://127.0.0.1:5000 or {SQLITE}mlflow.db")


def _client_class() -> type[MlflowClient]:
    """Import MLflow with its telemetry off, short waits and no words of its own.

    Raises:
        ConfigError: If it is not installed.
    """
    os.environ.update(TELEMETRY_OFF)
    for name, value in IMPATIENT.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow import MlflowClient
    except ImportError as error:
        msg = f"tracking needs MLflow, and {error.name} is not installed"
        raise ConfigError(msg, hint='pip install "medvit[mlflow]"') from error
    for logger in ("mlflow", "alembic"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    return MlflowClient


def _check_store(uri: str) -> None:
    """Open an SQLite file once: MLflow would try fifteen times, for minutes."""
    if uri.startswith(SQLITE):
        file = Path(address_of(uri).removeprefix(SQLITE))
        with closing(sqlite3.connect(file)) as store:
            store.execute("PRAGMA schema_version")


def _by_id(client: MlflowClient, run_id: str | None) -> Run | None:
    """Return a run that is there and was not deleted."""
    from mlflow.exceptions import MlflowException

    if run_id is None:
        return None
    try:
        found = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return found if found.info.lifecycle_stage == "active" else None


def _by_key(client: MlflowClient, run: TrackedRun, key: str) -> Run:
    """Return the run that bears a key, or a new one that does."""
    experiment = _experiment(client, run.experiment)
    filter_string = f"tags.`{KEY_TAG}` = '{key}'"
    if found := client.search_runs([experiment], filter_string, max_results=1):
        return found[0]
    start_ms = round(1000 * ((run.ended_s or time.time()) - run.seconds))
    return client.create_run(experiment, start_ms, tags={KEY_TAG: key}, run_name=run.name)


def _experiment(client: MlflowClient, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name)
        except MlflowException as error:  # another training may have made it meanwhile
            found = client.get_experiment_by_name(name)
            if found is None:
                raise error from None
    return str(found.experiment_id)


def _server_run(client: MlflowClient, found: Run) -> ServerRun:
    run_id = found.info.run_id
    steps = {
        name: {metric.step for metric in client.get_metric_history(run_id, name)}
        for name in found.data.metrics
    }
    params, tags = dict(found.data.params), dict(found.data.tags)
    return ServerRun(client, run_id, params, tags, steps, found.info.status)


def _batches(values: Sequence[Item], most: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(values), most):
        yield values[start : start + most]


def _reason(error: Exception, *, uri: str) -> str:
    """Return one line of what went wrong, without what is secret in the URI."""
    from requests import ConnectionError as NoConnection
    from requests import Timeout

    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, (Timeout, NoConnection)):
            is_late = isinstance(chain, Timeout) or "timed out" in str(chain)
            return "it did not answer in time" if is_late else "no connection"
        chain = chain.__cause__ or chain.__context__
    parts = urlsplit(uri)
    text = " ".join(str(error).split())
    for secret in (parts.netloc.rpartition("@")[0], parts.password, parts.query):
        text = text.replace(secret, "...") if secret else text
    return f"{type(error).__name__}: {text}"[:LONGEST_REASON]

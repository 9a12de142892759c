"""The engine of many machines: one case at a time to each worker of a dask cluster.

Workers are given a case each, or a few small images one after the other, and no more, so
that memory holds what one case needs. A case whose worker dies is given to another. Results
come back as they are in the journal, which is written here alone.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from medvit.errors import ConfigError, InputError
from pipelines.engines.crew import Crew, check_scheduler, tokens_in
from pipelines.engines.dispatch import Dispatch
from pipelines.engines.job import Job
from pipelines.engines.presence import Demand
from pipelines.engines.turns import Assignment, Turn
from pipelines.scanning.memory import available_bytes, peak_rss_mb
from pipelines.scanning.one_case import CaseDone

if TYPE_CHECKING:
    from distributed import Client

CONNECT_S = 10.0
SCHEMES = ("tcp", "tls", "ws", "wss")
USUAL_WORKER_BYTES = 2 * 2**30
"""What a worker is reckoned with when nobody says what it may hold."""

FREE_SHARE = 0.75


class DaskEngine:
    """Scans with the workers of a scheduler, or with workers of its own on this machine."""

    def __init__(self, stack: ExitStack, client: Client | None, workers: int | None) -> None:
        """Take a client of a scheduler, or None; what is started is ended by the stack."""
        self._stack = stack
        self._client = client
        self._workers = workers
        self._peak_mb = 0.0
        self._facts: dict[str, Any] = {"workers": 0, "lost_workers": 0}

    def scan(
        self, turns: Iterator[Turn], assignment: Assignment
    ) -> Iterator[tuple[Turn, CaseDone]]:
        """Yield cases as their workers are done with them.

        Raises:
            InputError: If a worker cannot help, all have gone, or the scheduler has.
        """
        first = next(turns, None)
        if first is None:
            return  # nothing is due: no worker need be started
        client = self._client or self._start(assignment.max_ram_bytes)
        folders = [assignment.bench.run.resolve(), assignment.bench.tiles.resolve().parent]
        with tokens_in(folders) as token:
            demand = Demand(
                tuple(str(source.resolve()) for source in assignment.sources),
                tuple(map(str, folders)),
                token,
            )
            crew = Crew(client, demand, assignment.max_ram_bytes)
            job = Job.of(assignment, scan=secrets.token_hex(8))
            with Dispatch(crew, job, assignment) as dispatch:
                for turn, done in dispatch.run(first, turns):
                    self._peak_mb = max(self._peak_mb, done.entry.result.peak_rss_mb)
                    self._facts = dispatch.facts()
                    yield turn, done

    def peak_mb(self) -> float:
        """Return the peak memory of the worker that held most, or of this process, in MiB."""
        return max(self._peak_mb, peak_rss_mb())

    def facts(self) -> dict[str, Any]:
        """Return for `run.json` who worked."""
        return {"name": "dask", **self._facts}

    def _start(self, max_ram_bytes: int | None) -> Client:
        """Start workers on this machine, each with its part of the cores."""
        from distributed import Client, LocalCluster

        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        count = self._workers or workers_for(
            cores or 1, free_bytes=available_bytes(), each_bytes=max_ram_bytes
        )
        cluster = LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=count,
            threads_per_worker=max(1, (cores or 1) // count),
            processes=True,
            memory_limit=None,  # --max-ram is held by planning; being killed helps nobody
            dashboard_address=None,
            silence_logs=logging.ERROR,
        )
        self._stack.enter_context(cluster)
        client = Client(cluster, set_as_default=False)  # type: ignore[no-untyped-call]
        self._client = self._stack.enter_context(client)
        return self._client


@contextmanager
def dask_engine(scheduler: str | None, *, workers: int | None) -> Iterator[DaskEngine]:
    """Yield an engine; at the end workers that were started for it are gone.

    Args:
        scheduler: Address, as `tcp://10.0.0.7:8786`; None: workers of its own.
        workers: How many of its own; None: as many as there is room for.

    Raises:
        ConfigError: If dask is not installed.
        InputError: If no scheduler answers at the address.
    """
    _require_dask()
    with ExitStack() as stack:
        client = None
        if scheduler is not None:
            client = stack.enter_context(_connect(scheduler))
            check_scheduler(client, scheduler)
        yield DaskEngine(stack, client, workers)


def workers_for(cores: int, *, free_bytes: int, each_bytes: int | None) -> int:
    """Return how many workers a machine has room for, at least one.

    Examples:
        >>> workers_for(16, free_bytes=24 * 2**30, each_bytes=None)
        9
        >>> workers_for(4, free_bytes=64 * 2**30, each_bytes=2**30)
        4
    """
    each = each_bytes or USUAL_WORKER_BYTES
    return max(1, min(cores, math.floor(FREE_SHARE * free_bytes / each)))


def _require_dask() -> None:
    try:
        import distributed  # noqa: F401 - only whether it is there
    except ImportError as error:
        msg = f"--engine dask needs dask.distributed, and {error.name or 'it'} is not installed"
        raise ConfigError(msg, hint='pip install "medvit[distributed]"') from error


def _connect(address: str) -> Client:
    from distributed import Client

    name = address if "://" in address else f"tcp://{address}"
    try:
        _knock(name)
        return Client(  # type: ignore[no-untyped-call]
            name, timeout=CONNECT_S, set_as_default=False
        )
    except (OSError, TimeoutError, ValueError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        msg = f"no dask scheduler answers at {address!r}: {why}"
        hint = "give its address as tcp://HOST:8786; start one with: dask scheduler"
        raise InputError(msg, hint=hint) from error


def _knock(address: str) -> None:
    """Open a connection and close it: dask itself would try for long.

    Raises:
        ValueError: If it is no address.
        OSError: If nobody listens there, or what listens is no dask server.
    """
    parts = urlsplit(address)
    if parts.scheme not in SCHEMES or not parts.hostname or parts.port is None:
        msg = f"an address has the form tcp://HOST:PORT or tls://HOST:PORT, got {address}"
        raise ValueError(msg)
    with socket.create_connection((parts.hostname, parts.port), timeout=CONNECT_S) as link:
        if parts.scheme == "tcp" and not link.recv(1):  # a dask server speaks first
            msg = "the connection was closed at once"
            raise ConnectionError(msg)

"""Which engine a scan asked for, ready to work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from medvit.errors import InputError
from pipelines.engines.local import LocalEngine
from pipelines.engines.turns import Engine

EngineName = Literal["local", "dask"]


@contextmanager
def open_engine(
    name: EngineName, *, scheduler: str | None, workers: int | None
) -> Iterator[Engine]:
    """Yield an engine, and let its workers go at the end.

    Args:
        scheduler: Address of a dask scheduler; None: workers are started on this machine.
        workers: How many of them; None: as many as there is room for.

    Raises:
        InputError: If the options contradict each other, or no scheduler answers.
        ConfigError: If dask is not installed.
    """
    if name == "local":
        if scheduler is not None or workers is not None:
            given = "--workers" if scheduler is None else "--scheduler"
            msg = f"{given} is for --engine dask, but the engine is local"
            raise InputError(msg, hint=f"add --engine dask, or leave {given} out")
        yield LocalEngine()
        return
    if scheduler is not None and workers is not None:
        msg = f"--workers {workers} starts workers on this machine, but --scheduler names others"
        raise InputError(msg, hint="leave one of them out")
    from pipelines.engines.dask import dask_engine

    with dask_engine(scheduler, workers=workers) as engine:
        yield engine

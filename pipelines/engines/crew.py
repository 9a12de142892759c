"""The workers of a dask scheduler that can help with a scan."""

from __future__ import annotations

import logging
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import medvit
from medvit.errors import InputError
from medvit.tiles.budget import in_mib
from pipelines.engines.presence import Demand, look_around, version_here

if TYPE_CHECKING:
    from distributed import Client

KILLED_AT_SHARE = 0.95
"""Of its memory limit; dask ends a worker that holds more."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Crew:
    """Workers by address, each looked at before it gets its first case.

    Attributes:
        max_bytes: What each is to be able to hold; None when nobody said.
        hosts: Machine of each worker that can help.
        unfit: Workers that cannot.
    """

    client: Client
    demand: Demand
    max_bytes: int | None
    hosts: dict[str, str] = field(default_factory=dict)
    unfit: set[str] = field(default_factory=set)

    def muster(self, *, is_first: bool = False) -> list[str]:
        """Return the workers that are there now and can help.

        Args:
            is_first: Before the first case a worker that cannot help is an error; one that
                comes later is only left out.

        Raises:
            InputError: If a worker cannot help, or the scheduler has gone.
        """
        there = self._there()
        for address in set(self.hosts) - there:
            del self.hosts[address]
        self.unfit &= there
        newcomers = sorted(there - set(self.hosts) - self.unfit)
        if newcomers:
            self._look_at(newcomers, is_first=is_first)
        return sorted(self.hosts)

    def neighbours(self, address: str) -> int:
        """Return how many workers share the machine of one, itself included."""
        return Counter(self.hosts.values())[self.hosts[address]]

    def _there(self) -> set[str]:
        try:
            return set(self.client.nthreads())  # type: ignore[no-untyped-call]
        except (OSError, TimeoutError, RuntimeError) as error:
            msg = f"the dask scheduler has gone ({type(error).__name__})"
            hint = "start it again; the same command goes on where this one stopped"
            raise InputError(msg, hint=hint) from error

    def _look_at(self, newcomers: Sequence[str], *, is_first: bool) -> None:
        said = self.client.run(look_around, self.demand, workers=list(newcomers), on_error="return")
        for address, answer in said.items():
            if isinstance(answer, OSError):
                continue  # it has gone again
            trouble = self._trouble(answer)
            if trouble is None:
                self.hosts[address] = answer["host"]
                continue
            why, hint = trouble
            if is_first:
                msg = f"the dask worker {address} {why}"
                raise InputError(msg, hint=hint)
            self.unfit.add(address)
            logger.warning("the dask worker %s is left out: it %s; %s", address, why, hint)

    def _trouble(self, answer: dict[str, Any] | Exception) -> tuple[str, str] | None:
        """Return why a worker cannot help, and what to do about it."""
        if isinstance(answer, Exception):
            return _trouble_of(answer)
        if answer["version"] != medvit.__version__:
            why = f"has medvit {answer['version']}, this machine {medvit.__version__}"
            return why, "install the same version on all machines"
        blind = _blindness(answer)
        if blind:
            return blind, "let all machines see the same folders under the same names"
        limit = answer["memory_bytes"]
        if limit and self.max_bytes and self.max_bytes > KILLED_AT_SHARE * limit:
            why = (
                f"is ended by dask at {in_mib(int(KILLED_AT_SHARE * limit))}, but --max-ram "
                f"allows {in_mib(self.max_bytes)}"
            )
            return why, "start it with a higher --memory-limit, or lower --max-ram"
        return None


def check_scheduler(client: Client, address: str) -> None:
    """Refuse a scheduler that could not hand on what workers are to do.

    Raises:
        InputError: If medvit is not installed there, or another version.
    """
    try:
        found = client.run_on_scheduler(version_here)  # type: ignore[no-untyped-call]
    except ImportError as error:
        why, hint = _trouble_of(error)
        msg = f"the dask scheduler {address} {why}"
        raise InputError(msg, hint=hint) from error
    if found != medvit.__version__:
        msg = f"the dask scheduler {address} has medvit {found}, this machine {medvit.__version__}"
        raise InputError(msg, hint="install the same version on all machines")


@contextmanager
def tokens_in(folders: Sequence[Path]) -> Iterator[str]:
    """Put a file into each folder by which another machine knows it again; yield its name.

    Raises:
        OSError: If a folder cannot be written.
    """
    token = f".seen-{secrets.token_hex(8)}"
    with ExitStack() as stack:
        for folder in folders:
            path = folder / token
            stack.callback(path.unlink, missing_ok=True)
            path.write_text(token, encoding="ascii")
        yield token


def _blindness(answer: dict[str, Any]) -> str:
    """Return which of the scan's files and folders a worker does not see; empty if it does."""
    if answer["unseen"]:
        return f"cannot read {answer['unseen'][0]}"
    if answer["foreign"]:
        return f"sees another folder, or none, as {answer['foreign'][0]}"
    return f"cannot write to {answer['unwritable'][0]}" if answer["unwritable"] else ""


def _trouble_of(error: Exception) -> tuple[str, str]:
    if isinstance(error, ImportError):
        name = (error.name or "medvit").partition(".")[0]
        return f"lacks {name}", 'run: pip install "medvit[distributed]" on all machines'
    return f"answers with {type(error).__name__}", "look into its log"

"""Tickets: what a page shows to the routes that send pixels, as long as its reader stays."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

LASTS_S = 16 * 3600.0
"""A ticket that was not shown for so long is void; the next drawing of the page gives another."""

MOST = 10_000


@dataclass(frozen=True, slots=True)
class Ticket:
    """What its holder may ask for.

    Attributes:
        sees_names: Whether names of cases are sent too.
        used_at: When it was given or shown last, on a clock that only goes on.
    """

    sees_names: bool
    used_at: float


class Tickets:
    """All tickets of a running app, one a browser tab; safe for threads.

    Of a ticket only the hash is kept.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, most: int = MOST) -> None:
        self._clock, self._most = clock, most
        self._lock = threading.Lock()
        self._valid: dict[bytes, Ticket] = {}

    def give(self, held: str, *, sees_names: bool) -> str:
        """Return the ticket that a tab holds, or a new one where that is void.

        Args:
            held: What was given to the tab before; empty the first time.
            sees_names: Counts from now on, for a ticket that was held before too.
        """
        with self._lock:
            text = held if self._find(held) is not None else secrets.token_urlsafe(24)
            self._keep(text, sees_names=sees_names)
            if len(self._valid) > self._most:
                del self._valid[next(iter(self._valid))]
            return text

    def admit(self, shown: str) -> Ticket | None:
        """Return what a ticket allows; None for one that is void or was never given."""
        with self._lock:
            found = self._find(shown)
            if found is not None:
                self._keep(shown, sees_names=found.sees_names)
            return found

    def void(self, held: str) -> None:
        """Let a ticket count no more."""
        with self._lock:
            self._valid.pop(_key(held), None)

    def _find(self, text: str) -> Ticket | None:
        found = self._valid.get(_key(text))
        return found if found and self._clock() - found.used_at <= LASTS_S else None

    def _keep(self, text: str, *, sees_names: bool) -> None:
        """Write a ticket down as the one used last."""
        self._valid.pop(_key(text), None)
        self._valid[_key(text)] = Ticket(sees_names, self._clock())


TICKETS = Tickets()


def _key(text: str) -> bytes:
    return sha256(text.encode()).digest()

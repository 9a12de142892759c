"""Things to do in a while unless somebody says otherwise, by one thread for the whole process.

To start a thread for each job costs as much as a small image. This one sleeps until something
is due, is not woken for what comes later, and ends when it wakes and finds nothing to wait for.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from threading import Condition, Thread
from types import TracebackType

_log = logging.getLogger(__name__)


class Alarm:
    """Calls a function after a while, or again and again, as long as its block lasts.

    When the block has ended the function is not running, and is not called any more.

    Args:
        seconds: Until the call.
        action: Quick; it may not set alarms.
        repeats: Whether to call it every so many seconds.
    """

    def __init__(self, seconds: float, action: Callable[[], None], *, repeats: bool = False):
        self._seconds = seconds
        self._action = action
        self._repeats = repeats
        self.due_s = 0.0

    def __enter__(self) -> Alarm:
        self.due_s = time.monotonic() + self._seconds
        _clock.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _clock.remove(self)

    def ring(self, now_s: float) -> bool:
        """Do what was asked for; tell whether to come again."""
        self._action()
        self.due_s = now_s + self._seconds
        return self._repeats


class _Clock:
    def __init__(self) -> None:
        self.start_anew()

    def start_anew(self) -> None:
        """Forget everything: a forked process has no thread, and that may have held the lock."""
        self._changed = Condition()
        self._alarms: set[Alarm] = set()
        self._thread: Thread | None = None
        self._wakes_s = 0.0

    def add(self, alarm: Alarm) -> None:
        with self._changed:
            if self._thread is None:
                thread = Thread(target=self._run, name="alarms", daemon=True)
                thread.start()  # it waits for the lock
                self._thread = thread
            elif alarm.due_s < self._wakes_s:
                self._changed.notify()
            self._alarms.add(alarm)

    def remove(self, alarm: Alarm) -> None:
        with self._changed:
            self._alarms.discard(alarm)

    def _run(self) -> None:
        with self._changed:
            while self._alarms:
                now_s = time.monotonic()
                for alarm in [each for each in self._alarms if each.due_s <= now_s]:
                    if not _rings_again(alarm, now_s):
                        self._alarms.discard(alarm)
                if self._alarms:
                    self._wakes_s = min(each.due_s for each in self._alarms)
                    self._changed.wait(max(0.0, self._wakes_s - time.monotonic()))
            self._thread = None


def _rings_again(alarm: Alarm, now_s: float) -> bool:
    """Ring an alarm; one that fails is told and dropped, the others must go on."""
    try:
        return alarm.ring(now_s)
    except Exception:
        _log.exception("an alarm failed")
        return False


_clock = _Clock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_clock.start_anew)

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from medvit.io.decoding.limits import child_environment, seconds_for

SPIN = """
from medvit.io.decoding.limits import end_this_process_after
end_this_process_after(60)
end_this_process_after({seconds})
while {spins}: pass
"""


@pytest.mark.skipif(sys.platform == "win32", reason="alarms of POSIX")
def test_a_runaway_ends_even_when_nobody_waits_for_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SPIN.format(seconds=0.05, spins=True)], check=False
    )
    assert done.returncode == -signal.SIGALRM


def test_an_alarm_can_be_taken_back() -> None:
    done = subprocess.run([sys.executable, "-c", SPIN.format(seconds=0, spins=False)], check=False)
    assert done.returncode == 0


def test_more_pixels_have_more_time() -> None:
    assert seconds_for(0) == 5.0
    assert seconds_for(1_000_000) == pytest.approx(9.0)


def test_the_environment_is_kept_but_for_threads() -> None:
    found = child_environment({"LD_LIBRARY_PATH": "/x", "OMP_NUM_THREADS": "8"})
    assert found["LD_LIBRARY_PATH"] == "/x"
    assert found["OMP_NUM_THREADS"] == "1"

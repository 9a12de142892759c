from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest

from medvit.tiles.resident import MIB, PeakMeter, peak_bytes, release_free, resident_bytes

GROW = """
import threading
import numpy as np
from medvit.tiles.resident import MIB, release_free, resident_bytes, settle_allocator
print(settle_allocator())
start = resident_bytes()
def fill():
    pieces = [np.ones(2 * MIB // 8) for _ in range(50)]
    del pieces[::2]
threads = [threading.Thread(target=fill) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
release_free()
print((resident_bytes() - start) // MIB)
"""


def test_a_rise_that_goes_again_is_seen() -> None:
    with PeakMeter() as meter:
        held = np.ones(100 * MIB // 8)
        time.sleep(0.05)
        del held
    assert 90 * MIB <= meter.rise_bytes <= 140 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="the mark of Linux")
def test_a_peak_between_two_samples_is_exact_where_the_mark_rises() -> None:
    room = peak_bytes() - resident_bytes()  # what may be held without raising the mark
    with PeakMeter(every_s=60) as meter:
        held = np.ones((room + 200 * MIB) // 8)
        del held
    assert meter.rise_bytes >= room + 190 * MIB
    assert meter.peak_bytes == pytest.approx(peak_bytes(), abs=4 * MIB)


def test_what_was_held_before_is_no_rise() -> None:
    held = np.ones(100 * MIB // 8)
    release_free()
    with PeakMeter() as meter:
        assert held.nbytes == 100 * MIB
    assert meter.rise_bytes <= 20 * MIB


def test_the_peak_is_never_below_what_is_held() -> None:
    assert peak_bytes() >= resident_bytes() - 4 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="what Linux counts")
def test_a_process_does_not_inherit_the_peak_of_the_one_that_started_it() -> None:
    held = np.ones(400 * MIB // 8)
    code = "from medvit.tiles.resident import peak_bytes; print(peak_bytes())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < held.nbytes // 2


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator of glibc")
def test_what_threads_freed_goes_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", GROW], capture_output=True, text=True, check=True
    ).stdout.split()
    assert done[0] == "True"
    assert int(done[1]) <= 20  # of 100 MiB in each of two threads

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from medvit.io.decoding.process import decoder
from medvit.io.readers import read_image
from medvit.tiles.resident import MIB
from pipelines.scanning.memory import (
    available_bytes,
    case_meter,
    case_peak_mb,
    current_rss_mb,
    peak_rss_mb,
)
from tests.make.raster import grey, write_image


@pytest.mark.slow
def test_a_peak_that_a_case_raises_is_measured() -> None:
    size_mb = peak_rss_mb() - current_rss_mb() + 200
    with case_meter() as meter:
        held = np.ones(int(size_mb * 2**20) // 8)
        del held
    assert meter.peak_bytes >= 200 * MIB
    assert meter.peak_bytes <= peak_rss_mb() * MIB


def test_a_small_case_does_not_inherit_the_peak_of_a_large_one() -> None:
    held = np.ones(300 * 2**20 // 8)
    del held
    with case_meter() as meter:
        small = np.ones(2**20 // 8)
    assert small.size
    assert meter.peak_bytes < (peak_rss_mb() - 150) * MIB


def test_a_decoder_that_starts_is_no_case_of_the_highest_mark(tmp_path: Path) -> None:
    held = np.ones(300 * MIB // 8)
    del held
    image = write_image(tmp_path / "a.png", grey())
    decoder().close()
    with case_meter() as meter:
        read_image(image)
    assert current_rss_mb() <= case_peak_mb(meter) + 20
    assert case_peak_mb(meter) < peak_rss_mb() - 150


def test_the_decoder_counts_too(tmp_path: Path) -> None:
    decoder().close()
    before_mb = current_rss_mb()
    read_image(write_image(tmp_path / "a.png", grey()))
    assert current_rss_mb() >= before_mb + 20
    assert peak_rss_mb() >= current_rss_mb() - 20


MEMINFO = "MemTotal: 8000000 kB\nMemAvailable:    4000000 kB\n"
FREE = 4000000 * 1024


def machine(tmp_path: Path, cgroup: str, files: dict[str, str]) -> tuple[Path, Path]:
    """Return folders that look like /proc and /sys/fs/cgroup of a machine."""
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(MEMINFO)
    (proc / "self/cgroup").write_text(cgroup)
    for name, text in files.items():
        (cgroups / name).parent.mkdir(parents=True, exist_ok=True)
        (cgroups / name).write_text(text)
    return proc, cgroups


@pytest.mark.parametrize(
    ("cgroup", "files", "free"),
    [
        ("", {}, FREE),
        (
            "0::/a/b\n",
            {"a/b/memory.max": "1000000\n", "a/b/memory.current": "400000\n"},
            600000,
        ),
        (
            "0::/a/b\n",
            {
                "a/memory.max": "900000",
                "a/memory.current": "500000",
                "a/memory.stat": "anon 1\ninactive_file 100000\n",
                "a/b/memory.max": "max",
                "a/b/memory.current": "400000",
            },
            500000,
        ),
        (
            "5:cpu:/x\n4:memory:/x\n",
            {
                "memory/x/memory.limit_in_bytes": "700000",
                "memory/x/memory.usage_in_bytes": "200000",
                "memory/x/memory.stat": "total_inactive_file 50000",
            },
            550000,
        ),
        (
            "4:memory:/gone\n",
            {"memory/memory.limit_in_bytes": "9", "memory/memory.usage_in_bytes": "4"},
            5,
        ),
        ("0::/a\n", {"a/memory.max": "100", "a/memory.current": "400"}, 0),
        ("0::/a\n", {"a/memory.max": str(2**60), "a/memory.current": "1"}, FREE),
    ],
    ids=["none", "v2", "v2 above", "v1", "v1 in a container", "spent", "wide"],
)
def test_free_memory_counts_within_cgroups(
    tmp_path: Path, cgroup: str, files: dict[str, str], free: int
) -> None:
    proc, cgroups = machine(tmp_path, cgroup, files)
    assert available_bytes(proc=proc, cgroups=cgroups) == free


def test_without_proc_half_of_the_memory_counts(tmp_path: Path) -> None:
    built_in = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert available_bytes(proc=tmp_path, cgroups=tmp_path) == built_in // 2


def test_this_machine_has_memory_to_give() -> None:
    assert 0 < available_bytes() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

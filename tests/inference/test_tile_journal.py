from __future__ import annotations

import logging
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medvit.errors import InputError, ReadError
from medvit.inference import tile_journal
from medvit.inference.tile_journal import HEADER_BYTES, Maps, TileJournal

SHAPE = (1, 2, 1, 2)
MAP_BYTES = 16
SLOT_BYTES = 4 + MAP_BYTES + 4


def maps_of(number: int, shape: tuple[int, ...] = SHAPE) -> Maps:
    """The map of a tile, different for each number."""
    return np.random.default_rng(number).normal(size=shape).astype(np.float32)


def write_some(path: Path, count: int = 4, *, key: str = "key") -> bytes:
    """A journal of tiles 10, 11, ... as bytes."""
    path.unlink(missing_ok=True)
    with TileJournal(path, key=key) as journal:
        for number in range(10, 10 + count):
            assert journal.add(number, maps_of(number))
    return path.read_bytes()


def numbers_found(path: Path, *, key: str = "key") -> set[int]:
    """Open a journal; what it says it holds must be to the bit what was added."""
    with TileJournal(path, key=key) as journal:
        for number in journal.numbers():
            assert journal.load(number).tobytes() == maps_of(number).tobytes()
        return set(journal.numbers())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tiles" / "case-1.tiles"


@settings(max_examples=25, deadline=None)
@given(
    maps=hnp.arrays(
        st.sampled_from([np.float16, np.float32, np.float64]),
        hnp.array_shapes(min_dims=4, max_dims=4, max_side=3),
    ),
    number=st.integers(0, 2**32 - 1),
)
def test_what_is_added_is_loaded_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory, maps: Maps, number: int
) -> None:
    path = tmp_path_factory.mktemp("journal") / "case"
    with TileJournal(path, key="a") as journal:
        assert journal.add(number, maps)
        assert journal.load(number).tobytes() == maps.tobytes()
    with TileJournal(path, key="a") as journal:
        found = journal.load(number)
        assert (found.dtype, found.shape) == (maps.dtype, maps.shape)
        assert found.tobytes() == maps.tobytes()
        assert not found.flags.writeable


def test_a_strided_or_big_endian_map_is_kept_by_its_values(path: Path) -> None:
    turned = maps_of(1, (2, 2, 3, 2)).transpose(0, 2, 1, 3)
    with TileJournal(path, key="a") as journal:
        journal.add(1, turned)
        journal.add(2, turned.astype(">f4"))
        np.testing.assert_array_equal(journal.load(1), turned)
        np.testing.assert_array_equal(journal.load(2), turned)


def test_a_file_is_what_the_format_says(path: Path) -> None:
    content = write_some(path, 3)
    assert len(content) == HEADER_BYTES + 3 * SLOT_BYTES
    assert content[:12] == b"medvtile\x01\x00\x00\x00"
    first = content[HEADER_BYTES : HEADER_BYTES + SLOT_BYTES]
    assert first[:4] == (10).to_bytes(4, "little")
    assert first[4:-4] == maps_of(10).tobytes()


def test_a_later_process_goes_on(path: Path) -> None:
    write_some(path)
    with TileJournal(path, key="key") as journal:
        journal.add(3, maps_of(3))
    assert numbers_found(path) == {3, 10, 11, 12, 13}


def test_a_second_map_of_a_tile_replaces_the_first(path: Path) -> None:
    with TileJournal(path, key="key") as journal:
        journal.add(5, maps_of(99))
        journal.add(5, maps_of(5))
    assert numbers_found(path) == {5}


def test_what_is_not_there_is_a_key_error(path: Path) -> None:
    with TileJournal(path, key="key") as journal:
        assert journal.numbers() == frozenset()
        with pytest.raises(KeyError, match="8"):
            journal.load(8)


def test_another_key_starts_anew(path: Path) -> None:
    write_some(path)
    assert numbers_found(path, key="model 2") == set()
    assert path.read_bytes() == b""


def test_another_format_starts_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_some(path)
    monkeypatch.setattr(tile_journal, "FORMAT", 2)
    assert numbers_found(path) == set()


def test_another_shape_of_map_is_refused(path: Path) -> None:
    words = r"float32 maps of shape \(1, 2, 1, 2\) cannot hold float32 maps of shape \(1, 1, 1, 2\)"
    with TileJournal(path, key="key") as journal:
        journal.add(1, maps_of(1))
        with pytest.raises(ValueError, match=words):
            journal.add(2, maps_of(2)[:, :1])
        assert journal.numbers() == {1}


@pytest.mark.parametrize("number", [-1, 2**32])
def test_a_number_that_has_no_room_is_refused(path: Path, number: int) -> None:
    with TileJournal(path, key="key") as journal, pytest.raises(ValueError, match=str(number)):
        journal.add(number, maps_of(1))


def test_what_is_no_map_is_refused(path: Path) -> None:
    with TileJournal(path, key="key") as journal:
        with pytest.raises(ValueError, match=r"floats \(c, z, y, x\), got float32 \(2, 2\)"):
            journal.add(1, np.zeros((2, 2), np.float32))
        with pytest.raises(ValueError, match=r"got int64 \(1, 1, 1, 1\)"):
            journal.add(1, np.zeros((1, 1, 1, 1), np.int64))


@pytest.mark.slow
def test_cut_at_any_length_it_keeps_every_whole_slot(path: Path) -> None:
    content = write_some(path, 3)
    for length in range(len(content)):
        path.write_bytes(content[:length])
        whole = max(0, length - HEADER_BYTES) // SLOT_BYTES
        assert numbers_found(path) == set(range(10, 10 + whole)), length
        kept = HEADER_BYTES + whole * SLOT_BYTES if length >= HEADER_BYTES else 0
        assert path.stat().st_size == kept, length


def test_a_flipped_byte_anywhere_costs_its_slot_alone(path: Path) -> None:
    content = write_some(path, 3)
    for place in range(len(content)):
        altered = bytearray(content)
        altered[place] ^= 0x10
        path.write_bytes(altered)
        hit = 10 + (place - HEADER_BYTES) // SLOT_BYTES
        left = set() if place < HEADER_BYTES else {10, 11, 12} - {hit}
        assert numbers_found(path) == left, place


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_however_it_was_damaged_what_is_found_is_right_and_it_goes_on(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("journal") / "case"
    content = bytearray(write_some(path, 4))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        stop = data.draw(st.integers(start, len(content)))
        content[start:stop] = data.draw(st.binary(max_size=2 * SLOT_BYTES))
    path.write_bytes(content)
    before = numbers_found(path)
    assert before <= {10, 11, 12, 13}
    with TileJournal(path, key="key") as journal:
        for number in {10, 11, 12, 13} - before:
            assert journal.add(number, maps_of(number))
    assert numbers_found(path) == {10, 11, 12, 13}


def test_a_slot_of_an_older_file_is_not_taken_for_one_of_this(path: Path) -> None:
    """As a power cut may leave it: a new header before the slots of another key."""
    old = write_some(path, 2, key="old")
    new = write_some(path, 1)
    path.write_bytes(new[:HEADER_BYTES] + old[HEADER_BYTES:])
    assert numbers_found(path) == set()


def test_zeros_where_slots_should_be_are_no_slots(path: Path) -> None:
    content = write_some(path, 2)
    path.write_bytes(content + bytes(3 * SLOT_BYTES))
    assert numbers_found(path) == {10, 11}
    assert path.read_bytes() == content


def test_a_file_altered_while_in_use_is_told(path: Path) -> None:
    with TileJournal(path, key="key") as journal:
        journal.add(1, maps_of(1))
        with path.open("r+b") as file:
            file.seek(HEADER_BYTES + 9)
            file.write(b"?!")
        words = r"^case-1\.tiles: the map of tile 1 cannot be read back: altered"
        with pytest.raises(ReadError, match=words) as e:
            journal.load(1)
    assert e.value.reason == "unreadable"
    assert "run the same command again" in e.value.hint


def test_one_case_has_one_scan_at_a_time(path: Path) -> None:
    with TileJournal(path, key="key") as journal:
        journal.add(1, maps_of(1))
        with pytest.raises(InputError, match=r"case-1\.tiles is in use by another scan") as e:
            TileJournal(path, key="other")
        assert "--out" in e.value.hint
        assert journal.load(1).tobytes() == maps_of(1).tobytes()
    assert numbers_found(path) == {1}


def test_two_output_folders_do_not_disturb_each_other(tmp_path: Path) -> None:
    with (
        TileJournal(tmp_path / "a" / "case", key="key") as one,
        TileJournal(tmp_path / "b" / "case", key="key") as other,
    ):
        one.add(1, maps_of(1))
        other.add(2, maps_of(2))
    assert numbers_found(tmp_path / "a" / "case") == {1}
    assert numbers_found(tmp_path / "b" / "case") == {2}


def test_a_finished_case_leaves_no_file(path: Path) -> None:
    with TileJournal(path, key="key") as journal:
        journal.add(1, maps_of(1))
        journal.remove()
        assert journal.numbers() == frozenset()
    assert list(path.parent.iterdir()) == []
    assert numbers_found(path) == set()


WRITER = """
import sys
from pathlib import Path
import numpy as np
from medvit.inference.tile_journal import TileJournal
with TileJournal(Path(sys.argv[1]), key="key") as journal:
    for number in range(100_000):
        if number not in journal.numbers():
            maps = np.random.default_rng(number).normal(size=(5, 24, 24, 24)).astype(np.float32)
            journal.add(number, maps)
            print(number, flush=True)
"""


def kill_a_writer(path: Path, after: int) -> int:
    """Let a process write tiles, kill it at once after so many, return the last it told."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for _ in range(after):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        told = process.stdout.read().split()
    assert process.returncode == -signal.SIGKILL
    return int(told[-1]) if told else -1


def check_killed(path: Path, last: int) -> int:
    """All that was told as added is there to the bit, without a gap; return how many."""
    with TileJournal(path, key="key") as journal:
        count = len(journal.numbers())
        assert journal.numbers() == set(range(count))
        assert count > last
        for number in range(count):
            assert journal.load(number).tobytes() == maps_of(number, (5, 24, 24, 24)).tobytes()
    return count


def test_a_killed_writer_loses_one_tile_at_most(path: Path) -> None:
    last = kill_a_writer(path, after=7)
    assert check_killed(path, last) >= 7


@pytest.mark.slow
def test_ten_kills_at_random_points_lose_nothing_that_was_told(path: Path) -> None:
    rng = np.random.default_rng(4)
    count = 0
    for _ in range(10):
        last = kill_a_writer(path, after=int(rng.integers(1, 30)))
        found = check_killed(path, last)
        assert found > count
        count = found


LIMITED = """
import logging, resource, sys
from pathlib import Path
import numpy as np
from medvit.inference.tile_journal import TileJournal
logging.basicConfig(format="%(message)s")
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
maps = [np.random.default_rng(n).normal(size=(1, 2, 1, 2)).astype(np.float32) for n in range(6)]
with TileJournal(Path(sys.argv[1]), key="key", held_bytes=2 * 16) as journal:
    print([journal.add(n, maps[n]) for n in range(6)])
    print(all(journal.load(n).tobytes() == maps[n].tobytes() for n in journal.numbers()))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    print(journal.add(5, maps[5]), sorted(journal.numbers()))
"""


@pytest.mark.parametrize("spare", [0, 1, SLOT_BYTES - 1])
def test_a_disk_that_is_full_costs_one_warning_and_bounded_memory(path: Path, spare: int) -> None:
    """Two slots fit on the disk, two in memory; then there is room on the disk again."""
    room = HEADER_BYTES + 2 * SLOT_BYTES + spare
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path), str(room)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "[True, True, True, True, False, False]",
        "True",
        "True [0, 1, 2, 3, 5]",
    ]
    (warning,) = done.stderr.splitlines()
    assert warning.startswith("case-1.tiles cannot be written (File too large): finished tiles")
    assert numbers_found(path) == {0, 1, 5}
    assert path.stat().st_size == HEADER_BYTES + 3 * SLOT_BYTES


def test_without_room_for_the_header_all_stays_in_memory(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path), str(HEADER_BYTES - 1)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "[True, True, False, False, False, False]",
        "True",
        "True [0, 1, 5]",
    ]
    assert numbers_found(path) == {5}


ON_A_SMALL_DISK = """
import sys
from pathlib import Path
import numpy as np
from medvit.inference.tile_journal import TileJournal
path = Path(sys.argv[1]) / "case"
maps = [np.random.default_rng(n).normal(size=(1, 16, 16, 16)).astype(np.float32) for n in range(6)]
with TileJournal(path, key="key") as journal:
    print([journal.add(n, maps[n]) for n in range(6)])
    print(all(journal.load(n).tobytes() == maps[n].tobytes() for n in range(6)))
with TileJournal(path, key="key") as journal:
    print(sorted(journal.numbers()))
"""
SMALL_DISK = """mount -t tmpfs -o size=64k tmpfs "$3" && exec "$1" -c "$2" "$3" """
"""Runs a script on a file system of 64 KiB that nobody else sees and that ends with it."""


def test_a_small_disk_that_fills_up_loses_nothing_while_the_scan_runs(tmp_path: Path) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("needs the command unshare")
    alone = ["unshare", "--map-root-user", "--mount"]
    script = ["sh", "-c", SMALL_DISK, "sh", sys.executable, ON_A_SMALL_DISK, str(tmp_path)]
    done = subprocess.run([*alone, *script], capture_output=True, text=True, check=False)
    if not done.stdout and ("unshare" in done.stderr or "mount" in done.stderr):
        pytest.skip(f"needs a mount of its own: {done.stderr.strip()}")
    assert done.stdout.splitlines() == [str([True] * 6), "True", "[0, 1, 2]"]
    assert done.stderr.count("No space left on device") == 1


def test_a_place_that_is_no_file_costs_one_warning(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.mkdir(parents=True)
    with TileJournal(path, key="key") as journal:
        assert journal.add(1, maps_of(1))
        assert journal.add(2, maps_of(2))
        assert journal.load(1).tobytes() == maps_of(1).tobytes()
        journal.remove()
    assert path.is_dir()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "case-1.tiles cannot be written (Is a directory): finished tiles stay in memory, at most "
        "256 MiB of them, and are lost when the scan is interrupted; free some space"
    )


def test_maps_in_memory_do_not_change_with_what_was_added(path: Path) -> None:
    path.mkdir(parents=True)
    maps = maps_of(1)
    with TileJournal(path, key="key") as journal:
        journal.add(1, maps)
        maps[:] = 0
        assert journal.load(1).tobytes() == maps_of(1).tobytes()
        assert not journal.load(1).flags.writeable


def test_a_device_that_only_says_full_is_a_disk_that_cannot_be_written(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.symlink_to("/dev/full")
    with TileJournal(path, key="key", held_bytes=MAP_BYTES) as journal:
        assert journal.add(1, maps_of(1))
        assert not journal.add(2, maps_of(2))
        assert journal.add(1, maps_of(1))
        assert journal.numbers() == {1}
    assert len(caplog.records) == 1

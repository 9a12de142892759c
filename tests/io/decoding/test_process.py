from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Timer

import numpy as np
import pytest

from medvit.errors import MedvitError, ReadError
from medvit.io.decoding import limits, process
from medvit.io.decoding.process import Decoder, DecoderError, Job, decoder
from tests.make.decoding import VALUES, crashing_stream, frame_job, is_running
from tests.make.frames import HTJ2K_16_BIT, Cells, jpeg_lossless

if sys.platform == "linux":
    import resource

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture(scope="module")
def shared() -> Iterator[Decoder]:
    """Return one decoder for all tests that may leave it as they like."""
    found = Decoder()
    yield found
    found.close()


def assert_works(asked: Decoder) -> int:
    _, cells = asked.ask(frame_job())
    np.testing.assert_array_equal(np.frombuffer(cells, "<u2").reshape(16, 16), VALUES[0])
    assert asked.pid is not None
    return asked.pid


def test_one_process_answers_job_after_job(shared: Decoder) -> None:
    assert assert_works(shared) == assert_works(shared)
    assert shared.pid != os.getpid()


def test_a_real_crash_names_the_file_and_the_next_job_is_served(shared: Decoder) -> None:
    before = assert_works(shared)
    with pytest.raises(ReadError, match=r"a\.dcm: the decoder crashed \(SIGABRT\)") as caught:
        shared.ask(frame_job(crashing_stream()))
    assert caught.value.reason == "undecodable"
    assert assert_works(shared) != before
    assert not is_running(before)


@POSIX
def test_a_segmentation_fault_in_the_middle_of_a_job_is_told(shared: Decoder) -> None:
    pid = assert_works(shared)
    os.kill(pid, signal.SIGSTOP)

    def crash() -> None:
        os.kill(pid, signal.SIGSEGV)
        os.kill(pid, signal.SIGCONT)

    Timer(0.05, crash).start()
    with pytest.raises(ReadError, match=r"crashed \(SIGSEGV\)"):
        shared.ask(frame_job())
    assert assert_works(shared) != pid


@POSIX
def test_a_process_that_hangs_is_ended_in_time(
    shared: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = assert_works(shared)
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(limits, "BASE_SECONDS", 0.1)
    with pytest.raises(
        ReadError, match=r"a\.dcm: the decoder gave no answer in 0\.101 s"
    ) as caught:
        shared.ask(frame_job())
    assert caught.value.reason == "undecodable"
    assert not is_running(pid)
    monkeypatch.undo()
    assert_works(shared)


@POSIX
def test_a_hanging_process_does_not_keep_a_large_job_from_being_given_up(
    shared: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More than any pipe holds: writing the job blocks, too.
    os.kill(assert_works(shared), signal.SIGSTOP)
    monkeypatch.setattr(limits, "BASE_SECONDS", 0.1)
    with pytest.raises(ReadError, match="gave no answer"):
        shared.ask(frame_job(bytes(4_000_000)))


@POSIX
def test_a_process_that_ended_between_two_jobs_is_replaced(shared: Decoder) -> None:
    pid = assert_works(shared)
    os.kill(pid, signal.SIGKILL)
    while is_running(pid):
        time.sleep(0.001)
    assert assert_works(shared) != pid


def test_an_answer_larger_than_agreed_is_not_believed(shared: Decoder) -> None:
    with pytest.raises(ReadError, match="an answer that is none"):
        shared.ask(frame_job(most_bytes=511))
    assert_works(shared)


def test_a_frame_of_another_length_is_refused(shared: Decoder) -> None:
    with pytest.raises(ReadError, match="gdcm gave up") as caught:
        shared.ask(frame_job(side=17))
    assert caught.value.reason == "undecodable"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds address space")
def test_an_image_that_needs_more_than_the_limit_is_too_large(shared: Decoder) -> None:
    pid, side = assert_works(shared), 60_000
    hog = bytearray(HTJ2K_16_BIT)
    for place in (8, 24):
        struct.pack_into(">LL", hog, place, side, side)
    with pytest.raises(ReadError, match=r"needs more than 2048 MiB") as caught:
        shared.ask(frame_job(bytes(hog), codec="openjpeg", side=side))
    assert caught.value.reason == "too_large"
    held = next(
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmHWM" in line
    )
    assert int(held.split()[1]) < 300_000
    assert assert_works(shared) == pid


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds address space")
def test_the_limits_hold_in_the_process(shared: Decoder) -> None:
    pid = assert_works(shared)
    assert resource.prlimit(pid, resource.RLIMIT_AS)[0] == limits.DECODER_BYTES
    assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"OPENBLAS_NUM_THREADS=1" in environment


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_process_loads_no_more_than_it_needs(shared: Decoder) -> None:
    loaded = Path(f"/proc/{assert_works(shared)}/maps").read_text()
    assert "gdcm" in loaded
    for name in ("torch", "cv2", "PIL", "pandas"):
        assert f"/{name}/" not in loaded


def test_threads_share_one_process_and_get_their_own_answers(shared: Decoder) -> None:
    cells = Cells(16, frames=24)
    frames = list(cells.values(side=16))
    streams = [jpeg_lossless(frame, cells) for frame in frames]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda stream: shared.ask(frame_job(stream))[1], streams))
    for frame, answer in zip(frames, answers, strict=True):
        np.testing.assert_array_equal(np.frombuffer(answer, "<u2").reshape(16, 16), frame)


@pytest.mark.parametrize("executable", ["/nowhere/python", ""])
def test_no_process_is_an_error_with_a_way_out(
    monkeypatch: pytest.MonkeyPatch, executable: str
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(DecoderError, match="no decoding process can be started") as caught:
        Decoder().ask(frame_job())
    assert isinstance(caught.value, MedvitError)
    assert "uncompressed" in caught.value.hint


def test_a_process_that_ends_at_once_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "START", "raise SystemExit(7)")
    with pytest.raises(DecoderError, match=r"ended at its start \(exit code 7\)"):
        Decoder().ask(frame_job())


RUN = """
import sys
from tests.make.decoding import frame_job
from medvit.io.decoding.process import decoder
{body}
"""


def wait_until(is_so: Callable[[], bool], *, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not is_so() and time.monotonic() < end:
        time.sleep(0.01)
    return is_so()


ASK_AND_STAY = "decoder().ask(frame_job()); print(decoder().pid, flush=True); sys.stdin.read()"


@POSIX
def test_the_process_ends_with_its_owner_even_when_that_is_killed(project: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RUN.format(body=ASK_AND_STAY)],
        cwd=project,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert is_running(pid)
        owner.kill()
        owner.wait()
        assert wait_until(lambda: not is_running(pid))


def test_the_process_ends_with_its_owner_in_peace(project: Path) -> None:
    body = "decoder().ask(frame_job()); print(decoder().pid)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN.format(body=body)],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert not is_running(int(done.stdout))


FORK = """
import os
decoder().ask(frame_job())
mine = decoder().pid
if os.fork() == 0:
    assert decoder().pid is None
    decoder().ask(frame_job())
    assert decoder().pid not in (None, mine)
    decoder().close()
    os._exit(0)
_, status = os.wait()
decoder().ask(frame_job())
print(status, decoder().pid == mine)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_a_decoder_of_its_own(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(body=FORK)],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("0 True\n", "")


def test_the_process_finds_this_medvit_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A folder that is scanned may hold anything, also a file named like a library.
    (tmp_path / "numpy.py").write_text("raise SystemExit(9)")
    (tmp_path / "medvit.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    found = Decoder()
    assert_works(found)
    found.close()


def test_closing_ends_the_process_and_asking_starts_another() -> None:
    found = Decoder()
    first = assert_works(found)
    found.close()
    assert found.pid is None
    assert not is_running(first)
    assert assert_works(found) != first
    found.close()


def test_an_interrupted_job_does_not_answer_the_next(
    shared: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = assert_works(shared)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(process, "read_message", interrupted)
    with pytest.raises(KeyboardInterrupt):
        shared.ask(frame_job())
    monkeypatch.undo()
    assert assert_works(shared) != before


def test_one_decoder_is_shared() -> None:
    assert decoder() is decoder()


def test_an_unknown_kind_of_job_ends_the_process_and_nothing_else(shared: Decoder) -> None:
    with pytest.raises(ReadError, match=r"the decoder ended \(exit code 1\)"):
        shared.ask(Job("a.dcm", 0, {"job": "nonsense"}, b"", 0))
    assert_works(shared)


def test_sound_large_images_have_time_on_a_loaded_machine() -> None:
    assert limits.seconds_for(512 * 512) < 6.1
    assert limits.seconds_for(20_000_000) > 80

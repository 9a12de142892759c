from __future__ import annotations

import json
from pathlib import Path

import pytest

from medvit.errors import ModelError, ReadError, is_out_of_memory
from medvit.volume.window import Window
from pipelines.scanning.faults import blamed_on


def test_a_decoder_that_gives_up_is_the_fault_of_the_file() -> None:
    words = r"a\.dcm: the decoder gave up with JSONDecodeError"
    with pytest.raises(ReadError, match=words) as e, blamed_on("a.dcm"):
        json.loads("Secret^Person")
    assert e.value.reason == "undecodable"
    assert "Secret" not in e.value.message


def test_what_the_system_says_is_told_without_the_path() -> None:
    words = r"^a: cannot be read: No such file or directory$"
    with pytest.raises(ReadError, match=words) as e, blamed_on("a"):
        Path("/no/such/file").read_bytes()
    assert e.value.reason == "unreadable"


def test_memory_that_runs_out_is_told_as_too_large() -> None:
    with pytest.raises(ReadError, match="not enough memory") as e, blamed_on("a"):
        raise MemoryError
    assert e.value.reason == "too_large"
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))


def test_a_fault_of_our_own_goes_through() -> None:
    with pytest.raises(ValueError, match="window width"), blamed_on("a"):
        Window(0, -1)


def test_our_own_errors_keep_their_words() -> None:
    with pytest.raises(ModelError, match="altered"), blamed_on("a"):
        raise ModelError("altered")

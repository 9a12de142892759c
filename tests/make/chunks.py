"""A process that reads and writes a chunk cache as fast as it can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medvit.io.chunk_cache import ChunkCache

KEYS = tuple(f"{letter:016x}" for letter in range(6))
SIDE = 16


def chunk_of(key: str, number: int) -> npt.NDArray[Any]:
    """Return the one content that a key and number may ever have."""
    return np.full((2, SIDE, SIDE), 100 * int(key, 16) + number, np.int32)


def hammer(folder: Path, seed: int, *, rounds: int, max_bytes: int) -> int:
    """Read and write random chunks; return how many were wrong."""
    cache = ChunkCache(folder, max_bytes=max_bytes)
    rng = np.random.default_rng(seed)
    wrong = 0
    for _ in range(rounds):
        key, number = KEYS[rng.integers(len(KEYS))], int(rng.integers(4))
        found = cache.get(key, number)
        chunk = cache.put(key, number, chunk_of(key, number)) if found is None else found
        wrong += not np.array_equal(chunk, chunk_of(key, number))
    return wrong


if __name__ == "__main__":
    import sys

    folder, seed, rounds, max_bytes = sys.argv[1:]
    wrong = hammer(Path(folder), int(seed), rounds=int(rounds), max_bytes=int(max_bytes))
    sys.exit(f"{wrong} chunks were wrong" if wrong else 0)

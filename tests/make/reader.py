"""A reader without privileges: what a test run by root cannot see by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
NOBODY = 65534

_DROP = "import os, sys; os.getuid() or (os.setgroups([]), os.setgid({0}), os.setuid({0}))\n"


def run_without_privileges(code: str, *arguments: str | Path) -> str:
    """Run Python code as a user who may read only what everybody may; return its output.

    Imports happen before the privileges go, so `code` starts with its imports and
    holds the line `# drop` where they end.
    """
    imports, _, body = code.partition("# drop\n")
    source = imports + _DROP.format(NOBODY) + body
    done = subprocess.run(
        [sys.executable, "-c", source, *map(str, arguments)],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return done.stdout

"""`medvit scan --watch`: it goes on until it is told to end."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.apps.cli.conftest import Medvit
from tests.make.models import register_untrained
from tests.make.raster import grey, write_image


def rows(out: Path) -> list[str]:
    try:
        with (out / "cases.csv").open(encoding="utf-8", newline="") as stream:
            return [row["source"] for row in csv.DictReader(stream)]
    except FileNotFoundError:
        return []


@pytest.mark.slow
def test_ctrl_c_ends_a_watch_with_130_and_its_answers(tmp_path: Path) -> None:
    incoming, out, workspace = tmp_path / "in", tmp_path / "out", tmp_path / "ws"
    register_untrained(workspace / "models")
    write_image(incoming / "a.png", grey())
    words = ["scan", str(incoming), "--out", str(out), "--workspace", str(workspace), "--watch"]
    process = subprocess.Popen(
        [sys.executable, "-m", "apps.cli", *words, "--json"],
        stdout=subprocess.PIPE,
        env=dict(os.environ),
    )
    deadline = time.monotonic() + 120
    while not rows(out) and time.monotonic() < deadline:
        time.sleep(0.2)
    write_image(incoming / "b.png", np.roll(grey(), 5, axis=1))
    while len(rows(out)) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=60)
    assert rows(out) == ["a.png", "b.png"]
    assert process.returncode == 130
    assert json.loads(told)["error"]["code"] == "interrupted"


def test_a_watch_with_a_deadline_is_refused(medvit: Medvit, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    words = ("--out", tmp_path / "out", "--watch", "--deadline", "60")
    answer = medvit("scan", tmp_path / "in", *words)
    assert answer.code == 2
    assert "--deadline 60 means nothing" in answer.stderr

"""The table of a training's figures, also after it was killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from medvit import atomic
from medvit.learn.fit import EpochReport
from medvit.learn.metrics_table import MetricsTable
from tests.learn.test_fit import train


def test_figures_of_one_step_share_a_row_and_new_names_a_column(tmp_path: Path) -> None:
    table = MetricsTable(tmp_path)
    table.log_metrics({"epoch": 0, "loss": 0.5}, step=3)
    table.log_metrics({"epoch": 1, "loss": 0.25}, step=7)
    table.log_metrics({"cpm": 0.75}, step=7)
    text = (tmp_path / "metrics.csv").read_text(encoding="utf-8")
    assert text == "epoch,step,cpm,loss\n0,3,,0.5\n1,7,0.75,0.25\n"


def test_steps_that_are_done_again_take_the_place_of_the_old_ones(tmp_path: Path) -> None:
    for step, loss in ((3, 0.5), (7, 0.25), (11, 0.2)):
        MetricsTable(tmp_path).log_metrics({"epoch": step // 4, "loss": loss}, step=step)
    MetricsTable(tmp_path).log_metrics({"epoch": 1, "loss": 0.3}, step=7)
    text = (tmp_path / "metrics.csv").read_text(encoding="utf-8")
    assert text == "epoch,step,loss\n0,3,0.5\n1,7,0.3\n"


def test_a_resumed_training_leaves_the_table_of_an_uninterrupted_one(tmp_path: Path) -> None:
    def interrupt(report: EpochReport) -> None:
        if report.epoch == 3:
            raise KeyboardInterrupt

    train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", progress=interrupt)
    train(tmp_path / "parts")
    whole, parts = ((tmp_path / name / "metrics.csv").read_text() for name in ("whole", "parts"))
    assert len(whole.splitlines()) == 5
    assert parts == whole


def test_killed_between_checkpoint_and_table_no_epoch_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "whole")
    saved: list[Path] = []
    write = atomic.write_bytes

    def write_and_die(path: Path, content: bytes) -> None:
        write(path, content)
        if path.suffix == ".ckpt":
            saved.append(path)
        if len(saved) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "write_bytes", write_and_die)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "parts")
    assert len(saved) == 2
    train(tmp_path / "parts")
    whole, parts = ((tmp_path / name / "metrics.csv").read_text() for name in ("whole", "parts"))
    assert parts == whole

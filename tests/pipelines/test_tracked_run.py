"""What of a run folder is told to a tracking server, and what is not."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

import pipelines
from medvit.errors import InputError
from pipelines.config import Settings
from pipelines.tracked_run import PRIVATE, Figure, read_tracked

ENDED = {"version": "0.1.0", "commit": None, "date": "2026-05-06T07:08:09+00:00", "seconds": 12.5}


def run_folder(folder: Path, **record: Any) -> Path:
    """Write a run that ended."""
    run = folder / "runs" / "train" / "7"
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({**ENDED, **record}), encoding="utf-8")
    return run


def test_rows_of_the_table_and_the_last_figures_are_told(tmp_path: Path) -> None:
    run = run_folder(
        tmp_path,
        model="tiny@1",
        metrics={"n": 6, "cut_short": False, "curve": [1, 2], "per_class": {"edge (left)": 0.5}},
    )
    table = "epoch,step,loss,lr\n0,3,0.5,nan\n1,7,0.25,1e-3\n,11,,1e-4\n"
    (run / "metrics.csv").write_text(table, encoding="utf-8")
    results = "epoch,loss,val/loss\n1,9,0.75\n2,9,\n"
    (run / "results.csv").write_text(results, encoding="utf-8")
    told = read_tracked(run)
    assert [each for each in told.figures if each.step] == [
        *(Figure("epoch", 0, 3), Figure("loss", 0.5, 3)),
        *(Figure("epoch", 1, 7), Figure("loss", 0.25, 7), Figure("lr", 1e-3, 7)),
        Figure("val/loss", 0.75, 1),
    ]
    assert {each.name: each.value for each in told.figures if not each.step} == {
        "final/n": 6,
        "final/per_class/edge _left_": 0.5,
        "final/seconds": 12.5,
    }
    assert (told.experiment, told.name, told.state) == ("medvit train", "train/7 tiny", "done")
    assert told.ended_s == 1778051289


def test_names_that_become_alike_are_kept_apart(tmp_path: Path) -> None:
    run = run_folder(tmp_path, metrics={"a+": 1, "a*": 2})
    named = {each.name: each.value for each in read_tracked(run).figures}
    assert (named["final/a_"], named["final/a__"]) == (1, 2)


def test_settings_that_hold_a_path_or_a_person_are_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "MILLER^ANN").mkdir()
    settings = {
        "task": "classify",
        "data": {"root": "SMITH_JOHN", "manifest": "m.csv", "side_px": 32, "sound": "plain"},
        "model": {"name": "tiny", "weights": "models/JONES"},
        "start": "MILLER^ANN",
        "scans": [{"source": "DOE"}],
        "several": ["C:\\BAKER", "b"],
        "betas": [0.9, 0.99],
        "by": "Dr. Brown",
    }
    told = read_tracked(run_folder(tmp_path, settings=settings)).settings
    assert told == {
        "task": "classify",
        "data.side_px": "32",
        "data.sound": "plain",
        "model.name": "tiny",
        "betas": "[0.9, 0.99]",
    }


def settings_models() -> Iterator[type[Settings]]:
    for module in pkgutil.walk_packages(pipelines.__path__, "pipelines."):
        importlib.import_module(module.name)
    waiting = [Settings]
    while waiting:
        found = waiting.pop().__subclasses__()
        yield from found
        waiting += found


def holds_path(annotation: Any) -> bool:
    return annotation is Path or any(holds_path(each) for each in get_args(annotation))


@pytest.mark.slow
def test_every_setting_that_is_a_path_is_known_as_one() -> None:
    paths = {
        name
        for model in settings_models()
        for name, field in model.model_fields.items()
        if holds_path(field.annotation)
    }
    assert {"root", "manifest"} <= paths
    assert paths <= PRIVATE


def test_what_the_gate_said_of_a_retraining_is_told(tmp_path: Path) -> None:
    run = run_folder(
        tmp_path,
        model="steel@4",
        champion="steel@3",
        device="cpu",
        gate={"verdict": "refuse", "reasons": ["accuracy fell"]},
        promoted=False,
        left_out=["SMITH: no such file"],
    )
    assert read_tracked(run).tags == {
        "medvit.command": "train",
        "medvit.version": "0.1.0",
        "medvit.model": "steel@4",
        "medvit.champion": "steel@3",
        "medvit.device": "cpu",
        "medvit.gate": "refuse",
        "medvit.promoted": "False",
    }


@pytest.mark.parametrize(
    ("record", "state"),
    [
        ({"state": "interrupted"}, "interrupted"),
        ({"model": None, "failures": ["epoch 3: all embeddings are alike"]}, "failed"),
        ({"model": None}, "done"),
    ],
)
def test_how_a_run_ended_is_told(tmp_path: Path, record: dict[str, Any], state: str) -> None:
    assert read_tracked(run_folder(tmp_path, **record)).state == state


def test_a_training_on_its_way_has_settings_and_no_end(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    (run / "run.json").unlink()
    (run / "config.json").write_text('{"model": {"name": "tiny"}}', encoding="utf-8")
    told = read_tracked(run)
    assert (told.name, told.state, told.ended_s) == ("train/7 tiny", "running", None)
    assert told.settings == {"model.name": "tiny"}


def test_a_folder_without_a_run_or_with_an_altered_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no run\.json there"):
        read_tracked(tmp_path)
    (tmp_path / "run.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"run\.json: not to be read as JSON"):
        read_tracked(tmp_path)

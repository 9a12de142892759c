from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from apps.cli.__main__ import cli
from apps.cli.exit_codes import ExitCode, code_of
from medvit import errors
from tests.apps.cli.conftest import Medvit

HEAVY = {
    *("torch", "monai", "streamlit", "pydicom", "numpy", "scipy", "transformers", "lightning"),
    *("sqlalchemy", "nibabel", "zarr", "plotly", "skimage", "PIL", "pydantic", "pandas"),
}
README = Path(__file__).resolve().parents[3] / "README.md"


def commands() -> Iterator[str]:
    """Yield every command as people type it, groups left out."""
    root = typer.main.get_command(cli)
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        group = getattr(command, "commands", None)
        yield from (f"{name} {leaf}" for leaf in group) if group else (name,)


@pytest.mark.parametrize("command", ["", *commands(), "models", "evaluate", "labels"])
def test_every_command_has_help_with_an_example(medvit: Medvit, command: str) -> None:
    answer = medvit(*command.split(), "--help")
    assert answer.code == 0
    assert f"Example: medvit {command}".strip() in answer.stdout
    if command in set(commands()):
        assert "--json" in answer.stdout
        assert "--quiet" in answer.stdout


def test_the_commands_of_the_contract_exist() -> None:
    wanted = {"scan", "inspect", "phantom", "demo", "doctor", "app", "pretrain", "train"}
    wanted |= {"models list", "models show", "evaluate froc", "evaluate detection"}
    wanted |= {"evaluate classification", "evaluate model", "export", "split", "plan"}
    wanted |= {"labels import", "labels export"}
    assert wanted <= set(commands())


@pytest.mark.parametrize("command", list(commands()))
def test_every_command_is_in_the_readme(command: str) -> None:
    assert f"medvit {command}" in README.read_text(encoding="utf-8")


@pytest.mark.parametrize("code", list(ExitCode))
def test_every_exit_code_is_in_the_readme(code: ExitCode) -> None:
    assert f"| {code.value} |" in README.read_text(encoding="utf-8")


def test_version_is_one_line(medvit: Medvit) -> None:
    assert medvit("--version").stdout == "medvit 0.1.0\n"


@pytest.mark.parametrize(
    "words",
    [
        ("scan", "--no-such-option"),
        ("scan",),
        ("no-such-command",),
        ("scan", ".", "--out", "x", "--task", "walk"),
        ("app", "--port", "0"),
        ("phantom", "x", "--count", "none"),
    ],
)
def test_wrong_usage_is_told_as_json_too(medvit: Medvit, words: tuple[str, ...]) -> None:
    answer = medvit(*words, "--json")
    assert answer.code == 2
    assert answer.payload["error"]["code"] == "usage"
    assert answer.message


def test_wrong_usage_is_told_to_people(medvit: Medvit) -> None:
    answer = medvit("scan", "--no-such-option")
    assert answer.code == 2
    assert answer.stdout == ""
    assert "error: No such option: --no-such-option" in answer.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InputError("x"), 2),
        (errors.ConfigError("x"), 2),
        (errors.ModelError("x"), 2),
        (errors.StoreError("x"), 2),
        (errors.ReadError("x", reason="truncated"), 2),
        (errors.NothingToDoError("x"), 3),
        (errors.GateRefusedError("x"), 6),
    ],
)
def test_an_error_has_the_exit_code_of_the_contract(error: errors.MedvitError, code: int) -> None:
    assert code_of(error) == code


def test_a_config_with_a_misspelt_key_names_the_nearest(medvit: Medvit, tmp_path: Path) -> None:
    config = tmp_path / "job.yaml"
    config.write_text(
        "task: classify\nmodel: {name: mine}\ndata: {manifest: m.csv}\ntrain: {epoch: 3}\n"
    )
    answer = medvit("train", config, "--json")
    assert answer.code == 2
    assert "job.yaml" in answer.message
    assert "'train.epoch'" in answer.message
    assert "'epochs'" in answer.payload["error"]["hint"]


def test_a_port_that_is_taken_is_refused(medvit: Medvit) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = medvit("app", "--port", port, "--json")
    assert answer.code == 2
    assert str(port) in answer.message
    assert "--port" in answer.payload["error"]["hint"]


def test_models_are_listed_and_shown(medvit: Medvit) -> None:
    models = medvit("models", "list", "--json").payload["models"]
    own = [each for each in models if each["version"] == "test"]
    assert [each["task"] for each in own] == ["nodule", "defect"]
    assert all(each["production"] for each in own)
    shown = medvit("models", "show", "steel-defects@test", "--json").payload
    assert shown["card"]["classes"] == ["scratch", "slag", "ash"]
    unknown = medvit("models", "show", "nobody", "--json")
    assert unknown.code == 2
    assert "steel-defects" in unknown.payload["error"]["hint"]


def test_inspect_answers_with_the_keys_of_the_contract(medvit: Medvit, tmp_path: Path) -> None:
    from tests.make.dicom import write_series, write_text

    write_series(tmp_path / "in" / "ct")
    assert medvit("inspect", tmp_path / "in", "--json").code == 0
    write_text(tmp_path / "in" / "bad.dcm")
    answer = medvit("inspect", tmp_path / "in", "--json")
    assert answer.code == 4
    bad, sound = answer.payload["cases"]
    keys = {"case_id", "kind", "source", "series_uid", "verdict", "reasons"}
    assert keys | {"shape", "spacing_mm", "affine_lps", "repair"} == set(sound)
    assert sound["repair"] is None
    assert (sound["verdict"], sound["shape"], sound["spacing_mm"]) == (
        "accept",
        [5, 16, 12],
        [2.0, 1.0, 0.5],
    )
    assert sound["affine_lps"][3] == [0, 0, 0, 1]
    assert bad["reasons"][0]["code"] == "not_dicom"
    assert "bad.dcm" in bad["reasons"][0]["message"]
    assert bad["affine_lps"] is None
    empty = tmp_path / "empty"
    empty.mkdir()
    assert medvit("inspect", empty, "--json").code == 3
    assert medvit("inspect", tmp_path / "gone", "--json").code == 2


def test_inspect_needs_no_place_to_write(medvit: Medvit, tmp_path: Path) -> None:
    from tests.make.dicom import write_series

    write_series(tmp_path / "in" / "ct")
    (tmp_path / "file").write_text("not a folder")
    answer = medvit("inspect", tmp_path / "in", "--workspace", tmp_path / "file", "--json")
    assert answer.code == 0
    assert answer.payload["run"] is None


@pytest.mark.slow
def test_doctor_finds_this_installation_whole(medvit: Medvit) -> None:
    answer = medvit("doctor", "--json")
    broken = [check for check in answer.payload["checks"] if not check["ok"]]
    assert broken == []
    assert answer.code == 0


def test_doctor_names_a_store_that_does_not_open(medvit: Medvit, tmp_path: Path) -> None:
    (tmp_path / "store.db").write_text("this is no database, and much longer than a header " * 9)
    answer = medvit("doctor", "--store", f"sqlite:///{tmp_path}/store.db", "--json")
    assert answer.code == 2
    broken = [check["name"] for check in answer.payload["checks"] if not check["ok"]]
    assert broken == ["store"]


def test_froc_answers_with_the_keys_of_the_contract(medvit: Medvit, tmp_path: Path) -> None:
    predictions = tmp_path / "p.csv"
    annotations = tmp_path / "a.csv"
    predictions.write_text("seriesuid,coordX,coordY,coordZ,probability\n1.2,0,0,1,0.9\n")
    annotations.write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2,0,0,0,6\n")
    words = ("--predictions", predictions, "--annotations", annotations)
    payload = medvit("evaluate", "froc", *words, "--json").payload
    assert payload["fp_per_scan"] == [0.125, 0.25, 0.5, 1, 2, 4, 8]
    assert payload["sensitivity"] == [1.0] * 7
    assert (payload["cpm"], payload["n_scans"], payload["n_annotations"]) == (1.0, 1, 1)
    missing = medvit("evaluate", "froc", "--predictions", tmp_path / "gone", *words[2:], "--json")
    assert missing.code == 2


@pytest.mark.slow
def test_who_leaves_before_the_end_of_an_answer_breaks_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "apps.cli", "models", "list", "--json"]
    reading, writing = os.pipe()
    os.close(reading)
    command += ["--workspace", str(tmp_path / "w")]
    done = subprocess.run(command, check=False, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_importing_the_command_line_imports_nothing_heavy() -> None:
    code = "import sys, apps.cli.__main__; print('\\n'.join(sys.modules))"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=README.parent
    )
    loaded = {name.split(".")[0] for name in said.stdout.split()}
    assert "typer" in loaded
    assert not loaded & HEAVY


def test_json_is_the_only_thing_on_stdout(medvit: Medvit, tmp_path: Path) -> None:
    from tests.make.raster import grey, write_image

    write_image(tmp_path / "in" / "a.png", grey())
    answer = medvit("scan", tmp_path / "in", "--out", tmp_path / "out", "--json")
    assert json.loads(answer.stdout)["cases"] == 1
    assert answer.stdout.count("\n") == 1
    assert "scan 0/1" in answer.stderr
    quiet = medvit("scan", tmp_path / "in", "--out", tmp_path / "out", "--quiet")
    assert (quiet.stdout, quiet.stderr) == ("", "")

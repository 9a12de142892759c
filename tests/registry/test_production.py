from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from medvit.errors import ModelError, NothingToDoError
from medvit.registry.history import HISTORY_FILE, Change, append_change, read_history
from medvit.registry.locks import locked
from medvit.registry.production import history, promote, rollback
from medvit.registry.registry import POINTER, find_model
from tests.make.registry import NAME, no_file_above, put_version

PROMOTE = """
import sys
from pathlib import Path
from medvit.errors import ModelError
from medvit.registry.production import promote
models, version = Path(sys.argv[1]), sys.argv[2]
sys.stdin.readline()
for _ in range(5):
    try:
        promote(models, "steel", version, by="process " + version, reason="race", shipped=models)
    except ModelError as error:
        sys.exit(str(error))
    except Exception as error:
        if type(error).__name__ != "NothingToDoError":
            raise
"""

HOLD = """
import sys, time
from pathlib import Path
from medvit.registry.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Return a registry with three versions, the newest of which a name means."""
    for version in ("1", "2", "3"):
        put_version(tmp_path / "models", version)
    return tmp_path / "models"


def move(models: Path, version: str) -> Change:
    return promote(models, NAME, version, by="ann", reason="better", shipped=models / "none")


def back(models: Path) -> Change:
    return rollback(models, NAME, by="ben", reason="worse", shipped=models / "none")


def meant(models: Path) -> str:
    return find_model(NAME, models=models, shipped=models / "none").version


def test_rolling_back_goes_one_further_each_time_and_all_is_written_down(models: Path) -> None:
    move(models, "1")
    move(models, "2")
    assert back(models).to_version == "1"
    assert meant(models) == "1"
    move(models, "3")
    assert [back(models).to_version, back(models).to_version] == ["1", "3"]
    with pytest.raises(ModelError, match="nothing was in production before 3"):
        back(models)
    told = [(c.number, c.action, c.from_version, c.to_version, c.by) for c in history(models)]
    assert told == [
        (1, "promote", "3", "1", "ann"),
        (2, "promote", "1", "2", "ann"),
        (3, "rollback", "2", "1", "ben"),
        (4, "promote", "1", "3", "ann"),
        (5, "rollback", "3", "1", "ben"),
        (6, "rollback", "1", "3", "ben"),
    ]


def test_what_is_in_production_is_not_promoted_again(models: Path) -> None:
    move(models, "2")
    with pytest.raises(NothingToDoError, match="steel@2 is in production already"):
        move(models, "2")
    assert len(history(models, NAME)) == 1


def test_a_promotion_holds_only_against_the_champion_it_was_weighed_against(models: Path) -> None:
    move(models, "2")
    with pytest.raises(ModelError, match="steel@2 is in production since steel@1 was weighed"):
        promote(models, NAME, "1", by="ann", reason="", instead_of="3", shipped=models / "none")
    assert meant(models) == "2"


def test_altered_weights_are_not_promoted_and_production_stays(models: Path) -> None:
    move(models, "2")
    file = models / NAME / "1" / "model.safetensors"
    file.write_bytes(b"other")
    with pytest.raises(ModelError, match=r"1/model\.safetensors: sha256 .* is not the card's"):
        move(models, "1")
    assert meant(models) == "2"
    assert len(history(models)) == 1


def test_somebody_must_have_done_it(models: Path) -> None:
    with pytest.raises(ModelError, match="got an empty name"):
        promote(models, NAME, "1", by=" ", reason="", shipped=models / "none")
    with pytest.raises(ModelError, match="at most 1000 characters, got 1001"):
        promote(models, NAME, "1", by="ann", reason="x" * 1001, shipped=models / "none")


def test_what_was_promoted_and_is_gone_is_not_replaced_in_silence(models: Path) -> None:
    move(models, "2")
    (models / NAME / "2").rename(models / "aside")
    with pytest.raises(ModelError, match=r"steel@2 is in production, but .* is gone") as error:
        meant(models)
    assert "rollback steel" in error.value.hint
    assert back(models).to_version == "3"
    assert meant(models) == "3"


@pytest.mark.parametrize("field", ["by", "to_version", "at", "reason", "weights_sha256", "number"])
def test_a_line_that_was_altered_shows(models: Path, field: str) -> None:
    for version in ("1", "2"):
        move(models, version)
    file = models / NAME / HISTORY_FILE
    lines = file.read_text().splitlines()
    values = json.loads(lines[0])
    values[field] = 7 if field == "number" else "eve"
    file.write_text("\n".join([json.dumps(values), lines[1], ""]))
    with pytest.raises(ModelError, match=r"history\.jsonl, line 1: .* was altered"):
        read_history(file)
    with pytest.raises(ModelError, match="was altered"):
        move(models, "3")
    assert meant(models) == "2"


def test_a_line_that_was_dropped_or_resealed_shows(models: Path) -> None:
    for version in ("1", "2", "1"):
        move(models, version)
    file = models / NAME / HISTORY_FILE
    first, second, third, _ = file.read_text().split("\n")
    file.write_text(f"{first}\n{third}\n")
    with pytest.raises(ModelError, match="line 2"):
        read_history(file)
    file.write_text(f"{first}\n")  # two lines cut off at the end: the pointer tells
    with pytest.raises(ModelError, match="production: it names 1, the history 1"):
        move(models, "3")
    forged = Change(**{**json.loads(second), "by": "eve"})
    values = {**json.loads(second), "by": "eve", "sha256": forged.seal()}
    file.write_text(f"{first}\n{json.dumps(values)}\n{third}\n")
    with pytest.raises(ModelError, match="line 3"):  # its neighbour is sealed to the old one
        read_history(file)


def test_a_line_cut_off_by_a_crash_never_counted(models: Path) -> None:
    move(models, "1")
    file = models / NAME / HISTORY_FILE
    file.write_text(file.read_text() + '{"number": 2, "action": "pro')
    assert len(read_history(file)) == 1
    move(models, "2")
    assert [change.to_version for change in history(models)] == ["1", "2"]


def test_a_promotion_cut_short_before_the_pointer_is_taken_up(models: Path) -> None:
    move(models, "1")
    pointer = models / NAME / POINTER
    before = pointer.read_text()
    move(models, "2")
    pointer.write_text(before)  # as if the process died between the two files
    assert meant(models) == "1"
    assert move(models, "3").from_version == "2"
    assert meant(models) == "3"


def test_a_promotion_cut_short_and_asked_for_again_is_the_same_promotion(models: Path) -> None:
    move(models, "1")
    pointer = models / NAME / POINTER
    before = pointer.read_text()
    cut_short = move(models, "2")
    pointer.write_text(before)
    again = promote(models, NAME, "2", by="ann", reason="", instead_of="1", shipped=models / "none")
    assert again == cut_short
    assert meant(models) == "2"
    assert len(history(models, NAME)) == 2


def test_two_promotions_at_once_come_one_after_the_other(models: Path) -> None:
    commands = [[sys.executable, "-c", PROMOTE, str(models), version] for version in ("1", "2")]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    faults = [process.communicate("go\n", timeout=60)[1] for process in processes]
    assert faults == ["", ""]
    changes = history(models, NAME)
    assert {change.to_version for change in changes} == {"1", "2"}
    froms = [change.from_version for change in changes]
    assert froms == ["3", *(change.to_version for change in changes[:-1])]
    assert meant(models) == changes[-1].to_version


def test_a_lock_is_free_once_its_holder_was_killed(models: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(models / NAME)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(ModelError, match=r"has been changing it for 0\.05 s"),
        locked(models / NAME, wait_s=0.05),
    ):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait(timeout=10)
    move(models, "1")
    assert meant(models) == "1"


@pytest.mark.parametrize("spare", [0, 100])
def test_a_disk_that_fills_leaves_production_as_it_was(models: Path, spare: int) -> None:
    move(models, "1")
    file = models / NAME / HISTORY_FILE
    before = file.read_bytes()
    with (
        no_file_above(len(before) + spare),
        pytest.raises(ModelError, match=r"cannot be written down \(File too large\)") as error,
    ):
        promote(models, NAME, "2", by="ann", reason="x" * 400, shipped=models / "none")
    assert error.value.hint.startswith("nothing was changed")
    assert file.read_bytes() == before
    assert meant(models) == "1"


def test_a_change_gets_its_number_and_seal_from_what_is_before(tmp_path: Path) -> None:
    change = Change(9, "promote", "m", "", "1", "f" * 64, "ann", "", "now", "wrong", "wrong")
    first = append_change(tmp_path / HISTORY_FILE, change)
    second = append_change(tmp_path / HISTORY_FILE, change)
    assert (first.number, first.previous) == (1, "")
    assert (second.number, second.previous) == (2, first.sha256)
    assert read_history(tmp_path / HISTORY_FILE) == (first, second)

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from medvit.errors import ModelError
from medvit.models.card import SUMS_FILE, WEIGHTS_FILE, file_sha256
from medvit.registry.integrity import verify
from medvit.registry.lineage import Seen, mark_of, read_seen
from medvit.registry.registry import find_model
from medvit.registry.saving import save_version
from tests.make.registry import no_file_above

CARD = {"task": "defect", "architecture": {"builder": "defect_classifier"}, "classes": ("a", "b")}


def save(models: Path, net: nn.Module, seen: Seen | None = None) -> str:
    readme = "# {reference}\n"
    return save_version(models, net, name="net", card=CARD, readme=readme, seen=seen).version


def test_a_version_is_saved_whole_with_its_hashes(tmp_path: Path) -> None:
    seen = Seen(frozenset({mark_of("a")}))
    assert save(tmp_path, nn.Linear(2, 3), seen) == "1"
    folder = tmp_path / "net" / "1"
    names = ["README.md", SUMS_FILE, "model.json", WEIGHTS_FILE, "trained_on.csv"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    assert (folder / "README.md").read_text() == "# net@1\n"
    assert read_seen(folder) == seen
    lines = [line.split("  ") for line in (folder / SUMS_FILE).read_text().splitlines()]
    assert {name for _, name in lines} == {*names} - {SUMS_FILE}
    assert all(file_sha256(folder / name) == sha256 for sha256, name in lines)
    assert verify(tmp_path, shipped=tmp_path / "none").faults == ()
    (folder / "README.md").write_text("# better than it is\n")
    (fault,) = verify(tmp_path, "net", shipped=tmp_path / "none").faults
    assert fault.file == folder / "README.md"


def test_equal_weights_take_no_further_space_and_others_do(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Linear(2, 3)
    assert [save(tmp_path, net), save(tmp_path, net), save(tmp_path, nn.Linear(2, 3))] == [*"123"]
    one, two, three = (tmp_path / "net" / version / WEIGHTS_FILE for version in "123")
    assert one.samefile(two)
    assert not one.samefile(three)
    assert json.loads((two.parent / "model.json").read_text())["version"] == "2"


def test_a_number_taken_meanwhile_is_left_to_the_other(tmp_path: Path) -> None:
    class Slow(nn.Linear):
        def _save_to_state_dict(self, *args: Any) -> None:
            (tmp_path / "net" / "1").mkdir(exist_ok=True)
            (tmp_path / "net" / "1" / "theirs").touch()
            super()._save_to_state_dict(*args)

    assert save(tmp_path, Slow(2, 3)) == "2"
    assert [path.name for path in (tmp_path / "net" / "1").iterdir()] == ["theirs"]


def test_a_disk_that_fills_registers_nothing(tmp_path: Path) -> None:
    save(tmp_path, nn.Linear(2, 3))
    with (
        no_file_above(30_000),
        pytest.raises(ModelError, match=r"net/2: the model cannot be saved \(File too large\)"),
    ):
        save(tmp_path, nn.Linear(100, 100))
    assert [path.name for path in (tmp_path / "net").iterdir()] == ["1"]
    assert find_model("net", models=tmp_path, shipped=tmp_path / "none").version == "1"


@pytest.mark.parametrize("name", ["../net", "Net", ""])
def test_a_name_that_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Exception, match="must match"):
        save_version(tmp_path / "models", nn.Linear(1, 1), name=name, card=CARD, readme="")
    assert not (tmp_path / "models").exists()

from __future__ import annotations

from pathlib import Path

import pytest

from medvit.errors import ModelError
from medvit.registry.history import HISTORY_FILE
from medvit.registry.integrity import Checked, verify
from medvit.registry.production import promote
from medvit.registry.registry import POINTER
from tests.make.registry import NAME, put_version


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for version in ("1", "2"):
        put_version(tmp_path / "models", version)
    put_version(tmp_path / "models", "1", name="other")
    return tmp_path / "models"


def check(models: Path, reference: str | None = None) -> Checked:
    return verify(models, reference, shipped=models / "none")


def told(checked: Checked) -> list[tuple[str, str]]:
    return [(fault.model, fault.file.name) for fault in checked.faults]


def test_a_registry_as_it_was_written_has_no_fault(models: Path) -> None:
    promote(models, NAME, "1", by="ann", reason="", shipped=models / "none")
    assert check(models) == Checked(("other@1", "steel@1", "steel@2"), ())
    assert check(models, NAME).models == ("steel@1", "steel@2")
    assert check(models, "steel@2").models == ("steel@2",)


@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
@pytest.mark.parametrize("at", [0, -1])
def test_one_byte_that_was_altered_names_its_file(models: Path, name: str, at: int) -> None:
    file = models / NAME / "2" / name
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)
    checked = check(models)
    assert ("steel@2", name) in told(checked)
    assert {fault.model for fault in checked.faults} == {"steel@2"}
    assert told(check(models, "steel@1")) == []


def test_weights_and_sums_that_were_swapped_together_show(models: Path) -> None:
    one, two = models / NAME / "1", models / NAME / "2"
    for name in ("model.safetensors", "SHA256SUMS"):
        (one / name).write_bytes((two / name).read_bytes())
    assert ("steel@1", "model.safetensors") in told(check(models))


def test_a_file_that_is_gone_is_named(models: Path) -> None:
    (models / NAME / "1" / "model.safetensors").unlink()
    (fault,) = check(models).faults
    assert fault.message.startswith("sha256 is missing, written was")


def test_a_history_or_pointer_that_was_altered_is_named(models: Path) -> None:
    for version in ("1", "2"):
        promote(models, NAME, version, by="ann", reason="", shipped=models / "none")
    pointer, file = models / NAME / POINTER, models / NAME / HISTORY_FILE
    good = pointer.read_text()
    pointer.write_text("1\n")
    assert [fault.message for fault in check(models).faults] == ["it names 1, the history 2"]
    pointer.write_text(good)
    file.write_text(file.read_text().replace("ann", "eve"))
    assert told(check(models)) == [("steel", HISTORY_FILE)]
    file.unlink()
    assert [fault.message for fault in check(models).faults] == ["the history it follows is gone"]


def test_an_unknown_model_names_the_known_ones(models: Path) -> None:
    with pytest.raises(ModelError, match="there is no model 'steel@9'") as error:
        check(models, "steel@9")
    assert error.value.hint == "known models: other@1, steel@1, steel@2"

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from medvit.models.card import CARD_FILE, ModelCard, read_card
from medvit.registry import index
from medvit.registry.index import INDEX_FILE, read_index
from medvit.registry.registry import find_model, list_models
from tests.make.registry import NAME, put_version


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for version in ("1", "2", "3"):
        put_version(tmp_path / "models", version, metrics={"accuracy": int(version) / 10})
    return tmp_path / "models"


def read_cards(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows by each card that is read from now on."""
    read: list[str] = []
    real = read_card

    def noted(folder: Path) -> ModelCard:
        read.append(folder.name)
        return real(folder)

    monkeypatch.setattr(index, "read_card", noted)
    return read


def test_a_card_is_read_once_and_again_when_it_changed(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = read_cards(monkeypatch)
    first = read_index(models)
    assert read == []  # made with the versions
    card = models / NAME / "2" / CARD_FILE
    card.write_text(card.read_text().replace("0.2", "0.9"))
    changed = read_index(models)
    assert read == ["2"]
    assert [entry.metrics["accuracy"] for entry in first] == [0.1, 0.2, 0.3]
    assert sorted(entry.metrics["accuracy"] for entry in changed) == [0.1, 0.3, 0.9]


@pytest.mark.parametrize("content", ["", "[]", '{"layout": 0, "versions": []}', '{"layout": 2}'])
def test_an_index_that_is_none_is_made_anew(models: Path, content: str) -> None:
    before = read_index(models)
    (models / INDEX_FILE).write_text(content)
    assert read_index(models) == before
    assert len(json.loads((models / INDEX_FILE).read_text())["versions"]) == 3


def test_a_few_changes_among_many_versions_do_not_write_the_index_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models"
    for number in range(150):
        put_version(models, str(number), metrics={"accuracy": 0.5})
    cards = [models / NAME / str(number) / CARD_FILE for number in range(150)]
    (models / INDEX_FILE).unlink()
    read_index(models)
    written = (models / INDEX_FILE).stat().st_mtime_ns
    cards[7].write_text(cards[7].read_text().replace("0.5", "0.9"))
    changed = {entry.version: entry.metrics["accuracy"] for entry in read_index(models)}
    assert changed == {str(number): 0.9 if number == 7 else 0.5 for number in range(150)}
    assert (models / INDEX_FILE).stat().st_mtime_ns == written
    cards[8].unlink()
    assert len(read_index(models)) == 149
    assert (models / INDEX_FILE).stat().st_mtime_ns > written  # two of 149 are more than 1 %
    read = read_cards(monkeypatch)
    assert len(read_index(models)) == 149
    assert read == []


def test_curves_stay_out_of_the_index(models: Path) -> None:
    put_version(models, "4", metrics={"accuracy": 0.4, "curves": {"classes": {}}})
    assert read_index(models)[-1].metrics == {"accuracy": 0.4}
    assert "curves" in read_card(models / NAME / "4").metrics
    assert "curves" not in find_model(f"{NAME}@4", models=models).metrics


def test_a_version_that_is_gone_is_gone_from_the_list(models: Path) -> None:
    (models / NAME / "2").rename(models / "2")
    assert [entry.version for entry in read_index(models)] == ["1", "3"]


def test_a_broken_card_hides_no_other_model(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    (models / NAME / "2" / CARD_FILE).write_text("{")
    with caplog.at_level(logging.WARNING):
        listed = list_models(models, shipped=models / "none")
    assert [each.version for each in listed] == ["1", "3"]
    assert "2/model.json: not a valid model card" in caplog.text
    assert find_model(NAME, models=models, shipped=models / "none").version == "3"


def test_an_index_that_cannot_be_kept_is_done_without(models: Path) -> None:
    (models / INDEX_FILE).unlink()
    (models / INDEX_FILE).mkdir()
    assert len(read_index(models)) == 3
    assert list((models / INDEX_FILE).iterdir()) == []

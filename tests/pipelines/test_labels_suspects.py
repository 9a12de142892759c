"""The queue of labels that are likely wrong."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medvit.data.manifest import ManifestRow, read_manifest, write_manifest
from medvit.errors import ConfigError, InputError, ModelError
from medvit.store.rows import CaseFilter, Decision
from medvit.store.store import Store
from medvit.workspace import Workspace
from pipelines import labels_import
from pipelines.labels_import import ImportSettings
from pipelines.labels_suspects import SuspectResult, SuspectSettings, run
from tests.make.surface import CLASSES, write_surface_set

NAMES = tuple(sorted(CLASSES))


def found(file: Path, folder: Path, **changes: str) -> SuspectResult:
    settings = SuspectSettings(manifest=file, **{"model": "none", **changes})
    return run(settings, Workspace(folder / "w"))


def spoilt(folder: Path, *, count: int = 16, wrong: int = 3) -> tuple[Path, set[str]]:
    """Write images of which some of each class are called the next class."""
    file = write_surface_set(folder, per_split={"train": count})
    rows, bad = [], set()
    left = dict.fromkeys(NAMES, wrong)
    for row in read_manifest(file).rows:
        label = row.label
        if left[label]:
            left[label] -= 1
            bad.add(row.path)
            label = NAMES[(NAMES.index(label) + 1) % len(NAMES)]
        rows.append(replace(row, label=label))
    write_manifest(file, rows)
    return file, bad


@pytest.mark.slow
def test_planted_wrong_labels_come_first_with_what_they_should_be(tmp_path: Path) -> None:
    file, bad = spoilt(tmp_path)
    result = found(file, tmp_path)
    answer = result.as_json()
    assert answer["noise_rate"] == pytest.approx(9 / 48, abs=0.08)
    assert answer["interval"][0] < 9 / 48 < answer["interval"][1]
    listed = [each["path"] for each in answer["suspects"]]
    assert len(bad & set(listed[:9])) >= 8
    for each in answer["suspects"][:5]:
        truth = each["path"].split("-")[0]
        assert (each["suggested"], each["label"] != truth) == (truth, True)
        assert 0.5 < each["confidence"] <= 1
        assert len(each["neighbours"]) == 5
    sure = [each["confidence"] for each in answer["suspects"]]
    assert sure == sorted(sure, reverse=True)
    rows = list(csv.DictReader((result.run / "suspects.csv").open(encoding="utf-8")))
    assert [row["path"] for row in rows] == listed
    record = json.loads((result.run / "run.json").read_text(encoding="utf-8"))
    assert record["noise_rate"] == round(answer["noise_rate"], 6)
    page = (result.run / "report.html").read_text(encoding="utf-8")
    assert page.count("<figure") == len(listed)
    assert "no groups are named" not in page
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.slow
def test_suspects_that_the_store_knows_wait_in_its_queue(tmp_path: Path) -> None:
    file, _ = spoilt(tmp_path)
    assert found(file, tmp_path).queued == 0  # nobody brought the images in
    workspace = Workspace(tmp_path / "w")
    labels_import.run(
        ImportSettings(source=file, out=tmp_path / "o.csv", reader="Line 4"), workspace
    )
    result = found(file, tmp_path)
    assert result.queued == len(result.suspects) > 0
    worst = result.suspects[0]
    with Store.open(workspace.store_url) as store:
        (first,), _ = store.list_cases(CaseFilter(queue="suspect_label"), limit=1)
        assert first.files == ((tmp_path / worst.path).resolve(),)
        (signal,) = (s for s in store.signals_of(first.case_id) if s.name == "suspect_label")
        assert signal.reason == f"labelled {worst.label}, looks like {worst.suggested}"
        store.decide(Decision(first.case_id, None, "relabel", "Ann", label=worst.suggested))
    assert found(file, tmp_path).queued == len(result.suspects) - 1


def test_a_namesake_elsewhere_is_another_case(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    file, _ = spoilt(tmp_path / "here")
    other, _ = spoilt(tmp_path / "there")
    settings = ImportSettings(source=other, out=tmp_path / "o.csv", reader="Line 4")
    labels_import.run(settings, Workspace(tmp_path / "w"))
    assert found(file, tmp_path).queued == 0


def test_names_of_files_and_classes_are_escaped_on_the_page(tmp_path: Path) -> None:
    file, _ = spoilt(tmp_path)
    evil = "<script>alert(1)</script>"
    rows = [
        replace(row, label=evil if row.label == "dots" else row.label)
        for row in read_manifest(file).rows
    ]
    write_manifest(file, rows)
    page = (found(file, tmp_path).run / "report.html").read_text(encoding="utf-8")
    assert evil not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_an_unreadable_image_is_named_and_the_others_are_judged(tmp_path: Path) -> None:
    file, _ = spoilt(tmp_path)
    (tmp_path / "dots-train-9.png").write_bytes(b"no picture")
    result = found(file, tmp_path)
    assert [path for path, _ in result.problems] == ["dots-train-9.png"]
    assert result.summary.images == 47
    for path in tmp_path.glob("*.png"):
        path.unlink()
    with pytest.raises(InputError, match="none of 48 images can be read"):
        found(file, tmp_path / "again")


def test_images_of_one_group_do_not_vouch_for_each_other(tmp_path: Path) -> None:
    file, bad = spoilt(tmp_path)
    source = sorted(bad)[0]
    rows = list(read_manifest(file).rows)
    row = next(each for each in rows if each.path == source)
    for number in range(6):  # six copies with the same wrong label
        copy = f"copy-{number}.png"
        (tmp_path / copy).write_bytes((tmp_path / source).read_bytes())
        rows.append(ManifestRow(copy, row.label, row.split, row.group))
    write_manifest(file, rows)
    grouped = {each.path for each in found(file, tmp_path).suspects}
    assert source in grouped
    assert {f"copy-{number}.png" for number in range(6)} <= grouped


def test_what_cannot_be_judged_is_refused_or_noted(tmp_path: Path) -> None:
    file = write_surface_set(tmp_path, per_split={"train": 4}, classes=("lines",))
    with pytest.raises(ConfigError, match="got a single class"):
        found(file, tmp_path)
    with pytest.raises(ConfigError, match="no labelled image in split val"):
        found(file, tmp_path, split="val")
    with pytest.raises(ModelError, match="no-such"):
        found(file, tmp_path, model="no-such")
    assert not (tmp_path / "w" / "runs").exists()
    file, _ = spoilt(tmp_path, wrong=0)
    rows = [
        replace(row, label="odd" if row.path == "dots-train-0.png" else row.label, group="")
        for row in read_manifest(file).rows
    ]
    write_manifest(file, rows)
    result = found(file, tmp_path)
    assert result.summary.notes == (
        "not judged, fewer than two images of other groups are called: odd",
        "no groups are named: copies of an image vouch for each other's label",
    )
    assert "dots-train-0.png" not in {each.path for each in result.suspects}


@pytest.mark.slow
@pytest.mark.shared_data
def test_wrong_labels_of_steel_images_are_found(tmp_path: Path, shared_data: Path) -> None:
    # Measured with texture alone: rate 0.213 for 0.208, precision 0.99 at recall 0.9.
    folder = shared_data / "defects" / "neu-det"
    with (folder / "neu-det-dev.csv").open(encoding="utf-8") as stream:
        group = {row["image"]: row["group"] for row in csv.DictReader(stream)}
    with (folder / "splits" / "noisy_sym20.csv").open(encoding="utf-8") as stream:
        flips = list(csv.DictReader(stream))
    rows = [
        ManifestRow(f"{each['image']}.jpg", each["noisy"], "train", group[each["image"]])
        for each in flips
    ]
    file = tmp_path / "labels.csv"
    write_manifest(file, rows)
    settings = SuspectSettings(manifest=file, root=folder / "images", model="none")
    answer = run(settings, Workspace(tmp_path / "w")).as_json()
    wrong = {f"{each['image']}.jpg" for each in flips if each["noisy"] != each["clean"]}
    assert answer["noise_rate"] == pytest.approx(len(wrong) / len(rows), abs=0.03)
    hits = np.cumsum([each["path"] in wrong for each in answer["suspects"]])
    needed = int(np.searchsorted(hits, 0.9 * len(wrong))) + 1
    assert hits[-1] >= 0.9 * len(wrong)
    assert hits[needed - 1] / needed >= 0.97
    truth = {f"{each['image']}.jpg": each["clean"] for each in flips}
    right = [truth[e["path"]] == e["suggested"] for e in answer["suspects"] if e["path"] in wrong]
    assert np.mean(right) >= 0.9

"""A version of a data set: written once, whole or not at all, and any change of it shows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from medvit import atomic
from medvit.data.labels.formats import read_labels
from medvit.errors import InputError
from medvit.labels.cases import Mark, Source
from medvit.labels.dataset import Sample, newest_dataset, read_dataset, read_points, write_dataset

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
BOX = {"x_min": 1, "y_min": 2, "x_max": 5, "y_max": 9}
MARKS = (Mark("f1", "is", "dent", BOX), Mark("f2", "not", "rust", BOX))
FIRST = Sample("im-1", "../images/a.png", "dent", "train", "g1", "aa", MARKS)
SECOND = Sample("im-2", "../images/b.png", "rust", "test", "g2", "bb")
SOURCE = Source("im-1", "f1", "dent", "ann", "dent", NOW, 7, "m@1", "dent", 0.8)


def test_a_version_is_read_as_it_was_written(tmp_path: Path) -> None:
    version = write_dataset(tmp_path, "defect", [FIRST, SECOND], [SOURCE], now=NOW)
    assert (version.number, version.parent) == (1, "")
    assert version.counts == {"test": {"rust": 1}, "train": {"dent": 1}}
    assert version.marked == {"aa": "dent", "bb": "rust"}
    for name, label in (("boxes.json", "dent"), ("rejected.json", "rust")):
        (image,) = (i for i in read_labels(version.folder / name).images if i.boxes)
        box = image.boxes[0]
        assert (box.label, box.x_min, box.y_min, box.x_max, box.y_max) == (label, 1, 2, 5, 9)
    assert "im-1,f1,dent,ann,dent,2026-11-21T09:30:00+00:00,7,m@1,dent,0.8000" in (
        version.folder / "provenance.csv"
    ).read_text(encoding="utf-8")


def test_equal_labels_are_no_new_version_whoever_gave_them(tmp_path: Path) -> None:
    first = write_dataset(tmp_path, "defect", [FIRST], [SOURCE], now=NOW)
    again = write_dataset(tmp_path, "defect", [FIRST], [replace(SOURCE, reader="ben")], now=NOW)
    assert again == first
    other = write_dataset(tmp_path, "defect", [replace(FIRST, label="rust")], [], now=NOW)
    assert (other.number, other.parent) == (2, first.sha256)


def test_what_was_frozen_is_known_after_its_label_is_gone(tmp_path: Path) -> None:
    write_dataset(tmp_path, "defect", [FIRST, SECOND], [], now=NOW)
    write_dataset(tmp_path, "defect", [FIRST], [], now=NOW)
    newest = newest_dataset(tmp_path)
    assert newest is not None
    assert newest.seen == {"aa": ("train", "g1"), "bb": ("test", "g2")}


@pytest.mark.parametrize("name", ["manifest.csv", "boxes.json", "provenance.csv"])
def test_an_altered_file_is_named(tmp_path: Path, name: str) -> None:
    version = write_dataset(tmp_path, "defect", [FIRST], [SOURCE], now=NOW)
    file = version.folder / name
    file.write_text(file.read_text(encoding="utf-8").replace("dent", "rust"), encoding="utf-8")
    with pytest.raises(InputError, match=rf"{name}: sha256 \w+ is not \w+ of dataset.json"):
        read_dataset(version.folder)


def test_a_full_disk_leaves_no_half_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(tmp_path, "defect", [FIRST], [], now=NOW)
    write = atomic.write_text

    def full(path: Path, text: str) -> None:
        if path.name == "provenance.csv":
            raise OSError(28, "No space left on device")
        write(path, text)

    monkeypatch.setattr(atomic, "write_text", full)
    with pytest.raises(InputError, match=r"cannot be written .No space left on device"):
        write_dataset(tmp_path, "defect", [SECOND], [], now=NOW)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1"]


def test_points_of_a_scan_are_kept_by_what_they_are(tmp_path: Path) -> None:
    sphere = {"x_mm": 1.5, "y_mm": -2.0, "z_mm": 3.25, "diameter_mm": 6.0}
    marks = (
        Mark("f1", "is", "nodule", sphere),
        Mark("f2", "not", "nodule", {**sphere, "x_mm": 9.0}),
        Mark("f3", "open", "nodule", {**sphere, "x_mm": 7.0}),
    )
    scan = Sample("ct-1", "/s/one", "", "train", "p", "ct-1", marks, {"name": "1.2.3"})
    version = write_dataset(tmp_path, "nodule", [scan], [], now=NOW)
    assert read_points(version, "is") == {"1.2.3": [[1.5, -2.0, 3.25, 6.0]]}
    assert read_points(version, "not")["1.2.3"][0][0] == 9.0
    assert read_points(version, "open")["1.2.3"][0][0] == 7.0
    moved = replace(scan, marks=marks[:2])
    assert write_dataset(tmp_path, "nodule", [moved], [], now=NOW).marked != version.marked

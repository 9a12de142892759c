"""Shipped images come with their terms and were seen by no shipped model."""

from __future__ import annotations

from pathlib import Path

from medvit.data.manifest import read_manifest
from medvit.data.xsdd_samples import FOLDER, sample_images, write_samples
from medvit.resources import configs_folder


def test_samples_belong_to_the_test_part_of_the_split() -> None:
    rows = read_manifest(configs_folder() / "splits" / "xsdd.csv").rows
    parts = {row.path: row.split for row in rows}
    groups = {row.group for row in rows if row.split != "test"}
    group_of = {row.path: row.group for row in rows}
    for image in sample_images():
        name = image.relative_to(FOLDER).as_posix()
        assert parts[name] == "test"
        assert group_of[name] not in groups


def test_copies_come_with_licence_notice_and_manifest(tmp_path: Path) -> None:
    copies = write_samples(tmp_path)
    assert "Apache License" in (tmp_path / "LICENSE").read_text()
    assert "Symmetry 2021" in (tmp_path / "NOTICE").read_text()
    manifest = read_manifest(tmp_path / "manifest.csv")
    assert [tmp_path / row.path for row in manifest.rows] == list(copies)
    assert all(row.label == Path(row.path).parent.name for row in manifest.rows)

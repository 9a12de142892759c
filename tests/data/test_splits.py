"""Splits: groups stay whole, classes keep their shares, the committed split is this one."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvit.data.manifest import ManifestRow, read_manifest
from medvit.data.splits import SplitShares, split_by_group

ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12)), min_size=1, max_size=60).map(
    lambda pairs: [
        ManifestRow(f"{index}.png", label, "", f"{label}{group}")
        for index, (label, group) in enumerate(pairs)
    ]
)


@given(rows=ROWS)
def test_a_group_is_never_on_two_sides(rows: list[ManifestRow]) -> None:
    sides: dict[str, set[str]] = defaultdict(set)
    for row in split_by_group(rows, shares=SplitShares()):
        sides[row.group].add(row.split)
    assert all(len(names) == 1 for names in sides.values())


@given(rows=ROWS)
def test_the_order_of_rows_does_not_matter(rows: list[ManifestRow]) -> None:
    forward = {row.path: row.split for row in split_by_group(rows, shares=SplitShares())}
    backward = {row.path: row.split for row in split_by_group(rows[::-1], shares=SplitShares())}
    assert forward == backward


def test_single_images_are_split_to_the_image_by_class() -> None:
    rows = [ManifestRow(f"{k}{i}", k, "", "") for k in "ab" for i in range(20)]
    found = Counter((row.label, row.split) for row in split_by_group(rows, shares=SplitShares()))
    assert found == {
        (label, split): count
        for label in "ab"
        for split, count in (("test", 4), ("val", 3), ("train", 13))
    }


def test_shares_that_leave_nothing_to_train_on_are_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.5, 0\.5"):
        SplitShares(val=0.5, test=0.5)


@pytest.mark.shared_data
def test_the_committed_split_of_xsdd_can_be_made_again(shared_data: Path, project: Path) -> None:
    with (shared_data / "defects/x-sdd/x-sdd-dev.csv").open(encoding="utf-8") as stream:
        rows = [
            ManifestRow(line["image"], line["class"], "", line["group"])
            for line in csv.DictReader(stream)
        ]
    made = sorted(split_by_group(rows, shares=SplitShares()), key=lambda row: row.path)
    committed = read_manifest(project / "configs/splits/xsdd.csv").rows
    assert tuple(made) == committed
    assert [replace(row, split="") for row in committed] == sorted(rows, key=lambda row: row.path)

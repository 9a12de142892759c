from __future__ import annotations

from pathlib import Path

import pytest

from medvit.io import peek as peeking
from medvit.io.peek import BATCH_FILES, peek, peek_all
from tests.make.dicom import write_series, write_text
from tests.make.nifti import write_nifti
from tests.make.raster import grey, write_image


def test_each_kind_is_told_apart(tmp_path: Path) -> None:
    header = peek(write_series(tmp_path)[0]).header
    assert header is not None
    assert header.modality == "CT"
    assert peek(write_image(tmp_path / "a.png", grey())).kind == "image"
    assert peek(write_nifti(tmp_path / "a.nii", grey()[None].repeat(4, 0).astype("i2"))).kind == (
        "volume"
    )
    assert peek(tmp_path / "gone").kind == "locked"
    note = peek(write_text(tmp_path / "note.dcm"))
    assert (note.kind, note.header) == ("dicom", None)
    (tmp_path / "a.zip").write_bytes(b"PK\3\4")
    (tmp_path / "b.zip").write_bytes(b"no archive at all")
    assert [peek(tmp_path / name).kind for name in ("a.zip", "b.zip")] == ["archive", "other"]


@pytest.mark.parametrize("ratio", [0.0, 1e9])
def test_answers_come_in_order_with_and_without_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, ratio: float
) -> None:
    monkeypatch.setattr(peeking, "WAITING_RATIO", ratio)
    paths = [tmp_path / f"{number}.txt" for number in range(BATCH_FILES * 11 + 5)]
    for path in paths[::2]:
        path.write_text("note")
    seen = list(peek_all(iter(paths)))
    assert [each.path for each in seen] == paths
    assert [each.kind for each in seen] == ["other", "locked"] * (len(paths) // 2) + ["other"]

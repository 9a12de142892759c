from __future__ import annotations

import os
import stat
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from medvit.errors import ReadError
from medvit.io import archives
from medvit.io.archives import Archives
from medvit.io.discover import discover
from medvit.io.readers import open_volume, read_image
from medvit.io.scratch import Scratch
from medvit.io.triage import triage
from tests.make.dicom import CtSeries, write_series
from tests.make.raster import grey, write_image


def pack(archive: Path, folder: Path) -> Path:
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(folder.rglob("*")):
            packed.write(path, path.relative_to(folder))
    return archive


@pytest.fixture
def packed_scans(tmp_path: Path) -> Path:
    write_series(tmp_path / "plain/patient/a")
    write_image(tmp_path / "plain/steel.png", grey())
    return pack(tmp_path / "scans/week.ZIP", tmp_path / "plain")


@pytest.mark.parametrize("is_named", [False, True])
def test_cases_in_an_archive_are_found_judged_and_read(
    tmp_path: Path, packed_scans: Path, *, is_named: bool
) -> None:
    scratch = Scratch.below(tmp_path / "cache")
    found = discover(packed_scans if is_named else packed_scans.parent, archives=scratch.archives)
    assert [(case.kind, case.source) for case in found.cases] == [
        ("ct", "week.ZIP/patient/a"),
        ("image", "week.ZIP/steel.png"),
    ]
    series, image = found.cases
    assert series.files[0] == packed_scans / "patient/a/0001.dcm"
    assert triage(series, scratch=scratch).shape == (5, 16, 12)
    hu = open_volume(series, scratch=scratch).read_all()
    np.testing.assert_array_equal(hu, CtSeries().hu)
    assert read_image(image, scratch=scratch).pixels.shape == (24, 32, 3)


def test_a_case_outlives_what_was_unpacked_for_it(tmp_path: Path, packed_scans: Path) -> None:
    case = discover(packed_scans, archives=Archives(tmp_path / "one")).cases[0]
    other = Scratch.below(tmp_path / "two")
    np.testing.assert_array_equal(open_volume(case, scratch=other).read_all(), CtSeries().hu)


def test_an_archive_is_unpacked_once(tmp_path: Path, packed_scans: Path) -> None:
    first = Archives(tmp_path / "cache").unpack(packed_scans)
    (first / "steel.png").write_bytes(b"still the same folder")
    assert Archives(tmp_path / "cache").unpack(packed_scans) == first
    assert (first / "steel.png").read_bytes() == b"still the same folder"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [first.name]


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/etc/evil", "c:\\evil", "a\\..\\evil", ".."]
)
def test_a_name_that_leads_out_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("sound", b"x")
        packed.writestr(zipfile.ZipInfo(name), b"x")
    with pytest.raises(ReadError, match=r"a\.zip: a member leads out") as caught:
        Archives(tmp_path / "cache/deep").unpack(tmp_path / "a.zip")
    assert caught.value.reason == "bad_value"
    assert {path.name for path in tmp_path.rglob("*")} == {"a.zip", "cache", "deep"}


def test_a_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(link, b"/etc/passwd")
    with pytest.raises(ReadError, match="or is a link"):
        Archives(tmp_path / "cache").unpack(tmp_path / "a.zip")


def test_an_archive_that_holds_too_much_is_refused_by_number(
    tmp_path: Path, packed_scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MOST_BYTES", 5000)
    with pytest.raises(
        ReadError, match=r"week\.ZIP: \d+ bytes when unpacked, at most 5000"
    ) as caught:
        Archives(tmp_path / "cache").unpack(packed_scans)
    assert caught.value.reason == "too_large"
    monkeypatch.setattr(archives, "MOST_MEMBERS", 3)
    with pytest.raises(ReadError, match="6 files in the archive, at most 3"):
        Archives(tmp_path / "cache").unpack(packed_scans)


def test_a_member_that_is_longer_than_it_says_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("bomb", bytes(1_000_000))
    raw = path.read_bytes()
    size = (1_000_000).to_bytes(4, "little")
    assert raw.count(size) == 2
    path.write_bytes(raw.replace(size, (1000).to_bytes(4, "little")))
    with pytest.raises(ReadError, match="cut short or altered"):
        Archives(tmp_path / "cache").unpack(path)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("kept", [4, 200, 1500, -1])
def test_a_broken_archive_is_one_refused_case(
    tmp_path: Path, packed_scans: Path, kept: int
) -> None:
    packed_scans.write_bytes(packed_scans.read_bytes()[:kept])
    scratch = Scratch.below(tmp_path / "cache")
    (case,) = discover(packed_scans.parent, archives=scratch.archives).cases
    judged = triage(case, scratch=scratch)
    assert (case.source, judged.verdict) == ("week.ZIP", "refuse")
    assert [reason.code for reason in judged.reasons] == ["truncated"]
    assert judged.reasons[0].message.startswith("week.ZIP: the archive is cut short or altered")


def test_an_archive_without_scans_is_no_case(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "notes.zip", "w") as packed:
        packed.writestr("a.txt", "hello")
        packed.writestr("inner.zip", b"PK")
    found = discover(tmp_path, archives=Archives(tmp_path / "cache"))
    assert (found.cases, found.other_files) == ((), 2)


def test_what_was_long_unused_is_removed(tmp_path: Path, packed_scans: Path) -> None:
    old = tmp_path / "cache/old"
    old.mkdir(parents=True)
    (old / "file").write_text("x")
    then = time.time() - 86400 * (archives.UNUSED_DAYS + 1)
    os.utime(old, (then, then))
    fresh = Archives(tmp_path / "cache").unpack(packed_scans)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [fresh.name]

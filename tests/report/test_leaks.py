from __future__ import annotations

import gzip
import io
import json
import sqlite3
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from html import escape
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import DeflatedExplicitVRLittleEndian

from medvit.report import leaks, packed
from medvit.report.identity import identity_of
from medvit.report.leaks import Leak, Searcher, trie_pattern
from medvit.report.packed import PACKED_ERRORS, iter_all_files
from tests.make.dicom import CtSeries, ct_slice, save

NAME = "Quandt^Ulf"
TEXT = "report of ulf quandt, made today"


@pytest.fixture
def searcher() -> Searcher:
    return Searcher(identity_of([("PatientName", NAME), ("PatientID", "12345678")]))


def plain(path: Path) -> None:
    path.write_text(TEXT)


def csv_file(path: Path) -> None:
    path.write_text("case_id,source\nct-1,scans/QUANDT_ULF/1\n")


def json_file(path: Path) -> None:
    path.write_text(json.dumps({"source": f"scans/{NAME}"}))


def html_file(path: Path) -> None:
    path.write_text(f"<p>{escape(NAME)}</p>")


def utf_16(path: Path) -> None:
    path.write_text(TEXT, encoding="utf-16")


def gz(path: Path) -> None:
    path.write_bytes(gzip.compress(TEXT.encode()))


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.txt", TEXT)


def zip_in_tar_in_gz(path: Path) -> None:
    inner, outer = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("b.txt", TEXT)
    with tarfile.open(fileobj=outer, mode="w") as archive:
        entry = tarfile.TarInfo("a.zip")
        entry.size = len(inner.getvalue())
        archive.addfile(entry, io.BytesIO(inner.getvalue()))
    path.write_bytes(gzip.compress(outer.getvalue()))


def sqlite(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute('CREATE TABLE "odd ""name" (id INTEGER, note TEXT)')
        long = "x " * 3000  # longer than a page: the text lies in parts
        database.execute('INSERT INTO "odd ""name" VALUES (1, ?)', (long + TEXT,))
    database.close()


def dicom(path: Path) -> None:
    dataset = ct_slice(CtSeries(), 0)
    dataset.PatientName = NAME
    save(dataset, path)


def deflated_dicom(path: Path) -> None:
    dataset = ct_slice(CtSeries(), 0)
    dataset.PatientName = NAME
    save(dataset, path)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    assert NAME.encode() not in path.read_bytes()


KINDS = [
    plain,
    csv_file,
    json_file,
    html_file,
    utf_16,
    gz,
    zipped,
    zip_in_tar_in_gz,
    sqlite,
    dicom,
    deflated_dicom,
]


@pytest.mark.parametrize("plant", KINDS, ids=lambda plant: plant.__name__)
def test_a_planted_name_is_found_in_every_kind_of_file(
    searcher: Searcher, tmp_path: Path, plant: Callable[[Path], None]
) -> None:
    plant(tmp_path / "file")
    found = searcher.search_file(tmp_path / "file", "file")
    assert {leak.keyword for leak in found} == {"PatientName"}
    assert all(leak.count >= 1 for leak in found)
    told = repr(found).lower()
    assert "quandt" not in told
    assert "ulf" not in told


def test_the_place_of_a_leak_is_told(searcher: Searcher, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("nothing\nulf quandt\n")
    assert searcher.search_file(path, "file") == [Leak("file", "PatientName", 2, "byte 8")]
    zipped(path)
    assert searcher.search_file(path, "f")[0].file == "f!a/b.txt"
    path.unlink()
    sqlite(path)
    assert searcher.search_file(path, "f")[0].where == 'table odd ""name, column note'


def test_a_name_in_a_file_name_is_found_and_masked(searcher: Searcher, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("nothing")
    (found,) = searcher.search_file(path, "a/Quandt_Ulf.csv")
    assert found == Leak("a/***.csv", "PatientName", 2, "the name of the file")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("12345678", 1),
        ("id=12345678;", 1),
        ("12345678. Next", 1),
        ("912345678", 0),
        ("0.12345678", 0),
        ("1.2.12345678.9", 0),
        ("ct-12345678ab", 0),
        ("ULF", 1),
        ("_ulf_", 1),
        ("gulfs", 0),
        ("xquandtx", 1),
        ("iVBOR" + "quandt" * 60, 0),
    ],
)
def test_numbers_and_short_names_count_only_alone(
    searcher: Searcher, text: str, count: int
) -> None:
    assert sum(searcher.search_text(text).values()) == count


@pytest.mark.parametrize("name", ["Müller-Lüdenscheidt^Loriot", "O'Brien^Siobhán", "Ødegård^Åse"])
@pytest.mark.parametrize(
    "written",
    [
        str.upper,
        str.lower,
        json.dumps,
        escape,
        quote,
        lambda text: text.encode("latin-1").decode("utf-8", "surrogateescape"),
    ],
)
def test_letters_with_marks_are_found_however_they_are_written(
    name: str, written: Callable[[str], str]
) -> None:
    searcher = Searcher(identity_of([("PatientName", name)]))
    family = name.split("^", maxsplit=1)[0]
    assert searcher.search_text(f"scans/{written(family)}/1.dcm")["PatientName"] >= 1


def test_a_value_across_two_chunks_is_found_once(
    searcher: Searcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaks, "CHUNK_BYTES", 1000)
    path = tmp_path / "file"
    for before in (0, 1, 990, 995, 999, 1000, 1001, 1995, 2600):
        path.write_bytes(b" " * before + b"12345678" + b" " * 1500)
        assert searcher.search_file(path, "file") == [
            Leak("file", "PatientID", 1, f"byte {before}")
        ]


texts = st.lists(st.binary(min_size=1, max_size=5), min_size=1, max_size=8)


@given(texts=texts, content=st.binary(max_size=30))
def test_a_trie_finds_what_a_plain_search_finds(texts: list[bytes], content: bytes) -> None:
    import re

    pattern = re.compile(trie_pattern(texts), re.DOTALL)
    for start in range(len(content)):
        own = [text for text in texts if content.startswith(text, start)]
        match = pattern.match(content, start)
        assert (match is not None) == bool(own)
        if match is not None:
            assert match.group() == max(own, key=len)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=400))
def test_no_content_crashes_a_search(tmp_path: Path, content: bytes) -> None:
    searcher = Searcher(identity_of([("PatientName", NAME)]))
    path = tmp_path / "file"
    for head in (b"", b"PK\x03\x04", b"\x1f\x8b\x08", b"SQLite format 3\0", bytes(257) + b"ustar"):
        path.write_bytes(head + content)
        try:
            leaks_found = searcher.search_file(path, "file")
        except PACKED_ERRORS:
            continue
        assert all(leak.file.startswith("file") and leak.count for leak in leaks_found)


@pytest.mark.parametrize("limit", ["MOST_UNPACKED_BYTES", "MOST_STREAMED_BYTES"])
def test_a_bomb_is_an_error(
    searcher: Searcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(leaks, "CHUNK_BYTES", 5_000)
    monkeypatch.setattr(packed, limit, 10_000)
    path = tmp_path / "file"
    if limit == "MOST_STREAMED_BYTES":
        path.write_bytes(gzip.compress(bytes(40_000)))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a", bytes(20_000))
    with pytest.raises(ValueError, match="more than 10000 bytes"):
        searcher.search_file(path, "file")


def test_a_file_that_breaks_off_is_an_error(searcher: Searcher, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(b"abc" * 100)[:-12])
    with pytest.raises((EOFError, zlib.error)):
        searcher.search_file(path, "file")


def test_archives_are_not_opened_without_end(searcher: Searcher, tmp_path: Path) -> None:
    content = TEXT.encode()
    for _ in range(packed.DEEPEST + 1):
        content = gzip.compress(content)
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="archives within archives, more than 3 deep"):
        searcher.search_file(path, "file")


def test_hidden_files_are_searched_and_links_are_not(tmp_path: Path) -> None:
    (tmp_path / ".journal").mkdir()
    (tmp_path / ".journal" / "a.json").write_text("{}")
    (tmp_path / "latest").symlink_to(tmp_path / ".journal")
    (tmp_path / "link").symlink_to(tmp_path / ".journal" / "a.json")
    assert list(iter_all_files(tmp_path)) == [tmp_path / ".journal" / "a.json"]


def test_without_values_nothing_is_found(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(TEXT)
    assert Searcher(identity_of([])).search_file(tmp_path / "file", "file") == []

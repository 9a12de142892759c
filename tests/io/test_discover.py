from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from medvit.errors import InputError
from medvit.io.dicom.header import read_header
from medvit.io.discover import discover, file_fingerprint
from tests.make.dicom import (
    CtSeries,
    write_rt_plan,
    write_secondary_capture,
    write_series,
    write_text,
)
from tests.make.nifti import write_nifti
from tests.make.raster import grey, write_image
from tests.make.reader import run_without_privileges

LIST_CASES = """
import sys
from pathlib import Path
from medvit.io.discover import discover
from medvit.io.triage import triage
from PIL import Image
Image.init()
# drop
for case in discover(Path(sys.argv[1])).cases:
    judged = triage(case)
    print(case.source, judged.verdict, judged.reasons[0].code, judged.reasons[0].message)
"""


@pytest.fixture
def open_folder(tmp_path: Path) -> Iterator[Path]:
    """Give a folder that everybody may enter, so that only its content is locked."""
    folder = Path("/tmp") / f"medvit-{os.getpid()}-{tmp_path.name}"
    folder.mkdir(mode=0o755)
    yield folder
    for path in folder.rglob("*"):
        path.chmod(0o755)
    shutil.rmtree(folder)


def test_a_mixed_folder_becomes_cases_and_other_files(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "ct/a")
    write_nifti(tmp_path / "ct/b.nii.gz", CtSeries().hu)
    write_image(tmp_path / "steel/C.PNG", grey())
    write_text(tmp_path / "notes.dcm")
    (tmp_path / "notes.txt").write_text("hello")
    found = discover(tmp_path)
    assert [(case.kind, case.source) for case in found.cases] == [
        ("ct", "ct/a"),
        ("ct", "ct/b.nii.gz"),
        ("ct", "notes.dcm"),
        ("image", "steel/C.PNG"),
    ]
    assert found.cases[0].files == tuple(sorted(paths))
    assert found.cases[0].series_uid == CtSeries().series_uid
    assert found.cases[0].root == tmp_path
    assert found.other_files == 1


def test_two_series_in_one_folder_are_two_cases(tmp_path: Path) -> None:
    write_series(tmp_path, CtSeries(series_uid="1.2.3"))
    write_series(tmp_path, CtSeries(series_uid="1.2.4"), names=[f"b{n}" for n in range(5)])
    found = discover(tmp_path)
    assert [(case.source, case.series_uid) for case in found.cases] == [
        (".", "1.2.3"),
        (".", "1.2.4"),
    ]
    assert found.cases[0].case_id != found.cases[1].case_id


def test_a_series_id_is_worked_out_from_its_uids(tmp_path: Path) -> None:
    write_series(tmp_path / "a")
    uids = sorted(read_header(path).sop_uid for path in (tmp_path / "a").iterdir())
    inner = hashlib.sha256("\0".join([CtSeries().series_uid, *uids]).encode()).hexdigest()
    expected = hashlib.sha256(f"a\0{inner}".encode()).hexdigest()[:12]
    assert discover(tmp_path).cases[0].case_id == f"ct-{expected}"


def test_ids_do_not_depend_on_place_order_or_file_names(tmp_path: Path) -> None:
    write_series(tmp_path / "one/a")
    write_series(tmp_path / "two/a", names=list("edcba"))
    first, second = (discover(tmp_path / name).cases[0] for name in ("one", "two"))
    assert first.case_id == second.case_id


def test_an_image_id_follows_its_content(tmp_path: Path) -> None:
    write_image(tmp_path / "one/a.png", grey())
    write_image(tmp_path / "two/a.png", grey() + 1)
    first, second = (discover(tmp_path / name).cases[0] for name in ("one", "two"))
    assert first.case_id.startswith("im-")
    assert first.case_id != second.case_id


def test_a_fingerprint_sees_size_and_both_ends(tmp_path: Path) -> None:
    raw = bytes(200_000)
    variants = [raw, raw + b"\0", b"\1" + raw[1:], raw[:-1] + b"\1"]
    prints = set()
    for number, content in enumerate(variants):
        (tmp_path / str(number)).write_bytes(content)
        prints.add(file_fingerprint(tmp_path / str(number)))
    assert len(prints) == 4


def test_dicom_without_an_image_is_a_case_by_its_file(tmp_path: Path) -> None:
    write_series(tmp_path)
    write_rt_plan(tmp_path / "plan.dcm")
    write_secondary_capture(tmp_path / "shot.dcm")
    assert [case.source for case in discover(tmp_path).cases] == [".", ".", "plan.dcm"]


def test_one_file_given_by_name_is_its_own_source(tmp_path: Path) -> None:
    path = write_series(tmp_path)[0]
    found = discover(path)
    assert [(case.source, case.root, case.files) for case in found.cases] == [
        (path.name, tmp_path, (path,))
    ]


def test_an_empty_folder_has_no_cases(tmp_path: Path) -> None:
    found = discover(tmp_path)
    assert (found.cases, found.other_files) == ((), 0)


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere") as caught:
        discover(tmp_path / "nowhere")
    assert caught.value.hint


def test_progress_counts_every_file(tmp_path: Path) -> None:
    write_series(tmp_path)
    seen: list[int] = []
    discover(tmp_path, progress=seen.append)
    assert seen == [1, 2, 3, 4, 5]


def test_a_name_that_is_no_text_still_gives_a_case_that_can_be_written(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", grey())
    path.rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
    source = discover(tmp_path).cases[0].source
    assert source == "\\xff.png"
    assert source.encode()


def test_a_link_to_nowhere_is_a_case_and_the_rest_is_found(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", grey())
    (tmp_path / "b.png").symlink_to(tmp_path / "gone.png")
    assert [case.source for case in discover(tmp_path).cases] == ["a.png", "b.png"]


def test_a_locked_folder_and_a_locked_file_are_refused_by_name(open_folder: Path) -> None:
    write_image(open_folder / "sound.png", grey())
    write_image(open_folder / "locked.png", grey()).chmod(0)
    write_series(open_folder / "series")
    (open_folder / "series").chmod(0)
    lines = run_without_privileges(LIST_CASES, open_folder).splitlines()
    assert [line.split(" ", 3)[:3] for line in lines] == [
        ["locked.png", "refuse", "unreadable"],
        ["series", "refuse", "unreadable"],
        ["sound.png", "accept", "ok"],
    ]
    assert "locked.png: cannot be opened (Permission denied)" in lines[0]
    assert "series: cannot be opened (Permission denied)" in lines[1]


def test_a_locked_source_is_one_refused_case(open_folder: Path) -> None:
    write_series(open_folder / "series")
    (open_folder / "series").chmod(0)
    lines = run_without_privileges(LIST_CASES, open_folder / "series").splitlines()
    assert [line.split(" ", 3)[:3] for line in lines] == [[".", "refuse", "unreadable"]]

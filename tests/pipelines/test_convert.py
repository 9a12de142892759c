"""`medvit convert`: what is written, what is refused, and what is left when it ends early."""

from __future__ import annotations

import csv
import gzip
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medvit.errors import InputError, NothingToDoError
from medvit.io.discover import discover
from medvit.io.readers import open_volume
from medvit.io.writing.formats import WRITERS
from medvit.workspace import Workspace
from pipelines.convert import Conversion, ConvertSettings, run
from tests.make.dicom import CtSeries, edit, ramp, write_series
from tests.make.nifti import write_nifti
from tests.make.raster import grey, write_image

ENDINGS = tuple(WRITERS)
UID = "1.2.826.0.1.3680043.8.498."


def convert(source: Path, target: Path, progress: Any = None, **options: Any) -> Conversion:
    settings = ConvertSettings(source=source, target=target, **options)
    return run(settings, workspace=Workspace(source.parent / "workspace"), progress=progress)


@pytest.fixture
def series(tmp_path: Path) -> Path:
    write_series(tmp_path / "in/ct")
    return tmp_path / "in/ct"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def message_of(source: Path, target: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        convert(source, target, **options)
    assert caught.value.hint
    return f"{caught.value.message}; {caught.value.hint}"


def table_of(out: Path) -> list[dict[str, str]]:
    with (out / "converted.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_series_is_read_back_as_it_was(series: Path, out: Path, ending: str) -> None:
    told: list[Any] = []
    conversion = convert(series, out / f"a{ending}", lambda *words: told.append(words[:2]))
    (row,) = conversion.rows
    assert (row.verdict, row.dtype, row.file) == ("accept", "int16", out / f"a{ending}")
    assert told[-1] == (5, 5)
    before, after = open_volume(series), open_volume(out / f"a{ending}")
    np.testing.assert_array_equal(after.read_all(), before.read_all())
    np.testing.assert_allclose(after.affine_lps, before.affine_lps, rtol=0, atol=1e-6)


def test_a_run_is_recorded(series: Path, out: Path) -> None:
    conversion = convert(series, out / "a.mha")
    assert conversion.run is not None
    record = json.loads((conversion.run / "run.json").read_text())
    assert (record["command"], record["state"], record["failures"]) == ("convert", "done", [])
    assert record["counts"] == {"cases": 1, "converted": 1, "kept": 0, "refused": 0, "failed": 0}
    assert record["settings"]["target"] == str(out / "a.mha")


def test_a_workspace_that_cannot_be_written_is_no_hindrance(series: Path, out: Path) -> None:
    settings = ConvertSettings(source=series, target=out / "a.mha")
    (series.parent / "file").write_text("")
    conversion = run(settings, workspace=Workspace(series.parent / "file"))
    assert conversion.run is None
    assert (out / "a.mha").is_file()


def test_hu_with_fractions_are_float(series: Path, out: Path) -> None:
    for path in series.iterdir():
        edit(path, RescaleSlope="0.5")
    (row,) = convert(series, out / "a.mha").rows
    assert row.dtype == "float32"
    hu = open_volume(out / "a.mha").read_all()
    np.testing.assert_array_equal(hu, (ramp((5, 16, 12)) + 1024.0) * 0.5 - 1024)


def test_a_repair_is_said(series: Path, out: Path) -> None:
    write_series(series, CtSeries(step_lps_mm=(0.0, 0.5, 2.0)))
    (row,) = convert(series, out / "a.nii").rows
    assert row.verdict == "repair"
    assert [reason.code for reason in row.reasons] == ["gantry_tilt"]
    assert row.file == out / "a.nii"


def bytes_under(folder: Path) -> bytes:
    files = [path for path in folder.rglob("*") if path.is_file()]
    packed = b"".join(path.read_bytes() for path in files)
    unpacked = (gzip.decompress(p.read_bytes()) for p in files if p.suffix == ".gz")
    return b"".join([packed, *unpacked])


def test_nothing_of_the_patient_goes_along(series: Path, out: Path) -> None:
    for path in series.iterdir():
        edit(path, PatientBirthDate="19010203", StudyDescription="SecretStudy")
    for ending in ENDINGS:
        convert(series, out / f"a{ending}")
        convert(series.parent, out / ending, format=ending)
    written = bytes_under(out)
    assert len(written) > 10 * 5 * 16 * 12 * 2
    for secret in (b"ecret", b"SECRET", b"19010203", UID.encode()):
        assert secret not in written


# Which case


@pytest.fixture
def two(tmp_path: Path) -> Path:
    write_series(tmp_path / "two/b", CtSeries(series_uid=f"{UID}2"))
    write_series(tmp_path / "two/a", CtSeries(series_uid=f"{UID}1", hu=ramp((4, 16, 12))))
    return tmp_path / "two"


def test_several_series_are_refused_with_their_list(two: Path, out: Path) -> None:
    said = message_of(two, out / "a.mha")
    assert f"2 volumes in it, and DST is one: a (series {UID}1); b (series {UID}2)" in said
    assert f"--series {UID}1" in said
    assert not out.exists()


def test_one_of_several_is_chosen_by_its_uid(two: Path, out: Path) -> None:
    (row,) = convert(two, out / "a.mha", series=f"{UID}1").rows
    assert (row.case.source, open_volume(out / "a.mha").shape) == ("a", (4, 16, 12))
    assert f"holds a (series {UID}1); b (series {UID}2)" in message_of(
        two, out / "b.mha", series="1.2.3"
    )


def test_volumes_without_uid_are_named_by_file(tmp_path: Path, out: Path) -> None:
    for name in ("a.nii", "b.nii"):
        write_nifti(tmp_path / "n" / name, ramp((4, 5, 6)))
    said = message_of(tmp_path / "n", out / "a.mha")
    assert "a.nii; b.nii" in said
    assert "as SRC" in said


def test_what_is_refused_beside_the_one_volume_is_left_out(series: Path, out: Path) -> None:
    write_series(series.parent / "short", CtSeries(hu=ramp((2, 16, 12)), series_uid=f"{UID}9"))
    conversion = convert(series.parent, out / "a.mha")
    assert [row.case.source for row in conversion.rows] == ["ct"]
    (other,) = conversion.left_out
    assert (other.case.source, other.reasons[0].code) == ("short", "too_few_slices")


def test_a_refused_series_is_not_written(series: Path, out: Path) -> None:
    sorted(series.iterdir())[2].unlink()
    conversion = convert(series, out / "a.mha")
    (row,) = conversion.rows
    assert (row.verdict, row.reasons[0].code, row.file) == ("refuse", "missing_slices", None)
    assert not out.exists()


def test_images_alone_are_nothing_to_convert(tmp_path: Path, out: Path) -> None:
    write_image(tmp_path / "in/a.png", grey())
    with pytest.raises(NothingToDoError, match="no CT series or volume among 1 other files"):
        convert(tmp_path / "in", out / "a.mha")


# Folders of cases


def test_every_case_of_a_folder_is_a_row(two: Path, out: Path) -> None:
    write_image(two / "a.png", grey())
    write_series(two / "=short", CtSeries(hu=ramp((2, 16, 12)), series_uid=f"{UID}9"))
    values = ramp((8, 9, 20)).astype(np.float32)
    values[:, :, 1] = np.nan  # none of the planes that are looked at first
    write_nifti(two / "nan.nii", values)
    conversion = convert(two, out, format="nii.gz")
    assert conversion.counts == {"converted": 2, "kept": 0, "refused": 1, "failed": 1}
    ids = {case.source: case.case_id for case in discover(two).cases if case.kind == "ct"}
    rows = table_of(out)
    assert [(row["source"], row["verdict"], row["reason"], row["file"]) for row in rows] == [
        ("./=short", "refuse", "too_few_slices", ""),
        ("a", "accept", "ok", f"{ids['a']}.nii.gz"),
        ("b", "accept", "ok", f"{ids['b']}.nii.gz"),
        ("nan.nii", "fail", "bad_value", ""),
    ]
    assert [row["case_id"] for row in rows] == [
        ids[name] for name in ("=short", "a", "b", "nan.nii")
    ]
    written = {path.name for path in out.iterdir()}
    assert written == {"converted.csv", rows[1]["file"], rows[2]["file"]}
    assert open_volume(out / rows[1]["file"]).shape == (4, 16, 12)


def test_a_second_run_keeps_what_is_there_and_does_the_rest(two: Path, out: Path) -> None:
    convert(two, out, format="mhd")
    first, second = [Path(out / row["file"]) for row in table_of(out)]
    second.unlink()  # as if killed between voxels and header
    before = first.stat().st_mtime_ns
    conversion = convert(two, out, format=".mhd")
    assert conversion.counts == {"converted": 1, "kept": 1, "refused": 0, "failed": 0}
    assert first.stat().st_mtime_ns == before
    assert [row["file"] for row in table_of(out)] == [first.name, second.name]
    assert convert(two, out, format="mhd", force=True).counts["converted"] == 2
    assert first.stat().st_mtime_ns > before


def test_an_interrupted_folder_goes_on(two: Path, out: Path) -> None:
    def stop(done: float, _total: float, _what: str) -> None:
        if done > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(two, out, stop, format="mha")
    assert [bool(row["file"]) for row in table_of(out)] == [True, False]
    assert len(list(out.iterdir())) == 2
    assert convert(two, out, format="mha").counts["kept"] == 1


# Wrong targets


@pytest.mark.parametrize(
    ("name", "wanted", "said"),
    [
        ("a.dcm", "", "a.dcm: its ending names no format; end DST in one of .nii, .nii.gz, .mha"),
        ("a.zarr", "", "its ending names no format"),
        (".nii.gz", "", "its ending names no format"),
        ("a", "bmp", "--format bmp: no such format; formats: .nii, .nii.gz, .mha, .mhd, .ome.zarr"),
        ("a.nii", "mha", "a.nii is a .nii file, but --format says .mha"),
        ("in/ct/more", "mha", "a second run would find its own files"),
        ("a\nb.mhd", "", "a MetaImage header cannot name its voxel file so"),
    ],
)
def test_a_target_that_means_nothing_is_refused(
    series: Path, tmp_path: Path, name: str, wanted: str, said: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert said in message_of(series, tmp_path / name, format=wanted)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    assert "gone: no such file or folder" in message_of(tmp_path / "gone", tmp_path / "a.mha")


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_there_is_replaced_only_by_force(
    series: Path, two: Path, out: Path, ending: str
) -> None:
    convert(series, out / f"a{ending}")
    said = message_of(two / "a", out / f"a{ending}")
    assert f"a{ending}: is there already; give --force" in said
    assert open_volume(out / f"a{ending}").shape == (5, 16, 12)
    convert(two / "a", out / f"a{ending}", force=True)
    assert open_volume(out / f"a{ending}").shape == (4, 16, 12)
    assert len(list(out.iterdir())) == (2 if ending == ".mhd" else 1)


def test_voxels_without_header_are_somebodys_too(series: Path, out: Path) -> None:
    out.mkdir()
    (out / "a.raw").write_text("photographs")
    assert "a.raw: is there already" in message_of(series, out / "a.mhd")


@pytest.mark.parametrize("name", ["a.ome.zarr", "a.mha"])
def test_a_folder_of_another_kind_is_not_replaced_by_force(
    series: Path, out: Path, name: str
) -> None:
    (out / name).mkdir(parents=True)
    (out / name / "thesis.txt").write_text("only copy")
    said = message_of(series, out / name, force=True)
    assert "is a folder that no conversion made" in said
    assert (out / name / "thesis.txt").read_text() == "only copy"


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_folder_that_cannot_be_written_is_named(series: Path, out: Path, ending: str) -> None:
    out.write_text("a file in place of the folder")
    assert "out: cannot be written (File exists)" in message_of(series, out / f"a{ending}")
    assert "out: cannot be written" in message_of(series, out, format=ending)


# Ends in the middle


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file grow beyond 1000 bytes, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_full_disk_leaves_nothing(tmp_path: Path, out: Path, ending: str) -> None:
    hu = np.random.default_rng(2).integers(-1000, 1000, (3, 16, 12)).astype(np.int16)
    write_series(tmp_path / "ct", CtSeries(hu=hu))
    with full_disk():
        said = message_of(tmp_path / "ct", out / f"a{ending}")
    assert f"a{ending}: cannot be written (File too large)" in said
    assert list(out.iterdir()) == []


def interrupt(_done: float, _total: float, _what: str) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_interruption_leaves_what_was_there(
    series: Path, two: Path, out: Path, ending: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        convert(series, out / f"a{ending}", interrupt)
    assert list(out.iterdir()) == []
    convert(series, out / f"a{ending}")
    with pytest.raises(KeyboardInterrupt):
        convert(two / "a", out / f"a{ending}", interrupt, force=True)
    assert open_volume(out / f"a{ending}").shape == (5, 16, 12)
    assert len(list(out.iterdir())) == (2 if ending == ".mhd" else 1)


KILLED = """
import os, signal, sys
from pathlib import Path
from medvit.workspace import Workspace
from pipelines.convert import ConvertSettings, run

source, target, workspace = map(Path, sys.argv[1:])
kill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
run(ConvertSettings(source=source, target=target), workspace=Workspace(workspace), progress=kill)
"""


@pytest.mark.slow
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_killed_conversion_leaves_no_file_of_that_name(
    series: Path, out: Path, project: Path, ending: str
) -> None:
    words = [
        sys.executable,
        "-c",
        KILLED,
        *map(str, (series, out / f"a{ending}", out / "workspace")),
    ]
    ended = subprocess.run(words, cwd=project, check=False, capture_output=True)
    assert ended.returncode == -signal.SIGKILL
    assert [name for name in os.listdir(out) if not name.startswith(".")] == []  # noqa: PTH208
    (row,) = convert(series, out / f"a{ending}").rows
    assert row.file is not None


# What ITK gets wrong is told


def test_a_slight_tilt_is_told_for_nifti_alone(series: Path, out: Path) -> None:
    tilt = np.radians(0.15)
    step = (0.0, float(20 * np.sin(tilt)), float(20 * np.cos(tilt)))
    write_series(series, CtSeries(spacing_mm=(20.0, 1.0, 1.0), step_lps_mm=step))
    (row,) = convert(series, out / "a.nii").rows
    # Four steps of 20 mm times the sine of half the tilt, and a little within the slice.
    assert row.verdict == "accept"
    assert "up to 0.10 mm off" in row.notes[0] or "up to 0.11 mm off" in row.notes[0]
    (row,) = convert(series, out / "a.mha").rows
    assert row.notes == ()


def test_a_twin_whose_voxels_itk_would_take_is_told(series: Path, out: Path) -> None:
    (row,) = convert(series, out / "a.nii.gz").rows
    assert row.notes == ()
    (row,) = convert(series, out / "a.nii").rows
    assert row.notes == ("ITK takes the voxels of a.nii for those of a.nii.gz in the same folder",)

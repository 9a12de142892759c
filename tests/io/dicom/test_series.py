from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers, tuples
from pydicom.uid import RLELossless

from medvit.errors import ReadError
from medvit.io.chunk_cache import ChunkCache
from medvit.io.dicom.repair import Plan, plan_series
from medvit.io.dicom.series import judge_dicom, open_dicom, open_plan, read_series
from medvit.volume.volume import Volume
from tests.make.dicom import (
    CtSeries,
    compressed_slice,
    ct_slice,
    edit,
    ramp,
    truncate,
    write_series,
    write_text,
)

BOUNDS = tuples(integers(-1, 17), integers(-1, 17))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("series")
    write_series(path)
    return path


def volume_in(folder: Path, *, cache_bytes: int = 1 << 20) -> Volume:
    plan = plan_series(read_series(sorted(folder.iterdir())))
    assert isinstance(plan, Plan)
    return open_plan(plan, cache_bytes=cache_bytes)


@settings(deadline=None)
@given(z=BOUNDS, y=BOUNDS, x=BOUNDS, cache_bytes=integers(0, 1000))
def test_any_box_equals_the_values_written(
    folder: Path, z: tuple[int, int], y: tuple[int, int], x: tuple[int, int], cache_bytes: int
) -> None:
    box = (slice(*z), slice(*y), slice(*x))
    found = volume_in(folder, cache_bytes=cache_bytes).read(*box)
    np.testing.assert_array_equal(found, CtSeries().hu[box])
    assert found.dtype == np.float32


def test_only_the_slices_asked_for_are_opened(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    volume = volume_in(tmp_path)
    paths[0].unlink()
    everything = slice(None)
    assert volume.read(slice(1, 3), everything, everything).shape == (2, 16, 12)
    with pytest.raises(ReadError, match=paths[0].name) as caught:
        volume.read_all()
    assert caught.value.reason == "unreadable"


def test_every_slice_has_its_own_rescale_and_sign(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    stored = CtSeries().hu[2].astype(np.int32) + 2000
    edit(
        paths[2],
        PixelData=(stored // 2).astype("<u2").tobytes(),
        PixelRepresentation=0,
        RescaleSlope="2",
        RescaleIntercept="-2000",
    )
    expected = CtSeries().hu.astype(np.float32)
    expected[2] = stored // 2 * 2 - 2000
    np.testing.assert_array_equal(volume_in(tmp_path).read_all(), expected)


def test_the_affine_leads_from_the_first_voxel_to_the_last_position(tmp_path: Path) -> None:
    series = CtSeries(spacing_mm=(1.25, 0.7, 0.6))
    write_series(tmp_path, series)
    volume = volume_in(tmp_path)
    np.testing.assert_allclose(volume.spacing_mm, series.spacing_mm)
    last = volume.affine_lps @ [4, 0, 0, 1]
    np.testing.assert_allclose(last[:3], series.positions()[4])


TILTED = CtSeries(step_lps_mm=(0.0, 0.5, 2.0))


def move(path: Path, z_mm: float) -> Path:
    x, y, _ = CtSeries().origin_lps_mm
    return edit(path, ImagePositionPatient=[x, y, z_mm])


def copy(path: Path) -> Path:
    target = path.with_name(f"copy-{path.name}")
    target.write_bytes(path.read_bytes())
    return target


def without_meta(folder: Path) -> None:
    for number, path in enumerate(write_series(folder)):
        ct_slice(CtSeries(), number).save_as(path, implicit_vr=True, little_endian=True)


def tilted_copies_without_meta(folder: Path) -> None:
    for number, path in enumerate(write_series(folder, TILTED)):
        ct_slice(TILTED, number).save_as(path, implicit_vr=True, little_endian=True)
        if number == 1:
            copy(path)


SERIES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "sound": (write_series, ["ok"]),
    "tilted": (lambda folder: write_series(folder, TILTED), ["gantry_tilt"]),
    "uneven": (lambda folder: move(write_series(folder)[2], -25.5), ["uneven_spacing"]),
    "copied": (lambda folder: copy(write_series(folder)[2]), ["duplicate_positions"]),
    "without meta": (without_meta, ["no_meta"]),
    "all at once": (
        tilted_copies_without_meta,
        ["duplicate_positions", "gantry_tilt", "no_meta"],
    ),
    "a gap": (lambda folder: write_series(folder)[2].unlink(), ["missing_slices"]),
    "cut": (lambda folder: truncate(write_series(folder)[0]), ["truncated"]),
    "contradiction": (
        lambda folder: edit(copy(write_series(folder)[2]), RescaleIntercept=-1000),
        ["duplicate_positions"],
    ),
    "lossy": (
        lambda folder: edit(write_series(folder)[2], LossyImageCompression="01"),
        ["lossy_compression"],
    ),
}


@pytest.mark.parametrize("name", SERIES)
def test_judging_and_opening_agree(tmp_path: Path, name: str) -> None:
    write, codes = SERIES[name]
    write(tmp_path)
    files = sorted(tmp_path.iterdir())
    judged = judge_dicom(files)
    assert [reason.code for reason in judged.reasons] == codes
    if judged.verdict == "refuse":
        with pytest.raises(ReadError) as caught:
            open_dicom(files)
        assert (caught.value.reason, caught.value.message) == (codes[0], judged.reasons[0].message)
        return
    volume = open_dicom(files[::-1])
    assert volume.shape == judged.shape == volume.read_all().shape
    assert judged.affine_lps is not None
    np.testing.assert_array_equal(volume.affine_lps, judged.affine_lps)
    assert len(volume.origins) == volume.shape[0]
    if judged.repair is not None:
        found = [(origin.path.name, origin.frame) for origin in volume.origins]
        assert found == [(each.file, each.frame) for each in judged.repair.source_slices]


def test_a_copy_changes_no_value(tmp_path: Path) -> None:
    copy(write_series(tmp_path)[2])
    volume = open_dicom(list(tmp_path.iterdir()))
    np.testing.assert_array_equal(volume.read_all(), CtSeries().hu)
    names = {origin.path.name for origin in volume.origins}
    assert "0003.dcm" in names
    assert "copy-0003.dcm" not in names


def test_a_copy_with_another_rescale_and_sign_but_equal_hu_is_a_copy(tmp_path: Path) -> None:
    path = copy(write_series(tmp_path)[2])
    stored = (CtSeries().hu[2].astype(np.int32) + 2000).astype("<u2")
    edit(path, PixelData=stored.tobytes(), PixelRepresentation=0, RescaleIntercept="-2000")
    judged = judge_dicom(sorted(tmp_path.iterdir()))
    assert [reason.code for reason in judged.reasons[:1]] == ["duplicate_positions"]
    assert judged.verdict == "repair"


def test_files_without_meta_information_give_the_same_values(tmp_path: Path) -> None:
    without_meta(tmp_path)
    files = sorted(tmp_path.iterdir())
    np.testing.assert_array_equal(open_dicom(files).read_all(), CtSeries().hu)
    assert "read as little endian, uncompressed" in judge_dicom(files).reasons[0].message


def test_a_tilt_of_whole_pixels_moves_rows_and_nothing_else(tmp_path: Path) -> None:
    # Each slice lies 1 mm aside, one row, and 2 mm along.
    series = CtSeries(step_lps_mm=(0.0, 1.0, 2.0))
    write_series(tmp_path, series)
    volume = open_dicom(list(tmp_path.iterdir()))
    assert volume.shape == (5, 20, 12)
    np.testing.assert_allclose(volume.spacing_mm, (2.0, 1.0, 0.5))
    np.testing.assert_allclose(volume.affine_lps[:3, 3], series.origin_lps_mm)
    hu = volume.read_all()
    for number in range(5):
        np.testing.assert_array_equal(hu[number, number : number + 16], series.hu[number])
        assert (hu[number, :number] == -1024).all()


def test_an_uneven_stack_keeps_the_slices_that_lie_on_its_grid(tmp_path: Path) -> None:
    move(write_series(tmp_path)[2], -25.5)
    volume = open_dicom(list(tmp_path.iterdir()))
    hu = volume.read_all()
    for number in (0, 1, 3, 4):
        np.testing.assert_array_equal(hu[number], CtSeries().hu[number])
    # The third slice lies 0.5 mm above its place: a share of 2.0 / 2.5 of the way to it.
    expected = CtSeries().hu[1] * 0.2 + CtSeries().hu[2] * 0.8
    np.testing.assert_allclose(hu[2], expected, atol=1e-3)


def test_a_repaired_volume_opens_only_what_it_needs(tmp_path: Path) -> None:
    paths = write_series(tmp_path, TILTED)
    volume = open_dicom(list(tmp_path.iterdir()))
    paths[0].unlink()
    everything = slice(None)
    assert volume.read(slice(2, 4), everything, everything).shape == (2, 18, 12)
    with pytest.raises(ReadError, match=paths[0].name):
        volume.read(slice(0, 1), everything, everything)


def test_decoded_slices_are_kept_in_the_cache_that_is_given(tmp_path: Path) -> None:
    series = CtSeries(hu=ramp((4, 64, 64)))
    for number in range(4):
        compressed_slice(tmp_path / "series" / f"{number}.dcm", RLELossless)
        move(tmp_path / "series" / f"{number}.dcm", 2.0 * number)
    cache = ChunkCache(tmp_path / "cache")
    volume = open_dicom(list((tmp_path / "series").iterdir()), cache=cache)
    np.testing.assert_array_equal(volume.read_all(), np.broadcast_to(series.hu[:1], (4, 64, 64)))
    assert cache.held_bytes() >= 4 * 64 * 64 * 2


def test_a_file_that_is_no_dicom_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"notes\.dcm: does not start like a DICOM file") as caught:
        judge_dicom([write_text(tmp_path / "notes.dcm")])
    assert caught.value.reason == "not_dicom"

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis.strategies import binary, integers, lists, sampled_from, tuples

from tests.faults.catalogue import FAULTS
from tests.faults.slices import changed, worded
from tests.make.damage import Damage, cuts, flips, hostile_lengths, write_liars
from tests.make.exercise import (
    MOST_CHILD_MB,
    MOST_GROWTH_MB,
    MOST_SECONDS,
    Exercised,
    at_most,
    exercise,
    exercise_all,
    exercise_apart,
)
from tests.make.raster import grey, write_image, write_lying

# Broken values are what these tests write; the libraries' words about them are expected.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

VARIANTS = 15
"""Copies of each small sample in the fast set."""

SERIES = (
    "sound",
    "implicit",
    "big_endian",
    "deflated",
    "rle",
    "jpeg_ls",
    "jpeg_2000",
    "jpeg_lossless",
    "enhanced",
    "private_nested",
    "unknown_sequence",
    "nifti",
    "nifti_gz",
    "metaimage",
    "metaimage_zraw",
    "nrrd",
    "nrrd_gzip",
)

IMAGES: dict[str, Callable[[Path], Path]] = {
    "a.png": lambda path: write_image(path, grey()),
    "a.jpg": lambda path: write_image(path, grey()),
    "a.tif": lambda path: write_image(path, grey()),
    "a.bmp": lambda path: write_image(path, grey()),
    "turned.png": lambda path: write_lying(path, grey()),
}
SAMPLES = (*SERIES, *IMAGES)


def write_sample(name: str, folder: Path) -> Path:
    """Write a small sample and return the file to be damaged, the middle one of a series."""
    folder.mkdir(parents=True)
    if name in IMAGES:
        return IMAGES[name](folder / name)
    FAULTS[name].write(folder)
    paths = sorted(folder.iterdir())
    return paths[len(paths) // 2]


def damages(raw: bytes, rng: np.random.Generator, *, count: int) -> Iterator[Damage]:
    """Yield a third of flips in the head, a third anywhere, and a third of lengths and cuts."""
    third = count // 3
    yield from flips(raw, rng, count=third, stop=2048)
    yield from flips(raw, rng, count=third)
    yield from hostile_lengths(raw, rng, count=third - 1)
    yield "cut", raw[: int(rng.integers(len(raw)))]


@pytest.mark.parametrize("name", SAMPLES)
def test_damaged_samples_are_answered_or_refused(name: str, tmp_path: Path) -> None:
    path = write_sample(name, tmp_path / name)
    rng = np.random.default_rng(SAMPLES.index(name))
    for what, raw in damages(path.read_bytes(), rng, count=VARIANTS):
        path.write_bytes(raw)
        with at_most(MOST_SECONDS):
            assert exercise(path.parent), what


@pytest.mark.parametrize("name", SAMPLES)
def test_the_samples_themselves_are_read(name: str, tmp_path: Path) -> None:
    write_sample(name, tmp_path / name)
    assert exercise(tmp_path / name) == "accept"


@settings(deadline=None, max_examples=60)
@given(
    name=sampled_from(SAMPLES),
    edits=lists(tuples(integers(0, 3000), binary(min_size=1, max_size=8)), max_size=5),
    lost_bytes=integers(0, 300),
)
def test_any_edit_is_answered_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    edits: list[tuple[int, bytes]],
    lost_bytes: int,
) -> None:
    folder = tmp_path_factory.mktemp("edited")
    path = write_sample(name, folder / name)
    raw = bytearray(path.read_bytes())
    for place, content in edits:
        raw[place : place + len(content)] = content
    path.write_bytes(bytes(raw[: max(0, len(raw) - lost_bytes)]))
    with at_most(MOST_SECONDS):
        assert exercise(path.parent)
    shutil.rmtree(folder)


def test_a_hang_would_be_seen() -> None:
    def wait() -> None:
        with at_most(0.01):
            while True:
                pass

    with pytest.raises(BaseException, match="took longer than"):
        wait()


def test_what_is_not_a_medvit_error_would_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(_source: Path) -> None:
        msg = "made to fail"
        raise KeyError(msg)

    monkeypatch.setattr("tests.make.exercise.discover", break_down)
    found = exercise_all([tmp_path])
    assert list(found.faults) == [tmp_path.name]
    assert "made to fail" in found.faults[tmp_path.name]


@pytest.mark.slow
def test_small_files_that_claim_a_lot_cost_little(tmp_path: Path) -> None:
    write_liars(tmp_path)
    folders = sorted(tmp_path.iterdir())
    found = exercise_apart(folders)
    check(found)
    assert len(found.answers) == len(folders)
    trusted = {name for name, answer in found.answers.items() if answer in ("accept", "repair")}
    assert trusted == {"elements_dcm", "frames_long_dcm"}  # odd, but what counts is there


ODD_TEXTS = (
    "",
    "0",
    "-1",
    "1e-300",
    "-1e308",
    "1e30",
    "1e400",
    "nan",
    "9" * 200,
    "1" * 60_000,
    "0\\0\\0",
    "1e30\\1e30",
    "1e-9\\1e-9\\1e-9",
    "\\",
    "abc",
    "1,5",
    "\0\0",
    "99999999999",
    "\\".join(["1e-200"] * 6),
    "\\".join(["nan"] * 6),
    "1\\0\\0\\0\\1e-200\\0",
)
TEXT_ELEMENTS = (
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "InstanceNumber",
    "Modality",
    "SOPClassUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "ImageType",
    "PhotometricInterpretation",
    "ConvolutionKernel",
    "AcquisitionNumber",
    "FrameOfReferenceUID",
    "PatientName",
)
NUMBER_ELEMENTS = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "SamplesPerPixel",
)


@pytest.mark.slow
@pytest.mark.parametrize("keyword", TEXT_ELEMENTS)
def test_any_text_in_an_element_is_answered_or_refused(keyword: str, tmp_path: Path) -> None:
    for number, text in enumerate(ODD_TEXTS):
        for only in ((), (4,)):
            folder = tmp_path / f"{number}-{len(only)}"
            folder.mkdir()
            worded(keyword, text, *only)(folder)
            with at_most(MOST_SECONDS):
                assert exercise(folder), text[:50]


def set_number(
    keyword: str, value: int, only: Sequence[int], number: int, dataset: pydicom.Dataset
) -> None:
    if not only or number in only:
        setattr(dataset, keyword, value)


@pytest.mark.slow
@pytest.mark.parametrize("keyword", NUMBER_ELEMENTS)
def test_any_number_in_an_element_is_answered_or_refused(keyword: str, tmp_path: Path) -> None:
    for value in (0, 1, 2, 7, 8, 12, 15, 16, 24, 32, 33, 64, 255, 4096, 65535):
        for only in ((), (4,)):
            folder = tmp_path / f"{value}-{len(only)}"
            folder.mkdir()
            changed(partial(set_number, keyword, value, only))(folder)
            with at_most(MOST_SECONDS):
                assert exercise(folder), value


def check(found: Exercised) -> None:
    """Fail when a batch raised what it must not, took long, or held much."""
    assert found.faults == {}
    assert found.slowest_s[0] < MOST_SECONDS, found.slowest_s
    assert found.growth_mb < MOST_GROWTH_MB
    assert found.child_mb < MOST_CHILD_MB


# Real files: every byte region of each, in batches, each batch in a process of its own.

HEAD_BYTES = 6144
HEAD_FLIPS = 60
PIXEL_FLIPS = 24
LENGTHS = 30
CUTS_IN_HEAD = 4096


def real_files(shared_data: Path) -> list[Path]:
    """Return every malformed, compressed and volume file, and one slice of each real series."""
    ct = shared_data / "ct"
    paths = [path for path in sorted(ct.rglob("*")) if path.is_file() and is_scan(path)]
    every = {"malformed", "compressed", "nifti", "cip_ct64"}
    one = {path.parent: path for path in paths if path.parent.name not in every}
    return [path for path in paths if path.parent.name in every] + list(one.values())


def is_scan(path: Path) -> bool:
    """Return whether a file is none of the notes, tables and licences that lie beside scans."""
    is_text = path.suffix.lower() in (".csv", ".json", ".md", ".txt", ".xml")
    return not is_text and not path.name.startswith(("LICENSE", "ATTRIBUTION"))


def write_neighbours(path: Path, folder: Path) -> None:
    """Write two more slices beside one that has a place, so that its pixels are read."""
    try:
        dataset = pydicom.dcmread(path)
        position = [float(v) for v in dataset.ImagePositionPatient]
        cosines = [float(v) for v in dataset.ImageOrientationPatient]
    except (pydicom.errors.InvalidDicomError, AttributeError, OSError, ValueError, TypeError):
        return
    normal = np.cross(cosines[:3], cosines[3:])
    for number in (1, 2):
        moved = np.array(position) + number * 3.0 * normal
        dataset.ImagePositionPatient = [f"{value:.6f}" for value in moved]
        dataset.SOPInstanceUID = f"1.2.3.{number}"
        dataset.save_as(folder / f"neighbour{number}.dcm")


def variants_of(raw: bytes, seed: int) -> Iterator[Damage]:
    rng = np.random.default_rng(seed)
    yield from flips(raw, rng, count=HEAD_FLIPS, stop=HEAD_BYTES)
    yield from flips(raw, rng, count=PIXEL_FLIPS, start=min(len(raw) // 2, HEAD_BYTES))
    yield from hostile_lengths(raw, rng, count=LENGTHS)
    yield from cuts(raw, until=CUTS_IN_HEAD)


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.parametrize("part", range(4))
def test_damaged_real_files_are_answered_or_refused(
    shared_data: Path, tmp_path: Path, part: int
) -> None:
    files = real_files(shared_data)
    assert len(files) > 30
    count = 0
    for number, path in list(enumerate(files))[part::4]:
        home = tmp_path / f"{number:03d}"
        home.mkdir()
        write_neighbours(path, home)
        folders = []
        for place, (_, raw) in enumerate(variants_of(path.read_bytes(), number)):
            folder = home.with_name(f"{home.name}-{place:03d}")
            shutil.copytree(home, folder, copy_function=_link)
            (folder / path.name).write_bytes(raw)
            folders.append(folder)
        found = exercise_apart(folders)
        assert found.faults == {}, path.name
        check(found)
        count += len(folders)
        for folder in folders:
            shutil.rmtree(folder)
    assert count > 1500


def _link(source: str, target: str) -> str:
    Path(target).hardlink_to(source)
    return target

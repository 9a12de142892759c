from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medvit.errors import InputError, ReadError
from medvit.geometry import affine_from
from medvit.io.writing.metaimage import write_metaimage
from medvit.volume.volume import Volume, volume_of

HU = np.arange(-30, 30).reshape(3, 4, 5)
AFFINE = affine_from((-10.1, -20, 1 / 3), (0, -2.5, 0), (0, 0, 0.7), (0.5, 0, 0))
HEADER = """\
ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
ElementByteOrderMSB = False
CompressedData = False
TransformMatrix = 1.0 0.0 0.0 0.0 0.0 1.0 0.0 -1.0 0.0
Offset = -10.1 -20.0 0.3333333333333333
CenterOfRotation = 0 0 0
ElementSpacing = 0.5 0.7 2.5
DimSize = 5 4 3
ElementType = MET_SHORT
ElementDataFile = """


def broken_volume() -> Volume:
    def read_block(z: slice, y: slice, x: slice) -> Any:
        msg = "a.dcm: cut short"
        raise ReadError(msg, reason="truncated")

    return Volume((3, 4, 5), AFFINE, read_block)


def test_the_header_of_one_file_is_followed_by_its_voxels(tmp_path: Path) -> None:
    assert write_metaimage(volume_of(HU, AFFINE), tmp_path / "a.mha") == np.int16
    expected = f"{HEADER}LOCAL\n".encode() + HU.astype("<i2").tobytes()
    assert (tmp_path / "a.mha").read_bytes() == expected


def test_a_header_names_the_voxels_beside_it(tmp_path: Path) -> None:
    write_metaimage(volume_of(HU, AFFINE), tmp_path / "1.2.3.mhd")
    assert (tmp_path / "1.2.3.mhd").read_text() == f"{HEADER}1.2.3.raw\n"
    assert (tmp_path / "1.2.3.raw").read_bytes() == HU.astype("<i2").tobytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_fractions_are_float(tmp_path: Path) -> None:
    write_metaimage(volume_of(HU + 0.25, AFFINE), tmp_path / "a.mhd")
    assert "ElementType = MET_FLOAT\n" in (tmp_path / "a.mhd").read_text()
    assert (tmp_path / "a.raw").read_bytes() == (HU + 0.25).astype("<f4").tobytes()


@pytest.mark.parametrize("name", ["LIST.mhd", "a%d.mhd", " a.mhd", "a\nb.mhd"])
def test_names_that_itk_takes_for_something_else_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        write_metaimage(volume_of(HU, AFFINE), tmp_path / name)
    assert repr(name.replace(".mhd", ".raw")) in caught.value.message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["LOCAL.mhd", "list.mhd", "a b.mhd", "\u00e4,=#.mhd"])
def test_names_that_itk_reads_are_written(tmp_path: Path, name: str) -> None:
    sitk: Any = pytest.importorskip("SimpleITK")
    write_metaimage(volume_of(HU, AFFINE), tmp_path / name)
    image = sitk.ReadImage(str(tmp_path / name))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), HU)


@pytest.mark.parametrize("name", ["a.mha", "a.mhd"])
def test_a_source_that_breaks_off_leaves_what_was_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(ReadError):
        write_metaimage(broken_volume(), tmp_path / name)
    assert not list(tmp_path.iterdir())
    write_metaimage(volume_of(HU, AFFINE), tmp_path / name)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ReadError):
        write_metaimage(broken_volume(), tmp_path / name)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_voxels_do_not_stay_without_their_header(tmp_path: Path) -> None:
    (tmp_path / "a.mhd").mkdir()  # so the header cannot take its name
    with pytest.raises(OSError, match=r"a\.mhd"):
        write_metaimage(volume_of(HU, AFFINE), tmp_path / "a.mhd")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mhd"]

"""Volumes in one file, sound and broken: NIfTI, MetaImage, NRRD."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from tests.faults.geometry import OBLIQUE, TILT_15
from tests.faults.scan import SCAN, Array, Scan
from tests.faults.truth import Fault, Truth, exact, resampled

HU = SCAN.hu()
OTHER = replace(SCAN, noise_seed=8)
TURNED = replace(SCAN, orientation=(-1.0, 0.0, 0.0, 0.0, -1.0, 0.0))
DOWNWARDS = replace(SCAN, orientation=(1.0, 0.0, 0.0, 0.0, -1.0, 0.0))
AT_AN_ANGLE = replace(SCAN, orientation=OBLIQUE)

CONTRADICTION = frozenset({"bad_value", "no_position", "mixed_orientation", "encoding"})
NO_PLACE = frozenset({"no_position", "missing_data", "bad_value"})
DIMENSIONS = frozenset({"wrong_dimensions"})
CUT = frozenset({"truncated", "undecodable"})
ABSENT = frozenset({"missing_data", "truncated", "unreadable", "bad_value"})
TILT = frozenset({"gantry_tilt"})

EMPTY: Mapping[str, str] = {}

Writer = Callable[[Path], None]
Bytes = npt.NDArray[Any]


def _ras_affine(scan: Scan) -> Array:
    """Return the matrix from `(x, y, z, 1)` to RAS mm."""
    affine: Array = (np.diag([-1.0, -1.0, 1.0, 1.0]) @ scan.affine_lps())[:, [2, 1, 0, 3]]
    return affine


def nifti(
    scan: Scan = SCAN,
    *,
    values: Bytes | None = None,
    codes: tuple[int, int] = (1, 0),
    qform: Array | None = None,
    scale: tuple[float, float] | None = None,
    order: str = "<",
) -> Any:
    """Return a NIfTI image with codes of sform and qform, in `(x, y, z)` order."""
    values = scan.hu() if values is None else values
    stored = np.asarray(values.transpose(*range(values.ndim)[::-1]))
    stored = stored.astype(np.int16) if stored.dtype == np.int32 else stored
    affine = _ras_affine(scan)
    nifti1: Any = nib.nifti1
    header = nifti1.Nifti1Header(endianness=order)
    image = nifti1.Nifti1Image(stored, affine, header)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=codes[0])
    image.set_qform(affine if qform is None else qform, code=codes[1])
    if scale is not None:
        image.header.set_slope_inter(*scale)
    return image


def _written(name: str = "ct.nii", **options: Any) -> Writer:
    def write(folder: Path) -> None:
        nifti(**options).to_filename(folder / name)

    return write


def _scaled(folder: Path) -> None:
    image = nifti(values=(HU + 1024) * 2)
    raw = bytearray(image.to_bytes())
    raw[112:120] = np.array([0.5, -1024], "<f4").tobytes()
    (folder / "ct.nii").write_bytes(bytes(raw))


def _slope_zero(folder: Path) -> None:
    raw = bytearray(nifti().to_bytes())
    raw[112:120] = np.array([0, 0], "<f4").tobytes()
    (folder / "ct.nii").write_bytes(bytes(raw))


def _cut(name: str, *, lost_bytes: int, **options: Any) -> Writer:
    def write(folder: Path) -> None:
        nifti(**options).to_filename(folder / name)
        path = folder / name
        path.write_bytes(path.read_bytes()[:-lost_bytes])

    return write


def _shifted_qform() -> Array:
    affine = _ras_affine(SCAN)
    affine[0, 3] += 10.0
    return affine


def _with_nan() -> Bytes:
    values = HU.astype(np.float32)
    values[4, 10, 10] = np.nan
    return values


def _numbers(values: Sequence[float] | Array) -> str:
    return " ".join(f"{value:.9g}" for value in values)


def nifti_head(scan: Scan) -> bytes:
    """Return the header of a `.nii` of 16 bit values, up to its first voxel."""
    nifti1: Any = nib.nifti1
    header = nifti1.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(scan.shape[::-1])
    header.set_xyzt_units("mm")
    header.set_sform(_ras_affine(scan), code=1)
    header["pixdim"][1:4] = np.linalg.norm(scan.affine_lps()[:3, :3], axis=0)[::-1]
    header["vox_offset"] = 352
    return bytes(header.binaryblock) + bytes(4)


def metaimage_head(
    scan: Scan, *, data: str = "LOCAL", order: str = "<", fields: Mapping[str, str] = EMPTY
) -> bytes:
    """Return the header of a MetaImage of 16 bit values."""
    affine = scan.affine_lps()
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    lines = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": str(order == ">"),
        "CompressedData": str(data.endswith(".zraw")),
        "TransformMatrix": _numbers((affine[:3, :3] / spacing).T[::-1].ravel()),
        "Offset": _numbers(affine[:3, 3]),
        "CenterOfRotation": "0 0 0",
        "AnatomicalOrientation": "RAI",
        "ElementSpacing": _numbers(spacing[::-1]),
        "DimSize": " ".join(map(str, scan.shape[::-1])),
        "ElementType": "MET_SHORT",
        **fields,
        "ElementDataFile": data,
    }
    return "".join(f"{key} = {value}\n" for key, value in lines.items()).encode()


def metaimage(
    folder: Path, scan: Scan = SCAN, *, data: str = "LOCAL", order: str = "<", **fields: str
) -> None:
    """Write a MetaImage: `ct.mha`, or `ct.mhd` and the file that `data` names."""
    head = metaimage_head(scan, data=data, order=order, fields=fields)
    voxels = scan.hu().astype(f"{order}i2").tobytes()
    if data == "LOCAL":
        (folder / "ct.mha").write_bytes(head + voxels)
        return
    (folder / "ct.mhd").write_bytes(head)
    packed = zlib.compress(voxels) if data.endswith(".zraw") else voxels
    (folder / Path(data).name).write_bytes(packed)


def _meta(scan: Scan = SCAN, **options: str) -> Writer:
    return lambda folder: metaimage(folder, scan, **options)


def _raw_missing(folder: Path) -> None:
    metaimage(folder, data="ct.raw")
    (folder / "ct.raw").unlink()


def _shortened(write: Writer, name: str, *, lost_bytes: int = 200) -> Writer:
    def shorten(folder: Path) -> None:
        write(folder)
        path = folder / name
        path.write_bytes(path.read_bytes()[:-lost_bytes])

    return shorten


def nrrd(
    folder: Path,
    scan: Scan = SCAN,
    *,
    space: str = "left-posterior-superior",
    encoding: str = "raw",
    data: str = "",
    **fields: str,
) -> None:
    """Write an NRRD file: `ct.nrrd`, or `ct.nhdr` and the file that `data` names."""
    turn = np.array([-1.0, -1.0, 1.0] if space.startswith("right") else [1.0, 1.0, 1.0])
    affine = scan.affine_lps()[:3] * turn[:, None]
    lines = {
        "type": "short",
        "dimension": "3",
        "space": space,
        "sizes": " ".join(map(str, scan.shape[::-1])),
        "space directions": " ".join(_vector(affine[:, axis]) for axis in (2, 1, 0)),
        "kinds": "domain domain domain",
        "endian": "little",
        "encoding": encoding,
        "space origin": _vector(affine[:, 3]),
        **{key.replace("_", " "): value for key, value in fields.items()},
        "data file": data,
    }
    head = "NRRD0004\n" + "".join(f"{key}: {value}\n" for key, value in lines.items() if value)
    voxels = scan.hu().astype("<i2").tobytes()
    packed = gzip.compress(voxels, mtime=0) if encoding == "gzip" else voxels
    if data:
        (folder / "ct.nhdr").write_text(head)
        (folder / data).write_bytes(packed)
    else:
        (folder / "ct.nrrd").write_bytes(head.encode() + b"\n" + packed)


def _vector(values: Array) -> str:
    return "(" + ",".join(f"{value:.9g}" for value in values) + ")"


def _nrrd(scan: Scan = SCAN, **options: str) -> Writer:
    return lambda folder: nrrd(folder, scan, **options)


def _detached_missing(folder: Path) -> None:
    nrrd(folder, data="ct.raw")
    (folder / "ct.raw").unlink()


def _nrrd_without_space(folder: Path) -> None:
    nrrd(folder, space="", space_directions="", space_origin="", spacings="0.8 1 2.5")


def _one(scan: Scan = SCAN) -> Callable[[], list[Truth]]:
    return lambda: [exact(scan)]


def _sound(name: str, wrong: str, write: Writer, scan: Scan = SCAN) -> Fault:
    return Fault(name, "formats", wrong, write, _one(scan), must_read=True)


def _refused(name: str, wrong: str, write: Writer, codes: frozenset[str]) -> Fault:
    return Fault(name, "formats", wrong, write, refuse=codes)


def _sheared(name: str, wrong: str, write: Writer) -> Fault:
    truth = lambda: [resampled(TILT_15)]  # noqa: E731
    return Fault(name, "formats", wrong, write, truth, refuse=TILT, say=TILT)


FORMATS = (
    _sound("nifti", "NIfTI with an sform: sound.", _written()),
    _sound("nifti_gz", "NIfTI, compressed: sound.", _written("ct.nii.gz")),
    _sound("nifti_qform", "NIfTI with a qform alone: sound.", _written(codes=(0, 1))),
    _sound("nifti_big_endian", "Big-endian NIfTI: sound.", _written(order=">")),
    _sound(
        "nifti_turned",
        "NIfTI whose x and y run from left and back: sound.",
        _written(scan=TURNED),
        TURNED,
    ),
    _sound(
        "nifti_oblique",
        "NIfTI at an angle to all axes: sound.",
        _written(scan=AT_AN_ANGLE),
        AT_AN_ANGLE,
    ),
    _sound("nifti_slope_zero", "NIfTI with scl_slope 0, which means none: sound.", _slope_zero),
    _sound("nifti_scaled", "NIfTI with scl_slope 0.5 and scl_inter -1024: sound.", _scaled),
    _sound("nifti_float", "NIfTI of 32 bit floats: sound.", _written(values=HU.astype(np.float32))),
    Fault(
        "nifti_forms_conflict",
        "formats",
        "sform and qform lie 10 mm apart.",
        _written(codes=(1, 1), qform=_shifted_qform()),
        _one(),
        refuse=CONTRADICTION,
        say=CONTRADICTION,
    ),
    _refused(
        "nifti_no_form",
        "Neither sform nor qform is set: left and right are unknown.",
        _written(codes=(0, 0)),
        NO_PLACE,
    ),
    Fault(
        "nifti_4d",
        "formats",
        "NIfTI of two points in time.",
        _written(values=np.stack([HU, OTHER.hu()])),
        lambda: [exact(SCAN), exact(OTHER)],
        refuse=DIMENSIONS,
        say=DIMENSIONS,
    ),
    _sheared(
        "nifti_sheared", "NIfTI whose sform is sheared by 15 degrees.", _written(scan=TILT_15)
    ),
    Fault(
        "nifti_labels",
        "formats",
        "A label map: 0 to 3.",
        _written(values=(np.abs(HU) % 4).astype(np.uint8)),
        refuse=frozenset({"not_hu"}),
        asks_for_ct=True,
    ),
    Fault(
        "nifti_nan",
        "formats",
        "One voxel is NaN.",
        _written(values=_with_nan()),
        refuse=frozenset({"bad_value", "missing_data"}),
        may_be_late=True,
    ),
    _refused("nifti_cut", "NIfTI that ends 200 bytes early.", _cut("ct.nii", lost_bytes=200), CUT),
    _refused(
        "nifti_gz_cut",
        "Compressed NIfTI that ends 200 bytes early.",
        _cut("ct.nii.gz", lost_bytes=200),
        CUT,
    ),
    _sound("metaimage", "MetaImage in one file: sound.", _meta()),
    _sound("metaimage_detached", "MetaImage with a .raw beside it: sound.", _meta(data="ct.raw")),
    _sound("metaimage_zraw", "MetaImage with a .zraw beside it: sound.", _meta(data="ct.zraw")),
    _sound("metaimage_big_endian", "Big-endian MetaImage: sound.", _meta(order=">")),
    _sound(
        "metaimage_turned",
        "MetaImage with a TransformMatrix of -1 -1 1: sound.",
        _meta(TURNED),
        TURNED,
    ),
    _sound(
        "metaimage_oblique",
        "MetaImage at an angle to all axes: sound.",
        _meta(AT_AN_ANGLE),
        AT_AN_ANGLE,
    ),
    _sheared(
        "metaimage_sheared",
        "MetaImage whose TransformMatrix is sheared by 15 degrees.",
        _meta(TILT_15),
    ),
    _refused("metaimage_raw_missing", "MetaImage header without its .raw.", _raw_missing, ABSENT),
    _refused(
        "metaimage_raw_short",
        "MetaImage whose .raw ends early.",
        _shortened(_meta(data="ct.raw"), "ct.raw"),
        CUT,
    ),
    _refused(
        "metaimage_zraw_short",
        "MetaImage whose .zraw ends early.",
        _shortened(_meta(data="ct.zraw"), "ct.zraw"),
        CUT,
    ),
    _refused(
        "metaimage_elsewhere",
        "MetaImage that asks for a file outside its folder.",
        _meta(data="../../../../ct.raw"),
        ABSENT | {"not_an_image"},
    ),
    _refused(
        "metaimage_spacing_zero",
        "MetaImage whose slices are 0 mm apart.",
        _meta(ElementSpacing="0.8 1 0"),
        NO_PLACE,
    ),
    _refused(
        "metaimage_spacing_negative",
        "MetaImage whose slices are -2.5 mm apart.",
        _meta(ElementSpacing="0.8 1 -2.5"),
        NO_PLACE,
    ),
    _refused(
        "metaimage_4d",
        "MetaImage of four axes.",
        _meta(
            NDims="4",
            DimSize="40 32 3 3",
            ElementSpacing="0.8 1 2.5 1",
            TransformMatrix="1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1",
            Offset="0 0 0 0",
            CenterOfRotation="0 0 0 0",
        ),
        DIMENSIONS,
    ),
    _sound("nrrd", "NRRD in LPS: sound.", _nrrd()),
    _sound("nrrd_ras", "NRRD in RAS: sound.", _nrrd(space="right-anterior-superior")),
    _sound("nrrd_gzip", "NRRD, compressed: sound.", _nrrd(encoding="gzip")),
    _sound("nrrd_detached", "NRRD header with a .raw beside it: sound.", _nrrd(data="ct.raw")),
    _sound(
        "nrrd_turned",
        "NRRD whose rows run upwards, so that axes are left-handed or down.",
        _nrrd(DOWNWARDS, space="right-anterior-superior"),
        DOWNWARDS,
    ),
    _sheared("nrrd_sheared", "NRRD whose directions are sheared by 15 degrees.", _nrrd(TILT_15)),
    _refused(
        "nrrd_no_space",
        "NRRD with spacings alone: left and right are unknown.",
        _nrrd_without_space,
        NO_PLACE,
    ),
    _refused(
        "nrrd_gzip_cut",
        "Compressed NRRD that ends early.",
        _shortened(_nrrd(encoding="gzip"), "ct.nrrd"),
        CUT,
    ),
    _refused("nrrd_data_missing", "NRRD header without its .raw.", _detached_missing, ABSENT),
)
"""Faults of volume files."""

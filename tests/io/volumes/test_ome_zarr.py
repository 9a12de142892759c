from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numcodecs import LZ4, Blosc, GZip, Zlib, Zstd  # type: ignore[import-untyped]
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

from medvit.errors import ReadError
from medvit.io.volumes.formats import is_volume_folder, judge_volume_file, open_volume_file
from tests.make.volumes import AFFINE_LPS, HU, PLACE, change_json, write_zarr


def refusal_of(path: Path) -> ReadError:
    with pytest.raises(ReadError) as caught:
        judge_volume_file(path)
    return caught.value


@pytest.mark.parametrize("version", [2, 3])
def test_voxels_and_place_are_as_written(tmp_path: Path, version: int) -> None:
    folder = write_zarr(tmp_path / "a.ome.zarr", version=version)
    volume = open_volume_file(folder)
    np.testing.assert_array_equal(volume.read_all(), HU)
    np.testing.assert_array_equal(volume.affine_lps, AFFINE_LPS)
    box = (slice(1, 4), slice(3, 6), slice(2, 5))
    np.testing.assert_array_equal(volume.read(*box), HU[box])
    assert volume.read(slice(0, 0), slice(0, 3), slice(0, 3)).shape == (0, 3, 3)
    assert [reason.code for reason in judge_volume_file(folder).reasons] == ["ok"]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("axes", ["czyx", "tczyx", "xyz", "yzx"])
def test_axes_go_by_their_names(tmp_path: Path, axes: str, version: int) -> None:
    space = "".join(name for name in axes if name in "xyz")
    values = HU.transpose(["zyx".index(name) for name in space])
    shape = [values.shape[space.index(name)] if name in space else 1 for name in axes]
    sizes = dict(zip("zyx", (2.0, 0.75, 0.5), strict=True))
    scale = tuple(sizes.get(name, 1.0) for name in axes)
    values = values.reshape(shape)
    folder = write_zarr(tmp_path / "a.zarr", values, version=version, axes=axes, scale=scale)
    volume = open_volume_file(folder)
    np.testing.assert_array_equal(volume.read_all(), HU)
    np.testing.assert_array_equal(volume.affine_lps, AFFINE_LPS)


def test_shards_and_other_byte_orders_are_read(tmp_path: Path) -> None:
    folder = write_zarr(tmp_path / "a.zarr", chunks=(1, 2, 4), shards=(2, 4, 8))
    np.testing.assert_array_equal(open_volume_file(folder).read_all(), HU)
    folder = write_zarr(tmp_path / "b.zarr", HU.astype(">f4"), version=2)
    np.testing.assert_array_equal(open_volume_file(folder).read_all(), HU)


def test_a_turned_affine_turns_the_volume(tmp_path: Path) -> None:
    affine = AFFINE_LPS.copy()
    affine[:3, 2] *= -1
    place = PLACE | {"affine_lps_zyx": affine.tolist()}
    volume = open_volume_file(write_zarr(tmp_path / "a.zarr", place=place))
    np.testing.assert_array_equal(volume.read_all(), HU[:, :, ::-1])
    assert volume.affine_lps[0].tolist() == [0.0, 0.0, 0.5, -10.0 - 6 * 0.5]


def test_micrometres_are_turned_to_mm(tmp_path: Path) -> None:
    folder = write_zarr(tmp_path / "a.zarr", scale=(2000.0, 750.0, 500.0))
    for axis in range(3):
        keys = ("attributes", "ome", "multiscales", 0, "axes", axis, "unit")
        change_json(folder / "zarr.json", *keys, value="micrometer")
    assert open_volume_file(folder).spacing_mm == (2.0, 0.75, 0.5)


def test_a_scale_of_the_whole_image_counts_too(tmp_path: Path) -> None:
    folder = write_zarr(tmp_path / "a.zarr", scale=(1.0, 1.0, 1.0))
    steps = [{"type": "scale", "scale": [2.0, 0.75, 0.5]}, {"type": "identity"}]
    keys = ("attributes", "ome", "multiscales", 0, "coordinateTransformations")
    change_json(folder / "zarr.json", *keys, value=steps)
    assert open_volume_file(folder).spacing_mm == (2.0, 0.75, 0.5)


IMAGE = ("attributes", "ome", "multiscales", 0)
FIRST = (*IMAGE, "datasets", 0)


@pytest.mark.parametrize(
    ("keys", "value", "reason", "message"),
    [
        (("attributes", "medvit"), ..., "no_position", "where left and right are"),
        (("attributes", "medvit", "space"), "RAS", "no_position", "where left and right are"),
        (("attributes", "medvit", "affine_lps_zyx"), [1, 2], "bad_value", "cannot reshape"),
        (("attributes", "medvit", "affine_lps_zyx"), "x", "bad_value", "no image"),
        ((*FIRST, "coordinateTransformations", 0, "scale"), [2, 1, 1], "bad_value", "[2.0, 1.0"),
        ((*FIRST, "coordinateTransformations", 0, "scale"), [2, 1], "bad_value", "no image"),
        ((*FIRST, "coordinateTransformations", 0, "type"), "affine", "bad_value", "'affine'"),
        ((*FIRST, "path"), "../a.zarr/0", "bad_value", "'../a.zarr/0'"),
        ((*FIRST, "path"), "/etc", "bad_value", "'/etc'"),
        ((*FIRST, "path"), "1", "missing_data", "1/zarr.json: the file is not there"),
        ((*FIRST, "path"), 0, "bad_value", "no image"),
        ((*IMAGE, "axes", 0, "name"), "t", "bad_value", "with axes z, y, x"),
        ((*IMAGE, "axes", 0, "unit"), "furlong", "bad_value", "'furlong'"),
        ((*IMAGE, "axes"), ["z", "y", "x"], "bad_value", "no image"),
        ((*IMAGE, "datasets"), [], "bad_value", "no image"),
        (("attributes", "ome", "multiscales"), [], "bad_value", "no image"),
        (("attributes", "ome"), ..., "bad_value", "no image"),
        (("attributes",), [], "bad_value", "no image"),
    ],
)
def test_an_image_that_cannot_be_trusted_is_refused(
    tmp_path: Path, keys: tuple[str | int, ...], value: Any, reason: str, message: str
) -> None:
    folder = write_zarr(tmp_path / "a.zarr")
    change_json(folder / "zarr.json", *keys, value=value)
    error = refusal_of(folder)
    assert (error.reason, message in error.message) == (reason, True), error.message


CODEC_0 = ("codecs", 0, "name")
GRID = ("chunk_grid", "configuration", "chunk_shape")


@pytest.mark.parametrize(
    ("keys", "value", "reason", "message"),
    [
        (("shape",), [10**5, 10**5, 10**5], "too_large", "a plane of 20000000000 bytes"),
        (("shape",), [10**5, 10**4, 10**4], "missing_data", "is not there"),
        (GRID, [10**4, 10**4, 10**4], "too_large", "chunks of 2000000000000 bytes"),
        (GRID, [0, 4, 4], "bad_value", "a length of 0"),
        (GRID, [2, 4], "bad_value", "chunks [2, 4]"),
        (("shape",), [5, 6, "7"], "bad_value", "'7'"),
        (("shape",), [5, 6], "bad_value", "shape [5, 6]"),
        (("shape",), 7, "bad_value", "broken"),
        (("data_type",), "complex64", "bad_value", "complex64"),
        (("data_type",), "uint16", "not_hu", "uint16"),
        (("node_type",), "group", "bad_value", "'group'"),
        (("chunk_grid", "name"), "rectangular", "bad_value", "'rectangular'"),
        (CODEC_0, "numcodecs.pickle", "undecodable", "['pickle']"),
        (CODEC_0, "https://example.org/codec", "undecodable", "example.org"),
        (CODEC_0, "numcodecs.bz2", "undecodable", "['bz2']"),
        (CODEC_0, "delta", "undecodable", "cannot be unpacked"),
        (("codecs",), [{"name": 5}], "bad_value", "broken"),
        (("codecs",), "bytes", "undecodable", "cannot be unpacked"),
    ],
)
def test_an_array_that_would_harm_or_cannot_be_read_is_refused(
    tmp_path: Path, keys: tuple[str | int, ...], value: Any, reason: str, message: str
) -> None:
    folder = write_zarr(tmp_path / "a.zarr")
    change_json(folder / "0" / "zarr.json", *keys, value=value)
    error = refusal_of(folder)
    assert (error.reason, message in error.message) == (reason, True), error.message


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("filters", [{"id": "pickle"}], "undecodable"),
        ("compressor", {"id": "quantize", "digits": 1}, "undecodable"),
        ("dtype", "|O", "bad_value"),
        ("dtype", "<c8", "bad_value"),
        ("chunks", [10**4, 10**4, 10**4], "too_large"),
    ],
)
def test_an_older_array_that_would_harm_is_refused(
    tmp_path: Path, key: str, value: Any, reason: str
) -> None:
    folder = write_zarr(tmp_path / "a.zarr", version=2)
    change_json(folder / "0" / ".zarray", key, value=value)
    assert refusal_of(folder).reason == reason


def test_a_codec_inside_a_shard_is_looked_at_too(tmp_path: Path) -> None:
    folder = write_zarr(tmp_path / "a.zarr", chunks=(1, 2, 4), shards=(2, 4, 8))
    keys = ("codecs", 0, "configuration", "codecs", 0, "name")
    change_json(folder / "0" / "zarr.json", *keys, value="numcodecs.pickle")
    assert refusal_of(folder).reason == "undecodable"


def chunk_files(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "0" / "c").rglob("*") if path.is_file())


def test_a_missing_chunk_is_no_soft_tissue(tmp_path: Path) -> None:
    folder = write_zarr(tmp_path / "a.zarr")
    volume = open_volume_file(folder)
    chunk_files(folder)[-1].unlink()
    assert volume.read(slice(0, 2), slice(0, 4), slice(0, 4)).shape == (2, 4, 4)
    with pytest.raises(ReadError, match="chunk 2/1/1 is not there") as caught:
        volume.read_all()
    assert caught.value.reason == "missing_data"
    assert refusal_of(folder).reason == "missing_data"


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-5], lambda raw: b"", lambda raw: bytes(len(raw))]
)
@pytest.mark.parametrize("codec", ["blosc", "zstd", "gzip"])
@pytest.mark.parametrize("version", [2, 3])
def test_a_broken_chunk_is_undecodable(
    tmp_path: Path, version: int, codec: str, damage: Callable[[bytes], bytes]
) -> None:
    codecs: dict[tuple[int, str], Any] = {
        (3, "blosc"): BloscCodec(),
        (3, "zstd"): ZstdCodec(),
        (3, "gzip"): GzipCodec(),
        (2, "blosc"): Blosc(),
        (2, "zstd"): Zstd(),
        (2, "gzip"): GZip(),
    }
    packed = codecs[version, codec]
    folder = write_zarr(tmp_path / "a.zarr", version=version, compressors=packed)
    path = chunk_files(folder)[-1] if version == 3 else folder / "0" / "2.1.1"
    path.write_bytes(damage(path.read_bytes()))
    assert refusal_of(folder).reason == "undecodable"


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("at", [4, 12])
def test_a_blosc_frame_that_lies_about_its_length_is_undecodable(
    tmp_path: Path, version: int, at: int
) -> None:
    packed: dict[str, Any] = {} if version == 2 else {"compressors": BloscCodec(cname="lz4")}
    folder = write_zarr(tmp_path / "a.zarr", version=version, **packed)
    path = chunk_files(folder)[-1] if version == 3 else folder / "0" / "2.1.1"
    raw = bytearray(path.read_bytes())
    raw[at : at + 4] = (2**30).to_bytes(4, "little")
    path.write_bytes(bytes(raw))
    error = refusal_of(folder)
    assert (error.reason, "ValueError" in error.message) == ("undecodable", True)


@pytest.mark.parametrize(
    ("version", "codec"),
    [(2, "zstd"), (2, "gzip"), (2, "lz4"), (2, "zlib"), (3, "zstd"), (3, "gzip")],
)
def test_a_chunk_that_unpacks_to_far_more_than_it_holds_is_undecodable(
    tmp_path: Path, version: int, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medvit.io.volumes import checked_codecs

    monkeypatch.setattr(checked_codecs, "MOST_CHUNK_BYTES", 10**6)
    codecs: dict[tuple[int, str], Any] = {
        (3, "zstd"): ZstdCodec(),
        (3, "gzip"): GzipCodec(),
        (2, "zstd"): Zstd(),
        (2, "gzip"): GZip(),
        (2, "lz4"): LZ4(),
        (2, "zlib"): Zlib(),
    }
    folder = write_zarr(tmp_path / "a.zarr", version=version, compressors=codecs[version, codec])
    assert open_volume_file(folder).shape == HU.shape
    path = chunk_files(folder)[-1] if version == 3 else folder / "0" / "2.1.1"
    path.write_bytes(codecs[2, codec].encode(bytes(3 * 10**6)))
    error = refusal_of(folder)
    assert (error.reason, "ValueError" in error.message) == ("undecodable", True)


def test_many_channels_are_refused(tmp_path: Path) -> None:
    folder = write_zarr(
        tmp_path / "a.zarr", np.stack([HU, HU]), axes="czyx", scale=(1.0, 2.0, 0.75, 0.5)
    )
    assert refusal_of(folder).reason == "wrong_dimensions"


def test_a_label_map_is_refused(tmp_path: Path) -> None:
    assert refusal_of(write_zarr(tmp_path / "a.zarr", HU.clip(0, 3))).reason == "not_hu"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "missing_data"),
        (b"", "truncated"),
        (b"{", "bad_value"),
        (b"[]", "bad_value"),
        (b"[" * 100000, "bad_value"),
        (b"\xff\xfe", "bad_value"),
    ],
)
def test_broken_metadata_get_a_reason(tmp_path: Path, content: bytes | None, reason: str) -> None:
    folder = write_zarr(tmp_path / "a.zarr")
    (folder / "zarr.json").unlink()
    if content is not None:
        (folder / "zarr.json").write_bytes(content)
    assert refusal_of(folder).reason == reason


def test_a_folder_is_a_volume_by_name_and_content(tmp_path: Path) -> None:
    for version, name in ((3, "a.ome.zarr"), (2, "B.ZARR")):
        assert is_volume_folder(write_zarr(tmp_path / name, version=version))
    (tmp_path / "empty.zarr").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/zarr.json").write_text(json.dumps({}))
    (tmp_path / "file.zarr").write_text("")
    for name in ("empty.zarr", "other", "file.zarr", "gone.zarr"):
        assert not is_volume_folder(tmp_path / name)

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from medvit.errors import ReadError
from medvit.geometry import affine_from, index_to_lps
from medvit.io.writing.ome_zarr import write_ome_zarr
from medvit.volume.levels import affine_of_level, halve, plan_levels
from medvit.volume.volume import Volume, volume_of
from tests.io.writing.places import VALUES, any_volume

AFFINE = affine_from((-10, -20, 30), (0, 0, 0.8), (0, 0.7, 0), (0.6, 0, 0))


def noise(shape: tuple[int, int, int]) -> Any:
    return np.random.default_rng(1).integers(-1024, 2000, shape).astype(np.float32)


def array_at(folder: Path, level: int) -> Any:
    return zarr.open_group(folder, mode="r")[str(level)]


@pytest.mark.parametrize("values", VALUES)
def test_zarr_reads_back_voxels_and_place(tmp_path: Path, values: str) -> None:
    volume = any_volume(5, values)
    dtype = write_ome_zarr(volume, tmp_path / "a.ome.zarr", source_case="ct-1")
    level = array_at(tmp_path / "a.ome.zarr", 0)
    assert level.dtype == dtype == (np.int16 if values == "whole" else np.float32)
    np.testing.assert_array_equal(level[:], volume.read_all())
    ours = zarr.open_group(tmp_path / "a.ome.zarr", mode="r").attrs["medvit"]
    assert isinstance(ours, dict)
    assert ours["affine_lps_zyx"] == volume.affine_lps.tolist()
    assert (ours["space"], ours["source_case"], ours["values"]) == ("LPS", "ct-1", "HU")


def test_metadata_say_axes_units_and_method(tmp_path: Path) -> None:
    write_ome_zarr(volume_of(noise((20, 300, 100)), AFFINE), tmp_path / "a")
    group = json.loads((tmp_path / "a/zarr.json").read_text())
    assert (group["zarr_format"], group["node_type"]) == (3, "group")
    ome = group["attributes"]["ome"]
    assert ome["version"] == "0.5"
    (multiscale,) = ome["multiscales"]
    assert multiscale["axes"] == [
        {"name": name, "type": "space", "unit": "millimeter"} for name in "zyx"
    ]
    assert multiscale["type"] == "mean"
    assert [each["path"] for each in multiscale["datasets"]] == ["0", "1", "2"]
    scale, translation = multiscale["datasets"][2]["coordinateTransformations"]
    # Four voxels a side, so the first centre lies one and a half voxels from that of the finest.
    assert scale["scale"] == pytest.approx([3.2, 2.8, 2.4])
    assert translation["translation"] == pytest.approx([30 + 1.2, -20 + 1.05, -10 + 0.9])
    array = json.loads((tmp_path / "a/1/zarr.json").read_text())
    assert array["dimension_names"] == ["z", "y", "x"]
    assert array["shape"] == [10, 150, 50]


def test_translation_of_turned_axes_keeps_distances(tmp_path: Path) -> None:
    volume = any_volume(8)
    write_ome_zarr(volume, tmp_path / "a")
    ome: Any = zarr.open_group(tmp_path / "a", mode="r").attrs["ome"]
    scale, translation = ome["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    index = np.array([[0, 0, 0], [2, 1, 0], [1, 2, 2]])
    world = index * scale["scale"] + translation["translation"]
    points = index_to_lps(volume.affine_lps, index)
    np.testing.assert_allclose(np.linalg.norm(world, axis=1), np.linalg.norm(points, axis=1))


def test_every_level_lies_where_its_values_come_from(tmp_path: Path) -> None:
    """A field that rises evenly in space has, as mean of a block, its value at the middle."""
    affine = any_volume(4).affine_lps
    index = np.stack(np.meshgrid(*map(np.arange, (8, 264, 136)), indexing="ij"), axis=-1)
    rise_per_mm = (0.25, -0.5, 0.125)
    field = index_to_lps(affine, index) @ rise_per_mm
    write_ome_zarr(volume_of(field, affine), tmp_path / "a")
    levels = plan_levels((8, 264, 136), affine)
    assert len(levels) == 3
    for number, level in enumerate(levels):
        index = np.stack(np.meshgrid(*map(np.arange, level.shape), indexing="ij"), axis=-1)
        points = index_to_lps(affine_of_level(affine, level.factors), index)
        np.testing.assert_allclose(
            array_at(tmp_path / "a", number)[:], points @ rise_per_mm, atol=2e-3
        )


@pytest.mark.parametrize("depth", [2, 4, 16])
def test_seams_between_slabs_do_not_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depth: int
) -> None:
    hu = noise((37, 150, 20))
    slab_bytes = depth * 150 * 20 * 4
    write_ome_zarr(volume_of(hu, np.eye(4)), tmp_path / "a", slab_bytes=slab_bytes)
    finest, coarser = array_at(tmp_path / "a", 0), array_at(tmp_path / "a", 1)
    assert finest.shards[0] == min(depth, 37)
    np.testing.assert_array_equal(finest[:], hu)
    assert coarser.shape == (19, 75, 10)
    np.testing.assert_array_equal(coarser[:], np.rint(halve(hu, (2, 2, 2))))


def test_each_level_is_rounded_once(tmp_path: Path) -> None:
    hu = noise((4, 512, 16))
    write_ome_zarr(volume_of(hu, np.eye(4)), tmp_path / "a")
    means = hu.astype(np.float64).reshape(1, 4, 128, 4, 4, 4).mean(axis=(1, 3, 5))
    coarsest = array_at(tmp_path / "a", 2)
    assert coarsest.dtype == np.int16
    np.testing.assert_array_equal(coarsest[:], np.rint(means))


def test_every_file_is_there_even_where_all_is_zero(tmp_path: Path) -> None:
    write_ome_zarr(volume_of(np.zeros((3, 300, 20)), np.eye(4)), tmp_path / "a")
    files = [path for path in (tmp_path / "a/0/c").rglob("*") if path.is_file()]
    assert len(files) == 2


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    write_ome_zarr(volume_of(noise((3, 40, 40)), np.eye(4)), tmp_path / "a")
    (file,) = [path for path in (tmp_path / "a/0/c").rglob("*") if path.is_file()]
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(bytes(raw))
    with pytest.raises(ValueError, match="checksum"):
        array_at(tmp_path / "a", 0)[:]


def test_fractions_found_late_make_the_whole_pyramid_float(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hu = noise((9, 140, 20))
    hu[-1, -1, -1] += 0.5
    slab_bytes = 4 * 140 * 20 * 4
    write_ome_zarr(volume_of(hu, np.eye(4)), tmp_path / "a", slab_bytes=slab_bytes)
    assert array_at(tmp_path / "a", 1).dtype == np.float32
    np.testing.assert_array_equal(array_at(tmp_path / "a", 0)[:], hu)
    np.testing.assert_array_equal(array_at(tmp_path / "a", 1)[:], halve(hu, (2, 2, 2)))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ReadError("cut short", reason="truncated")])
def test_an_end_in_the_middle_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    slab_bytes = 2 * 300 * 300 * 4

    def read_block(z: slice, y: slice, x: slice) -> Any:
        if z.start >= 6:
            raise error
        return noise((z.stop - z.start, 300, 300))

    volume = Volume((9, 300, 300), np.eye(4), read_block)
    with pytest.raises(type(error)):
        write_ome_zarr(volume, tmp_path / "a", slab_bytes=slab_bytes)
    assert not list(tmp_path.iterdir())

"""Images far larger than memory allows, in bands and tiles, are the images that were written."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from medvit.errors import ReadError
from medvit.io.images import bands, tiled
from medvit.io.images.form import read_form
from medvit.io.images.raster import decode_image
from medvit.io.images.tiled import TILE_PX, TiledImage, halve, open_tiled, tiled_in_memory
from medvit.io.pyramid_store import PyramidStore
from tests.make.raster import grey, write_image, write_lying

KINDS = ("L", "RGB", "RGBA", "LA", "P", "I;16")


def noisy(kind: str, height: int, width: int) -> Image.Image:
    rng = np.random.default_rng(5)
    if kind == "I;16":
        return Image.fromarray(rng.integers(0, 4000, (height, width), dtype=np.uint16))
    # A smooth part makes the encoder choose other row filters than noise does.
    colour = rng.integers(0, 255, (height, width, 4), dtype=np.uint8)
    colour[height // 2 :] = np.arange(width, dtype=np.uint8)[:, None]
    return Image.fromarray(colour, "RGBA").convert(kind)


@pytest.fixture
def tight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let images of a few hundred pixels count as too large to be decoded at once."""
    monkeypatch.setattr(bands, "MAX_PIXELS", 64)
    monkeypatch.setattr(bands, "BAND_PIXELS", 400)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("tight")
def test_bands_of_a_png_are_the_image(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "plate.png"
    noisy(kind, 61, 37).save(path)
    form = bands.form_to_show(path)
    parts = list(bands.iter_bands(path, form))
    assert [len(part) for part in parts] == [10] * 6 + [1]
    joined = np.concatenate(parts)
    expected = np.rint(decode_image(path).pixels * 255).astype(np.uint8)
    if joined.ndim == 2:
        assert (expected == expected[:, :, :1]).all()
        expected = expected[:, :, 0]
    np.testing.assert_array_equal(joined, expected)


@pytest.mark.parametrize("name", ["plate.bmp", "plate.tif", "plate.jpg"])
@pytest.mark.usefixtures("tight")
def test_bands_of_other_formats_are_the_image(tmp_path: Path, name: str) -> None:
    path = write_image(tmp_path / name, grey(61, 37))
    joined = np.concatenate(list(bands.iter_bands(path, bands.form_to_show(path))))
    np.testing.assert_array_equal(joined, np.asarray(Image.open(path)))


@pytest.mark.usefixtures("tight")
def test_what_cannot_be_shown_says_why(tmp_path: Path) -> None:
    cut = tmp_path / "cut.png"
    noisy("L", 61, 37).save(cut)
    cut.write_bytes(cut.read_bytes()[:-200])
    lying = write_lying(tmp_path / "lying.png", grey(61, 37))
    wide = write_image(tmp_path / "wide.png", grey(8, 9))
    raw = bytearray(wide.read_bytes())
    raw[16:24] = (30_000).to_bytes(4, "big") * 2
    raw[29:33] = zlib.crc32(bytes(raw[12:29])).to_bytes(4, "big")
    wide.write_bytes(raw)
    for path, reason, words in (
        (cut, "truncated", "cut.png: the file ends before its pixels do"),
        (lying, "too_large", "37x61 pixels, turned by EXIF"),
        (wide, "too_large", "30000x30000 pixels, over 536870912 pixels"),
    ):
        with pytest.raises(ReadError, match=words) as caught:
            list(bands.iter_bands(path, read_form(path)))
        assert caught.value.reason == reason


def by_hand(image: TiledImage, level: int) -> np.ndarray:
    """Put a level together from its tiles."""
    height, width = image.levels[level].shape[:2]
    rows, columns = -(-height // TILE_PX), -(-width // TILE_PX)
    return np.block([[image.tile(level, r, c) for c in range(columns)] for r in range(rows)])


def test_levels_on_disk_are_those_in_memory(tmp_path: Path) -> None:
    pixels = np.random.default_rng(2).integers(0, 255, (1301, 777), dtype=np.uint8)
    path = write_image(tmp_path / "plate.png", pixels)
    store = PyramidStore(tmp_path / "pyramids")
    expected, made = tiled_in_memory(pixels), open_tiled(path, store)
    assert made.shape == (1301, 777)
    assert [level.shape for level in made.levels] == [(1301, 777), (651, 389), (326, 195)]
    for level, wanted in enumerate(expected.levels):
        np.testing.assert_array_equal(by_hand(made, level), wanted)
    again = open_tiled(path, store)
    np.testing.assert_array_equal(again.levels[2], expected.levels[2])
    with pytest.raises(LookupError, match="has no tile 3, 0"):
        made.tile(0, 3, 0)
    with pytest.raises(LookupError, match="has no level 3"):
        made.tile(3, 0, 0)


def test_a_file_that_changed_is_decoded_anew(tmp_path: Path) -> None:
    store = PyramidStore(tmp_path / "pyramids")
    path = write_image(tmp_path / "plate.png", grey(20, 30))
    assert open_tiled(path, store).shape == (20, 30)
    write_image(path, grey(21, 30))
    assert open_tiled(path, store).shape == (21, 30)


def test_one_pixel_is_an_image(tmp_path: Path) -> None:
    path = write_image(tmp_path / "dot.png", np.array([[7]], np.uint8))
    made = open_tiled(path, PyramidStore(tmp_path / "pyramids"))
    assert made.tile(0, 0, 0).tolist() == [[7]]


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 9),
    band=st.integers(1, 7),
    colour=st.booleans(),
)
def test_bands_of_any_height_halve_alike(height: int, width: int, band: int, colour: bool) -> None:
    shape = (height, width, 3) if colour else (height, width)
    pixels = np.random.default_rng(height).integers(0, 255, shape, dtype=np.uint8)
    wanted = [pixels, halve(pixels), halve(halve(pixels))]
    written: list[list[np.ndarray]] = [[], [], []]

    class File:
        def __init__(self, rows: list[np.ndarray]) -> None:
            self.rows = rows

        def write(self, data: memoryview) -> None:
            self.rows.append(np.array(data))

    carried: list[np.ndarray | None] = [None, None, None]
    files = [File(rows) for rows in written]
    for start in range(0, height, band):
        tiled._write_down(pixels[start : start + band], files, carried, level=0)  # type: ignore[arg-type]
    tiled._write_rest(files, carried)  # type: ignore[arg-type]
    for rows, level in zip(written, wanted, strict=True):
        np.testing.assert_array_equal(np.concatenate(rows), level)

from __future__ import annotations

import io
import struct
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis.strategies import booleans, integers, lists, sampled_from, tuples
from PIL import Image

from medvit.errors import ReadError
from medvit.io.decoding.process import decoder
from medvit.io.images.raster import ImageLook, bits_in_use, decode_image, inspect_image
from tests.make.dicom import truncate
from tests.make.png import chunk, write_png
from tests.make.raster import grey, write_bomb, write_image, write_lying

COLOUR = np.stack([grey(), grey() + 40, grey() + 90], axis=2)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".TIFF"])
def test_eight_bit_colour_survives_every_exact_format(tmp_path: Path, suffix: str) -> None:
    image = decode_image(write_image(tmp_path / f"a{suffix}", COLOUR))
    assert image.bits == 8
    assert image.pixels.dtype == np.float32
    np.testing.assert_array_equal(image.pixels, COLOUR.astype(np.float32) / 255)


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    pixels = decode_image(write_image(tmp_path / "a.png", grey())).pixels
    assert pixels.shape == (24, 32, 3)
    for channel in range(3):
        np.testing.assert_array_equal(pixels[:, :, channel], grey().astype(np.float32) / 255)


def test_jpeg_comes_near(tmp_path: Path) -> None:
    smooth = np.tile(np.arange(32, dtype=np.uint8) * 4, (24, 1))
    pixels = decode_image(write_image(tmp_path / "a.jpeg", smooth)).pixels
    np.testing.assert_allclose(pixels[:, :, 0], smooth / 255, atol=0.02)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize(("largest", "bits"), [(4000, 12), (65535, 16), (100, 8), (256, 9)])
def test_sixteen_bits_are_scaled_by_the_bits_in_use(
    tmp_path: Path, suffix: str, largest: int, bits: int
) -> None:
    values = np.zeros((10, 12), np.uint16)
    values[3, 4] = largest
    image = decode_image(write_image(tmp_path / f"a{suffix}", values))
    assert image.bits == bits
    assert image.pixels[3, 4].tolist() == [np.float32(largest / (2**bits - 1))] * 3
    assert image.pixels.max() <= 1


@settings(deadline=None)
@given(largest=integers(0, 65535))
def test_bits_in_use_are_the_fewest_that_hold_the_largest(largest: int) -> None:
    bits = bits_in_use(largest)
    assert 8 <= bits <= 16
    assert largest < 2**bits
    assert bits == 8 or largest >= 2 ** (bits - 1)


def test_a_palette_is_resolved(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).quantize(8).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        expected = np.asarray(image.convert("RGB"), np.float32) / 255
    np.testing.assert_array_equal(decode_image(tmp_path / "a.png").pixels, expected)


def test_transparent_pixels_lie_over_black(tmp_path: Path) -> None:
    values = np.full((8, 8, 4), 200, np.uint8)
    values[:, :4, 3] = 0
    values[:, 4:, 3] = 255
    pixels = decode_image(write_image(tmp_path / "a.png", values)).pixels
    assert pixels[0, 0].tolist() == [0.0, 0.0, 0.0]
    assert pixels[0, 7].tolist() == [np.float32(200 / 255)] * 3


def test_an_image_lying_on_its_side_is_set_upright(tmp_path: Path) -> None:
    path = write_lying(tmp_path / "a.png", grey())
    assert inspect_image(path) == ImageLook(width=24, height=32)
    expected = np.rot90(grey(), k=-1).astype(np.float32) / 255
    np.testing.assert_array_equal(decode_image(path).pixels[:, :, 0], expected)


def test_the_header_alone_tells_the_size(tmp_path: Path) -> None:
    path = truncate(write_image(tmp_path / "a.png", COLOUR))
    assert inspect_image(path) == ImageLook(width=32, height=24)


def write_rubbish(path: Path) -> Path:
    path.write_bytes(b"this is no image at all" * 9)
    return path


def write_nothing(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def write_speck(path: Path) -> Path:
    return write_image(path, np.zeros((1, 1), np.uint8))


def write_animation(path: Path) -> Path:
    frames = [Image.fromarray(grey() + n) for n in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return path


def write_stub(path: Path) -> Path:
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(9))
    return path


BROKEN: list[tuple[Callable[[Path], Path], str, str]] = [
    (write_rubbish, "not_an_image", "none of PNG"),
    (write_nothing, "not_an_image", "is empty"),
    (write_speck, "too_small", "1x1"),
    (write_bomb, "too_large", "20000x20000 pixels, at most"),
    (write_animation, "wrong_dimensions", "3 frames"),
    (write_stub, "undecodable", "starts like PNG, but its header"),
]


@pytest.mark.parametrize(("write", "reason", "words"), BROKEN)
def test_a_broken_image_has_its_reason_before_it_is_decoded(
    tmp_path: Path, write: Callable[[Path], Path], reason: str, words: str
) -> None:
    path = write(tmp_path / "a.png")
    for read in (inspect_image, decode_image):
        with pytest.raises(ReadError, match=words) as caught:
            read(path)
        assert caught.value.reason == reason
        assert caught.value.message.startswith("a.png: ")


def test_a_bomb_below_pillows_own_limit_is_refused_too(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="9000x9000") as caught:
        inspect_image(write_bomb(tmp_path / "a.png", side=9000))
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_pixels_cut_short_are_truncated(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    path = truncate(write_image(tmp_path / f"a{suffix}", noise), lost_bytes=4000)
    with pytest.raises(ReadError) as caught:
        decode_image(path)
    assert caught.value.reason in ("truncated", "undecodable", "not_an_image")


def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"gone\.png") as caught:
        decode_image(tmp_path / "gone.png")
    assert caught.value.reason == "unreadable"


def test_a_broken_file_is_refused_the_isolated_way_too(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    path = truncate(write_image(tmp_path / "a.jpg", noise), lost_bytes=1000)
    with pytest.raises(ReadError, match=r"a\.jpg: the file ends before") as caught:
        decode_image(path, isolated=True)
    assert caught.value.reason == "truncated"
    assert caught.value.hint.startswith("save or copy it again")


BOMB = zlib.compress(bytes(1 << 28), 9)
PROFILE = b"sRGB\0\0" + BOMB
TEXT = b"Comment\0\0" + BOMB


@pytest.mark.parametrize(
    "bomb", [chunk(b"zTXt", TEXT), chunk(b"iCCP", PROFILE)], ids=["zTXt", "iCCP"]
)
def test_a_bomb_beside_the_pixels_costs_no_memory(tmp_path: Path, bomb: bytes) -> None:
    path = write_png(tmp_path / "a.png", grey(), bomb)
    decoder().close()
    assert inspect_image(path) == ImageLook(width=32, height=24)
    with suppress(ReadError):
        decode_image(path, isolated=True)
    if sys.platform == "linux":
        lines = Path(f"/proc/{decoder().pid}/status").read_text().splitlines()
        peak_kb = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
        assert peak_kb < 150_000


def test_a_tag_of_a_tiff_that_claims_gigabytes_is_refused(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.tif", grey())
    raw = bytearray(path.read_bytes())
    entry = raw.index(struct.pack("<HH", 273, 4))
    raw[entry + 4 : entry + 12] = struct.pack("<LL", 0x3FFFFFFF, 8)
    path.write_bytes(bytes(raw))
    with pytest.raises(ReadError) as caught:
        decode_image(path, isolated=True)
    assert caught.value.reason in ("undecodable", "truncated")


def written(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(COLOUR).save(stream, kind)
    return stream.getvalue()


KINDS = {kind: written(kind) for kind in ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP")}
DEEP_TIFF = io.BytesIO()
tifffile.imwrite(DEEP_TIFF, COLOUR.astype(np.uint16) * 255, photometric="rgb", compression="zlib")
KINDS["deep TIFF"] = DEEP_TIFF.getvalue()


@settings(deadline=None, max_examples=150)
@given(
    kind=sampled_from(sorted(KINDS)),
    edits=lists(tuples(integers(0, 3000), integers(0, 255)), min_size=1, max_size=6),
    is_cut=booleans(),
)
def test_any_edit_gives_an_image_or_a_reason(
    tmp_path_factory: pytest.TempPathFactory, kind: str, edits: list[tuple[int, int]], is_cut: bool
) -> None:
    raw = bytearray(KINDS[kind])
    for place, value in edits:
        raw[place % len(raw)] = value
    path = tmp_path_factory.getbasetemp() / "edited.png"
    path.write_bytes(bytes(raw[: len(raw) * 3 // 4] if is_cut else raw))
    started = time.monotonic()
    with suppress(ReadError):
        look = inspect_image(path)
        pixels = decode_image(path, isolated=True).pixels
        assert pixels.shape == (look.height, look.width, 3)
        assert 0 <= pixels.min() <= pixels.max() <= 1
    assert time.monotonic() - started < 5

"""The golden table: every kind of image gives back the numbers that were written."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image, ImageCms

from medvit.errors import ReadError
from medvit.io.images.raster import ImageLook, decode_image, inspect_image
from tests.make.png import write_png
from tests.make.raster import grey, write_image

Pixels = npt.NDArray[Any]

GREY = grey()
COLOUR = np.stack([GREY, GREY + 40, GREY + 90], axis=2)
DEEP = (np.arange(24 * 32 * 3).reshape(24, 32, 3) * 27 + 5).astype(np.uint16)
WIDE = (np.arange(24 * 32).reshape(24, 32) * 5_000_000).astype(np.uint32)

UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: np.rot90,
}
"""What EXIF asks for, in words of numpy."""

FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "deflated": {"compression": "zlib", "predictor": True},
    "big endian": {"byteorder": ">"},
    "tiled": {"tile": (16, 16)},
    "BigTIFF": {"bigtiff": True},
}


def unit(values: Pixels, full: float) -> Pixels:
    scaled = values.astype(np.float32) / np.float32(full)
    return np.repeat(scaled[:, :, None], 3, axis=2) if scaled.ndim == 2 else scaled


def assert_reads(path: Path, expected: Pixels, *, bits: int) -> None:
    look = inspect_image(path)
    assert (look.height, look.width) == expected.shape[:2]
    for isolated in (False, True):
        image = decode_image(path, isolated=isolated)
        np.testing.assert_array_equal(image.pixels, expected)
        assert image.pixels.dtype == np.float32
        assert image.bits == bits


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("values", "bits", "full"),
    [
        (DEEP, 16, 65535),
        (DEEP[:, :, 0], 16, 65535),
        (DEEP[:, :, 0] // 16, 12, 4095),
        (WIDE, 32, 2**32 - 1),
        (WIDE // 2**12, 20, 2**20 - 1),
        ((DEEP // 4).astype(np.int16), 14, 2**14 - 1),
        (np.linspace(0, 1, 768, dtype=np.float32).reshape(24, 32), 32, 1),
        (np.linspace(0, 1, 2304).astype(np.float32).reshape(24, 32, 3), 32, 1),
        (np.linspace(0, 1000, 768).astype(np.float32).reshape(24, 32), 32, 1023),
    ],
    ids=lambda v: f"{v.dtype} {v.shape} {v.max():.0f}" if isinstance(v, np.ndarray) else str(v),
)
def test_a_tiff_keeps_every_bit(
    tmp_path: Path, form: str, values: Pixels, bits: int, full: int
) -> None:
    options = {"photometric": "rgb" if values.ndim == 3 else "minisblack", **FORMS[form]}
    if form == "deflated" and values.dtype.kind == "f":
        del options["predictor"]
    tifffile.imwrite(tmp_path / "a.tif", values, **options)
    assert_reads(tmp_path / "a.tif", unit(values, full), bits=bits)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_half_and_double_floats_are_read(tmp_path: Path, dtype: type) -> None:
    values: Pixels = np.linspace(0, 1, 768).reshape(24, 32).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values)
    assert_reads(tmp_path / "a.tif", unit(values, 1), bits=32)


def test_colour_in_separate_planes_is_put_together(tmp_path: Path) -> None:
    planes = DEEP.transpose(2, 0, 1).copy()
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate")
    assert_reads(tmp_path / "a.tif", unit(DEEP, 65535), bits=16)


def test_sixteen_bit_colour_in_a_png_is_not_cut_to_eight(tmp_path: Path) -> None:
    assert_reads(write_png(tmp_path / "a.png", DEEP), unit(DEEP, 65535), bits=16)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_deep_opacity_is_laid_over_black(tmp_path: Path, suffix: str, channels: int) -> None:
    opacity = np.tile(np.array([0, 65535, 32768, 1], np.uint16), (24, 8))
    values = np.dstack([DEEP[:, :, :channels], opacity])
    path = tmp_path / f"a{suffix}"
    if suffix == ".png":
        write_png(path, values)
    else:
        kind = "rgb" if channels == 3 else "minisblack"
        tifffile.imwrite(path, values, photometric=kind, extrasamples=["unassalpha"])
    shown = np.rint(DEEP[:, :, :channels] * (opacity / 65535)[:, :, None])
    expected = unit(shown[:, :, 0] if channels == 1 else shown, 65535)
    assert_reads(path, expected, bits=16)


@pytest.mark.parametrize("values", [GREY, DEEP[:, :, 0], WIDE], ids=lambda v: str(v.dtype))
def test_grey_of_which_white_is_zero_is_inverted(tmp_path: Path, values: Pixels) -> None:
    full = np.iinfo(values.dtype).max
    values[0, 0] = 0
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    assert_reads(tmp_path / "a.tif", unit(full - values, full), bits=8 * values.dtype.itemsize)


def write_with_orientation(path: Path, values: Pixels, orientation: int, form: str) -> Path:
    if path.suffix == ".tif":
        tags = [(274, "H", 1, orientation, True)]
        kind = "rgb" if values.ndim == 3 else "minisblack"
        tifffile.imwrite(path, values, photometric=kind, extratags=tags, **FORMS[form])
        return path
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(values).save(path, exif=exif, lossless=form == "lossless")
    return path


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("values", [GREY, COLOUR, DEEP[:, :, 0], DEEP], ids=lambda v: str(v.shape))
def test_a_lying_tiff_is_set_upright(
    tmp_path: Path, values: Pixels, form: str, orientation: int
) -> None:
    path = write_with_orientation(tmp_path / "a.tif", values, orientation, form)
    full = np.iinfo(values.dtype).max
    expected = np.ascontiguousarray(UPRIGHT[orientation](unit(values, full)))
    look = inspect_image(path)
    assert (look.height, look.width) == expected.shape[:2]
    np.testing.assert_array_equal(decode_image(path).pixels, expected)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg"])
def test_a_lying_photograph_is_set_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    form = "lossless" if suffix == ".webp" else ""
    path = write_with_orientation(tmp_path / f"a{suffix}", COLOUR, orientation, form)
    with Image.open(path) as image:
        stored = np.asarray(image.convert("RGB"))
    assert_reads(path, UPRIGHT[orientation](unit(stored, 255)), bits=8)


@pytest.mark.parametrize("has_adobe_mark", [True, False])
def test_cmyk_photographs_are_inverted_only_as_adobe_does(
    tmp_path: Path, has_adobe_mark: bool
) -> None:
    cmyk = np.zeros((16, 16, 4), np.uint8)
    cmyk[:, :8] = (255, 0, 0, 0)
    cmyk[:, 8:] = (0, 0, 255, 128)
    stream = io.BytesIO()
    Image.fromarray(cmyk, "CMYK").save(stream, "JPEG", quality=100, subsampling=0)
    raw = stream.getvalue()
    start = raw.index(b"\xff\xee")
    assert raw[start + 4 : start + 9] == b"Adobe"
    path = tmp_path / "a.jpg"
    path.write_bytes(raw if has_adobe_mark else raw[:start] + raw[start + 16 :])
    # Cyan is no red; half black over yellow. Without the mark 0 means full ink.
    expected = {
        True: [[0, 255, 255], [127, 127, 0]],
        False: [[0, 0, 0], [0, 0, 128]],
    }[has_adobe_mark]
    pixels = decode_image(path).pixels[8, [2, 13]] * 255
    np.testing.assert_allclose(pixels, expected, atol=3)


def test_cmyk_in_a_tiff_is_converted(tmp_path: Path) -> None:
    cmyk = np.full((16, 16, 4), (255, 0, 0, 0), np.uint8)
    Image.fromarray(cmyk, "CMYK").save(tmp_path / "a.tif")
    assert_reads(tmp_path / "a.tif", unit(np.full((16, 16, 3), (0, 255, 255)), 255), bits=8)


def test_cielab_in_a_tiff_is_converted(tmp_path: Path) -> None:
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    flat = Image.new("RGB", (16, 16), (200, 60, 30))
    lab = ImageCms.applyTransform(flat, to_lab)
    assert lab is not None
    lab.save(tmp_path / "a.tif")
    np.testing.assert_allclose(
        decode_image(tmp_path / "a.tif").pixels[3, 3] * 255, (200, 60, 30), atol=4
    )


@pytest.mark.parametrize("mode", ["YCbCr", "P", "1", "LA", "RGBA"])
def test_eight_bit_tiffs_show_what_pillow_shows(tmp_path: Path, mode: str) -> None:
    Image.fromarray(COLOUR).convert(mode).save(tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as image:
        expected = np.asarray(image.convert("RGB"))
    assert_reads(tmp_path / "a.tif", unit(expected, 255), bits=8)


@pytest.mark.parametrize("compression", ["jpeg", "tiff_lzw", "packbits", "group4"])
def test_packed_tiffs_are_read(tmp_path: Path, compression: str) -> None:
    values = Image.fromarray(np.where(GREY > 99, 255, 0).astype(np.uint8))
    image = values.convert("1") if compression == "group4" else values
    image.save(tmp_path / "a.tif", compression=compression)
    pixels = decode_image(tmp_path / "a.tif", isolated=True).pixels
    np.testing.assert_allclose(pixels[:, :, 0], np.asarray(values) / 255, atol=0.2)


@pytest.mark.parametrize("suffix", [".png", ".gif", ".webp", ".bmp", ".tif"])
def test_the_content_decides_and_not_the_name(tmp_path: Path, suffix: str) -> None:
    stream = io.BytesIO()
    options = {"lossless": True} if suffix == ".webp" else {}
    kind = {".tif": "TIFF"}.get(suffix, suffix[1:].upper())
    Image.fromarray(GREY).save(stream, kind, **options)
    for name in ("a.jpg", "a.TIF", "a"):
        (tmp_path / name).write_bytes(stream.getvalue())
        assert_reads(tmp_path / name, unit(GREY, 255), bits=8)


def write_pages(path: Path, *pages: tuple[Pixels, dict[str, Any]]) -> Path:
    with tifffile.TiffWriter(path) as writer:
        for values, options in pages:
            writer.write(values, metadata=None, **options)
    return path


REDUCED: list[tuple[str, list[tuple[Pixels, dict[str, Any]]]]] = [
    ("marked copy", [(GREY, {}), (GREY[::2, ::2], {"subfiletype": 1})]),
    ("marked mask", [(GREY, {}), (GREY > 99, {"subfiletype": 4})]),
    ("bare pyramid", [(GREY, {}), (GREY[::2, ::2], {}), (GREY[::4, ::4], {})]),
    ("copy first", [(GREY[::2, ::2], {"subfiletype": 1}), (GREY, {})]),
    ("small page first", [(GREY[::2, ::2], {}), (GREY, {})]),
]


@pytest.mark.parametrize(("name", "pages"), REDUCED)
def test_copies_and_masks_of_a_page_are_no_stack(
    tmp_path: Path, name: str, pages: list[tuple[Pixels, dict[str, Any]]]
) -> None:
    assert_reads(write_pages(tmp_path / "a.tif", *pages), unit(GREY, 255), bits=8)


def test_a_deep_page_behind_its_copy_is_found(tmp_path: Path) -> None:
    pages = [(DEEP[::2, ::2], {"subfiletype": 1}), (DEEP, {})]
    path = write_pages(
        tmp_path / "a.tif", *((v, {"photometric": "rgb", **options}) for v, options in pages)
    )
    assert_reads(path, unit(DEEP, 65535), bits=16)


STACKS: list[tuple[str, Callable[[Path], object], int]] = [
    ("equal pages", lambda path: write_pages(path, *[(GREY, {})] * 3), 3),
    ("other shape", lambda path: write_pages(path, (GREY, {}), (GREY[:, :16], {})), 2),
    ("ImageJ", lambda path: tifffile.imwrite(path, np.stack([DEEP[:, :, 0]] * 5), imagej=True), 5),
]


@pytest.mark.parametrize(("name", "write", "count"), STACKS)
def test_a_stack_of_pages_is_refused_with_its_count(
    tmp_path: Path, name: str, write: Callable[[Path], object], count: int
) -> None:
    write(tmp_path / "a.tif")
    with pytest.raises(ReadError, match=f"{count} frames, one expected") as caught:
        inspect_image(tmp_path / "a.tif")
    assert caught.value.reason == "wrong_dimensions"
    assert "single images" in caught.value.hint


@pytest.mark.parametrize("suffix", [".png", ".gif", ".webp"])
def test_an_animation_is_refused_with_its_count(tmp_path: Path, suffix: str) -> None:
    frames = [Image.fromarray(COLOUR + n * 20) for n in range(3)]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(ReadError, match="3 frames") as caught:
        inspect_image(tmp_path / f"a{suffix}")
    assert caught.value.reason == "wrong_dimensions"


def test_the_preview_behind_a_photograph_is_no_stack(tmp_path: Path) -> None:
    first, second = Image.fromarray(COLOUR), Image.fromarray(COLOUR[::2, ::2])
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second])
    assert inspect_image(tmp_path / "a.jpg") == ImageLook(width=32, height=24)
    assert decode_image(tmp_path / "a.jpg", isolated=True).pixels.shape == (24, 32, 3)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([[-5, 7] * 8] * 8, np.int16), "samples from -5 to 7"),
        (np.array([[np.nan, 7] * 8] * 8, np.float32), "64 of 128 samples are no number"),
        (np.array([[np.inf, 7] * 8] * 8, np.float32), "64 of 128 samples are no number"),
        (np.array([[-0.5, 0.5] * 8] * 8, np.float32), "samples from -0.5 to 0.5"),
        (np.array([[0, 1e30] * 8] * 8, np.float32), r"samples from 0 to 1e\+30"),
    ],
)
def test_numbers_that_are_no_brightness_are_a_bad_value(
    tmp_path: Path, values: Pixels, words: str
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", values)
    for isolated in (False, True):
        with pytest.raises(ReadError, match=f"a.tif: {words}") as caught:
            decode_image(tmp_path / "a.tif", isolated=isolated)
        assert caught.value.reason == "bad_value"


def test_deep_cmyk_is_refused_by_name(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.dstack([DEEP, DEEP[:, :, :1]]), photometric="separated")
    with pytest.raises(ReadError, match="colours of kind 5 with 16 bits are not read") as caught:
        decode_image(tmp_path / "a.tif")
    assert caught.value.reason == "undecodable"


def test_writing_and_reading_agree_through_the_isolated_way(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", COLOUR)
    assert_reads(path, unit(COLOUR, 255), bits=8)

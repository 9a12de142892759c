"""Damage done to the bytes of a file: flips, cuts, hostile lengths; and files that lie."""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

HOSTILE_LENGTHS = (0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0x40000000, 0x00FFFFFE)
"""Undefined, the largest signed, and huge even ones."""

CUT_STEP = 64

_EXPLICIT_LONG = re.compile(rb"..[\0-\xff]{2}(?:OB|OW|UN|SQ|UT|OF|OD)\0\0", re.DOTALL)
_EXPLICIT_SHORT = re.compile(rb"..[\0-\xff]{2}(?:US|UI|DS|IS|CS|LO|SH|UL|DA)", re.DOTALL)

Damage = tuple[str, bytes]
"""What was done, and the bytes that came of it."""


def flips(
    raw: bytes, rng: np.random.Generator, *, count: int, start: int = 0, stop: int | None = None
) -> Iterator[Damage]:
    """Yield copies in which one to four bytes of a region are other bytes."""
    last = len(raw) if stop is None else min(stop, len(raw))
    if last <= start:
        return
    for _ in range(count):
        places = rng.integers(start, last, int(rng.integers(1, 5)))
        found = bytearray(raw)
        for place in places:
            found[place] ^= int(rng.integers(1, 256))
        yield f"flipped {sorted(places.tolist())}", bytes(found)


def cuts(raw: bytes, *, until: int, more: int = 8) -> Iterator[Damage]:
    """Yield copies that end at every 64th byte of the head, and at some places behind."""
    places = [*range(0, min(until, len(raw)), CUT_STEP)]
    places += np.linspace(0, len(raw) - 1, more, dtype=int).tolist()
    for place in sorted(set(places)):
        yield f"cut at {place}", raw[:place]


def hostile_lengths(raw: bytes, rng: np.random.Generator, *, count: int) -> Iterator[Damage]:
    """Yield copies in which an element claims an absurd length; any four bytes where none is."""
    places = [match.start() + 8 for match in _EXPLICIT_LONG.finditer(raw[: 1 << 17])]
    shorts = [match.start() + 6 for match in _EXPLICIT_SHORT.finditer(raw[: 1 << 17])]
    if not places:
        places = rng.integers(0, min(len(raw), 512), count).tolist()
    for _ in range(count):
        length = int(rng.choice(HOSTILE_LENGTHS))
        if shorts and rng.random() < 0.5:
            place, value = int(rng.choice(shorts)), struct.pack("<H", length & 0xFFFF)
        else:
            place, value = int(rng.choice(places)), struct.pack("<L", length)
        yield f"length {length:x} at {place}", raw[:place] + value + raw[place + len(value) :]


# Files that claim what they do not hold, each under 200 kB.

_META = (
    bytes(128)
    + b"DICM"
    + b"\x02\x00\x00\x00UL\x04\x00\x1c\x00\x00\x00"
    + b"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\0"
)


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    """Return an element in Explicit VR Little Endian."""
    value += b" " * (len(value) % 2)
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr
    is_long = vr in (b"OB", b"OW", b"UN", b"SQ", b"UT")
    length = struct.pack("<HL", 0, len(value)) if is_long else struct.pack("<H", len(value))
    return head + length + value


def lying_slice(
    *,
    size: tuple[int, int] = (32, 32),
    pixels: bytes = bytes(2048),
    before: bytes = b"",
    meta: bytes = _META,
    **texts: bytes,
) -> bytes:
    """Return a CT slice whose header says anything.

    Args:
        size: Rows and columns.
        before: Elements put before the modality.
        texts: `frames`, `position`, `spacing` as they are written.
    """
    frames = texts.get("frames", b"")
    short = struct.Struct("<H").pack
    parts = [
        element(0x00080016, b"UI", b"1.2.840.10008.5.1.4.1.1.2\0"),
        element(0x00080018, b"UI", b"1.2.3.4"),
        before,
        element(0x00080060, b"CS", b"CT"),
        element(0x0020000E, b"UI", b"1.2.3"),
        element(0x00200032, b"DS", texts.get("position", b"0\\0\\0")),
        element(0x00200037, b"DS", b"1\\0\\0\\0\\1\\0"),
        element(0x00280002, b"US", short(1)),
        element(0x00280004, b"CS", b"MONOCHROME2"),
        element(0x00280008, b"IS", frames) if frames else b"",
        element(0x00280010, b"US", short(size[0])),
        element(0x00280011, b"US", short(size[1])),
        element(0x00280030, b"DS", texts.get("spacing", b"1\\1")),
        *(element(0x00280100 + step, b"US", short(bits)) for step, bits in enumerate((16, 16, 15))),
        element(0x00280103, b"US", short(1)),
        element(0x00281052, b"DS", b"-1024"),
        element(0x00281053, b"DS", b"1"),
        element(0x7FE00010, b"OW", pixels),
    ]
    return meta + b"".join(parts)


def deep_sequences(levels: int) -> bytes:
    """Return sequences of undefined length, each inside the one before."""
    opening = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closing = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    return opening * levels + closing * levels


def _deflated_bomb() -> bytes:
    """Return a slice whose private bytes inflate to 100 MB."""
    meta = _META.replace(b"\x1c\x00\x00\x00\x02", b"\x1e\x00\x00\x00\x02").replace(
        b"\x14\x001.2.840.10008.1.2.1\0", b"\x16\x001.2.840.10008.1.2.1.99"
    )
    body = lying_slice(before=element(0x00080070, b"UT", bytes(100_000_000)), meta=b"")
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return meta + packer.compress(body) + packer.flush()


def _nifti(shape: tuple[int, ...], *, offset: float = 352.0, code: int = 4) -> bytes:
    head = bytearray(352)
    head[0:4] = struct.pack("<i", 348)
    head[40:56] = struct.pack("<8h", len(shape), *(*shape, *(1,) * (7 - len(shape))))
    head[70:74] = struct.pack("<2h", code, 16)
    head[76:108] = struct.pack("<8f", *(1.0,) * 8)
    head[108:112] = struct.pack("<f", offset)
    head[252:256] = struct.pack("<2h", 0, 1)
    head[280:328] = struct.pack("<12f", 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)
    head[344:348] = b"n+1\0"
    return bytes(head)


def _metaimage(**fields: str) -> bytes:
    lines = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "0 0 0",
        "ElementSpacing": "1 1 1",
        "DimSize": "1024 1024 1536",
        "ElementType": "MET_SHORT",
        **fields,
        "ElementDataFile": "LOCAL",
    }
    return "".join(f"{key} = {value}\n" for key, value in lines.items()).encode() + bytes(100_000)


def _nrrd(sizes: str, *, encoding: str = "raw", body: bytes = bytes(100_000)) -> bytes:
    return (
        f"NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: {sizes}\n"
        "space directions: (1,0,0) (0,1,0) (0,0,1)\nkinds: domain domain domain\n"
        f"endian: little\nencoding: {encoding}\nspace origin: (0,0,0)\n\n"
    ).encode() + body


def _j2k_claiming(side: int) -> bytes:
    """Return encapsulated pixels whose codestream is a header of that many pixels a side."""
    sizes = struct.pack(">8L", side, side, 0, 0, side, side, 0, 0)
    siz = struct.pack(">HHH", 0xFF51, 41, 0) + sizes + struct.pack(">HBBB", 1, 15, 1, 1)
    stream = b"\xff\x4f" + siz + bytes(1000 + len(siz) % 2)
    return b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0" + struct.pack("<L", len(stream)) + stream


def _compressed_liar(pixels: bytes) -> bytes:
    meta = _META.replace(b"\x1c\x00\x00\x00\x02", b"\x1e\x00\x00\x00\x02").replace(
        b"\x14\x001.2.840.10008.1.2.1\0", b"\x16\x001.2.840.10008.1.2.4.90"
    )
    raw = lying_slice(size=(4096, 4096), pixels=pixels, meta=meta)
    place = raw.rindex(b"\xe0\x7f\x10\x00OW")
    end = b"\xfe\xff\xdd\xe0\0\0\0\0"
    return raw[:place] + b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + raw[place + 12 :] + end


def _tiff(side: int) -> bytes:
    """Return a TIFF of one strip that claims `side` squared grey pixels."""
    entries = [(256, side), (257, side), (258, 8), (259, 1), (262, 1), (273, 200), (277, 1)]
    entries += [(278, side), (279, side * side & 0xFFFFFFFF)]
    packed = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in entries)
    head = b"II*\0" + struct.pack("<L", 8) + struct.pack("<H", len(entries)) + packed
    return head + bytes(100_000)


def _zip_bomb() -> bytes:
    import io
    import zipfile

    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr(
            "a.dcm", lying_slice(before=element(0x00080070, b"UT", bytes(180_000_000)))
        )
    return target.getvalue()


LIARS: dict[str, Callable[[], bytes]] = {
    "deep.dcm": lambda: lying_slice(before=deep_sequences(10_000)),
    "deep_open.dcm": lambda: lying_slice(before=deep_sequences(10_000)[:200_000]),
    "rows.dcm": lambda: lying_slice(size=(65535, 65535)),
    "frames.dcm": lambda: lying_slice(frames=b"2147483647"),
    "frames_3gb.dcm": lambda: lying_slice(size=(512, 512), frames=b"6000"),
    "frames_negative.dcm": lambda: lying_slice(frames=b"-1"),
    "frames_long.dcm": lambda: lying_slice(frames=b"9" * 60_000),
    "position_nan.dcm": lambda: lying_slice(position=b"nan\\inf\\-inf"),
    "position_long.dcm": lambda: lying_slice(position=b"1" * 60_000 + b"\\0\\0"),
    "position_many.dcm": lambda: lying_slice(position=b"0\\" * 30_000),
    "spacing_tiny.dcm": lambda: lying_slice(spacing=b"1e-300\\1e-300"),
    "spacing_huge.dcm": lambda: lying_slice(spacing=b"1e308\\1e308"),
    "elements.dcm": lambda: lying_slice(before=element(0x00080070, b"LO", b"x") * 20_000),
    "deflated_bomb.dcm": _deflated_bomb,
    "j2k_claims_16_gb.dcm": lambda: _compressed_liar(_j2k_claiming(100_000)),
    "j2k_claims_4096.dcm": lambda: _compressed_liar(_j2k_claiming(4096)),
    "three_gb.nii": lambda: _nifti((1024, 1024, 1536)) + bytes(100_000),
    "negative.nii": lambda: _nifti((-1, 1024, 1536)) + bytes(100_000),
    "most.nii": lambda: _nifti((32767,) * 7) + bytes(100_000),
    "offset.nii": lambda: _nifti((32, 32, 32), offset=3e38) + bytes(65536),
    "offset_nan.nii": lambda: _nifti((32, 32, 32), offset=float("nan")) + bytes(65536),
    "bomb.nii.gz": lambda: gzip.compress(_nifti((512, 512, 380)) + bytes(200_000_000)),
    "three_gb.mha": _metaimage,
    "negative.mha": lambda: _metaimage(DimSize="-1024 -1024 1536"),
    "digits.mha": lambda: _metaimage(DimSize="9" * 50_000 + " 2 2"),
    "packed.mha": lambda: _metaimage(CompressedData="True", CompressedDataSize="99999999999"),
    "endless_line.mha": lambda: b"ObjectType = Image\nNDims = " + b"3" * 150_000,
    "three_gb.nrrd": lambda: _nrrd("1024 1024 1536"),
    "digits.nrrd": lambda: _nrrd("9" * 50_000 + " 2 2"),
    "bomb.nrrd": lambda: _nrrd(
        "512 512 380", encoding="gzip", body=gzip.compress(bytes(199_229_440))
    ),
    "endless_line.nrrd": lambda: b"NRRD0004\nsizes: " + b"1 " * 75_000,
    "claims.tif": lambda: _tiff(60_000),
    "claims_small.tif": lambda: _tiff(9_000),
    "bomb.zip": _zip_bomb,
}
"""Small files by name, and how to make them."""


def write_liars(folder: Path) -> None:
    """Write every lying file into a folder of its own, so that each is judged alone.

    A slice gets two neighbours that lie alike, or it would be refused for being alone.
    """
    for name, make in LIARS.items():
        home = folder / name.replace(".", "_")
        home.mkdir(parents=True)
        raw = make()
        (home / name).write_bytes(raw)
        for number in (1, 2) if _AT_ZERO in raw else ():
            moved = raw.replace(_AT_ZERO, _AT_ZERO.replace(b"0 ", b"%d " % number), 1)
            (home / f"{number}_{name}").write_bytes(moved)


_AT_ZERO = b"0\\0\\0 "

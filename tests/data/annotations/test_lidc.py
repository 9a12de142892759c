from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from medvit.data.annotations.contours import SlicePlaces, measure
from medvit.data.annotations.lidc import collect_lidc, read_contours
from medvit.errors import InputError
from medvit.io.dicom.header import read_header
from medvit.io.dicom.series import read_series
from tests.make.annotated import contours_xml, square
from tests.make.dicom import CtSeries, write_series

SERIES = CtSeries(hu=np.full((5, 40, 40), -900, np.int16), spacing_mm=(2.0, 1.0, 1.0))


def write_read_series(folder: Path, shifts: list[int]) -> Path:
    """Write a series and one XML in which each reader draws a cube, moved along x."""
    files = write_series(folder / "series", SERIES)
    uids = [read_header(path).sop_uid for path in files]
    heights = SERIES.positions()[:, 2].tolist()
    sessions = [
        [
            [(uids[n], heights[n], "TRUE", square(10 + shift, 10, 8)) for n in range(1, 4)],
            [(uids[4], heights[4], "TRUE", [(30, 30)])],
        ]
        for shift in shifts
    ]
    xml = folder / "series" / "077.xml"
    xml.write_text(contours_xml(SERIES.series_uid, sessions))
    return folder


def test_what_three_readers_drew_is_a_nodule_and_points_are_ignored(tmp_path: Path) -> None:
    found = collect_lidc(write_read_series(tmp_path, [0, 1, 2, 20]))
    cube_mm = (6 * 6 * 6 * 3 * 2 / np.pi) ** (1 / 3)
    (nodule,) = found.nodules
    # columns 11..16 at x = -10 + column; rows 11..16 at y = -20 + row; slices 1 to 3
    assert nodule.xyzd_mm == pytest.approx((-10 + 13.5 + 1, -20 + 13.5, -26, cube_mm))
    assert nodule.source == "077.xml, reader 1, nodule N1"
    alone = [mark for mark in found.ignored if mark.xyzd_mm[3] != 10.0]
    assert [mark.xyzd_mm for mark in alone] == [pytest.approx((23.5, -6.5, -26, cube_mm))]
    assert len(found.ignored) == 5
    assert found.patients == {
        SERIES.series_uid: read_header(next(tmp_path.rglob("*.dcm"))).patient_hash
    }
    assert "SECRET" not in str(found)


def test_series_without_contours_are_left_out_and_contours_without_series_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_read_series(tmp_path, [0, 1, 2])
    write_series(tmp_path / "unread", CtSeries(series_uid="1.2.7"))
    (tmp_path / "lost.xml").write_text(contours_xml("1.2.9", [[], [], []]))
    (tmp_path / "radiograph.xml").write_text("<IdriReadMessage/>")
    with caplog.at_level(logging.WARNING):
        found = collect_lidc(tmp_path)
    assert list(found.cases) == [SERIES.series_uid]
    assert "1 of 2 series have no contours" in caplog.text
    assert found.absent == ["lost.xml: series 1.2.9"]


def test_broken_files_of_contours_are_named(tmp_path: Path) -> None:
    write_read_series(tmp_path, [0, 1])
    with pytest.raises(InputError, match=r"077\.xml: 2 readers, 3 must agree"):
        collect_lidc(tmp_path)
    write_read_series(tmp_path, [0, 1, 2])
    xml = tmp_path / "series" / "077.xml"
    text = xml.read_text()
    (tmp_path / "twin.xml").write_text(text)
    with pytest.raises(InputError, match=r"twin\.xml and 077\.xml are of one series"):
        collect_lidc(tmp_path)
    for old, new, message in (
        ("</readingSession>", "", "mismatched tag"),
        ("<xCoord>30</xCoord>", "<xCoord>3x</xCoord>", "invalid literal .* '3x'"),
        ("<xCoord>30</xCoord>", "", "no xCoord in edgeMap"),
        ("<noduleID>N1</noduleID>", "", "no noduleID in unblindedReadNodule"),
        ("-24.0 ", "nan", "imageZposition must be a finite number"),
    ):
        xml.write_text(text.replace(old, new, 1))
        with pytest.raises(InputError, match=rf"077\.xml: not a readable file .*{message}"):
            read_contours(xml)


@pytest.mark.shared_data
def test_single_readers_measure_as_in_the_tables_of_luna16(shared_data: Path) -> None:
    """Last readers of two patients: LUNA16 lists them unchanged among excluded findings."""
    for patient, xml, expected in (
        ("LIDC-IDRI-0001", "69.xml", (56.60717265, 86.21893375, -115.7684613, 23.50013735)),
        ("LIDC-IDRI-0002", "71.xml", (59.40267185, 70.18377372, -104.3877531, 24.08464915)),
    ):
        folder = shared_data / "ct" / "lidc" / patient
        reading = read_contours(folder / xml)
        assert reading is not None
        headers = read_series(sorted(folder.glob("*.dcm")))
        places = SlicePlaces({h.sop_uid: h for h in headers}, 2.5 if patient[-1] == "1" else 1.25)
        drawn = [measure(m.contours, places) for m in reading.marks if m.reader == 4]
        largest = max(drawn, key=lambda found: found.volume_mm3)
        assert largest.diameter_mm == pytest.approx(expected[3], abs=1e-7)
        assert largest.centre_mm == pytest.approx(expected[:3], abs=5e-4)


@pytest.mark.shared_data
def test_readers_agree_as_luna16_says(shared_data: Path) -> None:
    found = collect_lidc(shared_data / "ct" / "lidc")
    (nodule,) = found.nodules
    # LUNA16: (56.208, 86.343, -115.868), 23.351 mm: it averages readers two by two.
    assert nodule.xyzd_mm == pytest.approx((56.21, 86.34, -115.87, 23.35), abs=0.25)
    (two_readers,) = [mark for mark in found.ignored if mark.xyzd_mm[3] != 10.0]
    assert two_readers.xyzd_mm == pytest.approx(
        (59.77586628, 71.53102562, -104.1027259, 23.32221915), abs=5e-4
    )
    assert len(found.cases) == len(set(found.patients.values())) == 2

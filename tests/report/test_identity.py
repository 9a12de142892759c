from __future__ import annotations

import io

import pytest
from pydicom import dcmwrite
from pydicom.dataset import Dataset

from medvit.report.identity import forms_of, identity_of, is_telling, own_words, read_values
from tests.make.dicom import CtSeries, ct_slice


def encoded(dataset: Dataset, *, is_implicit: bool = False) -> bytes:
    stream = io.BytesIO()
    dcmwrite(stream, dataset, implicit_vr=is_implicit, little_endian=True)
    return stream.getvalue()


def identified() -> Dataset:
    dataset = ct_slice(CtSeries(), 0)
    dataset.PatientBirthDate = "19701231"
    dataset.OtherPatientIDs = ["A-123", "B-456"]
    dataset.InstitutionName = "Saint Elsewhere"
    dataset.StudyDate = "20240229"
    dataset.StudyDescription = "THORAX"
    request = Dataset()
    request.RequestingPhysician = "House^Gregory"
    dataset.RequestAttributesSequence = [request]
    private = dataset.private_block(0x0011, "MAKER", create=True)
    private.add_new(0x01, "PN", "Nobody^Private")
    return dataset


@pytest.mark.parametrize("is_implicit", [False, True])
def test_names_numbers_and_places_are_read_also_from_sequences(*, is_implicit: bool) -> None:
    found = read_values(encoded(identified(), is_implicit=is_implicit))
    private = set() if is_implicit else {("PrivateName", "Nobody^Private")}
    assert found == private | {
        ("PatientName", "Secret^Person"),
        ("PatientID", "SECRET-ID"),
        ("PatientBirthDate", "19701231"),
        ("OtherPatientIDs", "A-123"),
        ("OtherPatientIDs", "B-456"),
        ("InstitutionName", "Saint Elsewhere"),
        ("RequestingPhysician", "House^Gregory"),
    }


def test_values_in_other_alphabets_are_decoded() -> None:
    dataset = ct_slice(CtSeries(), 0)
    dataset.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    dataset.PatientName = "Yamada^Tarou=山田^太郎"
    found = dict(read_values(encoded(dataset)))
    assert found["PatientName"] == "Yamada^Tarou=山田^太郎"
    forms = forms_of("PatientName", found["PatientName"])
    assert {"yamada", "tarou", "tarou yamada", "山田", "山田 太郎"} <= forms
    assert is_telling("山田")


def test_names_are_looked_for_whole_turned_and_in_parts() -> None:
    needles = identity_of([("PatientName", "Quandt^Ulf")]).needles
    by_text = {needle.text: needle for needle in needles}
    assert {"quandt^ulf", "quandt", "ulf", "ulf quandt", "quandt, ulf", "ulf_quandt"} <= set(
        by_text
    )
    assert not by_text["quandt"].is_word
    assert by_text["ulf"].is_word
    assert needles[by_text["ulf"]] == {"PatientName"}


def test_hexadecimal_words_and_numbers_count_only_alone() -> None:
    needles = identity_of([("PatientID", "12345678"), ("StationName", "FACADE")]).needles
    assert all(needle.is_word for needle in needles)


def test_a_value_of_two_attributes_is_told_as_both() -> None:
    found = identity_of([("PatientID", "QX-77123"), ("AccessionNumber", "QX-77123")])
    assert list(found.needles.values()) == [{"PatientID", "AccessionNumber"}]
    assert found.values == 2


@pytest.mark.parametrize(
    "value", ["1", "77", "1234", "Anonymous", "ANON^PATIENT", "probability", ""]
)
def test_what_stands_everywhere_is_skipped_and_counted(value: str) -> None:
    found = identity_of([("PatientName", value)])
    assert not found.needles
    assert (found.values, found.skipped) == (0, {"PatientName": 1})


def test_a_name_of_common_words_is_looked_for_as_a_whole() -> None:
    assert {"page", "white"} <= own_words()
    texts = {needle.text for needle in identity_of([("PatientName", "White^Page")]).needles}
    assert {"white^page", "page white"} <= texts
    assert not {"white", "page"} & texts


def test_the_date_that_medvit_writes_itself_is_no_leak() -> None:
    assert forms_of("PatientBirthDate", "19000101") == set()

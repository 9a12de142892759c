"""What the CT viewer is sent: exact voxels of any plane, how they lie, scans to compare with."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from apps.review import ct_routes, volumes
from apps.review.ahead import open_ahead
from apps.review.answering import BASE, TICKET_HEADER
from apps.review.ct_routes import CT_ROUTES
from apps.review.geometry import geometry_of, quick_level
from apps.review.priors import study_day
from apps.review.tickets import TICKETS
from apps.review.volumes import PreparingError
from medvit.geometry import affine_from
from medvit.io.readers import open_volume
from medvit.volume.levels import plan_levels
from medvit.volume.volume import volume_of
from tests.apps.review.conftest import CT_ID, OTHER_CT_ID, Practice, ct_result, series
from tests.make.dicom import edit, truncate


def with_ticket(*, sees_names: bool = True) -> dict[str, str]:
    return {TICKET_HEADER: TICKETS.give("", sees_names=sees_names)}


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr(volumes, "PATIENCE_S", 20.0)
    return TestClient(Starlette(routes=CT_ROUTES), headers=with_ticket(sees_names=False))


def test_an_axial_slice_is_sent_as_it_is_and_kept_nowhere(
    practice: Practice, client: TestClient
) -> None:
    answer = client.get(f"{BASE}/{CT_ID}/slices/0/8")
    sent = np.frombuffer(answer.content, dtype="<i2").reshape(64, 48)
    np.testing.assert_array_equal(sent, open_volume(practice.ct).read_all()[8])
    assert answer.headers["content-encoding"] == "identity"
    assert answer.headers["cache-control"] == "no-store"


def test_a_coronal_slab_is_sent_head_up_with_its_largest_values(
    practice: Practice, client: TestClient
) -> None:
    answer = client.get(f"{BASE}/{CT_ID}/slices/1/30", params={"slab": "5"})
    sent = np.frombuffer(answer.content, dtype="<i2").reshape(20, 48)
    voxels = open_volume(practice.ct).read_all()
    np.testing.assert_array_equal(sent, voxels[::-1, 28:33].max(axis=1))


def test_a_plane_that_is_being_prepared_says_how_far_it_is(
    practice: Practice, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(*_: object) -> None:
        raise PreparingError(0.4)

    monkeypatch.setattr(volumes.SlicePile, "cut", prepare)
    answer = client.get(f"{BASE}/{CT_ID}/slices/1/30")
    assert (answer.status_code, answer.json()) == (202, {"share": 0.4})
    assert practice.ct.case_id == CT_ID


def test_what_is_not_there_is_said(practice: Practice, client: TestClient) -> None:
    for path, message in (
        ("ct-nobody/slices/0/0", "no case ct-nobody"),
        (f"{CT_ID}/slices/0/99", "no slice 99"),
        (f"{CT_ID}/slices/0/3?level=7", "levels 0 to 0, not 7"),
        (f"{CT_ID}/slices/0/3?slab=-1", "slab is a whole number, not '-1'"),
        (f"{CT_ID}/slices/0/3?slab=9999", "1 to 512 slices, not 9999"),
        ("ct-nobody/geometry", "no case ct-nobody"),
    ):
        answer = client.get(f"{BASE}/{path}")
        assert answer.status_code == 404
        assert message in answer.json()["message"]
    stranger = client.get(f"{BASE}/{CT_ID}/others", headers={TICKET_HEADER: "wrong"})
    assert stranger.status_code == 403
    assert practice.ct.case_id == CT_ID


def test_files_that_were_cut_short_or_vanish_are_a_sentence(
    practice: Practice, client: TestClient
) -> None:
    truncate(practice.ct.files[0], lost_bytes=2000)
    cut = client.get(f"{BASE}/{CT_ID}/slices/0/19")
    assert cut.status_code == 422
    assert practice.ct.files[0].name in cut.json()["message"]
    assert client.get(f"{BASE}/{CT_ID}/slices/0/18").status_code in (200, 422)
    practice.ct.files[3].unlink()
    gone = client.get(f"{BASE}/{CT_ID}/slices/0/16")
    assert gone.status_code == 422
    assert "Traceback" not in gone.text


def test_the_geometry_of_a_scan_maps_to_the_patient_and_back(
    practice: Practice, client: TestClient
) -> None:
    sent = client.get(f"{BASE}/{CT_ID}/geometry").json()
    found = sent["geometry"]
    assert [each["id"] for each in sent["findings"]] == practice.ct_findings
    np.testing.assert_allclose(np.array(found["affine"]) @ found["inverse"], np.eye(4), atol=1e-12)
    assert found["shape"] == [20, 64, 48]
    assert found["numbers"] == list(range(1, 21))
    assert found["quick"] == found["finest"] == [0, 0, 0]
    assert found["note"] == ""
    assert practice.ct.series_uid


def test_an_oblique_scan_says_so() -> None:
    turn = np.radians(20)
    rows = (0.0, float(np.cos(turn)), float(np.sin(turn)))
    normal = (0.0, -float(np.sin(turn)), float(np.cos(turn)))
    affine = affine_from((0, 0, 0), normal, rows, (1, 0, 0))
    found = geometry_of(volume_of(np.zeros((3, 4, 5), np.float32), affine))
    assert found["note"] == "oblique by 20°: planes follow the scan"
    assert found["numbers"] == []


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((99, 512, 512), [0, 0, 0]), ((640, 512, 512), [0, 0, 0]), ((2000, 512, 512), [0, 1, 1])],
)
def test_only_large_planes_across_the_stack_are_shown_coarse_first(
    shape: tuple[int, int, int], expected: list[int]
) -> None:
    levels = plan_levels(shape, np.eye(4))
    assert [quick_level(levels, axis) for axis in range(3)] == expected


def test_of_a_vast_scan_the_plane_for_which_all_is_read_stays_coarse() -> None:
    thin = volume_of(np.zeros((2, 200, 200), np.float32), np.eye(4))
    vast = replace(thin, shape=(2000, 1024, 1024))
    assert geometry_of(vast)["finest"] == [0, 0, 1]
    assert geometry_of(replace(vast, is_plain=False))["finest"] == [0, 0, 0]
    assert geometry_of(thin)["finest"] == [0, 0, 0]


def others(client: TestClient, **query: str) -> list[tuple[str, bool, int | None]]:
    answer = client.get(f"{BASE}/{CT_ID}/others", params=query, headers=with_ticket())
    rows = answer.json()["others"]
    return [(row["name"], row["samePatient"], row["days"]) for row in rows]


def test_scans_of_the_same_patient_come_first_the_nearest_earlier_one_on_top(
    practice: Practice, client: TestClient
) -> None:
    run = practice.store.start_run("scan", {}, model="m@1", model_sha256="0" * 64)
    days = {"ct-13": "20210301", "ct-14": "20190301", "ct-15": "20220301"}
    for case_id, day in days.items():
        made = series(practice.ct.root, case_id, f"scan-{day}")
        for path in made.files:
            edit(path, StudyDate=day)
        practice.store.save_result(run, ct_result(made))
    stranger = series(practice.ct.root, "ct-16", "stranger")
    for path in stranger.files:
        edit(path, PatientID="SOMEBODY-ELSE", StudyDate="20220101")
    practice.store.save_result(run, ct_result(stranger))
    for path in practice.ct.files:
        edit(path, StudyDate="20220301")
    assert others(client) == [
        ("scan-20210301", True, -365),
        ("scan-20190301", True, -1096),
        ("scan-20220301", True, 0),
        ("chest-2", True, None),
        ("stranger", False, None),
    ]
    assert others(client, text="strang") == [("stranger", False, None)]
    assert others(client, text="nothing like it") == []


def test_names_are_sent_to_pages_that_may_show_them(practice: Practice, client: TestClient) -> None:
    answer = client.get(f"{BASE}/{CT_ID}/others")
    assert "chest-2" not in answer.text
    assert [row["id"] for row in answer.json()["others"]] == [OTHER_CT_ID]
    hidden = client.get(f"{BASE}/{CT_ID}/others", params={"text": "chest-2"})
    assert hidden.json()["others"] == []
    assert practice.store is not None


def test_no_name_or_number_of_the_patient_is_sent(practice: Practice, client: TestClient) -> None:
    for path in ("geometry", "others"):
        text = client.get(f"{BASE}/{CT_ID}/{path}", headers=with_ticket()).text
        assert "Secret" not in text
        assert "SECRET" not in text
    assert practice.ct.case_id == CT_ID


@pytest.mark.filterwarnings("ignore:Invalid value for VR DA")  # that is what is tested
def test_a_date_that_is_none_is_no_date(tmp_path: Path) -> None:
    case = series(tmp_path, "ct-1", "chest")
    for value in ("", "2022", "<b>x</b>", "20221399"):
        edit(case.files[0], StudyDate=value)
        assert study_day(case) is None
    edit(case.files[0], StudyDate="20220301")
    assert study_day(case) == date(2022, 3, 1)
    assert study_day(replace(case, series_uid="")) is None
    case.files[0].unlink()
    assert study_day(case) is None


def test_scans_are_opened_ahead(practice: Practice) -> None:
    rows = [practice.store.get_case(case_id) for case_id in (OTHER_CT_ID, CT_ID)]
    open_ahead([row for row in rows if row is not None])
    deadline = time.monotonic() + 20
    while len(ct_routes.SHELF) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(ct_routes.SHELF) == 2

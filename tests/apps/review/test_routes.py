"""Pixels over HTTP: exact, guarded, and a sentence when there are none."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from apps.review.answering import BASE, TICKET_HEADER
from apps.review.routes import ROUTES
from apps.review.tickets import TICKETS
from medvit.io.readers import open_volume
from tests.apps.review.conftest import CT_ID, IMAGE_ID, LOST_ID, Practice
from tests.make.dicom import truncate
from tests.make.models import DEFECT
from tests.make.raster import grey, write_image


@pytest.fixture
def client() -> TestClient:
    return TestClient(
        Starlette(routes=ROUTES), headers={TICKET_HEADER: TICKETS.give("", sees_names=False)}
    )


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    from apps.review import pictures

    monkeypatch.setattr(pictures, "PATIENCE_S", 60.0)

    pictures.SHELF.forget()
    for cached in (pictures.heat_png, pictures._model):
        cached.cache_clear()


def test_an_axial_slice_is_sent_as_it_is(practice: Practice, client: TestClient) -> None:
    answer = client.get(f"{BASE}/{CT_ID}/slices/0/8")
    sent = np.frombuffer(answer.content, dtype="<i2").reshape(64, 48)
    np.testing.assert_array_equal(sent, open_volume(practice.ct).read_all()[8])
    assert answer.headers["content-encoding"] == "identity"


def test_a_coronal_slice_is_sent_head_up(practice: Practice, client: TestClient) -> None:
    answer = client.get(f"{BASE}/{CT_ID}/slices/1/30")
    sent = np.frombuffer(answer.content, dtype="<i2").reshape(20, 48)
    np.testing.assert_array_equal(sent, open_volume(practice.ct).read_all()[::-1, 30])


def test_an_image_is_sent_in_tiles(practice: Practice, client: TestClient) -> None:
    answer = client.get(f"{BASE}/{IMAGE_ID}/image")
    assert answer.json() == {"tile": 512, "levels": [[48, 64]]}
    tile = client.get(f"{BASE}/{IMAGE_ID}/image/0/0/0")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(tile.content))), grey(48, 64))
    small = client.get(f"{BASE}/{IMAGE_ID}/thumbnail")
    assert Image.open(io.BytesIO(small.content)).size == (64, 48)


def test_a_large_image_is_cut_once_and_its_tiles_are_its_own(
    practice: Practice, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apps.review import pictures

    monkeypatch.setattr(pictures, "SMALL_PIXELS", 100)
    monkeypatch.setattr(pictures, "PATIENCE_S", 0.0)
    pixels = grey(1100, 600)
    write_image(practice.image.files[0], pixels)
    answer = client.get(f"{BASE}/{IMAGE_ID}/image")
    while answer.status_code == 202:
        assert answer.json() == {"share": 0.0}
        answer = client.get(f"{BASE}/{IMAGE_ID}/image")
    assert answer.json()["levels"] == [[1100, 600], [550, 300], [275, 150]]
    tile = client.get(f"{BASE}/{IMAGE_ID}/image/0/2/1")
    shown = np.asarray(Image.open(io.BytesIO(tile.content)))
    np.testing.assert_array_equal(shown, pixels[1024:, 512:])
    assert client.get(f"{BASE}/{IMAGE_ID}/image/0/3/0").status_code == 404
    assert client.get(f"{BASE}/{IMAGE_ID}/image/9/0/0").status_code == 404


def test_the_heat_map_comes_from_the_model_of_the_finding(
    practice: Practice, models: Path, client: TestClient
) -> None:
    answer = client.get(f"{BASE}/{IMAGE_ID}/heat", params={"model": f"{DEFECT}@test"})
    heat = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert heat.shape == (48, 64)
    assert heat.max() == 255


def test_a_model_that_is_gone_is_named(practice: Practice, client: TestClient) -> None:
    answer = client.get(f"{BASE}/{IMAGE_ID}/heat", params={"model": "other@9"})
    assert answer.status_code == 422
    assert "other@9" in answer.json()["message"]


@pytest.mark.parametrize("ticket", ["", "wrong"])
def test_a_stranger_gets_nothing(practice: Practice, client: TestClient, ticket: str) -> None:
    answer = client.get(f"{BASE}/{CT_ID}/slices/0/8", headers={TICKET_HEADER: ticket})
    assert answer.status_code == 403
    assert "reload" in answer.json()["message"]


@pytest.mark.parametrize(
    ("path", "message"),
    [("ct-nobody/slices/0/0", "no case ct-nobody"), (f"{CT_ID}/slices/0/99", "no slice 99")],
)
def test_what_is_not_there_is_said(
    practice: Practice, client: TestClient, path: str, message: str
) -> None:
    answer = client.get(f"{BASE}/{path}")
    assert answer.status_code == 404
    assert message in answer.json()["message"]


def test_a_vanished_file_is_a_sentence(practice: Practice, client: TestClient) -> None:
    answer = client.get(f"{BASE}/{LOST_ID}/image")
    assert answer.status_code == 422
    assert "lost.png" in answer.json()["message"]


def test_a_slice_cut_short_is_a_sentence(practice: Practice, client: TestClient) -> None:
    truncate(practice.ct.files[0], lost_bytes=2000)
    answer = client.get(f"{BASE}/{CT_ID}/slices/0/19")
    assert answer.status_code == 422
    assert practice.ct.files[0].name in answer.json()["message"]

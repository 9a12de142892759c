from __future__ import annotations

from pathlib import Path

import pytest

from medvit.data.boxes.labelled import TrueBox
from medvit.data.boxes.voc import read_voc
from medvit.errors import InputError

OBJECT = """<object><name>{name}</name><difficult>{difficult}</difficult>
<bndbox><xmin>{x_min}</xmin><ymin>2</ymin><xmax>{x_max}</xmax><ymax>6</ymax></bndbox></object>"""


def an_object(
    name: str = "pit", *, difficult: int = 0, x_min: str = "1", x_max: str = "200"
) -> str:
    return OBJECT.format(name=name, difficult=difficult, x_min=x_min, x_max=x_max)


def write(folder: Path, stem: str, *objects: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = f"<annotation><filename>{stem}.jpg</filename>{''.join(objects)}</annotation>"
    (folder / f"{stem}.xml").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("inner", ["", "Annotations"])
def test_corners_become_half_open_boxes_from_0(tmp_path: Path, inner: str) -> None:
    write(tmp_path / inner, "b", an_object(), an_object("ash", difficult=1, x_min="3", x_max="3"))
    write(tmp_path / inner, "a")
    truth = read_voc(tmp_path)
    assert truth.images == ("a.jpg", "b.jpg")
    assert truth.classes == ("ash", "pit")
    assert truth.boxes == (
        TrueBox(1, 1, (0, 1, 200, 5), 1000),
        TrueBox(1, 0, (2, 1, 1, 5), 5, is_difficult=True),
    )
    assert truth.image_ids == {"a.jpg": 0, "a": 0, "b.jpg": 1, "b": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (an_object(x_min="nan"), "b.xml, object 1: xmin must be a finite number, got 'nan'"),
        (an_object(x_min="x"), "b.xml, object 1: xmin must be a finite number, got 'x'"),
        (an_object(x_min="9", x_max="5"), "from xmin, ymin to xmax, ymax, got 9, 2 to 5, 6"),
        (an_object(name=" "), "b.xml, object 1: <name> is missing or empty"),
        ("<object><name>pit</name></object>", "b.xml, object 1: <bndbox> is missing"),
        ("<object>", "b.xml: not a readable XML file"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, "a", an_object())
    write(tmp_path, "b", text)
    with pytest.raises(InputError, match=message):
        read_voc(tmp_path)


def test_other_xml_and_entities_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<note/>")
    with pytest.raises(InputError, match="begins with <annotation>, found <note>"):
        read_voc(tmp_path)
    (tmp_path / "a.xml").write_text('<!DOCTYPE x [<!ENTITY e "lol">]><annotation>&e;</annotation>')
    with pytest.raises(InputError, match="entities are not expanded"):
        read_voc(tmp_path)
    (tmp_path / "a.xml").unlink()
    with pytest.raises(InputError, match="no XML file in it or in Annotations"):
        read_voc(tmp_path)


@pytest.mark.shared_data
def test_neu_det_has_its_boxes_and_their_own_names(shared_data: Path) -> None:
    truth = read_voc(shared_data / "defects/neu-det/annotations")
    assert (len(truth.images), len(truth.boxes), len(truth.classes)) == (1350, 3203, 6)
    other = [
        box
        for box in truth.boxes
        if not truth.images[box.image].startswith(truth.classes[box.label])
    ]
    assert (len(other), len({box.image for box in other})) == (159, 102)
    assert max(box.xywh[0] + box.xywh[2] for box in truth.boxes) <= 200

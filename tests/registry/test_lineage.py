from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medvit.errors import ModelError
from medvit.registry.lineage import (
    TRAINED_ON_FILE,
    Seen,
    image_mark,
    lineage_of,
    mark_of,
    read_seen,
    seen_images,
    seen_scans,
    seen_text,
)
from medvit.registry.registry import ModelVersion
from tests.make.registry import put_version


def put(models: Path, version: str, seen: Seen | None, *parents: str) -> ModelVersion:
    found = put_version(models, version, parents=parents)
    if seen is not None:
        (found.folder / TRAINED_ON_FILE).write_text(seen_text(seen))
    return found


def walked(version: ModelVersion, models: Path) -> tuple[set[str], tuple[str, ...]]:
    line = lineage_of(version, models, shipped=models / "none")
    return set(line.seen.cases), line.unknown


def test_marks_are_of_what_an_image_shows_and_not_of_its_format(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (8, 12), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(pixels).save(tmp_path / "a.bmp")
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(tmp_path / "b.png")
    Image.fromarray(pixels.reshape(12, 8)).save(tmp_path / "c.png")
    marks = {name: image_mark(tmp_path / name) for name in ("a.png", "a.bmp", "b.png", "c.png")}
    assert marks["a.png"] == marks["a.bmp"]
    assert len(set(marks.values())) == 3
    seen = seen_images(tmp_path, [("a.png", "strip 1"), ("b.png", "")])
    assert seen == Seen(
        frozenset({marks["a.png"], marks["b.png"]}), frozenset({mark_of("strip 1")})
    )


def test_what_is_written_is_read_and_tells_no_name(tmp_path: Path) -> None:
    seen = seen_scans([("1.2.3", "Doe"), ("1.2.4", "Doe"), ("1.2.5", "")])
    text = seen_text(seen)
    (tmp_path / TRAINED_ON_FILE).write_text(text)
    assert read_seen(tmp_path) == seen
    assert (len(seen.cases), len(seen.groups)) == (3, 1)
    assert "Doe" not in text
    assert "1.2.3" not in text


def test_a_line_that_is_none_of_ours_is_named(tmp_path: Path) -> None:
    (tmp_path / TRAINED_ON_FILE).write_text("kind,sha256\ncase,12\n")
    with pytest.raises(ModelError, match=r"trained_on\.csv, line 2: .* got 'case,12'"):
        read_seen(tmp_path)


def test_parents_count_and_who_does_not_tell_is_named(tmp_path: Path) -> None:
    one, two = (Seen(frozenset({mark_of(name)})) for name in ("a", "b"))
    put(tmp_path, "1", one)
    put(tmp_path, "2", None, "steel@1", "elsewhere@9")
    third = put(tmp_path, "3", two, "steel@2", "steel@1")
    cases, unknown = walked(third, tmp_path)
    assert cases == {mark_of("a"), mark_of("b")}
    assert unknown == ("steel@2", "elsewhere@9")


def test_a_backbone_saw_no_label_and_a_circle_ends(tmp_path: Path) -> None:
    put_version(tmp_path, "1", name="vit", task="backbone", classes=())
    put(tmp_path, "1", Seen(), "steel@2", "vit@1")
    second = put(tmp_path, "2", Seen(), "steel@1")
    assert walked(second, tmp_path) == (set(), ())

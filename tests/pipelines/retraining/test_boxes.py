"""Which images a box challenger learns from, how much of it learns, and what stays as it was."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from medvit.data.box_images import BoxRow
from medvit.data.labels.label_set import Box
from medvit.errors import ConfigError, NothingToDoError
from medvit.labels.cases import Mark, Standing
from medvit.labels.dataset import DatasetVersion, Sample, write_dataset
from medvit.models.builders import defect_detector
from medvit.models.card import Architecture, ModelCard
from medvit.workspace import Workspace
from pipelines.retraining.box_learning import choose_points, grown
from pipelines.retraining.box_lessons import read_box_lessons
from pipelines.retraining.boxes import plan_boxes
from pipelines.retraining.reviewed_boxes import box_marks, read_reviewed
from tests.make.spots import write_spots

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
ARGUMENTS: dict[str, Any] = {
    "backbone": "cnn_small",
    "classes": 2,
    "width": 16,
    "strides_px": [8, 16],
}


def mark(standing: Standing, label: str, x: float = 10) -> Mark:
    place = {"x_min": x, "y_min": 10, "x_max": x + 20, "y_max": 30}
    return Mark(f"{standing}-{label}-{x}", standing, label, place)


def sample(name: str, label: str, *marks: Mark, split: str = "train") -> Sample:
    return Sample(f"im-{name}", f"../images/{name}.png", label, split, name, name, marks)


def version_of(folder: Path, *samples: Sample) -> DatasetVersion:
    return write_dataset(folder, "defect", samples, [], now=NOW)


def card_of(**fields: object) -> ModelCard:
    values = {
        "name": "spots",
        "version": "1",
        "task": "defect",
        "architecture": Architecture(builder="defect_detector", arguments=ARGUMENTS),
        "classes": ("bright", "dark"),
        "preprocessing": {"side_px": 64, "image_px": 64, "channels": "grey"},
        **fields,
    }
    return ModelCard.model_validate(values)


def test_an_image_is_labelled_whole_once_all_its_findings_are_decided(tmp_path: Path) -> None:
    version = version_of(
        tmp_path,
        sample("whole", "dent", mark("is", "dent"), mark("not", "rust", 60)),
        sample("waits", "dent", mark("is", "dent"), mark("open", "rust", 60)),
        # A new model proposes a little beside what was accepted and what was rejected.
        sample("again", "dent", mark("is", "dent"), mark("open", "dent", 13)),
        sample("still", "", mark("not", "rust", 60), mark("open", "rust", 62)),
        sample("sound", "", mark("not", "dent"), split="test"),
        sample("nowhere", "dent"),
        sample("other", "rust", mark("is", "dent")),
        sample("out", "dent", mark("is", "dent"), split=""),
    )
    reviewed = read_reviewed(version)
    names = {split: [Path(row.path).stem for row in own] for split, own in reviewed.rows.items()}
    assert names == {"train": ["whole", "again", "still"], "val": [], "test": ["sound"]}
    assert reviewed.rows["train"][0].boxes == (Box("dent", 10, 10, 30, 30),)
    assert reviewed.rows["train"][2].boxes == ()
    assert (reviewed.rejected, reviewed.undecided, reviewed.unplaced) == (3, 1, 2)
    assert reviewed.left_out == (
        "1 images wait until all their findings are decided, 2 images have a label and no box of it"
    )


def test_a_moved_box_and_a_rejected_one_are_news_though_the_label_stays(tmp_path: Path) -> None:
    one = sample("one", "dent", mark("is", "dent"))
    two = sample("two", "dent", mark("is", "dent"), mark("open", "rust", 60))
    first = version_of(tmp_path, one, two)
    moved = replace(one, marks=(mark("is", "dent", 11),))
    settled = replace(two, marks=(mark("is", "dent"), mark("not", "rust", 60)))
    second = version_of(tmp_path, moved, settled)
    assert first.marked == second.marked
    before, after = box_marks(first), box_marks(second)
    assert ({*before}, {*after}) == ({"one"}, {"one", "two"})
    assert before["one"] != after["one"]
    assert box_marks(version_of(tmp_path / "b", one, two)) == before


def test_how_much_learns_goes_by_the_number_of_new_labels() -> None:
    rust = [BoxRow(f"{at}.png", (Box("rust", 0, 0, 4, 4),) * 2) for at in range(5)]
    oil = [BoxRow(f"oil-{at}.png", (Box("oil", 0, 0, 4, 4),)) for at in range(4)]
    plan = plan_boxes([*rust, *oil], known=["dent"], fresh=9)
    assert (plan.strategy, plan.new_classes, plan.waiting) == ("head", ("rust",), {"oil": 4})
    assert plan.reason.startswith("9 newly labelled images: ")
    sizes = {199: "head", 200: "replay", 1999: "replay", 2000: "full"}
    found = {fresh: plan_boxes(rust, known=["rust"], fresh=fresh).strategy for fresh in sizes}
    assert found == sizes
    assert plan_boxes(rust, known=[], fresh=1, wanted="full").reason == "full was asked for"
    with pytest.raises(ConfigError, match="--strategy adapter is one for classifiers"):
        plan_boxes(rust, known=[], fresh=1, wanted="adapter")


def test_a_new_class_leaves_what_is_said_of_old_ones_as_it_is_to_the_bit() -> None:
    torch.manual_seed(4)
    champion = defect_detector(**ARGUMENTS).eval()
    kept = {name: value.clone() for name, value in champion.state_dict().items()}
    arguments = dict(ARGUMENTS)
    net = grown(champion, arguments, new=2).eval()
    image = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        before, after = champion(image), net(image)
    assert torch.equal(after.labels[..., :2], before.labels)
    assert torch.equal(after.reaches, before.reaches)
    assert torch.equal(after.centre, before.centre)
    assert float(after.labels[..., 2:].sigmoid().max()) < 0.05  # a new class says little at first
    assert (arguments["classes"], net.classes, ARGUMENTS["classes"]) == (4, 4, 2)
    defect_detector(**arguments).load_state_dict(net.state_dict())
    assert all(torch.equal(value, kept[name]) for name, value in champion.state_dict().items())


def reviewed_line(folder: Path) -> DatasetVersion:
    """Return a version of reviewed images, one of which is much larger than the first ones."""
    truth = write_spots(folder / "images", count=4, seed=2)
    Image.new("L", (128, 64)).save(folder / "images" / "large.png")
    samples = [
        Sample(
            name,
            f"../images/{name}",
            "dark",
            "test" if at == 3 else "train",
            name,
            name,
            tuple(
                Mark(f"{name}-{n}", "is", b.label, dict(zip(PLACE, edges(b), strict=True)))
                for n, b in enumerate(boxes)
            ),
        )
        for at, (name, boxes) in enumerate(truth.items())
    ]
    return version_of(folder / "versions", *samples, sample("large", "", mark("not", "dark")))


PLACE = ("x_min", "y_min", "x_max", "y_max")


def edges(box: Box) -> tuple[float, float, float, float]:
    return box.x_min, box.y_min, box.x_max, box.y_max


def test_first_images_are_replayed_and_large_ones_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = tmp_path / "first"
    write_spots(first, count=6, seed=1, split=("train", "val"))
    data = {"annotations": str(first / "coco.json"), "manifest": str(first / "manifest.csv")}
    card = card_of(training={"data": {**data, "side_px": 64}}, thresholds={"dark": 0.4})
    version = reviewed_line(tmp_path)
    # Versions lie beside the images, and paths start at the version.
    (tmp_path / "versions" / "images").symlink_to(tmp_path / "images")
    reviewed = read_reviewed(version)
    with caplog.at_level(logging.WARNING):
        lessons = read_box_lessons(
            version, reviewed, card, Workspace(tmp_path / "w"), new_classes=()
        )
    assert (lessons.reviewed, len(lessons.train.rows)) == (3, 3 + 3)
    assert (len(lessons.val.rows), len(lessons.frozen.rows)) == (3, 1)
    assert "1 images are larger than 96 px and are not learnt from" in caplog.text
    assert [row.path.startswith("1-") for row in lessons.train.rows] == [False] * 3 + [True] * 3
    net = defect_detector(**ARGUMENTS)
    thresholds, calibration = choose_points(net.eval(), card, lessons)
    assert thresholds.keys() == {"bright", "dark"}
    assert calibration == {}
    (first / "coco.json").unlink()
    alone = read_box_lessons(version, reviewed, card, Workspace(tmp_path / "w"), new_classes=())
    assert len(alone.train.rows) == 3


def test_an_image_without_decision_on_all_findings_teaches_nothing(tmp_path: Path) -> None:
    from pipelines.retraining.assignment import Assignment
    from pipelines.retraining.boxes import make_box_challenger
    from pipelines.retraining.learning import Desk
    from tests.make.registry import put_version

    version = version_of(tmp_path, sample("a", "dent", mark("is", "dent"), mark("open", "x", 60)))
    assignment = Assignment(put_version(tmp_path / "models", "1"), version, {}, "retrain/1")
    workspace = Workspace(tmp_path / "w")
    net = defect_detector(**ARGUMENTS)
    with pytest.raises(NothingToDoError, match="1 images wait until all their findings"):
        make_box_challenger(net, card_of(), assignment, workspace, desk=Desk(tmp_path))

"""The gate on answers that are known: its verdicts, its page, its memory."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medvit.data.manifest import ManifestRow, write_manifest
from medvit.errors import InputError, ModelError
from medvit.registry.lineage import TRAINED_ON_FILE, Seen, image_mark, mark_of, seen_text
from medvit.registry.registry import ModelVersion
from pipelines.gate import GateAnswer, GateSettings, frozen_images, judge
from pipelines.gating.answers import Answers, Cost, keep_answers, kept_file
from pipelines.gating.frozen import FrozenImages
from tests.make.registry import put_version

CASES = 120
CLASSES = ("hole", "scratch")


@pytest.fixture
def frozen(tmp_path: Path) -> FrozenImages:
    return freeze(tmp_path)


def freeze(folder: Path, labels: Sequence[str] = CLASSES, *, count: int = CASES) -> FrozenImages:
    """Return images of classes by turns; 0 and 1 are of one group, 2 and 3, and so on."""
    rng = np.random.default_rng(1)
    rows = []
    for number in range(count):
        pixels = rng.integers(0, 255, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")
        label = labels[number % len(labels)]
        rows.append(ManifestRow(f"{number:03d}.png", label, "test", f"strip {number // 2}"))
    write_manifest(folder / "manifest.csv", rows)
    return frozen_images(folder / "manifest.csv")


def rules(folder: Path, **changes: object) -> GateSettings:
    return GateSettings.model_validate({"folder": folder / "gate", "rounds": 200, **changes})


def model(
    folder: Path,
    version: str,
    frozen: FrozenImages,
    *,
    wrong: Sequence[int] = (),
    classes: Sequence[str] = CLASSES,
) -> ModelVersion:
    """Return a version that answers right but for some images."""
    found = put_version(folder / "models", version, classes=tuple(classes))
    other = {name: classes[at - 1] for at, name in enumerate(classes)}
    said = [
        (other.get(each.label, classes[0]) if at in wrong else each.label, 0.9)
        for at, each in enumerate(frozen.cases)
    ]
    answers = Answers(tuple(said), Cost(0.001, 10.0, "cpu"))
    keep_answers(kept_file(found, frozen, folder / "gate"), answers, about={})
    return found


def test_a_better_challenger_is_promoted_with_a_page_that_shows_what_flipped(
    tmp_path: Path, frozen: FrozenImages
) -> None:
    champion = model(tmp_path, "1", frozen, wrong=range(30))
    challenger = model(tmp_path, "2", frozen, wrong=[0, 119])
    answer = judge(champion, challenger, frozen, settings=rules(tmp_path), out=tmp_path / "out")
    assert answer.verdict == "promote"
    assert answer.reasons[0].startswith("better on accuracy: 0.750 to 0.983 (+0.233, +0.1")
    told = json.loads((tmp_path / "out" / "gate.json").read_text())
    assert told == json.loads(json.dumps(answer.figures))
    assert told["primary"]["flips"] == {
        "gained": 29,
        "lost": 1,
        "p": pytest.approx(5.77e-8, rel=0.01),
    }
    assert told["primary"]["difference"]["groups"] == 60
    assert [part["name"] for part in told["parts"]] == ["hole", "scratch"]
    page = answer.report.read_text()
    assert page.count("<img ") == page.count("data:image/jpeg") == 30
    assert page.index("119.png") < page.index("001.png")  # what was lost comes first
    for text in ("steel@2 against steel@1", "promote", "0.750", "strip 7", "29", "not worse"):
        assert text in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)


def test_the_same_model_twice_is_undecided(tmp_path: Path, frozen: FrozenImages) -> None:
    one = model(tmp_path, "1", frozen, wrong=[3])
    answer = judge(one, one, frozen, settings=rules(tmp_path), out=tmp_path / "out")
    assert answer.verdict == "undecided"
    assert answer.reasons[0].startswith("not surely better on accuracy: 0.992 to 0.992")
    assert "None: both models are right on the same cases." in answer.report.read_text()


def seen(version: ModelVersion, cases: Sequence[str] = (), groups: Sequence[str] = ()) -> None:
    marks = Seen(frozenset(cases), frozenset(groups))
    (version.folder / TRAINED_ON_FILE).write_text(seen_text(marks))


def test_who_was_trained_on_frozen_cases_is_refused_and_the_leak_is_named(
    tmp_path: Path, frozen: FrozenImages
) -> None:
    champion = model(tmp_path, "1", frozen, wrong=range(30))
    challenger = model(tmp_path, "2", frozen)
    seen(champion)
    marks = [image_mark(tmp_path / f"{number:03d}.png") for number in (4, 5, 7, 9)]
    seen(challenger, [*marks, mark_of("elsewhere")])
    answer = judge(champion, challenger, frozen, settings=rules(tmp_path), out=tmp_path / "out")
    assert answer.verdict == "refuse"
    assert answer.reasons == (
        "steel@2 was trained on 4 of the 120 frozen cases: 004.png, 005.png, 007.png and 1 more",
    )
    assert answer.warnings == ()
    assert not (tmp_path / "gate" / "looks.json").exists()  # nothing was looked at
    assert "was trained on 4 of the 120" in answer.report.read_text()


def test_other_cases_of_a_frozen_group_are_a_leak_too_and_parents_count(
    tmp_path: Path, frozen: FrozenImages
) -> None:
    champion = model(tmp_path, "1", frozen)
    seen(champion, groups=[mark_of("strip 3")])
    challenger = put_version(tmp_path / "models", "2", parents=("steel@1",), classes=CLASSES)
    seen(challenger)
    answer = judge(champion, challenger, frozen, settings=rules(tmp_path), out=tmp_path / "out")
    assert answer.reasons == tuple(
        f"steel@{number} was trained on other cases of 1 frozen groups: strip 3"
        for number in (1, 2)
    )


def test_a_model_that_does_not_tell_what_it_saw_is_named(
    tmp_path: Path, frozen: FrozenImages
) -> None:
    champion, challenger = (model(tmp_path, version, frozen) for version in "12")
    seen(challenger)
    answer = judge(champion, challenger, frozen, settings=rules(tmp_path), out=tmp_path / "out")
    assert answer.warnings == ("not known to have been trained on other cases alone: steel@1",)


def test_an_altered_checkpoint_is_refused_though_its_answers_are_kept(
    tmp_path: Path, frozen: FrozenImages
) -> None:
    champion, challenger = (model(tmp_path, version, frozen) for version in "12")
    (challenger.folder / "model.safetensors").write_bytes(b"other")
    with pytest.raises(ModelError, match=r"2/model\.safetensors: sha256"):
        judge(champion, challenger, frozen, settings=rules(tmp_path), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_looks_are_counted_by_challenger_and_warned_of(
    tmp_path: Path, frozen: FrozenImages
) -> None:
    champion = model(tmp_path, "1", frozen)
    few = rules(tmp_path, most_looks=2)

    def look(challenger: ModelVersion) -> GateAnswer:
        return judge(champion, challenger, frozen, settings=few, out=tmp_path / "out")

    versions = [model(tmp_path, number, frozen) for number in "234"]
    answers = [look(version) for version in (versions[0], versions[0], *versions[1:])]
    assert [answer.figures["look"] for answer in answers] == [1, 1, 2, 3]
    assert [len(answer.warnings) for answer in answers] == [1, 1, 1, 2]
    assert answers[-1].warnings[1].startswith("this is challenger 3 at this frozen set")
    (tmp_path / "gate" / "looks.json").write_text('{"a": {"b": 3}}')
    with pytest.raises(ModelError, match=r"looks\.json: the looks at frozen sets cannot be read"):
        look(versions[0])


def test_new_classes_are_told_apart_and_deleted_ones_are_refused(tmp_path: Path) -> None:
    frozen = freeze(tmp_path, ("hole", "scratch", "scale"))
    champion = model(tmp_path, "1", frozen, wrong=range(2, CASES, 3))
    three = ("hole", "scratch", "scale")
    challenger = model(tmp_path, "2", frozen, classes=three)
    out = tmp_path / "out"
    answer = judge(champion, challenger, frozen, settings=rules(tmp_path), out=out)
    assert answer.verdict == "promote"
    assert answer.reasons[0] == "learned scale: 40 of 40 frozen cases named"
    assert answer.figures["primary"]["cases"] == 80
    back = judge(challenger, champion, frozen, settings=rules(tmp_path), out=out)
    assert back.verdict == "refuse"
    assert back.reasons == ("scale is unknown to the challenger, and 40 frozen cases show it",)
    knowingly = rules(tmp_path, dropped_classes=("scale",))
    allowed = judge(challenger, champion, frozen, settings=knowingly, out=out)
    assert allowed.verdict == "undecided"


def test_a_label_that_neither_model_knows_is_left_out(tmp_path: Path) -> None:
    frozen = freeze(tmp_path, ("hole", "scratch", "scale"))
    champion, challenger = (model(tmp_path, version, frozen) for version in "12")
    answer = judge(champion, challenger, frozen, settings=rules(tmp_path), out=tmp_path / "out")
    assert answer.warnings[-1] == (
        "40 frozen images show scale, which neither model knows; they are left out"
    )
    assert answer.figures["primary"]["cases"] == 80


def test_frozen_cases_have_a_hash_of_all_they_hold(tmp_path: Path) -> None:
    first = freeze(tmp_path, count=10)
    assert freeze(tmp_path, count=10).sha256 == first.sha256
    assert freeze(tmp_path, ("scratch", "hole"), count=10).sha256 != first.sha256
    freeze(tmp_path, count=10)
    (tmp_path / "007.png").write_bytes((tmp_path / "008.png").read_bytes())
    assert frozen_images(tmp_path / "manifest.csv").sha256 != first.sha256
    with pytest.raises(InputError, match="split val has no labelled image"):
        frozen_images(tmp_path / "manifest.csv", split="val")
    (tmp_path / "007.png").unlink()
    with pytest.raises(InputError, match=r"manifest\.csv: .*007\.png cannot be read"):
        frozen_images(tmp_path / "manifest.csv")


@pytest.mark.slow
def test_of_forty_equal_challengers_at_most_two_are_promoted(
    tmp_path: Path, frozen: FrozenImages
) -> None:
    rng = np.random.default_rng(11)

    def drawn(version: str) -> ModelVersion:
        wrong = np.flatnonzero(rng.random(CASES) < 0.15).tolist()
        return model(tmp_path, version, frozen, wrong=wrong)

    champion = drawn("0")
    wide = rules(tmp_path, margin=0.05, class_margin=0.2)
    answers = [
        judge(champion, drawn(str(number)), frozen, settings=wide, out=tmp_path / "out").verdict
        for number in range(1, 41)
    ]
    assert answers.count("promote") <= 2
    assert answers.count("undecided") >= 32

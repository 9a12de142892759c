from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from medvit.errors import ConfigError
from pipelines.classifying.config import ClassifyConfig
from pipelines.config import Settings, apply_override, load_config, parse_yaml, write_config
from pipelines.detecting.config import DetectConfig
from pipelines.pretraining.image_config import PretrainConfig


class Schedule(Settings):
    lr: float = Field(1e-3, gt=0)
    warmup_epochs: int = Field(5, ge=0)


class Job(Settings):
    name: str
    train: Schedule = Schedule()
    extra: Schedule | None = None


def written(folder: Path, text: str) -> Path:
    path = folder / "job.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_config_fills_what_it_does_not_say(tmp_path: Path) -> None:
    job = load_config(Job, written(tmp_path, "name: a\ntrain: {lr: 0.5}"))
    assert job == Job(name="a", train=Schedule(lr=0.5, warmup_epochs=5))


def test_an_override_wins_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "name: a\ntrain: {lr: 0.5}")
    job = load_config(Job, path, ["train.lr=1e-4", "extra.warmup_epochs=2"])
    assert job.train.lr == 1e-4
    assert job.extra == Schedule(warmup_epochs=2)


def test_an_override_opens_a_group_that_the_file_left_empty(tmp_path: Path) -> None:
    assert load_config(Job, written(tmp_path, "name: a\ntrain:\n"), ["train.lr=2"]).train.lr == 2


def test_a_misspelt_key_gets_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"job.yaml: unknown key 'train.warmup_epoch'") as caught:
        load_config(Job, written(tmp_path, "name: a\ntrain: {warmup_epoch: 3}"))
    assert caught.value.hint == "did you mean 'warmup_epochs'?"


def test_a_misspelt_key_in_an_optional_group_is_found_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'extra.lrr'") as caught:
        load_config(Job, written(tmp_path, "name: a\nextra: {lrr: 3}"))
    assert caught.value.hint == "did you mean 'lr'?"


def test_a_key_with_no_neighbour_lists_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(Job, written(tmp_path, "name: a\nzzz: 1"))
    assert caught.value.hint == "known keys: name, train, extra."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\ntrain: {lr: -2}", r"train\.lr=-2: Input should be greater than 0"),
        ("train: {lr: 2}", r"key 'name' is missing"),
        ("name: no", r"name=False: Input should be a valid string"),
        ("name: a\nname: b", r"key 'name' is given twice"),
        ("name: a\ntrain: {lr: 1, lr: 2}", r"key 'lr' is given twice"),
        ("name: [a", r"not valid YAML"),
        ("- a\n- b", r"a config is a mapping of names to values, got list"),
        ("1: a", r"a config is a mapping"),
        ("name: !!python/object/apply:os.getcwd []", r"not valid YAML"),
    ],
)
def test_a_wrong_config_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(Job, written(tmp_path, text))


@pytest.mark.parametrize("override", ["train.lr", "=3", "train..lr=3", ".=1"])
def test_an_override_without_key_and_value_is_refused(override: str) -> None:
    with pytest.raises(ConfigError, match="is not of the form key=value"):
        apply_override({}, override)


def test_an_override_does_not_go_through_a_value() -> None:
    with pytest.raises(ConfigError, match=r"train=3 is a value, not a group of keys"):
        apply_override({"train": 3}, "train.lr=1")


def test_an_override_with_broken_yaml_is_refused() -> None:
    with pytest.raises(ConfigError, match="the value is not valid YAML"):
        apply_override({}, "train.lr=[1")


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", "1e-4"), ("1.0e-4", 1e-4), ("no", False), ("08", "08"), ("12:30", 750)],
)
def test_yaml_traps_are_what_we_think_they_are(text: str, value: object) -> None:
    assert parse_yaml(f"key: {text}", name="a.yaml") == {"key": value}


def test_a_missing_file_names_the_shipped_configs() -> None:
    with pytest.raises(ConfigError, match=r"config no/such_config does not exist") as caught:
        load_config(Job, "no/such_config")
    assert "shipped configs:" in caught.value.hint


def test_a_binary_file_is_no_config(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(Job, path)


@given(
    lr=st.floats(1e-12, 1e12, allow_nan=False),
    warmup=st.integers(0, 10**6),
    name=st.text(min_size=1).filter(str.isprintable),
)
def test_the_resolved_form_can_be_fed_back(
    tmp_path_factory: pytest.TempPathFactory, lr: float, warmup: int, name: str
) -> None:
    job = Job(name=name, train=Schedule(lr=lr, warmup_epochs=warmup))
    path = tmp_path_factory.mktemp("config") / "resolved.yaml"
    write_config(path, job)
    assert load_config(Job, path) == job


@pytest.mark.parametrize(
    ("overrides", "manifest", "root"),
    [
        ((), "splits/xsdd.csv", "../shared/data/defects/x-sdd/images"),
        (("data.manifest=mine.csv",), "mine.csv", None),
        (("data.root=mine", "data.manifest=mine.csv"), "mine.csv", "mine"),
        (("data.root=mine",), "splits/xsdd.csv", "mine"),
    ],
)
def test_the_folder_of_the_shipped_data_is_not_that_of_other_data(
    overrides: tuple[str, ...], manifest: str, root: str | None
) -> None:
    data = load_config(ClassifyConfig, "train/classify_defects", overrides).data
    assert (str(data.manifest), data.root) == (manifest, root and Path(root))


def test_other_annotations_do_not_take_the_manifest_of_the_shipped_ones() -> None:
    data = load_config(DetectConfig, "train/detect_defects", ["data.annotations=mine.json"]).data
    assert (data.annotations, data.manifest) == (Path("mine.json"), None)


@pytest.mark.parametrize(
    ("settings", "config"),
    [(DetectConfig, "train/detect_defects"), (PretrainConfig, "pretrain/vit_defects")],
)
def test_texture_is_refused_where_nothing_would_join_it(
    settings: type[Settings], config: str
) -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'model\.texture'"):
        load_config(settings, config, ["model.texture=true"])

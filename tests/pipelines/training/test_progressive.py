"""`train.progressive`: what is asked, and what is refused."""

from __future__ import annotations

import pytest

from medvit.data.draws import Phase
from medvit.errors import ConfigError
from pipelines import train
from pipelines.nodules.config import NoduleConfig
from pipelines.training.progressive import PhaseSettings, phases_of


def load(*overrides: str) -> NoduleConfig:
    config = train.load("train/nodule_phantom", overrides)
    assert isinstance(config, NoduleConfig)
    return config


def test_it_is_off_unless_asked_for() -> None:
    assert load().train.progressive == ()
    assert phases_of((), spacing_mm=1.0, side=64) == (Phase(1.0, 64, 1.0),)


def test_phases_are_taken_over_with_the_usual_side_where_none_is_given() -> None:
    asked = "[{spacing_mm: 2.0, share: 0.3, side: 32}, {spacing_mm: 1.0, share: 0.7}]"
    phases = load(f"train.progressive={asked}").train.progressive
    found = phases_of(phases, spacing_mm=1.0, side=64)
    assert found == (Phase(2.0, 32, 0.3), Phase(1.0, 64, 0.7))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("[{spacing_mm: 1.0, share: 0.5}, {spacing_mm: 2.0, share: 0.5}]", "must fall"),
        ("[{spacing_mm: 2.0, share: 1.0}]", "last progressive phase must have 1 mm, got 2 mm"),
        ("[{spacing_mm: 2.0, share: 0.3}, {spacing_mm: 1.0, share: 0.3}]", "sum to 1"),
        ("[{spacing_mm: 2.0, share: 0.01}, {spacing_mm: 1.0, share: 0.99}]", "no epoch of its own"),
        (
            "[{spacing_mm: 9.0, share: 0.3}, {spacing_mm: 1.0, share: 0.7}]",
            "or equal to 4",
        ),
        (
            "[{spacing_mm: 2.0, share: 0.3, side: 33}]",
            "multiple of 32",
        ),
        ("[{spacing: 2.0, share: 0.3}]", "unknown key 'train.progressive.0.spacing'"),
    ],
)
def test_phases_that_cannot_be_run_are_refused(asked: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(f"train.progressive={asked}")


def test_a_share_of_everything_is_one_phase() -> None:
    phase = PhaseSettings(spacing_mm=1.0, share=1.0)
    assert phases_of((phase,), spacing_mm=1.0, side=96) == (Phase(1.0, 96, 1.0),)

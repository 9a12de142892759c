"""Settings for labels that may be wrong."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from pipelines.config import Settings

MOST_WRONG = 0.5
SHIFTING_LOSSES = ("cross_entropy", "balanced_softmax", "logit_adjustment")
"""Losses that are a cross entropy of each image, which two networks can rank."""

TUNABLE_TWICE = ("full", "layer_decay", "head", "head_norm", "adapter", "prompt")
"""Ways of tuning that two networks can share."""


class Noise(Settings):
    """`noise`: what is done about wrong labels; each method reads its own keys."""

    method: Literal["none", "prune", "co_teaching", "dividemix"] = Field(
        "none", description="prune: labels more likely wrong than right are left out"
    )
    rate: Literal["auto"] | float = Field(
        "auto", description="share of wrong labels, 0 to 0.5; auto: estimated before training"
    )
    ramp_epochs: int = Field(
        10, ge=1, description="until co_teaching leaves out its share, dividemix guesses in full"
    )
    warm_up_epochs: int = Field(10, ge=1, description="plain ones before dividemix divides")
    guess_weight: Literal["auto"] | float = Field(
        "auto", description="of guessed labels in dividemix; auto: by the noise rate"
    )
    temperature: float = Field(0.5, gt=0, le=1, description="sharpens guesses of dividemix")
    alpha: float = Field(4.0, gt=0, description="of the Beta distribution dividemix mixes by")
    penalise_confidence: bool = Field(
        False, description="in dividemix's warm-up; for noise that is not symmetric"
    )

    @field_validator("rate")
    @classmethod
    def _less_than_half(cls, rate: str | float) -> str | float:
        if not isinstance(rate, str) and not 0 <= rate <= MOST_WRONG:
            msg = (
                "the share of wrong labels must be auto or 0 to 0.5: beyond one half, small "
                "losses no longer mean right labels"
            )
            raise ValueError(msg)
        return rate

    @field_validator("guess_weight")
    @classmethod
    def _not_negative(cls, weight: str | float) -> str | float:
        if not isinstance(weight, str) and weight < 0:
            msg = "the weight of guessed labels must be auto or at least 0"
            raise ValueError(msg)
        return weight


def refused_beside(noise: Noise, info: ValidationInfo) -> str:
    """Return why a method does not go with the other settings, empty if it does."""
    said = info.data
    if noise.method == "none" or not {"loss", "sampler", "tuning", "mixing"} <= {*said}:
        return ""
    return _refused_by_pruning(said) if noise.method == "prune" else _refused_by_two(noise, said)


def _refused_by_pruning(said: dict[str, Any]) -> str:
    if not said["tuning"].keep_classes:
        return ""
    return (
        "noise.method=prune judges labels by those of other images, of which a new class beside "
        "old ones has too few; set tuning.keep_classes=false or noise.method=none"
    )


def _refused_by_two(noise: Noise, said: dict[str, Any]) -> str:
    name = f"noise.method={noise.method}"
    if said["loss"].name not in SHIFTING_LOSSES:
        return (
            f"{name} ranks images by their cross entropy, which loss.name={said['loss'].name} "
            f"is not; set loss.name to one of {', '.join(SHIFTING_LOSSES)}"
        )
    if said["sampler"].name != "none":
        return (
            f"{name} holds classes to their share of the images, and sampler.name="
            f"{said['sampler'].name} would show them in another; correct for a tail with "
            "loss.name=logit_adjustment instead"
        )
    if said["mixing"].method != "none":
        return f"{name} judges each image by itself; set mixing.method=none"
    if said["tuning"].keep_classes or said["tuning"].method not in TUNABLE_TWICE:
        return (
            f"{name} trains two networks, which tuning.method={said['tuning'].method} or "
            f"tuning.keep_classes does not; use one of {', '.join(TUNABLE_TWICE)}"
        )
    return ""

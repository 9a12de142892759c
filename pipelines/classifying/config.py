"""Settings of the training of image classifiers."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from pipelines.classifying.noise import Noise, refused_beside
from pipelines.config import Settings
from pipelines.training.config import ImageData, Training, Views
from pipelines.training.image_model import ImageModel

CORRECTING_LOSSES = ("class_balanced", "ldam_drw", "balanced_softmax", "logit_adjustment")
EXTENDING = ("prototype", "adapter")
"""Ways of tuning that keep what the old classes rest on."""


class ClassifyData(ImageData):
    """`data`: which images, at which size, grey or in colour."""

    channels: Literal["grey", "colour"] = "grey"
    classes: tuple[str, ...] = Field(
        (), description="all there may be; a label that is not among them is refused"
    )
    sound_class: str = Field(
        "", description="the class without defect: lets large images be judged in tiles"
    )


class ClassifierModel(ImageModel):
    """`model`: what is trained, from which weights, under which name."""

    texture: bool | Literal["maps"] = Field(
        default=False,
        description="join features with the spread of all maps and plain texture; maps: without it",
    )


class ClassifyTraining(Training):
    """`train`: how long and how fast."""

    lr_scaling: Literal["none", "linear", "square_root"] = Field(
        "none", description="none: lr is for this batch size; else it is for 256 images"
    )


class Loss(Settings):
    """`loss`: how wrong answers are counted."""

    name: Literal[
        "cross_entropy",
        "focal",
        "class_balanced",
        "ldam_drw",
        "balanced_softmax",
        "logit_adjustment",
    ] = "logit_adjustment"
    label_smoothing: float = Field(0.05, ge=0, lt=1)
    post_hoc_tau: float = Field(
        0.0, ge=0, le=4, description="times the log prior off the logits, once training is over"
    )

    @model_validator(mode="after")
    def _correct_once(self) -> Self:
        if self.post_hoc_tau > 0 and self.name in CORRECTING_LOSSES:
            msg = (
                f"loss.name={self.name} and loss.post_hoc_tau={self.post_hoc_tau} both correct for "
                "class frequencies, which favours rare classes twice; set post_hoc_tau=0 or "
                "loss.name=cross_entropy"
            )
            raise ValueError(msg)
        return self


class SamplerChoice(Settings):
    """`sampler`: how often each class is shown."""

    name: Literal["none", "balanced", "square_root", "progressive"] = "none"


class Decoupled(Settings):
    """`decoupled`: the head alone is learnt anew at the end, classes shown alike."""

    epochs: int = Field(0, ge=0, description="0: not at all")
    lr: float = Field(1e-3, gt=0)


class Tuning(Settings):
    """`tuning`: which parameters learn; each method reads its own keys."""

    method: Literal[
        "full", "layer_decay", "gradual", "head", "head_norm", "adapter", "prompt", "prototype"
    ] = "full"
    layer_decay: float = Field(0.75, gt=0, le=1)
    open_after: float = Field(0.5, ge=0, le=1, description="share of the epochs; gradual")
    adapter_width: int = Field(16, ge=1)
    prompts: int = Field(8, ge=1)
    deep_prompts: bool = True
    prototype: Literal["cosine", "tied_covariance", "cache", "spread", "kernel"] = Field(
        "cosine",
        description="spread: labels spread over unlabelled images, then a linear head; kernel: "
        "likeness to each labelled image, for hundreds of labels",
    )
    keep_classes: bool = Field(False, description="add classes to those of model.weights")
    most_moved: float = Field(
        0.01, ge=0, lt=1, description="share of old images that a new class may take"
    )

    @model_validator(mode="after")
    def _extends_gently(self) -> Self:
        if self.keep_classes and self.method not in EXTENDING:
            msg = (
                f"tuning.keep_classes with tuning.method={self.method}: a new class beside old "
                f"ones takes {' or '.join(EXTENDING)}, which leave the backbone as it is"
            )
            raise ValueError(msg)
        if self.keep_classes and self.prototype == "spread":
            msg = (
                "tuning.keep_classes with tuning.prototype=spread: labels spread over images of "
                "all classes, and the head is fitted anew; drop one of the two"
            )
            raise ValueError(msg)
        return self


class Mixing(Settings):
    """`mixing`: two images in one."""

    method: Literal["none", "mixup", "cutmix", "tokenmix"] = "none"
    alpha: float = Field(1.0, gt=0)
    probability: float = Field(0.5, ge=0, le=1)
    within_class: bool = False
    patch_px: int = Field(16, ge=4)


class ClassifyConfig(Settings):
    """A config of `task: classify`."""

    task: Literal["classify"]
    data: ClassifyData
    model: ClassifierModel
    train: ClassifyTraining
    loss: Loss = Loss()
    sampler: SamplerChoice = SamplerChoice()
    tuning: Tuning = Tuning()
    mixing: Mixing = Mixing()
    views: Views = Views(side_px=112, min_area=0.6)
    noise: Noise = Noise()
    decoupled: Decoupled = Decoupled()

    @field_validator("sampler")
    @classmethod
    def _correct_once(cls, sampler: SamplerChoice, info: ValidationInfo) -> SamplerChoice:
        loss = info.data.get("loss")
        if loss is not None and loss.name in CORRECTING_LOSSES and sampler.name != "none":
            msg = (
                f"loss.name={loss.name} and sampler.name={sampler.name} both correct for class "
                "frequencies, which favours rare classes twice; set sampler.name=none or "
                "loss.name=cross_entropy"
            )
            raise ValueError(msg)
        if loss is not None and loss.post_hoc_tau > 0 and sampler.name != "none":
            msg = (
                f"loss.post_hoc_tau={loss.post_hoc_tau} and sampler.name={sampler.name} both "
                "correct for class frequencies; set one of them only"
            )
            raise ValueError(msg)
        return sampler

    @field_validator("tuning")
    @classmethod
    def _old_classes_come_from_a_model(cls, tuning: Tuning, info: ValidationInfo) -> Tuning:
        model = info.data.get("model")
        if tuning.keep_classes and model is not None and model.weights == "none":
            msg = (
                "tuning.keep_classes with model.weights=none: there are no classes to keep; set "
                "model.weights to a registered model"
            )
            raise ValueError(msg)
        return tuning

    @field_validator("noise")
    @classmethod
    def _fits_the_rest(cls, noise: Noise, info: ValidationInfo) -> Noise:
        if reason := refused_beside(noise, info):
            raise ValueError(reason)
        return noise

    @field_validator("decoupled")
    @classmethod
    def _corrects_alone(cls, decoupled: Decoupled, info: ValidationInfo) -> Decoupled:
        if not decoupled.epochs or not {"loss", "sampler", "noise", "tuning"} <= {*info.data}:
            return decoupled
        loss, sampler, noise = (info.data[key] for key in ("loss", "sampler", "noise"))
        others = [
            f"loss.name={loss.name}" if loss.name in CORRECTING_LOSSES else "",
            f"loss.post_hoc_tau={loss.post_hoc_tau}" if loss.post_hoc_tau else "",
            f"sampler.name={sampler.name}" if sampler.name != "none" else "",
        ]
        if found := " and ".join(filter(None, others)):
            msg = (
                f"{found} and decoupled.epochs={decoupled.epochs} both correct for class "
                "frequencies, which favours rare classes twice; set decoupled.epochs=0, or "
                "loss.name=cross_entropy and sampler.name=none"
            )
            raise ValueError(msg)
        if noise.method not in ("none", "prune"):
            msg = (
                f"decoupled.epochs={decoupled.epochs} would learn the head from all labels, also "
                f"those that noise.method={noise.method} left out; set decoupled.epochs=0"
            )
            raise ValueError(msg)
        if info.data["tuning"].method == "prototype" or info.data["tuning"].keep_classes:
            msg = (
                "decoupled.epochs is for a head that was trained; tuning.method=prototype or "
                "tuning.keep_classes computes it"
            )
            raise ValueError(msg)
        return decoupled

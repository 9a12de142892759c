"""Train an image classifier from a manifest.

Manifest -> images in memory -> views -> loss -> temperature on val -> scores on test
-> ModelVersion.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from medvit.errors import ConfigError
from medvit.workspace import Workspace
from pipelines.config import Settings
from pipelines.defect_card import card_text
from pipelines.training_config import ImageData, Training, Views, check_batch, find_manifest
from pipelines.training_run import close_run, find_weights, images_sha256, open_run, register

if TYPE_CHECKING:
    from torch.utils.data import Sampler

    from medvit.data.labelled import LabelledImages
    from medvit.learn.fit import FitResult, Progress
    from medvit.models.heads.classify import DefectClassifier

CORRECTING_LOSSES = ("logit_adjustment",)
SPLITS = ("train", "val", "test")


class ClassifierModel(Settings):
    """`model`: what is trained, from which weights, under which name."""

    name: str
    backbone: Literal["vit_tiny_stem"] = "vit_tiny_stem"
    weights: str = Field("none", description="none, a registered model, or a model folder")


class Loss(Settings):
    """`loss`: how wrong answers are counted."""

    name: Literal["cross_entropy", "logit_adjustment"] = "logit_adjustment"
    label_smoothing: float = Field(0.05, ge=0, lt=1)


class SamplerChoice(Settings):
    """`sampler`: how often each class is shown."""

    name: Literal["none", "balanced"] = "none"


class ClassifyConfig(Settings):
    """A config of `task: classify`."""

    task: Literal["classify"]
    data: ImageData
    model: ClassifierModel
    train: Training
    loss: Loss = Loss()
    sampler: SamplerChoice = SamplerChoice()
    views: Views = Views(side_px=112, min_area=0.6)

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
        return sampler


def run(
    config: ClassifyConfig, workspace: Workspace, *, progress: Progress | None = None
) -> dict[str, Any]:
    """Train, calibrate on val, score the last epoch on test, and register the model.

    Returns:
        `{"run", "model", "metrics"}`.

    Raises:
        ConfigError: If there are fewer than two classes, or too few images.
    """
    from medvit.data.labelled import load_labelled, training_classes
    from medvit.data.manifest import read_manifest
    from medvit.registry.registry import version_folder

    next(version_folder(workspace.models, config.model.name))
    file, root = find_manifest(config.data)
    manifest = read_manifest(file)
    classes = training_classes(manifest)
    side_px = config.data.side_px
    splits = {
        name: load_labelled(manifest, name, root=root, side_px=side_px, classes=classes)
        for name in SPLITS
    }
    counts = {name: len(split.paths) for name, split in splits.items()}
    check_batch(counts["train"], batch_size=config.train.batch_size, file=file)
    net, parents = _build_net(config, workspace, classes=len(classes))
    folder = open_run(workspace, "train", config)
    result = _fit(net, splits["train"], config=config, folder=folder, progress=progress)
    temperature = _calibrate(net, splits["val"])
    metrics = _score(net, splits["test"], classes=classes, temperature=temperature)
    metrics |= {"loss": result.loss, "epochs": result.epochs, "cut_short": result.cut_short}
    data_sha256 = images_sha256(splits["train"].images, splits["train"].paths)
    card = {
        **_recipe(config, classes),
        "calibration": {"temperature": temperature},
        "training": {
            **config.model_dump(mode="json"),
            "data_sha256": data_sha256,
            "images": counts,
        },
        "metrics": metrics,
        "parents": parents,
    }
    saved = register(workspace, net, name=config.model.name, card=card, readme=card_text(card))
    return close_run(folder, config, card=saved, result=result, counts=counts)


def _recipe(config: ClassifyConfig, classes: tuple[str, ...]) -> dict[str, Any]:
    arguments = {"backbone": config.model.backbone, "classes": len(classes)}
    return {
        "task": "defect",
        "architecture": {"builder": "defect_classifier", "arguments": arguments},
        "classes": classes,
        "preprocessing": {"side_px": config.data.side_px, "channels": "grey", "range": [0, 1]},
    }


def _build_net(
    config: ClassifyConfig, workspace: Workspace, *, classes: int
) -> tuple[DefectClassifier, tuple[str, ...]]:
    import torch

    from medvit.models.builders import defect_classifier
    from medvit.models.heads.classify import DefectClassifier
    from medvit.models.vit import draw_weights

    net = defect_classifier(backbone=config.model.backbone, classes=classes)
    draw_weights(net, generator=torch.Generator().manual_seed(config.train.seed))
    if config.model.weights == "none":
        return net, ()
    start, card = find_weights(config.model.weights, workspace)
    backbone = start.backbone if isinstance(start, DefectClassifier) else start
    try:
        net.backbone.load_state_dict(backbone.state_dict())
    except RuntimeError as error:
        msg = (
            f"model.weights={config.model.weights}: the weights of {card.architecture.builder} "
            f"do not fit model.backbone={config.model.backbone}"
        )
        raise ConfigError(msg, hint="start from a model with the same backbone") from error
    return net, (card.reference,)


def _fit(
    net: DefectClassifier,
    train: LabelledImages,
    *,
    config: ClassifyConfig,
    folder: Path,
    progress: Progress | None,
) -> FitResult:
    from torch.utils.data import DataLoader

    from medvit.data.augment.surface import SurfaceViews, ViewSettings
    from medvit.data.surface import LabelledViews
    from medvit.learn.classify import ClassifyObjective
    from medvit.learn.fit import FitSettings, fit
    from medvit.learn.longtail import build_loss

    views = SurfaceViews(ViewSettings(**config.views.model_dump()))
    batches = DataLoader(
        LabelledViews(train.images, train.targets, views=views, seed=config.train.seed),
        batch_size=config.train.batch_size,
        sampler=_order(train, config),
        drop_last=True,
    )
    counts = train.counts(classes=net.head.out_features)
    loss = build_loss(config.loss.name, counts, label_smoothing=config.loss.label_smoothing)
    settings = FitSettings(**config.train.model_dump(exclude={"batch_size"}))
    objective = ClassifyObjective(net, loss=loss)
    return fit(objective, batches, settings=settings, folder=folder, progress=progress)


def _order(train: LabelledImages, config: ClassifyConfig) -> Sampler[tuple[int, int]]:
    from medvit.data.surface import EpochOrder
    from medvit.learn.longtail import BalancedOrder

    if config.sampler.name == "balanced":
        return BalancedOrder(train.labels, seed=config.train.seed)
    return EpochOrder(len(train.paths), seed=config.train.seed)


def _calibrate(net: DefectClassifier, val: LabelledImages) -> float:
    """Return the temperature; 1 when there is nothing to fit it on."""
    from medvit.learn.classify import fit_temperature, predict_logits

    if not val.paths:
        return 1.0
    return fit_temperature(predict_logits(net, val.images), val.labels)


def _score(
    net: DefectClassifier, test: LabelledImages, *, classes: tuple[str, ...], temperature: float
) -> dict[str, Any]:
    """Return figures on images that neither training nor calibration saw."""
    from torch.nn import functional as F  # noqa: N812

    from medvit.learn.classify import predict_logits
    from medvit.metrics.calibration import expected_calibration_error
    from medvit.metrics.classification import score_classification

    if not test.paths:
        return {"n": 0}
    logits = predict_logits(net, test.images) / temperature
    confidence, guess = logits.softmax(dim=1).max(dim=1)
    truth = [classes[index] for index in test.labels.tolist()]
    predicted = [classes[index] for index in guess.tolist()]
    correct = (guess == test.labels).numpy()
    return {
        **score_classification(truth, predicted, classes=classes),
        "nll": float(F.cross_entropy(logits, test.labels)),
        "ece": expected_calibration_error(confidence.numpy(), correct, equal_mass=True),
    }

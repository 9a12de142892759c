"""The weights that a training starts from: of a model of medvit, or of a zoo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from medvit.errors import ConfigError
from medvit.workspace import Workspace
from pipelines.training.image_model import FOREIGN, ImageModel

if TYPE_CHECKING:
    from torch import Tensor, nn

    from medvit.models.backbone import Backbone2d
    from medvit.models.weights import ModelCard

CHANNELS = {1: "grey", 3: "colour"}


def hub_of(backbone: str) -> dict[str, Any] | None:
    """Return what a model card keeps of a network of the hub, None for any other network.

    Raises:
        ModelError: If it is not found.
    """
    if not backbone.startswith("hf:"):
        return None
    from medvit.models.hub import hub_arguments, read_hub

    return hub_arguments(read_hub(backbone))


def load_weights(net: Backbone2d, model: ImageModel, workspace: Workspace) -> ModelCard | None:
    """Load the weights that a config names, if any, into its backbone.

    Returns:
        The card of the model of medvit that they come from, if they do.

    Raises:
        ConfigError: If the weights do not fit.
        ModelError: If there is no such model, or it was altered.
    """
    if model.weights == "none":
        return None
    if model.weights.startswith(FOREIGN):
        net.bare.load_state_dict(_foreign(model.backbone, in_channels=net.in_channels))
        return None
    return take_backbone(net, model.weights, workspace, name=model.backbone)


def _foreign(name: str, *, in_channels: int) -> dict[str, Tensor]:
    if name.startswith("hf:"):
        from medvit.models.hub import load_hub, read_hub

        return load_hub(name, read_hub(name), in_channels=in_channels).state_dict()
    from medvit.models.timm_zoo import TimmBackbone

    return TimmBackbone(name, in_channels=in_channels, pretrained=True).state_dict()


def find_weights(weights: str, workspace: Workspace) -> tuple[nn.Module, ModelCard]:
    """Return the model that `model.weights` names: registered, or a folder.

    Raises:
        ConfigError: If it names weights that medvit did not make.
        ModelError: If there is no such model, or it was altered.
    """
    from medvit.models.weights import CARD_FILE, load_model
    from medvit.registry.registry import find_model

    if weights.startswith(FOREIGN):
        msg = f"model.weights={weights}: this training goes on from a model of medvit alone"
        raise ConfigError(msg, hint="use none, a registered model, or a model folder")
    folder = Path(weights)
    if not (folder / CARD_FILE).is_file():
        folder = find_model(weights, models=workspace.models).folder
    return load_model(folder)


def take_backbone(net: Backbone2d, weights: str, workspace: Workspace, *, name: str) -> ModelCard:
    """Load the backbone of a model of images into one of the same kind; return the model's card.

    Args:
        net: Gets the weights; what texture joins to either of the two is left alone.
        weights: As `find_weights` takes them: of a backbone, a classifier or a detector.
        name: Of the backbone, as configs name it.

    Raises:
        ConfigError: If the weights do not fit.
        ModelError: If there is no such model, or it was altered.
    """
    from medvit.models.backbone import Backbone2d

    module, card = find_weights(weights, workspace)
    source = getattr(module, "backbone", module)
    source = source.bare if isinstance(source, Backbone2d) else source
    try:
        net.bare.load_state_dict(source.state_dict())
    except RuntimeError as error:
        msg = f"weights of {card.reference} ({_kind(card)}) do not fit model.backbone={name}"
        seen = getattr(source, "in_channels", net.in_channels)
        if seen == net.in_channels:
            hint = f"set model.backbone={_kind(card)}, or name a model with the same backbone"
            raise ConfigError(msg, hint=hint) from error
        kind, other = CHANNELS[seen], CHANNELS[net.in_channels]
        msg += f": they are for {kind} images, not for {other} ones"
        hint = f"set data.channels={kind}, or name a model for {other} images"
        raise ConfigError(msg, hint=hint) from error
    return card


def _kind(card: ModelCard) -> str:
    return str(card.architecture.arguments.get("backbone", card.architecture.builder))

"""What is trained by each method of pretraining on images, from drawn or given weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medvit.errors import ConfigError
from medvit.workspace import Workspace
from pipelines.pretraining.image_config import PretrainConfig
from pipelines.training.image_model import FOREIGN
from pipelines.training.weights import hub_of, load_weights

if TYPE_CHECKING:
    from medvit.learn.pretraining.mae import MaeLoss
    from medvit.learn.pretraining.moco import MocoLoss
    from medvit.learn.pretraining.simclr import SimclrLoss
    from medvit.models.backbone import Backbone2d


@dataclass(frozen=True, slots=True)
class StartedBackbone:
    """A backbone, how a model card builds it again, and the model it came from, if any."""

    net: Backbone2d
    architecture: dict[str, Any]
    parents: tuple[str, ...] = ()


def start_backbone(config: PretrainConfig, workspace: Workspace) -> StartedBackbone:
    """Return the backbone as the training finds it.

    Raises:
        ConfigError: If given weights do not fit it.
        ModelError: If a network or its weights are not found.
    """
    import torch

    from medvit.models.builders import image_backbone
    from medvit.models.vit import draw_weights

    name, seed = config.model.backbone, config.train.seed
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = image_backbone(name)
    if not name.startswith(FOREIGN):
        draw_weights(net, generator=torch.Generator().manual_seed(seed))
        architecture: dict[str, Any] = {"builder": name}
    else:
        architecture = {
            "builder": "image_backbone",
            "arguments": {"name": name, "hub": hub_of(name)},
        }
    card = load_weights(net, config.model, workspace)
    return StartedBackbone(net, architecture, (card.reference,) if card else ())


def build_objective(
    backbone: Backbone2d, config: PretrainConfig, *, steps: int
) -> SimclrLoss | MocoLoss | MaeLoss:
    """Return what the training minimises, by `pretrain.method`.

    Args:
        backbone: Is trained in place.
        config: Of the pretraining.
        steps: Of the whole training, which the momentum of `moco_v3` is spread over.

    Raises:
        ConfigError: If the method does not take the backbone or the size of its views.
    """
    import torch

    from medvit.learn.pretraining.simclr import SimclrLoss, SimclrNet
    from medvit.models.vit import draw_weights

    method = config.pretrain
    if method.method == "mae":
        return _mae(backbone, config)
    if method.method == "moco_v3":
        return _moco(backbone, config, steps=steps)
    _check_kept(backbone, config)
    net = SimclrNet(
        backbone,
        channels=backbone.out_channels,
        chunk=method.chunk,
        keep_share=method.keep_share,
    )
    draw_weights(net.projection, generator=torch.Generator().manual_seed(config.train.seed))
    return SimclrLoss(net, temperature=method.temperature, spare_groups=method.spare_groups)


def _moco(backbone: Backbone2d, config: PretrainConfig, *, steps: int) -> MocoLoss:
    import torch

    from medvit.learn.pretraining.moco import MocoLoss, MocoNet, MocoSettings, draw_blocks
    from medvit.models.vit import draw_weights

    method = config.pretrain
    settings = MocoSettings(
        hidden=method.head_width,
        temperature=method.temperature,
        momentum=method.momentum,
        freeze_patches=method.freeze_patches,
        spare_groups=method.spare_groups,
        chunk=method.chunk,
        keep_share=method.keep_share,
    )
    _check_kept(backbone, config)
    generator = torch.Generator().manual_seed(config.train.seed)
    if config.model.weights == "none":
        draw_blocks(backbone, generator=generator)
    net = MocoNet(backbone, channels=backbone.out_channels, settings=settings)
    draw_weights(net.projection, generator=generator)
    draw_weights(net.prediction, generator=generator)
    net.follow(keep=0.0)
    return MocoLoss(net, settings=settings, steps=steps)


def _check_kept(backbone: Backbone2d, config: PretrainConfig) -> None:
    from medvit.models.vit import Vit

    share, name = config.pretrain.keep_share, config.model.backbone
    if share == 1:
        return
    if not isinstance(backbone, Vit):
        msg = f"pretrain.keep_share={share:g}: {name} has no patches that could be left out"
        raise ConfigError(msg, hint="set pretrain.keep_share=1, or use a ViT")
    _check_side(backbone.settings.patch_px, config)


def _check_side(patch: int, config: PretrainConfig) -> None:
    side = config.views.side_px
    if side % patch:
        msg = (
            f"views.side_px={side} is no multiple of the {patch} px of a patch of "
            f"{config.model.backbone}"
        )
        raise ConfigError(msg, hint=f"set views.side_px={max(1, side // patch) * patch}")


def _mae(backbone: Backbone2d, config: PretrainConfig) -> MaeLoss:
    import torch

    from medvit.learn.pretraining.mae import MaeLoss, MaeNet, MaeSettings
    from medvit.models.vit import Vit, draw_weights

    method, side = config.pretrain, config.views.side_px
    if not isinstance(backbone, Vit):
        msg = (
            f"pretrain.method=mae with model.backbone={config.model.backbone}: a masked "
            "autoencoder leaves tokens out, which only a plain ViT can"
        )
        hint = "use vit_tiny_stem, vit_tiny, vit_small or vit_base, or pretrain.method=simclr"
        raise ConfigError(msg, hint=hint)
    _check_side(backbone.settings.patch_px, config)
    settings = MaeSettings(
        mask_share=method.mask_share,
        decoder_dim=method.decoder_dim,
        decoder_depth=method.decoder_depth,
    )
    net = MaeNet(backbone, side_px=side, settings=settings)
    generator = torch.Generator().manual_seed(config.train.seed)
    for part in (net.narrow, net.blocks, net.paint):
        draw_weights(part, generator=generator)
    torch.nn.init.normal_(net.mask_token, std=0.02, generator=generator)
    return MaeLoss(net)

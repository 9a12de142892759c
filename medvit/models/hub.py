"""Encoders of the transformers zoo as backbones: `hf:` and a name or a local folder.

Looked for in a folder, then in the local cache, then on the hub. Only safetensors are read, and
no code of a repository is run.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from medvit.errors import ModelError
from medvit.models.backbone import Backbone2d

if TYPE_CHECKING:
    from transformers import PretrainedConfig

PREFIX = "hf:"
MOST_EXTRA_TOKENS = 16
"""Class, distillation and register tokens in front of those of the grid."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
STRIDES_PX = (4, 8, 14, 16, 32)
COLOURS_FILE = "preprocessor_config.json"
SIZE_OPTION = "interpolate_pos_encoding"


@dataclass(frozen=True, slots=True)
class HubSettings:
    """All that builds a network of the zoo again, without the network.

    Attributes:
        config: The configuration of transformers, `model_type` included.
        mean: Of each colour, 0..1; images are centred by it.
        std: Of each colour; images are divided by it.
    """

    config: dict[str, Any]
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


class HubBackbone(Backbone2d):
    """A network of transformers that gives a grid of features.

    Grey images are shown as three equal colours. Sides must be whole multiples of the stride.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, settings: HubSettings, *, in_channels: int = 1) -> None:
        super().__init__()
        self.settings = settings
        self.in_channels = in_channels
        self.net = _build(settings)
        self.register_buffer("mean", torch.tensor(settings.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(settings.std).view(1, -1, 1, 1))
        takes = inspect.signature(self.net.forward).parameters
        self._extra = {SIZE_OPTION: True} if SIZE_OPTION in takes else {}
        self.probe_px = _native_side(settings.config)
        self.widths, self.strides_px = (1,), (1,)
        with torch.no_grad():
            side = self.probe_px
            grid = self._grid(self._run(torch.zeros(1, 3, side, side)), (side, side))
        self.widths, self.strides_px = (grid.shape[1],), (side // grid.shape[2],)

    def embed(self, x: Tensor) -> Tensor:
        """Return images in three colours, centred as the network was trained."""
        return (x.expand(-1, 3, -1, -1) - self.mean) / self.std

    def stages(self, patches: Tensor) -> list[Tensor]:
        """Return the one map there is, of images that `embed` has centred.

        Raises:
            ValueError: If the network does not take images of this size.
        """
        sides = (patches.shape[2], patches.shape[3])
        stride = self.strides_px[0]
        if any(side % stride for side in sides):
            near = max(stride, round(sides[0] / stride) * stride)
            msg = (
                f"sides must be multiples of {stride} px for this network, got {sides}; "
                f"set data.side_px and views.side_px, for example to {near}"
            )
            raise ValueError(msg)
        try:
            return [self._grid(self._run(patches), sides)]
        except RuntimeError as error:
            if sides == (self.probe_px, self.probe_px):
                raise
            msg = (
                f"this network takes images of {self.probe_px} px and fails at {sides}; "
                f"set data.side_px and views.side_px to {self.probe_px}"
            )
            raise ValueError(msg) from error

    def _run(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(pixel_values=x, **self._extra).last_hidden_state
        return out

    def _grid(self, features: Tensor, sides: tuple[int, int]) -> Tensor:
        """Return a map (n, c, h, w) of a map, or of tokens (n, t, c), extra ones first."""
        if features.ndim == 4:
            return features
        count, known = features.shape[1], self.strides_px[0]
        own = self.settings.config.get("patch_size")
        candidates = (known,) if known > 1 else sorted({*STRIDES_PX, *_numbers(own)})
        for stride in candidates:
            h, w = sides[0] // stride, sides[1] // stride
            if 0 <= count - h * w <= MOST_EXTRA_TOKENS:
                tokens = features[:, count - h * w :]
                return tokens.transpose(1, 2).reshape(len(features), -1, h, w)
        msg = f"{count} tokens of a {sides[0]}x{sides[1]} px image are no grid of a known stride"
        raise ModelError(msg, hint="use another family, such as ViT, DINOv2, Swin or ConvNeXt")


def _numbers(value: Any) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else ()


def _native_side(config: dict[str, Any]) -> int:
    side = config.get("image_size", 224)
    return side if isinstance(side, int) else int(side[0])


def _build(settings: HubSettings) -> nn.Module:
    from transformers import AutoConfig, AutoModel  # noqa: PLC0415 - takes seconds

    values = {key: value for key, value in settings.config.items() if key != "model_type"}
    with _quiet():
        config = AutoConfig.for_model(settings.config["model_type"], **values)
        config._attn_implementation = "sdpa"
        try:
            return _encoder(AutoModel.from_config, config)
        except ValueError:  # a family without fused attention
            config._attn_implementation = "eager"
            return _encoder(AutoModel.from_config, config)


def _encoder(build: Callable[..., Any], config: Any, **how: Any) -> nn.Module:
    """Build without the pooling layer where a family has one: heads here pool themselves."""
    try:
        net: nn.Module = build(config, add_pooling_layer=False, **how)
    except TypeError:
        net = build(config, **how)
    return net


def read_hub(name: str) -> HubSettings:
    """Return what builds a network of the zoo, without its weights.

    Args:
        name: `hf:` and a local folder or a name on the hub.

    Raises:
        ModelError: If it is in no folder, not in the cache, and cannot be fetched.
    """
    place = name.removeprefix(PREFIX)
    if not place:
        msg = f"{name!r} names no network"
        raise ModelError(msg, hint=f"for example {PREFIX}facebook/dinov2-small, or a folder")
    from transformers import AutoConfig  # noqa: PLC0415 - takes seconds

    config: PretrainedConfig = _found(name, AutoConfig.from_pretrained)
    return HubSettings(config.to_diff_dict() | {"model_type": config.model_type}, *_colours(place))


def load_hub(name: str, settings: HubSettings, *, in_channels: int = 1) -> HubBackbone:
    """Return a backbone with the weights of a folder, the cache or the hub.

    Raises:
        ModelError: If the weights are not found, not in safetensors, or do not fit the network.
    """
    from transformers import AutoModel  # noqa: PLC0415 - takes seconds

    backbone = HubBackbone(settings, in_channels=in_channels)

    def fetch(place: str, **how: Any) -> Any:
        how |= {"use_safetensors": True, "output_loading_info": True}
        return AutoModel.from_pretrained(place, **how)

    trained, report = _found(name, fetch)
    wanted = backbone.net.state_dict()
    missing = sorted({*report["missing_keys"]} & {*wanted})
    if missing:
        msg = f"{name}: {len(wanted) - len(missing)} of {len(wanted)} tensors are in the file"
        raise ModelError(msg, hint=f"missing: {', '.join(missing[:3])}; the file is of another net")
    given = trained.state_dict()
    backbone.net.load_state_dict({key: given[key] for key in wanted})
    return backbone


def _found(name: str, fetch: Callable[..., Any]) -> Any:
    """Look in a folder or the cache first, then on the hub."""
    place = name.removeprefix(PREFIX)
    with _quiet():
        try:
            return fetch(place, local_files_only=True)
        except (OSError, ValueError) as error:
            if Path(place).is_dir():
                raise _not_found(name, error) from error
        try:
            return fetch(place)
        except (OSError, ValueError) as error:
            raise _not_found(name, error) from error


def _not_found(name: str, error: Exception) -> ModelError:
    place = name.removeprefix(PREFIX)
    if Path(place).is_dir():
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        msg = f"{name}: the folder holds no network that transformers can read ({first})"
        return ModelError(msg, hint="it needs config.json and model.safetensors")
    msg = f"{name}: no such folder, not in the local cache, and the hub has none or is out of reach"
    hint = (
        "fetch it where there is a network and give its folder, as in model.backbone=hf:FOLDER, "
        "or check the name"
    )
    return ModelError(msg, hint=hint)


def _colours(place: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and sd that the network was trained with, ImageNet's if it does not say."""
    from transformers.utils.hub import cached_file  # noqa: PLC0415 - takes seconds

    try:
        path = cached_file(place, COLOURS_FILE, _raise_exceptions_for_missing_entries=False)
        said = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    except OSError:
        said = {}
    mean, std = said.get("image_mean", IMAGENET_MEAN), said.get("image_std", IMAGENET_STD)
    return tuple(map(float, mean)), tuple(map(float, std))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the notices of transformers and its hub client off the terminal."""
    from transformers.utils import logging as notices  # noqa: PLC0415 - takes seconds

    level, has_bar = notices.get_verbosity(), notices.is_progress_bar_enabled()
    notices.set_verbosity_error()  # type: ignore[no-untyped-call]
    notices.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        notices.set_verbosity(level)
        if has_bar:
            notices.enable_progress_bar()  # type: ignore[no-untyped-call]


def hub_arguments(settings: HubSettings) -> dict[str, Any]:
    """Return settings as a model card keeps them."""
    return asdict(settings)

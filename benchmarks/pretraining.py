"""Pretraining beside a plain ViT of transformers of the same sizes with an ordinary loader.

Both see the same JPEG files twice, with the same loss, batch and optimiser. The rival reads,
decodes and augments each image each time, one after another; medvit decodes once and augments
whole batches. They take turns, so that a slow moment of the machine falls on both; processor
time counts, and the median of the rounds. Loading is in the figures.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import torch
from claims import Claim, write_claims
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from medvit.data.augment.surface import SurfaceViews, ViewSettings, view_seed
from medvit.data.surface import load_grey_images
from medvit.learn.pretraining.mae import MaeLoss, MaeNet, MaeSettings
from medvit.learn.pretraining.moco import MocoLoss, MocoNet, MocoSettings
from medvit.learn.pretraining.simclr import SimclrLoss, SimclrNet
from medvit.learn.pretraining.surface_batches import (
    SurfaceBatch,
    SurfaceViewBatches,
    surface_loader,
)
from medvit.learn.pretraining.surface_views import SurfaceViewSettings
from medvit.models.builders import image_backbone
from medvit.models.hub import HubBackbone, HubSettings

IMAGES, IMAGE_PX, STORED_PX = 256, 200, 128
SIZES = {"vit_tiny": (192, 3), "vit_small": (384, 6)}
TARGET = 1.5


class OrdinaryFiles(Dataset[tuple[Tensor, Tensor]]):
    """Two views of an image, read and decoded each time it is asked for."""

    def __init__(self, files: list[Path], *, side_px: int) -> None:
        self.files = files
        self.views = SurfaceViews(ViewSettings(side_px))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        with Image.open(self.files[index]) as picture:
            image = np.asarray(picture.convert("L"))
        first, second = (self._view(image, index, number) for number in (0, 1))
        return first, second

    def _view(self, image: NDArray[np.uint8], *seed: int) -> Tensor:
        view = self.views.view(image, seed=view_seed(*seed))
        return torch.from_numpy(view)[None].float() / 255


def write_images(folder: Path) -> list[Path]:
    """Write grey JPEG images of texture, and return their paths."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(IMAGES):
        coarse = rng.normal(128, 30, (IMAGE_PX // 4, IMAGE_PX // 4))
        grey = np.kron(coarse, np.ones((4, 4))) + rng.normal(0, 8, (IMAGE_PX, IMAGE_PX))
        paths.append(folder / f"{number}.jpg")
        Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).save(paths[-1])
    return paths


def plain_vit(width: int, heads: int, *, side_px: int) -> HubBackbone:
    """Return transformers' ViT of 12 blocks and patches of 16."""
    config = {
        "model_type": "vit",
        "hidden_size": width,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "num_hidden_layers": 12,
        "image_size": side_px,
    }
    return HubBackbone(HubSettings(config))


def ordinary_batches(files: list[Path], *, batch: int, side_px: int) -> Iterator[SurfaceBatch]:
    """Yield the rival's batches without end."""
    data = OrdinaryFiles(files, side_px=side_px)
    while True:
        for pair in DataLoader(data, batch_size=batch, shuffle=True, drop_last=True):
            yield SurfaceBatch(torch.stack(list(pair)), torch.arange(batch))


def own_batches(
    files: list[Path], *, batch: int, side_px: int, views: int
) -> Iterator[SurfaceBatch]:
    """Yield our batches without end, of images in memory."""
    images = load_grey_images(files[0].parent, [file.name for file in files], side_px=STORED_PX)
    settings = SurfaceViewSettings(side_px)
    dataset = SurfaceViewBatches(images, settings=settings, views=views, seed=0)
    loader = surface_loader(dataset, batch_size=batch, workers=0)
    while True:
        yield from loader


def stepper(
    objective: nn.Module,
    batches: Iterator[SurfaceBatch],
    *,
    precision: str,
    loading_s: list[float] | None = None,
) -> Callable[[], float]:
    """Return a training step that returns its processor time, loading included."""
    loading_s = [] if loading_s is None else loading_s
    own = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(own, lr=1e-4)
    objective.train()

    def step() -> float:
        started = time.process_time()
        batch = next(batches)
        loading_s.append(time.process_time() - started)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
            found = objective(batch)
        loss = found["loss"] if isinstance(found, dict) else found
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return time.process_time() - started

    return step


def contenders(
    given: argparse.Namespace, files: list[Path]
) -> tuple[dict[str, Callable[[], float]], list[float]]:
    """Return the training steps by name, the rival's first, and where our loading is counted."""
    width, heads = SIZES[given.backbone]
    how = {"batch": given.batch, "side_px": given.side}
    rival = plain_vit(width, heads, side_px=given.side)
    ordinary = ordinary_batches(files, **how)
    loss = SimclrLoss(SimclrNet(rival, channels=width), temperature=0.2)
    steps = {
        "transformers ViT, ordinary loader, simclr, fp32": stepper(
            loss, ordinary, precision="32-true"
        )
    }
    pairs = own_batches(files, views=2, **how)
    singles = own_batches(files, views=1, **how)
    loading_s: list[float] = []
    for precision, share in (("32-true", 1.0), ("bf16-mixed", 1.0), ("bf16-mixed", 0.5)):
        body = image_backbone(given.backbone)
        net = SimclrNet(body, channels=width, keep_share=share)
        kept = "" if share == 1 else f", {share:.0%} of the patches"
        name = f"medvit {given.backbone}, simclr, {precision}{kept}"
        steps[name] = stepper(
            SimclrLoss(net, temperature=0.2), pairs, precision=precision, loading_s=loading_s
        )
    moco = MocoSettings()
    net_m = MocoNet(image_backbone(given.backbone), channels=width, settings=moco)
    objective = MocoLoss(net_m, settings=moco, steps=1000)
    steps[f"medvit {given.backbone}, moco_v3, 32-true"] = stepper(
        objective, pairs, precision="32-true"
    )
    mae = MaeNet(image_backbone(given.backbone), side_px=given.side, settings=MaeSettings())
    steps[f"medvit {given.backbone}, mae, 32-true"] = stepper(
        MaeLoss(mae), singles, precision="32-true"
    )
    return steps, loading_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", choices=SIZES, default="vit_tiny")
    parser.add_argument("--side", type=int, default=96, help="of a view, in pixels")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        steps, loading_s = contenders(given, write_images(Path(folder)))
        times: dict[str, list[float]] = {name: [] for name in steps}
        for number in range(given.rounds + 1):
            for name, step in steps.items():
                seconds = step()
                if number:  # the first round warms up
                    times[name].append(seconds)
    rates = {name: round(given.batch / median(values), 2) for name, values in times.items()}
    rival, *ours = rates
    unit = "images per CPU second, loading included"
    claims = [
        Claim(name, rates[name], unit, rival, rates[rival], TARGET * rates[rival]) for name in ours
    ]
    share = median(loading_s) / median(times[ours[0]])
    claims.append(
        Claim(
            "share of a training step that is loading, simclr, 32-true",
            round(share, 4),
            "of processor time",
            "a tenth",
            0.1,
            0.1,
            larger_is_better=False,
        )
    )
    write_claims(
        "pretraining",
        claims,
        seconds={name: [round(value, 4) for value in values] for name, values in times.items()},
        threads=torch.get_num_threads(),
        batch=given.batch,
        side_px=given.side,
    )


if __name__ == "__main__":
    main()

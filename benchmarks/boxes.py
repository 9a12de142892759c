r"""Boxes of NEU-DET on group-disjoint folds: our detector beside RT-DETR of the transformers zoo.

Both see the same images, views and size, and train for the same time: RT-DETR, of about as many
parameters and from random weights, gets the seconds that our run took; ours starts from
`--weights`. One fold is for test, the next one for our thresholds, the others are learnt from.
Rows are kept as they are done, so that a benchmark that was stopped goes on.

    python benchmarks/boxes.py                           # five folds, three seeds
    python benchmarks/boxes.py --weights 'medvit-workspace/models/neu-simclr-fold{fold}/1'
    python benchmarks/boxes.py --backbone efficientnet_lite0 --weights steel-defects \
        --backbone-lr 0.3 --seeds 0 --no-rival
    python benchmarks/boxes.py --folds 0 --seeds 0 --epochs 1 --images 48   # a try
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from claims import RESULTS, Claim, write_claims
from torch import Tensor

from medvit.data.augment.boxes import BoxViews, BoxViewSettings
from medvit.data.box_images import BoxBatch, BoxImages, box_batches
from medvit.data.manifest import ManifestRow, write_manifest
from medvit.data.surface import as_input
from medvit.inference.boxes import ScoredBoxes
from medvit.metrics.average_precision import coco_ap, mean_ap, score_class
from medvit.workspace import Workspace
from pipelines import train
from pipelines.detecting.config import DetectConfig
from pipelines.detecting.data import BoxSplits, read_splits
from pipelines.detecting.validation import Answers, truth_of

PROJECT = Path(__file__).resolve().parents[1]
TARGET = 0.80
RIVAL = "RT-DETR, 6 M parameters, of transformers, random weights, same images and seconds"
FOLDS = 5
RIVAL_LR, WARMUP_STEPS, CLIP_NORM = 2e-4, 50, 0.1
QUERIES = 100
RIVAL_CELL_PX = 32


@dataclass(frozen=True, slots=True)
class Row:
    """What one training gave on the fold that it did not see."""

    who: str
    fold: int
    seed: int
    map50: float
    map50_95: float
    per_class: dict[str, float | None]
    epochs: float
    seconds: float
    images: int

    @property
    def key(self) -> tuple[str, int, int]:
        """What is done once."""
        return self.who, self.fold, self.seed


class Book:
    """The rows that are done, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            self.rows = [Row(**json.loads(line)) for line in lines]

    def find(self, who: str, fold: int, seed: int) -> Row | None:
        """Return a row that is done."""
        return next((row for row in self.rows if row.key == (who, fold, seed)), None)

    def add(self, row: Row) -> None:
        """Keep a row, and print it."""
        self.rows.append(row)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(row)) + "\n")
        print(
            f"{row.who} fold {row.fold} seed {row.seed}: mAP50 {row.map50:.3f}, "
            f"{row.epochs:.1f} epochs, {row.seconds:.0f} s",
            flush=True,
        )


def write_fold(folder: Path, root: Path, *, fold: int, most: int) -> Path:
    """Write the manifest of a fold; with at most so many images of each split."""
    rows = list(csv.DictReader((root / "neu-det-dev.csv").open(encoding="utf-8")))
    splits = {fold: "test", (fold + 1) % FOLDS: "val"}
    found: dict[str, list[ManifestRow]] = {"train": [], "val": [], "test": []}
    for row in rows:
        split = splits.get(int(row["fold"]), "train")
        path = f"{row['image']}.jpg"
        found[split].append(ManifestRow(path, row["class"], split, row["group"]))
    # Every n-th, so that all classes stay in a try with few images.
    kept = [row for own in found.values() for row in own[:: max(1, len(own) // most)]]
    file = folder / f"fold{fold}.csv"
    write_manifest(file, kept)
    return file


def config_of(given: argparse.Namespace, manifest: Path, *, fold: int, seed: int) -> DetectConfig:
    config = train.load(
        "train/detect_defects",
        [
            f"data.annotations={given.root / 'annotations'}",
            f"data.root={given.root / 'images'}",
            f"data.manifest={manifest}",
            f"data.side_px={given.side_px}",
            f"model.name=neu-boxes-fold{fold}-seed{seed}",
            f"model.backbone={given.backbone}",
            f"model.weights={given.weights.format(fold=fold)}",
            f"train.epochs={given.epochs}",
            f"train.seed={seed}",
            "train.lr=1.5e-3",
            f"train.backbone_lr={given.backbone_lr}",
            "train.validate_every=10",
            "views.most_scale=1.4",
        ],
    )
    assert isinstance(config, DetectConfig)
    return config


def our_row(config: DetectConfig, workspace: Workspace, *, fold: int, seed: int) -> Row:
    started = time.perf_counter()
    metrics = train.run(config, workspace)["metrics"]
    return Row(
        "medvit",
        fold,
        seed,
        metrics["map50"],
        metrics["map50_95"],
        {name: each["ap50"] for name, each in metrics["per_class"].items()},
        metrics["epochs"],
        time.perf_counter() - started,
        metrics["n"],
    )


class Rival(torch.nn.Module):
    """RT-DETR with a small residual backbone, on grey images shown as colour."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig

        stages = ["stage2", "stage3", "stage4"]
        backbone = RTDetrResNetConfig(
            embedding_size=32,
            hidden_sizes=[32, 64, 128, 256],
            depths=[2, 2, 2, 2],
            layer_type="basic",
            out_features=stages,  # type: ignore[call-arg]
        )
        width = 128
        config = RTDetrConfig(
            backbone_config=backbone,
            encoder_hidden_dim=width,
            encoder_in_channels=[64, 128, 256],
            encoder_ffn_dim=2 * width,
            encoder_attention_heads=4,
            d_model=width,
            decoder_in_channels=[width] * 3,
            decoder_ffn_dim=2 * width,
            decoder_layers=3,
            decoder_attention_heads=4,
            num_queries=QUERIES,
            num_denoising=50,
            num_labels=classes,  # type: ignore[call-arg]
            hidden_expansion=1.0,
            anchor_image_size=None,
        )
        self.net = RTDetrForObjectDetection(config)

    def forward(self, batch: BoxBatch) -> Tensor:
        """Return the loss of a batch."""
        pixels = seen(batch.pixels)
        labels = [
            {"class_labels": own, "boxes": centred(boxes / pixels.shape[-1])}
            for boxes, own in zip(batch.boxes, batch.labels, strict=True)
        ]
        loss: Tensor = self.net(pixel_values=pixels, labels=labels).loss
        return loss

    @torch.inference_mode()
    def find(self, pixels: Tensor) -> list[ScoredBoxes]:
        """Return boxes and classes with the best scores of each image."""
        self.eval()
        shown = seen(pixels)
        side = shown.shape[-1]
        said = self.net(pixel_values=shown)
        scores = said.logits.sigmoid()  # (n, queries, classes)
        best, place = scores.flatten(1).topk(QUERIES, dim=1)
        answers = []
        for own, at, boxes in zip(best, place, said.pred_boxes, strict=True):
            query, label = at // scores.shape[2], at % scores.shape[2]
            x, y, w, h = (boxes[query] * side).unbind(1)
            edges = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dim=1)
            answers.append(
                ScoredBoxes(
                    edges.double().numpy(), own.double().numpy(), label.numpy().astype(np.intp)
                )
            )
        return answers


def seen(pixels: Tensor) -> Tensor:
    """Return grey images as colour, centred as our backbones do it, in whole cells of the net."""
    centred_ = (pixels - pixels.mean(dim=(2, 3), keepdim=True)) / 0.2
    more = -pixels.shape[-1] % RIVAL_CELL_PX
    whole = torch.nn.functional.pad(centred_, (0, more, 0, more))
    return whole.expand(-1, 3, -1, -1)


def centred(boxes: Tensor) -> Tensor:
    """Return boxes (k, 4) by corners as centre, width and height."""
    return torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], dim=1)


def batches_of(images: BoxImages, config: DetectConfig) -> Iterator[BoxBatch]:
    """Yield the batches of all epochs, as our training draws them."""
    views = BoxViews(BoxViewSettings(**config.views.model_dump()))
    train = config.train
    loader = box_batches(images, views=views, batch_size=train.batch_size, seed=train.seed)
    epoch = 0
    while True:
        loader.batch_sampler.sampler.set_epoch(epoch)
        yield from loader
        epoch += 1


def rival_row(config: DetectConfig, splits: BoxSplits, ours: Row) -> Row:
    torch.manual_seed(config.train.seed)
    rival = Rival(len(splits.classes))
    optimizer = torch.optim.AdamW(rival.parameters(), lr=RIVAL_LR, weight_decay=1e-4)
    images, steps = splits.images["train"], 0
    started = time.perf_counter()
    rival.train()
    for batch in batches_of(images, config):
        share = (time.perf_counter() - started) / ours.seconds
        if share >= 1:
            break
        rise = min(1.0, (steps + 1) / WARMUP_STEPS)
        for group in optimizer.param_groups:
            group["lr"] = RIVAL_LR * rise * 0.5 * (1 + math.cos(math.pi * share))
        with torch.autocast("cpu", torch.bfloat16, enabled=config.train.precision != "32-true"):
            loss = rival(batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(rival.parameters(), CLIP_NORM)
        optimizer.step()
        steps += 1
    return scored(rival, splits, ours, epochs=steps * config.train.batch_size / len(images.rows))


def scored(rival: Rival, splits: BoxSplits, ours: Row, *, epochs: float) -> Row:
    test, found = splits.images["test"], list[ScoredBoxes]()
    for start in range(0, len(test.rows), 16):
        found += rival.find(torch.stack([as_input(i) for i in test.images[start : start + 16]]))
    matches = Answers(truth_of(test, classes=splits.classes), found).matches()
    scores = [score_class(each, coco_ap) for each in matches]
    means = mean_ap(scores)
    per_class = {name: s.ap50 for name, s in zip(splits.classes, scores, strict=True)}
    return Row(
        *("RT-DETR", ours.fold, ours.seed, float(means[0]), float(means.mean()), per_class),
        *(epochs, ours.seconds, len(test.rows)),
    )


def claims_of(series: dict[str, Any]) -> list[Claim]:
    """Return of one backbone mean and spread over folds and seeds, and the mean of each class."""
    rows = [Row(**row) for row in series["rows"]]
    value, rival = ([row.map50 for row in rows if row.who == who] for who in ("medvit", "RT-DETR"))
    ours = [row for row in rows if row.who == "medvit"]
    folds, seeds = (sorted({getattr(row, key) for row in ours}) for key in ("fold", "seed"))
    name_of_rival = _rival_name(rows)
    name = f"NEU-DET mAP50, {series['name']}, groups apart, folds {folds}, seeds {seeds}"
    backbone = series["name"].split(",")[0]
    other = round(float(np.mean(rival)), 4) if rival else None
    spread = Claim(
        f"{backbone}: spread over folds and seeds",
        round(float(np.std(value)), 4),
        "mAP50",
        name_of_rival,
        round(float(np.std(rival)), 4) if len(rival) > 1 else None,
        None,
        larger_is_better=False,
    )
    return [
        Claim(name, round(float(np.mean(value)), 4), "mAP50", name_of_rival, other, TARGET),
        *([spread] if len(value) > 1 else []),
        *(_class_claim(rows, label, of=backbone) for label in rows[0].per_class),
    ]


def _class_claim(rows: Sequence[Row], label: str, *, of: str) -> Claim:
    value, rival = (
        [row.per_class[label] or 0.0 for row in rows if row.who == who]
        for who in ("medvit", "RT-DETR")
    )
    other = round(float(np.mean(rival)), 4) if rival else None
    mean = round(float(np.mean(value)), 4)
    return Claim(f"{of}: AP50 of {label}", mean, "AP50", _rival_name(rows), other, None)


def _rival_name(rows: Sequence[Row]) -> str:
    folds = sorted({row.fold for row in rows if row.who == "RT-DETR"})
    return f"{RIVAL}, folds {folds}" if folds else RIVAL


def all_series(name: str, given: argparse.Namespace, book: Book) -> dict[str, Any]:
    """Return what is on file of every backbone, this one's rows renewed."""
    file = RESULTS / "boxes.json"
    known = json.loads(file.read_text(encoding="utf-8"))["series"] if file.is_file() else {}
    weights = "no weights" if given.weights == "none" else Path(given.weights).parts[0]
    if "{fold}" in given.weights:
        weights = "weights pretrained without the fold"
    return known | {
        name: {
            "name": f"{given.backbone}, {weights}, {given.epochs} epochs",
            "backbone_lr": given.backbone_lr,
            "rows": [asdict(row) for row in book.rows],
        }
    }


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    shared = PROJECT.parent / "shared/data/defects/neu-det"
    parser.add_argument("--root", type=Path, default=shared, help="folder of NEU-DET")
    parser.add_argument("--work", type=Path, default=PROJECT / "out/bench-boxes")
    parser.add_argument("--folds", type=int, nargs="*", default=[*range(FOLDS)])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--side-px", type=int, default=200)
    parser.add_argument("--images", type=int, default=10_000, help="most images of a split")
    parser.add_argument("--backbone", default="cnn_small")
    parser.add_argument(
        "--weights",
        default="none",
        help="of our backbone, pretrained without the fold: {fold} is its number",
    )
    parser.add_argument("--backbone-lr", type=float, default=1.0, help="share of lr")
    parser.add_argument("--no-rival", action="store_true")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    given = arguments(words)
    logging.basicConfig(level=logging.ERROR)
    weights = "-".join(Path(given.weights).parts[-2:])
    name = f"{given.backbone}-{weights}-{given.side_px}px-{given.epochs}-{given.images}"
    folder = given.work / name
    folder.mkdir(parents=True, exist_ok=True)
    book, workspace = Book(folder / "rows.jsonl"), Workspace(folder / "workspace")
    for seed in given.seeds:
        for fold in given.folds:
            manifest = write_fold(folder, given.root, fold=fold, most=given.images)
            config = config_of(given, manifest, fold=fold, seed=seed)
            ours = book.find("medvit", fold, seed)
            if ours is None:
                ours = our_row(config, workspace, fold=fold, seed=seed)
                book.add(ours)
            if not given.no_rival and book.find("RT-DETR", fold, seed) is None:
                book.add(
                    rival_row(
                        config,
                        read_splits(config.data, multiple_px=max(config.model.strides_px)),
                        ours,
                    )
                )
    if given.images < 1000:
        print(f"a try on few images: nothing is written to {RESULTS.name}/")
        return
    series = all_series(name, given, book)
    claims = [claim for each in series.values() for claim in claims_of(each)]
    write_claims("boxes", claims, series=series)


if __name__ == "__main__":
    main()

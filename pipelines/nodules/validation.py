"""What a nodule training finds on scans it does not learn from, every few epochs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from medvit.geometry import lps_to_index
from medvit.learn.nodules import NoduleObjective
from medvit.learn.weight_average import averaged
from medvit.metrics.froc import Annotation, FrocResult, froc
from medvit.metrics.froc_matching import Mark
from medvit.report.nodule_pictures import Ring, froc_picture, slice_picture
from pipelines.nodules.evaluation import LEAST_PROBABILITY, phantom_trial

if TYPE_CHECKING:
    from torch import nn

    from medvit.data.annotated import AnnotatedScan
    from medvit.inference.nodules import Nodule
    from medvit.io.scratch import Scratch
    from medvit.volume.pyramid import Pyramid

MOST_PICTURES = 4
SHOWN_PROBABILITY = 0.3


@dataclass(frozen=True, slots=True)
class KnownScan:
    """A scan whose nodules are known.

    Attributes:
        name: Of the series.
        pyramid: To search.
        nodules: What is to be found.
        excluded: What counts neither way.
    """

    name: str
    pyramid: Pyramid
    nodules: tuple[Annotation, ...]
    excluded: tuple[Annotation, ...] = ()


def phantom_to_search(seed: int) -> KnownScan:
    """Return a made scan with made nodules."""
    from medvit.io.pyramids import hold_pyramid

    trial = phantom_trial(seed)
    return KnownScan(trial.name, hold_pyramid(trial.volume), trial.planted, trial.excluded)


def annotated_to_search(scan: AnnotatedScan, *, scratch: Scratch) -> KnownScan:
    """Return a real scan with the nodules that somebody marked.

    Raises:
        ReadError: If it cannot be read.
    """
    from medvit.io.pyramids import open_pyramid

    nodules, excluded = (
        tuple(Annotation(scan.name, *row) for row in rows.tolist())
        for rows in (scan.nodules, scan.ignored)
    )
    return KnownScan(scan.name, open_pyramid(scan.case, scratch=scratch), nodules, excluded)


class FrocWatch(Callback):
    """Searches known scans with the averaged weights; figures go to the table of the training.

    TensorBoard gets the curve and slices with marks besides.

    Args:
        scans: Open one scan each; they are opened one at a time.
        every: Epochs from one search to the next. The last epoch is left to the model card.
    """

    def __init__(self, scans: Sequence[Callable[[], KnownScan]], *, every: int) -> None:
        self.scans = tuple(scans)
        self.every = every

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Search the scans when it is time to."""
        epoch = trainer.current_epoch + 1
        if epoch % self.every or epoch == trainer.max_epochs or not trainer.is_global_zero:
            return
        detector = cast("NoduleObjective", pl_module.objective).detector
        pl_module.eval()
        with averaged(trainer, pl_module):
            result, pictures = self._search(detector)
        pl_module.train()
        figures = {"cpm": result.cpm, "sensitivity_at_4": result.sensitivity[5]}
        for name, value in figures.items():
            pl_module.log(f"validation_{name}", float(value), rank_zero_only=True)
        curve = froc_picture(
            result.fp_per_scan,
            result.sensitivity,
            title=f"epoch {epoch}: CPM {result.cpm:.3f}, {result.n_annotations} nodules",
        )
        _show(trainer, {"froc": curve, **pictures})

    def _search(self, detector: nn.Module) -> tuple[FrocResult, dict[str, Any]]:
        from medvit.inference.nodules import NoduleSettings, detect_nodules

        settings = NoduleSettings(min_probability=LEAST_PROBABILITY)
        marks: list[Mark] = []
        nodules: list[Annotation] = []
        excluded: list[Annotation] = []
        names, pictures = [], {}
        for number, make in enumerate(self.scans):
            scan = make()
            found = detect_nodules(scan.pyramid, detector, settings=settings).nodules
            marks += [Mark(scan.name, *each.centre_lps_mm, each.probability) for each in found]
            nodules += scan.nodules
            excluded += scan.excluded
            names.append(scan.name)
            if number < MOST_PICTURES:
                pictures[f"scan_{number}"] = picture_of(scan, found)
        return froc(marks, nodules, excluded=excluded, series=names), pictures


def picture_of(scan: KnownScan, found: Sequence[Nodule]) -> np.ndarray:
    """Return the slice of the first nodule, or of the first mark, with all that lies in it."""
    volume = scan.pyramid.levels[0]
    truth = [
        (lps_to_index(volume.affine_lps, (each.x_mm, each.y_mm, each.z_mm)), each.diameter_mm, "")
        for each in scan.nodules
    ]
    said = [
        (
            lps_to_index(volume.affine_lps, each.centre_lps_mm),
            each.diameter_mm,
            f"{each.probability:.2f}",
        )
        for each in found
        if each.probability >= SHOWN_PROBABILITY
    ]
    depth, height, width = volume.shape
    first = (truth or said or [(np.array([depth // 2, 0, 0]), 0.0, "")])[0][0]
    z = int(np.clip(round(float(first[0])), 0, depth - 1))
    z_mm, _, x_mm = volume.spacing_mm
    rings = [
        Ring((float(place[2]), float(place[1])), diameter_mm / x_mm, text, is_truth=places is truth)
        for places in (truth, said)
        for place, diameter_mm, text in places
        if abs(float(place[0]) - z) * z_mm <= max(diameter_mm / 2, z_mm)
    ]
    hu = volume.read(slice(z, z + 1), slice(0, height), slice(0, width))[0]
    return slice_picture(hu.astype(np.float32), rings)


def _show(trainer: Trainer, pictures: dict[str, np.ndarray]) -> None:
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            for name, picture in pictures.items():
                logger.experiment.add_image(
                    f"validation/{name}", picture, trainer.global_step, dataformats="HWC"
                )

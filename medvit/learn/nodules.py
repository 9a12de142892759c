"""What the nodule detector is trained for."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from medvit.data.nodule_items import NoduleBatch
from medvit.learn.centre_loss import centre_loss, centre_targets
from medvit.learn.reduction_loss import candidate_labels, reduction_loss, training_candidates
from medvit.models.heads.centre import NoduleDetector
from medvit.models.heads.reduction import Reduction


class NoduleObjective(nn.Module):
    """The losses of a batch of crops, at whatever spacing the batch has."""

    def __init__(self, detector: NoduleDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, batch: NoduleBatch) -> dict[str, Tensor]:
        """Return the `loss` and its parts, scalars."""
        maps, pyramid = self.detector.look(batch.pixels)
        depth, height, width = maps.heat.shape[2:]
        targets = centre_targets(
            batch.nodules,
            batch.ignored,
            grid=(depth, height, width),
            stride=self.detector.stride,
            spacing_mm=batch.spacing_mm,
            device=maps.heat.device,
        )
        losses = centre_loss(maps, targets)
        if self.detector.reduction is not None:
            second = self._second_look(self.detector.reduction, maps.heat, pyramid, batch)
            losses |= {"reduction": second, "loss": losses["loss"] + second}
        return losses

    def _second_look(
        self, reduction: Reduction, heat: Tensor, pyramid: Sequence[Tensor], batch: NoduleBatch
    ) -> Tensor:
        """Return the loss of candidates; what the first look said of them is taken as given."""
        stride = self.detector.stride
        cells = training_candidates(heat, batch.nodules, stride=stride)
        labels = candidate_labels(
            cells, batch.nodules, batch.ignored, stride=stride, spacing_mm=batch.spacing_mm
        )
        item, z, y, x = cells.unbind(1)
        first = heat[item, 0, z, y, x].detach()
        return reduction_loss(first + reduction(pyramid, cells), labels)

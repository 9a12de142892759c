"""The head learns first, then block after block opens down to the stem.

Howard 2018, arXiv 1801.06146. When a block opens, its learning rate rises anew.
"""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from medvit.learn.tuning.depth import classifier_depths, deepest
from medvit.learn.tuning.frozen import train_only
from medvit.learn.tuning.tuned import Tuned, TuningOptions
from medvit.models.heads.classify import DefectClassifier

MANY = 1_000_000
"""Epochs of a training so long that its first epoch opens the head alone."""


def tune(net: DefectClassifier, options: TuningOptions) -> Tuned:
    """Open the head alone; the observer opens the rest while the training goes on."""
    opening = Opening(net, open_after=options.open_after)
    opening.open_for(0, epochs=MANY)
    return Tuned(observers=(opening,))


class Opening(Callback):
    """Opens one depth after another; which ones are open is a function of the epoch alone.

    Args:
        net: The classifier that is trained.
        open_after: Share of the epochs after which everything is open.
    """

    def __init__(self, net: DefectClassifier, *, open_after: float) -> None:
        self.net = net
        self.open_after = open_after
        self.depths = classifier_depths(net)
        self.last = deepest(self.depths)

    def opens_at(self, depth: int, *, epochs: int) -> int:
        """Return the epoch, counted from 0, in which a depth begins to learn."""
        share = (self.last - depth) / max(1, self.last)
        return min(epochs - 1, round(share * self.open_after * epochs))

    def open_for(self, epoch: int, *, epochs: int) -> int:
        """Freeze and open parameters for an epoch; return how many numbers learn."""
        return train_only(
            self.net,
            chosen=lambda name: self.opens_at(self.depths[name], epochs=epochs) <= epoch,
        )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open what the epoch opens, and put the rest into evaluation mode."""
        self.open_for(trainer.current_epoch, epochs=trainer.max_epochs or 1)
        pl_module.train()

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Let the learning rate of a depth rise over the epoch that opens it."""
        del pl_module
        steps, epochs = int(trainer.num_training_batches), trainer.max_epochs or 1
        for group in optimizer.param_groups:
            group["lr"] *= self.warmth(group, step=trainer.global_step, steps=steps, epochs=epochs)

    def warmth(self, group: dict[str, Any], *, step: int, steps: int, epochs: int) -> float:
        """Return the share of its learning rate that a group has at a step.

        Args:
            group: Of the optimiser, with its `depth`.
            step: Of the whole training, counted from 0.
            steps: Of an epoch.
            epochs: Of the whole training.
        """
        opened = self.opens_at(group["depth"], epochs=epochs)
        if opened == 0:
            return 1.0  # the training's own warm-up is enough
        return min(1.0, max(0.0, (step - opened * steps + 1) / steps))

"""What the gate asks of a challenger, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from medvit.metrics.noninferiority import Draws
from pipelines.config import Settings


class GateSettings(Settings):
    """Margins and policies, fixed before a challenger is looked at."""

    folder: Path = Field(description="keeps predictions and looks: `gate` of a workspace")
    margin: float = Field(0.01, ge=0, lt=1, description="loss of the primary figure that is borne")
    margin_reason: str = "one case in a hundred is less than two readers differ by"
    class_margin: float = Field(0.05, ge=0, lt=1, description="loss of a class that is borne")
    class_margin_reason: str = "a class has fewer cases, and its figure is less sure"
    least_cases: int = Field(30, ge=1, description="of a class, to say that it did not get worse")
    least_groups: int = Field(10, ge=2, description="to draw intervals from")
    rare_classes: Literal["hold", "allow"] = Field(
        "hold", description="whether classes with too few cases keep a model from promotion"
    )
    new_class_recall: float = Field(
        0.5, ge=0, le=1, description="that a new class must surely reach to count as learned"
    )
    dropped_classes: tuple[str, ...] = Field(
        (), description="that the challenger may leave out, on purpose"
    )
    rounds: int = Field(2000, ge=40, description="draws of groups behind each interval")
    seed: int = Field(0, ge=0)
    most_looks: int = Field(10, ge=1, description="at one frozen set, before it is worn out")

    @property
    def draws(self) -> Draws:
        """How intervals are drawn."""
        return Draws(self.rounds, self.seed, self.least_cases, self.least_groups)

"""Settings of annotated CT scans: where they lie, in which format, and how they are folded."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from pipelines.config import Settings

Format = Literal["luna16", "lidc", "decathlon", "csv"]


class AnnotatedSettings(Settings):
    """`data.annotated`: real scans whose nodules somebody marked."""

    format: Format = "luna16"
    root: Path | None = Field(None, description="folder of the scans; default: data.root")
    annotations: Path | None = Field(
        None, description="table of nodules, or folder of readers' XML; default: in root"
    )
    excluded: Path | None = Field(None, description="table of findings that count neither way")
    patients: Path | None = Field(
        None, description="CSV seriesuid,patient; default: as the files say"
    )
    coordinates: Literal["lps", "ras"] = Field("lps", description="of the tables")
    unmatched: Literal["refuse", "drop"] = Field(
        "refuse", description="marks that lie in no scan here: an error, or left out and counted"
    )
    folds: int = Field(10, ge=2, description="a LUNA16 folder has its own ten")
    fold: int | Literal["all"] = Field(0, description="which one is held out; all: each in turn")
    lock: Path | None = Field(None, description="file of the folds; default: folds.json in root")

    @model_validator(mode="after")
    def _fold_is_one_of_them(self) -> Self:
        if self.fold != "all" and not 0 <= self.fold < self.folds:
            msg = f"fold={self.fold} of {self.folds} folds: a fold is 0 to {self.folds - 1}, or all"
            raise ValueError(msg)
        return self

    @property
    def held_out(self) -> tuple[int, ...]:
        """Folds that are held out, one training each."""
        return tuple(range(self.folds)) if self.fold == "all" else (self.fold,)

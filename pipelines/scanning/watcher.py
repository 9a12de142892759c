"""Tells how one case goes on: to the progress bar, and to whoever watches the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from medvit.inference.nodules import Nodule
from medvit.io.case import Case
from pipelines.scanning.live import Candidate, LiveFile, LiveScan, best_first
from pipelines.scanning.workbench import CaseWatch

Progress = Callable[[float, float, str], None]
"""Called with cases done (a fraction inside a case), cases in all, and what is at hand."""


@dataclass(slots=True)
class Watcher:
    """What is known of a case on its way.

    Attributes:
        place: Cases done before it, and cases in all.
        candidates: Nodules that finished tiles hold; later ones may merge or drop them.
        share: Of the case that is done, 0 to 1.
    """

    case: Case
    place: tuple[int, int]
    live: LiveFile
    progress: Progress
    candidates: list[Candidate] = field(default_factory=list)
    share: float = 0.0

    def case_watch(self) -> CaseWatch:
        """Return what the case is examined with."""
        return CaseWatch(self._go_on, self._add)

    def _go_on(self, share: float) -> None:
        self.share = share
        self._tell(at_once=False)

    def _add(self, nodules: Sequence[Nodule]) -> None:
        self.candidates += [
            Candidate(each.index_zyx, each.diameter_mm, each.probability) for each in nodules
        ]
        self._tell(at_once=True)

    def _tell(self, *, at_once: bool) -> None:
        number, total = self.place
        self.progress(number + self.share, total, self._sentence())
        scan = LiveScan(
            run=self.live.run,
            case_id=self.case.case_id,
            source=self.case.source,
            number=number,
            cases=total,
            share=self.share,
            candidates=best_first(self.candidates),
            count=len(self.candidates),
        )
        self.live.tell(scan, at_once=at_once)

    def _sentence(self) -> str:
        name = self.case.case_id if self.case.source == "." else self.case.source
        if not self.candidates:
            return name
        best = best_first(self.candidates)[0]
        count = len(self.candidates)
        return (
            f"{name}: {count} candidate{'' if count == 1 else 's'}, best "
            f"{best.probability:.2f} in slice {best.index_zyx[0] + 1}"
        )

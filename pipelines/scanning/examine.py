"""One case: triage, then what its kind asks for."""

from __future__ import annotations

from medvit.inference.one_thread import one_thread
from medvit.io.case import Case
from medvit.io.triage import triage
from pipelines.scanning.ct import examine_ct
from pipelines.scanning.detectors import Detector
from pipelines.scanning.faults import blamed_on
from pipelines.scanning.images import examine_image
from pipelines.scanning.outcome import Outcome
from pipelines.scanning.workbench import CaseWatch, Workbench


def examine(
    case: Case, detector: Detector, bench: Workbench, *, key: str, watch: CaseWatch
) -> Outcome:
    """Return what a case holds; a case that triage refuses is not read.

    Args:
        key: Text that names all that determines the result.

    Raises:
        ReadError: If the pixels cannot be read.
        ModelError: If the model does not fit the case, or gives no finite numbers.
        BudgetError: If the case does not fit into the memory there is.
    """
    with blamed_on(case.source):
        judged = triage(case, scratch=bench.scratch)
    if judged.verdict == "refuse":
        return Outcome("refuse", judged.reasons)
    if case.kind == "ct":
        return examine_ct(case, judged, detector, bench, key=key, watch=watch)
    with one_thread():  # so that no bit of a probability hangs on the number of cores
        return examine_image(case, judged, detector, bench)

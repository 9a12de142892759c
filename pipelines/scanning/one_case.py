"""One case from start to row: examined, timed, measured; whatever happens becomes its row."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from medvit.errors import MedvitError, ReadError, is_out_of_memory
from medvit.findings.finding import CaseResult
from medvit.io.case import Case, Reason
from medvit.io.decoding.process import DecoderError
from medvit.tiles.budget import BudgetError
from pipelines.scanning.detectors import Detector
from pipelines.scanning.examine import examine
from pipelines.scanning.journal import Entry
from pipelines.scanning.limits import not_reached_reason
from pipelines.scanning.memory import case_meter, case_peak_mb
from pipelines.scanning.outcome import Outcome
from pipelines.scanning.workbench import CaseWatch, Workbench

logger = logging.getLogger(__name__)

MODEL_FAILED = "model_failed"
NO_DECODER = "no_decoder"
INTERNAL_ERROR = "internal_error"
ERROR_LOG = "errors.log"


@dataclass(frozen=True, slots=True)
class CaseDone:
    """A case that had its turn.

    Attributes:
        predicted_peak_mb: Memory that was predicted for it, in MiB.
        is_final: Whether the result stands; one that is partial, or met a fault of medvit
            itself, is made again.
        budget_error: Why the case does not fit into the memory there is, if it does not.
    """

    entry: Entry
    predicted_peak_mb: float = 0.0
    is_final: bool = True
    budget_error: BudgetError | None = None


def scan_case(
    case: Case, detector: Detector, bench: Workbench, *, key: str, watch: CaseWatch
) -> CaseDone:
    """Examine a case; whatever happens becomes its row.

    Args:
        key: Text that names all that determines the result.
    """
    started = time.perf_counter()
    with case_meter() as meter:
        outcome = _outcome_of(
            case, partial(examine, case, detector, bench, key=key, watch=watch), bench.run
        )
    result = CaseResult(
        case=case,
        verdict=outcome.verdict,
        reason=";".join(dict.fromkeys(reason.code for reason in outcome.reasons)) or "ok",
        message=" ".join(dict.fromkeys(reason.message for reason in outcome.reasons)),
        label=outcome.label,
        probability=outcome.probability,
        findings=outcome.findings,
        seconds=time.perf_counter() - started,
        peak_rss_mb=case_peak_mb(meter),
        ood=outcome.ood,
    )
    return CaseDone(
        Entry(result, outcome.pictures, outcome.details, outcome.features),
        outcome.predicted_peak_mb,
        is_final=not (outcome.is_partial or is_internal_error(result)),
        budget_error=outcome.budget_error,
    )


def not_reached(case: Case) -> CaseDone:
    """Return the row of a case that had no turn before time was up."""
    reason = not_reached_reason(case)
    result = CaseResult(
        case=case,
        verdict="fail",
        reason=reason.code,
        message=reason.message,
        label="",
        probability=None,
        findings=(),
        seconds=0.0,
        peak_rss_mb=0.0,
    )
    return CaseDone(Entry(result, {}), is_final=False)


def is_internal_error(result: CaseResult) -> bool:
    """Whether a case met a fault of medvit itself; such a result is not kept."""
    return result.reason == INTERNAL_ERROR


def _outcome_of(case: Case, job: Callable[[], Outcome], run: Path) -> Outcome:
    try:
        return job()
    except BudgetError as error:
        return Outcome("fail", (_reason_of(case, error),), budget_error=error)
    except MedvitError as error:
        return Outcome("fail", (_reason_of(case, error),))
    except Exception as error:
        if is_out_of_memory(error):
            message = f"{case.source}: not enough memory for it; use a machine with more"
            return Outcome("fail", (Reason("too_large", message),))
        return Outcome("fail", (log_internal_error(case, error, run),))


def _reason_of(case: Case, error: MedvitError) -> Reason:
    sentence = f"{error.message}; {error.hint}" if error.hint else error.message
    if isinstance(error, ReadError):
        return Reason(error.reason, sentence)
    codes = {BudgetError: "too_large", DecoderError: NO_DECODER}
    return Reason(codes.get(type(error), MODEL_FAILED), f"{case.source}: {sentence}")


def log_internal_error(case: Case, error: Exception, run: Path) -> Reason:
    """Keep where a fault of our own happened; its text is left out, it may quote the file."""
    kind = type(error).__name__
    frames = "".join(traceback.format_tb(error.__traceback__))
    with (run / ERROR_LOG).open("a", encoding="utf-8") as log:
        log.write(f"{case.case_id} {kind}\n{frames}\n")
    logger.error("%s: %s inside medvit; see %s", case.source, kind, run / ERROR_LOG)
    return Reason(INTERNAL_ERROR, f"{case.source}: medvit itself failed with {kind}; report it")

"""One case from start to row: examined, timed, measured; whatever happens becomes its row."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

from medvit.errors import MedvitError, ReadError, is_out_of_memory
from medvit.findings.finding import CaseResult
from medvit.io.case import Case, Reason
from medvit.io.decoding.process import DecoderError
from medvit.io.scratch import UNTIL_EXIT, Scratch
from pipelines.scanning.detectors import Detector
from pipelines.scanning.examine import Fraction, Outcome, examine
from pipelines.scanning.journal import Entry
from pipelines.scanning.memory import PeakMeter

logger = logging.getLogger(__name__)

MODEL_FAILED = "model_failed"
NO_DECODER = "no_decoder"
INTERNAL_ERROR = "internal_error"
ERROR_LOG = "errors.log"


def scan_case(
    case: Case,
    detector: Detector,
    *,
    run: Path,
    progress: Fraction,
    scratch: Scratch = UNTIL_EXIT,
) -> tuple[Entry, float]:
    """Return a finished case and the peak memory that was predicted for it, in MiB.

    Args:
        run: Run folder; a fault of medvit itself leaves its traceback there.
        progress: Called with the share of the case that is done.
        scratch: Where to keep what is decoded or unpacked.
    """
    started = time.perf_counter()
    with PeakMeter() as meter:
        outcome = _outcome_of(
            case, partial(examine, case, detector, progress=progress, scratch=scratch), run
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
        peak_rss_mb=meter.peak_mb,
    )
    return Entry(result, outcome.pictures), outcome.predicted_peak_mb


def is_internal_error(result: CaseResult) -> bool:
    """Whether a case met a fault of medvit itself; such a result is not kept."""
    return result.reason == INTERNAL_ERROR


def _outcome_of(case: Case, job: Callable[[], Outcome], run: Path) -> Outcome:
    try:
        return job()
    except ReadError as error:
        message = f"{error.message}; {error.hint}" if error.hint else error.message
        return Outcome("fail", (Reason(error.reason, message),))
    except DecoderError as error:
        return Outcome(
            "fail", (Reason(NO_DECODER, f"{case.source}: {error.message}; {error.hint}"),)
        )
    except MedvitError as error:
        return Outcome("fail", (Reason(MODEL_FAILED, f"{case.source}: {error.message}"),))
    except Exception as error:
        if is_out_of_memory(error):
            message = f"{case.source}: not enough memory for it; use a machine with more"
            return Outcome("fail", (Reason("too_large", message),))
        return Outcome("fail", (log_internal_error(case, error, run),))


def log_internal_error(case: Case, error: Exception, run: Path) -> Reason:
    """Keep where a fault of our own happened; its text is left out, it may quote the file."""
    kind = type(error).__name__
    frames = "".join(traceback.format_tb(error.__traceback__))
    with (run / ERROR_LOG).open("a", encoding="utf-8") as log:
        log.write(f"{case.case_id} {kind}\n{frames}\n")
    logger.error("%s: %s inside medvit; see %s", case.source, kind, run / ERROR_LOG)
    return Reason(INTERNAL_ERROR, f"{case.source}: medvit itself failed with {kind}; report it")

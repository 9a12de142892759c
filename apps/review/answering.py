"""What all routes that send pixels share: strangers are refused, failures become sentences."""

from __future__ import annotations

import logging
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from apps.review.access import case_of, open_store
from apps.review.notices import sentence
from apps.review.tickets import TICKETS
from apps.review.volumes import PreparingError
from medvit.errors import MedvitError
from medvit.io.case import Case

BASE = "/pixels"
TICKET_HEADER = "X-Medvit-Ticket"
VOID = "this page was signed out, left open too long, or its app was restarted; reload it"

logger = logging.getLogger(__name__)


def guarded(endpoint: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """Answer an endpoint's failures with a sentence, and strangers with a refusal."""

    def answer(request: Request) -> Response:
        if TICKETS.admit(request.headers.get(TICKET_HEADER, "")) is None:
            return refusal(VOID, 403)
        try:
            return endpoint(request)
        except PreparingError as error:
            return JSONResponse({"share": error.share}, status_code=202)
        except (LookupError, MedvitError, OSError) as error:
            return _told(error)
        except Exception:
            logger.exception("pixels of %s could not be sent", request.url.path)
            return refusal("a fault in medvit; its details are in the app's log", 500)

    return answer


def _told(error: LookupError | MedvitError | OSError) -> Response:
    if isinstance(error, MedvitError):
        return refusal(sentence(error), 422)
    if isinstance(error, OSError):
        return refusal(f"the file cannot be read: {error.strerror or error}", 422)
    return refusal(str(error.args[0]) if error.args else "it is not there", 404)


def may_see_names(request: Request) -> bool:
    """Return whether a request comes from the page of a reader who may see names of cases."""
    ticket = TICKETS.admit(request.headers.get(TICKET_HEADER, ""))
    return ticket is not None and ticket.sees_names


def refusal(message: str, status: int) -> Response:
    """Return an answer without pixels that says why."""
    return JSONResponse({"message": message}, status_code=status)


def case_asked_for(request: Request) -> Case:
    """Return the case that the path of a request names.

    Raises:
        LookupError: If the store has no such case.
    """
    case_id = request.path_params["case_id"]
    row = open_store().get_case(case_id)
    if row is None:
        msg = f"there is no case {case_id} in this store"
        raise LookupError(msg)
    return case_of(row)

"""The routes that send pixels to the viewers: CT slices, images, heat maps."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from apps.review.access import TOKEN, case_of, open_store, scratch, workspace
from apps.review.pictures import heat_png, image_png, image_shape
from apps.review.planes import planes_of
from apps.review.volumes import SlicePile, VolumeShelf
from medvit.errors import MedvitError
from medvit.io.case import Case
from medvit.io.readers import open_volume

BASE = "/pixels"
SHELF = VolumeShelf()
# Pixels of a case never change; already compact bytes are not to be compressed once more.
HEADERS = {"Cache-Control": "private, max-age=3600", "Content-Encoding": "identity"}
logger = logging.getLogger(__name__)


def open_pile(case: Case) -> SlicePile:
    """Return the opened volume of a case.

    Raises:
        ReadError: If it cannot be opened.
    """
    return SHELF.get(case.case_id, lambda: open_volume(case, scratch=scratch()))


def send_slice(request: Request) -> Response:
    """Send one CT slice as shown: rows of little-endian int16 HU."""
    case, axis, index = _case(request), request.path_params["axis"], request.path_params["index"]
    pile = open_pile(case)
    values = pile.slice_at(axis, index)
    planes = planes_of(pile.volume.shape, pile.volume.affine_lps)
    plane = next(plane for plane in planes if plane.axis == axis)
    body = plane.arrange(values).astype("<i2", copy=False).tobytes()
    return Response(body, media_type="application/octet-stream", headers=HEADERS)


def send_image(request: Request) -> Response:
    """Send a surface image as PNG."""
    case = _case(request)
    height, width = image_shape(case)
    size = {"X-Image-Height": str(height), "X-Image-Width": str(width)}
    return Response(image_png(case), media_type="image/png", headers={**HEADERS, **size})


def send_heat(request: Request) -> Response:
    """Send the heat map of an image by the model named in the query."""
    reference = request.query_params.get("model", "")
    body = heat_png(_case(request), reference, workspace().models)
    return Response(body, media_type="image/png", headers=HEADERS)


def guarded(endpoint: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """Answer an endpoint's failures with a sentence, and strangers with a refusal."""

    def answer(request: Request) -> Response:
        if not secrets.compare_digest(request.headers.get("X-Medvit-Token", ""), TOKEN):
            return _refusal("this page belongs to an app that was restarted; reload it", 403)
        try:
            return endpoint(request)
        except LookupError as error:
            return _refusal(str(error), 404)
        except MedvitError as error:
            return _refusal(" ".join(filter(None, [error.message, error.hint])), 422)
        except OSError as error:
            return _refusal(f"the file cannot be read: {error.strerror or error}", 422)
        except Exception:
            logger.exception("pixels of %s could not be sent", request.url.path)
            return _refusal("a fault in medvit; its details are in the app's log", 500)

    return answer


def _refusal(message: str, status: int) -> Response:
    return JSONResponse({"message": message}, status_code=status)


def _case(request: Request) -> Case:
    case_id = request.path_params["case_id"]
    row = open_store().get_case(case_id)
    if row is None:
        msg = f"there is no case {case_id} in this store"
        raise LookupError(msg)
    return case_of(row)


ROUTES = [
    Route(f"{BASE}/{{case_id}}/slices/{{axis:int}}/{{index:int}}", guarded(send_slice)),
    Route(f"{BASE}/{{case_id}}/image", guarded(send_image)),
    Route(f"{BASE}/{{case_id}}/heat", guarded(send_heat)),
]

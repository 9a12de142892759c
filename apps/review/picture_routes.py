"""The routes of the image viewer: what an image is made of, its tiles, its heat map."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from apps.review.access import workspace
from apps.review.answering import BASE, case_asked_for, guarded
from apps.review.pictures import SHELF, heat_png, thumbnail_png, tile_png
from medvit.io.images.tiled import TILE_PX

# The viewer keeps what it was sent; already compact bytes are not to be compressed once more.
HEADERS = {"Cache-Control": "private, max-age=600", "Content-Encoding": "identity"}


def send_picture(request: Request) -> Response:
    """Send the sizes of all levels of an image; 202 while a large one is being cut."""
    image = SHELF.get(case_asked_for(request))
    sizes = [[*level.shape[:2]] for level in image.levels]
    body = {"tile": TILE_PX, "levels": sizes}
    return JSONResponse(body, headers={"Cache-Control": "no-store"})


def send_tile(request: Request) -> Response:
    """Send one tile of an image as PNG."""
    level, row, column = (request.path_params[name] for name in ("level", "row", "column"))
    return _png(tile_png(case_asked_for(request), level, row, column))


def send_thumbnail(request: Request) -> Response:
    """Send a small copy of an image as PNG."""
    return _png(thumbnail_png(case_asked_for(request)))


def send_heat(request: Request) -> Response:
    """Send the heat map of an image by the model named in the query."""
    reference = request.query_params.get("model", "")
    return _png(heat_png(case_asked_for(request), reference, workspace().models))


def _png(body: bytes) -> Response:
    return Response(body, media_type="image/png", headers=HEADERS)


PICTURE_ROUTES = [
    Route(f"{BASE}/{{case_id}}/image", guarded(send_picture)),
    Route(f"{BASE}/{{case_id}}/image/{{level:int}}/{{row:int}}/{{column:int}}", guarded(send_tile)),
    Route(f"{BASE}/{{case_id}}/thumbnail", guarded(send_thumbnail)),
    Route(f"{BASE}/{{case_id}}/heat", guarded(send_heat)),
]

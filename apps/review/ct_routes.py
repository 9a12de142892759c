"""The routes of the CT viewer: how a scan lies, its slices as 16 bit HU, scans to compare with."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from apps.review.access import open_store, scratch
from apps.review.answering import BASE, case_asked_for, guarded, may_see_names
from apps.review.geometry import geometry_of
from apps.review.items import circles_of, items_of
from apps.review.planes import planes_of
from apps.review.priors import find_others
from apps.review.volumes import Cut, SlicePile, VolumeShelf
from medvit.io.case import Case
from medvit.io.pyramids import open_pyramid
from medvit.io.readers import open_source
from medvit.io.source import Source
from medvit.io.writing.slabs import Progress
from medvit.volume.pyramid import Pyramid

# The viewer keeps what it was sent; a browser's own cache would leave pictures of patients on
# the disk. Packing 16 bit noise costs more time than it saves on the way.
HEADERS = {"Cache-Control": "no-store", "Content-Encoding": "identity"}

PLANE_BYTES = 16 * 1024 * 1024
"""Decoded planes that each open scan keeps beside the slabs."""

PASS_BYTES = 16 * 1024 * 1024
"""Slabs of the pass that makes a pyramid beside a running app."""


def build_pyramid(source: Source, progress: Progress) -> Pyramid:
    """Find the pyramid of a scan in the workspace, or make it."""
    return open_pyramid(source, scratch=scratch(), progress=progress, slab_bytes=PASS_BYTES)


SHELF = VolumeShelf(build=build_pyramid)


def open_pile(case: Case) -> SlicePile:
    """Return the opened volume of a case.

    Raises:
        ReadError: If it cannot be opened.
    """
    return SHELF.get(case.case_id, partial(_open, case))


def send_slice(request: Request) -> Response:
    """Send one CT slice as shown: rows of little-endian int16 HU.

    The query may name a `level` of the pyramid, and in `slab` the slices whose largest
    values are shown. While the pyramid is made, the answer is 202 with the share of it.
    """
    pile = _pile_asked_for(request)
    axis, index = request.path_params["axis"], request.path_params["index"]
    level, slab = (_number(request, name, default) for name, default in (("level", 0), ("slab", 1)))
    values = pile.cut(Cut(axis, index, level, slab))
    planes = planes_of(pile.volume.shape, pile.volume.affine_lps)
    plane = next(plane for plane in planes if plane.axis == axis)
    body = plane.arrange(values).astype("<i2", copy=False).tobytes()
    return Response(body, media_type="application/octet-stream", headers=HEADERS)


def send_geometry(request: Request) -> Response:
    """Send how a scan lies in the patient, and its findings, for the viewer of another one."""
    volume = _pile_asked_for(request).volume
    store, case_id = open_store(), request.path_params["case_id"]
    case = store.get_case(case_id)
    rows = store.list_findings(case_id)
    items = items_of(case, rows, volume.shape[0]) if case is not None else []
    body = {"geometry": geometry_of(volume), "findings": circles_of(items, volume.affine_lps)}
    return JSONResponse(body, headers={"Cache-Control": "no-store"})


def send_others(request: Request) -> Response:
    """Send the scans that a case can be compared with; `text` in the query searches them."""
    case = case_asked_for(request)
    text, names = request.query_params.get("text", ""), may_see_names(request)
    found = find_others(open_store(), case, text=text, names=names)
    rows = [other.as_data() for other in found]
    return JSONResponse({"others": rows}, headers={"Cache-Control": "no-store"})


def _pile_asked_for(request: Request) -> SlicePile:
    """Return the pile of a case; the store is asked only when it is not open."""
    return SHELF.get(request.path_params["case_id"], lambda: _open(case_asked_for(request)))


def _open(case: Case) -> Source:
    return open_source(case, scratch=scratch(), kept_bytes=PLANE_BYTES)


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isdecimal():
        msg = f"{name} is a whole number, not {text!r}"
        raise LookupError(msg)
    return int(text)


CT_ROUTES = [
    Route(f"{BASE}/{{case_id}}/slices/{{axis:int}}/{{index:int}}", guarded(send_slice)),
    Route(f"{BASE}/{{case_id}}/geometry", guarded(send_geometry)),
    Route(f"{BASE}/{{case_id}}/others", guarded(send_others)),
]

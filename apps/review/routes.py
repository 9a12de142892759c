"""The routes that send pixels to the viewers."""

from __future__ import annotations

from apps.review.ct_routes import CT_ROUTES
from apps.review.picture_routes import PICTURE_ROUTES

ROUTES = [*CT_ROUTES, *PICTURE_ROUTES]

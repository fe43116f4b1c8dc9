"""Photo in, picture out, over HTTP: what takes seconds, without a client that waits for it.

=====================  ============================================================================
``PictureJobs``        takes photos, has pictures made of them, keeps those for a while
``Status``             how far a job is
``PictureApp``         the routes around them, as an ASGI application
``cutout_app(...)``    such routes where the background is removed (``images.cutout_app``)
=====================  ============================================================================

``PictureJobs`` is for threads and event loops alike, so for WSGI applications too.
"""

from __future__ import annotations

from tonnage.images.kit.jobs import PictureJobs
from tonnage.images.kit.routes import PictureApp, cutout_app
from tonnage.images.kit.status import Status

__all__ = ["PictureApp", "PictureJobs", "Status", "cutout_app"]

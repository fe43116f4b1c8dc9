"""Synchronous code that needs much memory, in a limit that does not hold all of it at once.

The memory is taken late and given back before the thread ends: whoever looks only between the steps
of the event loop does not see it.
"""

from __future__ import annotations

import pytest
from tests.frameworks.asking import statuses
from tests.support.cgroup import MemoryBox, need_cgroup
from tests.support.server import Running

from tonnage.units import MIB

pytestmark = pytest.mark.real

TARGETS = [
    "fastapi_app:app",
    "starlette_app:app",
    "flask_app:app",
    "django_site.asgi:application",
    "django_site.wsgi:application",
]


@pytest.mark.parametrize("target", TARGETS)
def test_costly_threads_are_never_more_than_fit(target: str, site: dict[str, str]) -> None:
    """32 clients, each request 16 MB, together 512 MB in a limit of 256: all wait their turn."""
    need_cgroup()
    path = "/hold?mb=16&ms=50&late_ms=50"
    with (
        MemoryBox(256 * MIB) as box,
        Running(f"tests.frameworks.{target}", box=box, env=site) as running,
    ):
        # One at a time first, so that a route whose cost is not seen is taken for a small one.
        assert statuses(running, path, clients=1, requests=12) == {200: 12}
        assert statuses(running, path, clients=32, requests=64) == {200: 64}

        assert box.kills() == 0

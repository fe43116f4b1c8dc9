"""What queries hold counts as their requests' own: the kernel never has to kill for it.

asyncpg makes rows of what arrives while no request's step runs, so that a meter of steps alone
learns next to nothing of their cost, and lets all requests in at once.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.cgroup import MemoryBox, need_cgroup
from tests.support.postgres import PostgresServer
from tests.support.server import Running

from tonnage.units import MIB

pytestmark = pytest.mark.real

AT_ONCE = 12


@pytest.mark.parametrize("asked_by", ["engine", pytest.param("pool", marks=pytest.mark.soak)])
def test_many_large_results_at_once_never_make_the_kernel_kill(asked_by: str) -> None:
    """12 of 28 MB in a box of 200: most wait for their turn."""
    need_cgroup()
    with PostgresServer() as postgres, MemoryBox(200 * MIB) as box:
        given = {"DATABASE_URL": f"{postgres.url}&connection_limit=20", "ASKED_BY": asked_by}
        with Running("tests.promises.rows_app:app", "--workers", "1", box=box, env=given) as server:
            assert server.get("/rows").json() == 9240

            def ask(_: int) -> int:
                return server.get("/rows").status

            with ThreadPoolExecutor(AT_ONCE) as clients:
                statuses = Counter(clients.map(ask, range(AT_ONCE)))

            assert set(statuses) <= {200, 503}
            assert statuses[200] >= AT_ONCE / 2
            assert box.kills() == 0

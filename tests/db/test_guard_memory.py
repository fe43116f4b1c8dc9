"""A table that does not fit, selected for real: in a memory cgroup, each way in its own process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from benchmarks import rows
from tests.support.cgroup import need_cgroup
from tests.support.postgres import need_postgres

from tonnage.units import MIB

pytestmark = pytest.mark.real

ROWS = 200_000


@pytest.fixture(scope="module", params=["sqlite", "asyncpg"])
def table(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """Yield a driver, and the URL of a database with the table."""
    need_cgroup()
    if request.param != "sqlite":
        need_postgres()
    with rows.database(ROWS, is_sqlite=request.param == "sqlite") as url:
        yield request.param, url


def test_guarded_it_is_stopped_and_streamed_it_stays_flat(table: tuple[str, str]) -> None:
    """Within 10 MB each; loaded whole it takes far more, so that the measure is one."""
    driver, url = table
    guarded = rows.read("guarded", driver, url, 512)
    assert guarded["outcome"] == "stopped"
    assert guarded["grown_bytes"] < 10 * MIB
    streamed = rows.read("stream", driver, url, 512)
    assert (streamed["outcome"], streamed["rows"]) == ("all read", ROWS)
    assert streamed["grown_bytes"] < 10 * MIB
    plain = rows.read("plain", driver, url, 512)
    assert plain["rows"] == ROWS
    assert plain["grown_bytes"] > 40 * MIB

"""Pools before there is a server: what they are made of, and when."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from tonnage import db
from tonnage.budget.connections import CONNECTION_BYTES
from tonnage.errors import ConfigError, DatabaseAwayError, DatabaseError
from tonnage.governor.consumers import registry

NOWHERE = "postgresql://app:s3cret@127.0.0.1:1/shop?connection_limit=3"


def test_nothing_is_opened_and_no_thread_begun_when_they_are_made() -> None:
    """Nothing is opened and no thread begun when they are made."""
    program = (
        "import os, threading\n"
        "from tonnage import db\n"
        "before = len(os.listdir('/proc/self/fd'))\n"
        f"pools = db.pool({NOWHERE!r}), db.async_pool({NOWHERE!r}, name='other')\n"
        "assert len(os.listdir('/proc/self/fd')) == before\n"
        "assert threading.active_count() == 1\n"
        "import sys\n"
        "assert not {'sqlalchemy', 'psycopg_pool', 'greenlet'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_each_loads_its_own_driver_alone() -> None:
    """Each loads its own driver alone."""
    for made, other in (("pool", "asyncpg"), ("async_pool", "psycopg")):
        program = (
            "import sys\n"
            "from tonnage import db\n"
            f"pool = db.{made}({NOWHERE!r})\n"
            f"assert {other!r} not in sys.modules\n"
        )
        subprocess.run([sys.executable, "-c", program], check=True)


def test_without_a_url_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a URL there is none."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    for make in (db.pool, db.async_pool):
        with pytest.raises(ConfigError, match="set DATABASE_URL"):
            make()


def test_they_are_for_postgresql_whichever_driver_the_url_names() -> None:
    """They are for PostgreSQL; one URL does for both, as with engines."""
    for url in ("sqlite:///app.db", "mysql://db/shop"):
        for make in (db.pool, db.async_pool):
            with pytest.raises(ConfigError, match=r"use db.engine\(\)"):
                make(url)
    for driver in ("asyncpg", "psycopg"):
        url = NOWHERE.replace("postgresql:", f"postgresql+{driver}:")
        assert db.pool(url, name="one").statistics().kind == "psycopg"
        assert db.async_pool(url, name="other").statistics().kind == "asyncpg"


MAKERS = [db.engine, db.async_engine, db.pool, db.async_pool]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"guard": "perhaps"}, "stop, warn or off"),
        ({"max_rows": -1}, "max_rows is a whole number, 1 at least"),
        ({"max_rows": "many"}, "max_rows is a whole number"),
        ({"slow_seconds": -1}, "slow_seconds is a number, 0 at least"),
        ({"slow_seconds": "x"}, "slow_seconds is a number"),
        ({"max_bytes": 0}, "max_bytes is a whole number"),
        ({"max_bytes": 1.5}, "max_bytes is a whole number"),
    ],
)
def test_bounds_without_sense_are_refused(
    make: Callable[..., object], said: dict[str, object], why: str
) -> None:
    """By whatever makes connections."""
    with pytest.raises(ConfigError, match=why):
        make(NOWHERE, **said)


@pytest.mark.parametrize("make", MAKERS)
def test_a_url_of_sqlalchemys_is_one(make: Callable[..., object]) -> None:
    """With its password, which it hides from those who print it."""
    sqlalchemy = pytest.importorskip("sqlalchemy")
    make(sqlalchemy.make_url(NOWHERE), name="made")
    with pytest.raises(ConfigError, match="is text, not bytes"):
        make(NOWHERE.encode())


def test_what_they_may_hold_is_in_the_plan() -> None:
    """What they may hold is in the plan."""
    kept = db.pool(NOWHERE, name="planned"), db.async_pool(NOWHERE, name="planned_too")
    bounds = dict(registry.bounds())
    assert bounds["planned"] == bounds["planned_too"] == 3 * CONNECTION_BYTES
    assert {db.statistics()[pool.name].kind for pool in kept} == {"psycopg", "asyncpg"}


def test_they_say_how_they_stand_and_never_the_password() -> None:
    """They say how they stand, and never the password."""
    pool = db.pool(NOWHERE, name="told")
    assert repr(pool) == "<Pool 'told': 0 in use, 0 idle, 0 waiting, limit 1>"
    assert "s3cret" not in f"{pool!r} {pool.statistics()}"


def test_a_server_that_is_not_there_is_away_and_said_without_the_password(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A server that is not there is away, and said without the password."""
    pool = db.pool(NOWHERE, name="nowhere")
    with pytest.raises(DatabaseAwayError, match="nowhere does not") as caught, pool.connection():
        pass
    assert caught.value.problem.status == 503
    assert caught.value.__cause__ is not None
    # Whoever comes next hears it at once, without another attempt.
    with pytest.raises(DatabaseAwayError) as caught, pool.connection():
        pass
    assert_told_again(caught.value)
    assert "database connection failed: nowhere" in caplog.text
    assert "s3cret" not in caplog.text


def assert_told_again(error: DatabaseAwayError) -> None:
    """Assert that *error* repeats what the driver has said to somebody else."""
    assert type(error.__cause__) is DatabaseError
    assert "refused" in str(error.__cause__) or "Connect call failed" in str(error.__cause__)


async def test_the_same_in_an_event_loop(caplog: pytest.LogCaptureFixture) -> None:
    """The same in an event loop."""
    pool = db.async_pool(NOWHERE, name="nowhere_too")
    with pytest.raises(DatabaseAwayError, match="nowhere_too does not answer"):
        await pool.fetch("SELECT 1")
    with pytest.raises(DatabaseAwayError) as caught:
        await pool.fetch("SELECT 1")
    assert_told_again(caught.value)
    assert "s3cret" not in caplog.text

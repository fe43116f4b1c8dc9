"""What a report makes of what PostgreSQL says of itself, from answers as the server gives them."""

from __future__ import annotations

from typing import Any

from tonnage.db.report.server import connections, facts, settings
from tonnage.units import MIB

SERVER = {
    "version": "17.2",
    "is_replica": False,
    "up_seconds": 7200,
    "database_bytes": 3 * MIB,
    "blks_hit": 990,
    "blks_read": 10,
    "temp_bytes": 0,
}


def setting(name: str, value: str, unit: str | None = None) -> dict[str, Any]:
    """Return a row of the settings."""
    return {"name": name, "setting": value, "unit": unit, "shown": f"{value}{unit or ''}"}


def answers(*said: dict[str, Any], busy: int = 0, **server: Any) -> dict[str, Any]:
    """Return the answers of a server with the settings *said* and *busy* connections."""
    states = [{"state": "idle", "application": "shop", "connections": busy}] if busy else []
    return {"server": [SERVER | server], "settings": said, "connections": states, "waiting": []}


def told(given: dict[str, Any]) -> dict[str, str]:
    """Return what stands at the head of the report."""
    return dict(facts(given))


def test_what_connections_could_come_to_is_told() -> None:
    """Each with one work_mem and the 2 MB that a connection takes beside it."""
    given = answers(
        setting("shared_buffers", "16384", "8kB"),
        setting("work_mem", "4096", "kB"),
        setting("max_connections", "100"),
        busy=3,
    )
    assert told(given)["could come to"].startswith("728 MB: shared_buffers, and 100 connections")
    assert told(given)["connections"] == "3 of 100: 3 idle"
    assert told(given)["by application"] == "shop 3"


def test_what_a_server_does_not_say_is_left_out() -> None:
    """A proxy before it may hide settings; a sum is not made up of those that are there."""
    given = answers(setting("work_mem", "4", "MB"))
    assert told(given)["could come to"] == "-"
    assert "connections" not in told(given)
    assert not connections(given).findings
    assert "memory" not in told(answers())


def test_a_replica_and_its_temporary_files_are_told() -> None:
    """They are part of the server's line, and a line of their own."""
    given = told(answers(is_replica=True, temp_bytes=5 * MIB))
    assert given["server"] == "PostgreSQL 17.2, a replica, up 2 h"
    assert given["temporary files"] == "5 MB written"


def test_few_free_connections_are_a_finding() -> None:
    """From four of five on."""
    limit = setting("max_connections", "10")
    assert not connections(answers(limit, busy=7)).findings
    (found,) = connections(answers(limit, busy=8)).findings
    assert found.told.startswith("8 of 10 in use")


def test_settings_that_lose_data_or_speed_are_findings() -> None:
    """Each with the statement that mends it, where there is one."""
    sound = [setting(name, "on") for name in ("autovacuum", "fsync", "full_page_writes")]
    assert not settings(answers(*sound, blks_hit=990_000, blks_read=10_000)).findings

    wrong = [setting(name, "off") for name in ("autovacuum", "fsync", "full_page_writes")]
    found = {each.what: each for each in settings(answers(*wrong, blks_read=200_000)).findings}
    assert found["autovacuum"].statement == "ALTER SYSTEM SET autovacuum = on;"
    assert "may destroy the database" in found["fsync"].told
    assert found["full_page_writes"].statement == "ALTER SYSTEM SET full_page_writes = on;"
    assert "block reads found in it" in found["shared_buffers"].told


def test_few_reads_say_nothing_of_the_cache() -> None:
    """A server that has just begun has read all of it from the disk."""
    assert not settings(answers(blks_hit=0, blks_read=99_999)).findings

"""What PostgreSQL says of itself: its facts, its connections against their limit, its settings.

Pure: from the answers that :mod:`tonnage.db.report.postgres` has.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from tonnage.db.report.findings import Finding, Section, section
from tonnage.db.report.words import ago, share
from tonnage.units import counted, format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tonnage.db.sessions import Row

    Answers = Mapping[str, Sequence[Row]]

#: The part of the connections that may be in use before a word is said.
BUSY_SHARE: Final = 0.8
#: Below this part of reads from its own cache a database reads much from disk.
HIT_SHARE: Final = 0.95
_ENOUGH_READS: Final = 100_000
_APPLICATIONS: Final = 4
#: The title of the section.
CONNECTIONS: Final = "Connections"

# In bytes; PostgreSQL's units of pg_settings.
_UNITS: Final = {"B": 1, "kB": 1024, "8kB": 8192, "MB": 2**20, "GB": 2**30}


def facts(answers: Answers) -> tuple[tuple[str, str], ...]:
    """Return what stands at the head of a report."""
    found: list[tuple[str, str]] = []
    for row in answers["server"]:
        replica = ", a replica" if row["is_replica"] else ""
        found.append(("server", f"PostgreSQL {row['version']}{replica}, up {_up(row)}"))
        found.append(("database", format_bytes(row["database_bytes"])))
        reads = row["blks_hit"] + row["blks_read"]
        found.append(("cache", f"{share(row['blks_hit'], reads)} of {reads:,} block reads hit"))
        if row["temp_bytes"]:
            found.append(("temporary files", f"{format_bytes(row['temp_bytes'])} written"))
    found += _connection_facts(answers)
    said = {row["name"]: row["shown"] for row in answers["settings"]}
    shown = ("shared_buffers", "work_mem", "maintenance_work_mem", "effective_cache_size")
    if said:
        found.append(("memory", ", ".join(f"{name} {said.get(name, '-')}" for name in shown)))
        found.append(("could come to", _most_memory(answers["settings"])))
    return tuple(found)


def _up(row: Row) -> str:
    return ago(row["up_seconds"]).removesuffix(" ago")


def _connection_facts(answers: Answers) -> Iterator[tuple[str, str]]:
    limit = _number(answers["settings"], "max_connections")
    if limit is None:
        return
    rows = answers["connections"]
    states: Counter[str] = Counter()
    applications: Counter[str] = Counter()
    for row in rows:
        states[row["state"]] += row["connections"]
        applications[row["application"]] += row["connections"]
    total = states.total()
    kinds = ", ".join(f"{count} {state}" for state, count in states.most_common())
    yield "connections", f"{total} of {limit}" + (f": {kinds}" if kinds else "")
    if applications:
        most = applications.most_common(_APPLICATIONS)
        yield "by application", ", ".join(f"{name} {count}" for name, count in most)


def _most_memory(rows: Sequence[Row]) -> str:
    buffers, work = _bytes(rows, "shared_buffers"), _bytes(rows, "work_mem")
    limit = _number(rows, "max_connections")
    if buffers is None or work is None or limit is None:
        return "-"
    # 2 MB is what a connection was measured to take beside its work.
    return (
        f"{format_bytes(buffers + limit * (work + 2 * 2**20))}: shared_buffers, and {limit} "
        f"connections with one work_mem and 2 MB each"
    )


def connections(answers: Answers) -> Section:
    """Return what is to be said of connections."""
    found: list[Finding] = []
    limit = _number(answers["settings"], "max_connections")
    total = sum(row["connections"] for row in answers["connections"])
    if limit and total >= BUSY_SHARE * limit:
        found.append(
            Finding(
                "max_connections",
                f"{total} of {limit} in use: lower connection_limit in the URLs of applications",
            )
        )
    found += [
        Finding(
            f"process {row['pid']}",
            f"of {row['application']}: idle in a transaction since {ago(row['seconds'])}; it "
            "keeps its locks, and VACUUM from its work",
            f"SELECT pg_terminate_backend({row['pid']});",
        )
        for row in answers["waiting"]
    ]
    return section(CONNECTIONS, "each takes memory of the server, and may hold locks", found)


def settings(answers: Answers) -> Section:
    """Return what is to be said of settings."""
    return section("Settings", "those that cost most when they are wrong", _settings(answers))


def _settings(answers: Answers) -> Iterator[Finding]:
    said = {row["name"]: row["setting"] for row in answers["settings"]}
    if said.get("autovacuum") == "off":
        yield Finding("autovacuum", "off: dead rows stay", "ALTER SYSTEM SET autovacuum = on;")
    for name in ("fsync", "full_page_writes"):
        if said.get(name) == "off":
            told = "off: a crash of the machine may destroy the database"
            yield Finding(name, told, f"ALTER SYSTEM SET {name} = on;")
    for row in answers["server"]:
        reads = row["blks_hit"] + row["blks_read"]
        if reads >= _ENOUGH_READS and row["blks_hit"] < HIT_SHARE * reads:
            yield Finding(
                "shared_buffers",
                f"{share(row['blks_hit'], reads)} of {counted(reads, 'block read')} found in it",
            )


def _number(rows: Sequence[Row], name: str) -> int | None:
    found: Any = next((row["setting"] for row in rows if row["name"] == name), None)
    return None if found is None else int(found)


def _bytes(rows: Sequence[Row], name: str) -> int | None:
    for row in rows:
        if row["name"] == name:
            return int(row["setting"]) * _UNITS.get(row["unit"] or "B", 1)
    return None

"""The limits on the way of a request, as the banner tells them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tonnage.config import load_settings
from tonnage.ops.limitlines import limit_lines


def lines(tmp_path: Path, environment: dict[str, str] | None = None, **flags: Any) -> list[str]:
    """Return the lines with these flags, and these variables."""
    settings = load_settings(flags, environment or {}, tmp_path, on_terminal=lambda: False)
    told = limit_lines(settings.listen, settings.path, settings.stores, settings.databases, 5)
    return [f"{label}: {text}" for label, text in told]


def test_what_is_on_by_default_is_told(tmp_path: Path) -> None:
    """Heads and slow clients."""
    assert lines(tmp_path) == [
        "heads: 32 KB and 100 headers, within 10 s",
        "slow: bodies that come slower than 100 B/s for 10 s are cut",
    ]


def test_what_is_off_has_no_line(tmp_path: Path) -> None:
    """Each line is a limit in force."""
    off = lines(tmp_path, header_seconds="0", body_seconds="0")
    assert off == ["heads: 32 KB and 100 headers"]


def test_each_limit_has_a_line(tmp_path: Path) -> None:
    """With the figure that was set, and what happens beyond it."""
    (tmp_path / "pyproject.toml").write_text(
        '[tool.tonnage.routes."POST /photos"]\nmax_upload = "5M"\nrate_limit = ["20/1h"]\n'
        '[tool.tonnage.routes."GET /events"]\nstream = true\n'
        '[tool.tonnage.routes."GET /plain"]\n'
    )
    flags: dict[str, Any] = {
        "max_connections": "500",
        "max_body": "1M",
        "max_upload": "2M",
        "max_response": "10M",
        "timeout": "30s",
        "rate_limit": "100/15m",
        "compress": True,
        "decompress": True,
        "cors_origins": "https://a.example,https://b.example",
        "cors_credentials": True,
        "remove_headers": "server,x-powered-by",
    }
    told = lines(tmp_path, **flags)
    assert [line for line in told if not line.startswith(("heads", "slow"))] == [
        "connections: 500 a worker, then idle ones are closed",
        "bodies: 1 MB, uploads 2 MB: larger ones get 413",
        "responses: 10 MB: larger ones become an error, or are cut",
        "time: 30 s until a response begins, then 504",
        "rates: 100/15m for each client, then 429",
        "compress: responses, gzip at level 6; not from CRITICAL on",
        "decompress: bodies of requests",
        "CORS: https://a.example, https://b.example, with cookies",
        "removed: from responses: server, x-powered-by",
        "route: POST /photos: max_upload 5M, rate_limit 20/1h",
        "route: GET /events: stream true",
        "route: GET /plain: as all others",
    ]


_WAITING = "1000 commands of 16 MB may wait in a worker, further ones go without"


@pytest.mark.parametrize(
    ("url", "flags", "told"),
    [
        ("redis://:s3cret@cache/1", {}, f"cache:6379: caches with a name · {_WAITING}"),
        (
            "rediss://u:s3cret@cache:6380",
            {"rate_limit": "5/1m"},
            f"cache:6380: caches with a name, and rates · {_WAITING}",
        ),
        (
            "unix:///run/redis.sock?password=s3cret",
            {},
            f"/run/redis.sock: caches with a name · {_WAITING}",
        ),
        ("cache:6379", {}, "not used: REDIS_URL makes no sense"),
        ("redis://:s3/cret@cache", {}, "not used: REDIS_URL makes no sense"),
        ("redis://[s3cret", {}, "not used: REDIS_URL makes no sense"),
    ],
)
def test_where_redis_is_and_what_for(
    tmp_path: Path, url: str, flags: dict[str, str], told: str
) -> None:
    """With the host and without the password."""
    assert lines(tmp_path, {"REDIS_URL": url}, **flags)[-1] == f"Redis: {told}"


def test_a_redis_that_is_not_to_be_used_has_no_line(tmp_path: Path) -> None:
    """Nor one that is not configured."""
    told = lines(tmp_path, {"REDIS_URL": "redis://cache", "USE_REDIS": "false"})
    assert told == lines(tmp_path)


# Databases.


@pytest.mark.parametrize(
    ("url", "flags", "told"),
    [
        (
            "postgres://app:s3cret@db/shop",
            {},
            "postgresql://app:***@db/shop: at most 5 connections a worker, in all its pools · for a"
            " free one requests wait 20 s, then 503",
        ),
        (
            "postgres://db/shop?connection_limit=3&pool_timeout=0&password=s3cret",
            {"database_connections": "40"},
            "postgresql://db/shop: at most 3 connections a worker · for a free one requests wait"
            " for ever",
        ),
        (
            "postgres://app:s3cret@db/shop?conection_limit=3",
            {},
            "not used, by DATABASE_URL: the URL of a database has a parameter that is not known,"
            " conection_limit: did you mean connection_limit?",
        ),
        (
            "mssql://app:s3cret@db/shop",
            {},
            "not used, by DATABASE_URL: the URL of a database cannot be read: write"
            " postgresql://user@host/name, sqlite:///app.db, mysql:// or mongodb://",
        ),
    ],
)
def test_a_database_has_a_line(url: str, flags: dict[str, str], told: str, tmp_path: Path) -> None:
    """Where it is, and how many connections there may be; never the password."""
    found = lines(tmp_path, {"DATABASE_URL": url}, **flags)
    assert found[-2:] == [
        f"database: {told}",
        "queries: 10000 rows or 32 MB at once: larger ones are stopped",
    ]


def test_mongodb_has_a_line(tmp_path: Path) -> None:
    """With the size of its own pool."""
    environment = {"MONGO_URL": "mongodb://u:s3cret@a,b/shop", "MONGO_POOL_SIZE": "7"}
    assert lines(tmp_path, environment, query_guard="warn")[-2:] == [
        "MongoDB: mongodb://u:***@a,b/shop: at most 7 connections a worker · for a free one"
        " requests wait 20 s, then 503",
        "queries: 10000 rows or 32 MB at once: larger ones are warned about",
    ]


def test_what_is_said_of_databases_without_a_url_has_a_line(tmp_path: Path) -> None:
    """The application names it."""
    assert lines(tmp_path, database_connections="40")[-1] == (
        "database: at most 5 connections a worker, in all its pools whose URL says nothing"
    )
    assert not lines(tmp_path, query_guard="off")[-1].startswith(("database", "queries"))

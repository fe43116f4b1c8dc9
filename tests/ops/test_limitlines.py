"""The limits on the way of a request, as the banner tells them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tonnage.config import load_settings
from tonnage.ops.limitlines import limit_lines


def lines(tmp_path: Path, **flags: Any) -> list[str]:
    """Return the lines with these flags."""
    settings = load_settings(flags, {}, tmp_path, on_terminal=lambda: False)
    return [f"{label}: {text}" for label, text in limit_lines(settings.listen, settings.path)]


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
    flags = {
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

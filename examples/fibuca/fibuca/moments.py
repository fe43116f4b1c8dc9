"""Moments in answers: ISO 8601 in UTC, where Flask would have the dates of HTTP's headers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask.json.provider import DefaultJSONProvider


class Json(DefaultJSONProvider):
    """JSON as Flask makes it, but for moments."""

    @staticmethod
    def default(value: Any) -> Any:
        """Return what JSON can hold in place of *value*."""
        if not isinstance(value, datetime):
            return DefaultJSONProvider.default(value)
        # PostgreSQL's have the zone of the connection; SQLite's have none, and are in UTC.
        with_zone = value if value.tzinfo else value.replace(tzinfo=UTC)
        return with_zone.astimezone(UTC).isoformat()

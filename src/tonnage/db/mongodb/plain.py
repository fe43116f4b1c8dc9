"""MongoDB's documents as JSON can have them. Pure.

    page.body() | {"items": plain(page.rows)}

Promises: ObjectIds and decimals become text, bytes base64, wherever in a document they are. All
else stays as it is, moments too, which web frameworks write themselves; nothing is changed in
place.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from bson import Decimal128, ObjectId


def plain(value: Any) -> Any:
    """Return *value*, a document or a list of them, with what JSON knows for BSON's types."""
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, ObjectId | Decimal128):
        return str(value)
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value

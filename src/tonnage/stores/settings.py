"""What the options say of stores, for application code: in a worker, and under any other server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tonnage.config import Applied

if TYPE_CHECKING:
    from tonnage.settings import StoreSettings

_stores: Applied[StoreSettings] = Applied(lambda settings: settings.stores)

use = _stores.use
current = _stores.current

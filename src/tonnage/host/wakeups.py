# placeholder until the real module lands: overwrite it
from __future__ import annotations
from typing import Any
class Wakeup: ...
def open_wakeups(limit: Any, marks: Any, environ: Any) -> Any:
    return [], []

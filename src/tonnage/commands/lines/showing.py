"""A line of a server's log as ``tonnage logs`` shows it: for people, or as JSON.

    14:02:11 WARNING  worker 2    memory 431 MB of 512 MB, level WARNING used=431

Pure. Lines in JSON and in text look alike here; one of a format that is not ours is shown as it
is. What would steer a terminal was spelled out when the line was written, and is again.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import Any, Final

from tonnage.logs.texts import LEVELS, level_column, visible

# Time and level of the two formats for people; both are shown from what is known of the line.
_TEXT: Final = re.compile(rf"\S{{8,32}} (?:{'|'.join(LEVELS)}) +")
# What has a place of its own, or nothing to say here.
_SHOWN: Final = ("time", "level", "logger", "message", "pid", "exception")
_OURS: Final = ("tonnage", "uvicorn")
_PROCESS_WIDTH: Final = 11


def told(line: Mapping[str, Any], *, is_colored: bool = False) -> str:
    """Return *line* of the server's answer for people; of several lines where it has an exception.

    Args:
        line: as :mod:`tonnage.ops.lines` answers it.
        is_colored: whether the level has a colour.
    """
    at = time.strftime("%H:%M:%S", time.localtime(line["time"]))
    level = level_column(line["level"], is_colored=is_colored)
    return f"{at} {level} {line['process']:<{_PROCESS_WIDTH}} {visible(message(line))}"


def message(line: Mapping[str, Any]) -> str:
    """Return what *line* says, without its time and level."""
    text = str(line["text"])
    fields = _fields(text)
    if fields is None:
        # What follows the first line of a text is indented already.
        return _TEXT.sub("", text, count=1).replace("\n  ", "\n")
    logger = str(fields.get("logger", ""))
    name = "" if logger.partition(".")[0] in _OURS or not logger else f"{logger}: "
    said = f"{name}{str(fields['message']).rstrip()}"
    said += "".join(f" {key}={value}" for key, value in fields.items() if key not in _SHOWN)
    return f"{said}\n{fields['exception']}" if fields.get("exception") else said


def as_json(line: Mapping[str, Any]) -> str:
    """Return *line* as JSON: as it was written where that was JSON, else what is known of it."""
    text = str(line["text"])
    if _fields(text) is not None:
        return text
    known = {key: line[key] for key in ("time", "process", "level")}
    return json.dumps({**known, "message": message(line)})


def _fields(text: str) -> dict[str, Any] | None:
    """Return what a line in JSON holds; None: it is none, for example since it was cut."""
    if not text.startswith("{"):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "message" in found else None

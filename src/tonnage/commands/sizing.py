"""``tonnage plan TARGET --observed``: which limit would do, by what was observed of the target.

Promises: nothing is imported, started or written; what was kept is read. What was observed with the
newest limit and number of workers counts, the rest is named. Does not decide: that is
:mod:`tonnage.ops.sizing.advice`.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from tonnage.errors import ConfigError, UsageError
from tonnage.ops.sizing.advice import USUAL_MARGIN, advise, parts_for
from tonnage.ops.sizing.book import read_all
from tonnage.ops.sizing.places import SUFFIX, file_name, state_directory
from tonnage.ops.sizing.record import beside
from tonnage.ops.sizing.text import render, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tonnage.settings import Settings

_MOST_NAMED = 8


def show_observed(
    settings: Settings,
    margin: str | None,
    as_json: bool,
    out: TextIO,
    *,
    environ: Mapping[str, str] = os.environ,
    wall_clock: Callable[[], float] = time.time,
) -> int:
    """Print which limit would do to *out*, for a person or as JSON, and return exit status 0.

    Args:
        settings: what ``tonnage run`` would be told; names the target and the state directory.
        margin: what is to be added to the peak, such as ``10%``; None: that.
        as_json: whether to print plain data.
        out: where to.
        environ: says where the state directory is, if nobody has named one.
        wall_clock: seconds since 1970.

    Raises:
        UsageError: nothing was observed of the target, or *margin* makes no sense.
    """
    share = USUAL_MARGIN if margin is None else parse_margin(margin)
    if settings.app.target is None:
        raise UsageError("name the application: for example tonnage plan main:app --observed")
    directory = state_directory(settings.reports.state_dir, environ)
    name = file_name(settings.app.target, settings.app.app_dir)
    together = None if directory is None else beside(read_all(directory, name))
    history, others = (None, ()) if together is None else together.apart()
    whole = None if history is None else history.whole()
    if history is None or whole is None:
        raise UsageError(_nothing(settings, directory))
    parts_at = parts_for(settings, history.app)
    advice = advise(history, whole, share, parts_at, now_seconds=int(wall_clock()))
    if as_json:
        json.dump(to_json(history, whole, advice, others), out, indent=2)
        out.write("\n")
    else:
        out.write(render(history, whole, advice, others))
    return 0


def parse_margin(text: str) -> float:
    """Return the share that *text* means: ``10%``.

    Raises:
        ConfigError: it is no percentage from 0 to 1000.
    """
    number, sign, rest = text.strip().partition("%")
    try:
        percent = float(number)
    except ValueError:
        percent = -1.0
    if not sign or rest or not 0 <= percent <= 1000:
        raise ConfigError(f"--margin: {text!r} is not a share: write for example 10%")
    return percent / 100


def _nothing(settings: Settings, directory: Path | None) -> str:
    target = settings.app.target
    if directory is None:
        return "there is no state directory, as there is no home: name one with --state-dir"
    known = sorted(path.name.rpartition("-")[0] for path in _files(directory))[:_MOST_NAMED]
    others = f"; there is something on {', '.join(known)}" if known else ""
    return (
        f"nothing was observed of {target} in {settings.app.app_dir} yet: {directory} has no file"
        f" of it{others}; a server writes the first after a minute; name another directory with"
        " --state-dir or --app-dir"
    )


def _files(directory: Path) -> list[Path]:
    try:
        return [path for path in directory.iterdir() if path.suffix == SUFFIX]
    except OSError:
        return []

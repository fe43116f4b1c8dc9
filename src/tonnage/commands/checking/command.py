"""``tonnage check``: collect, judge, and print.

Promises: exit status 0 when no check failed, and 1 when one did; what could not be carried out is
an error. Nothing is started that outlives the command.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TextIO

from tonnage.commands.checking.findings import Checked
from tonnage.commands.checking.text import told
from tonnage.errors import ConfigError, TargetError

if TYPE_CHECKING:
    from pathlib import Path

    from tonnage.settings import Settings


@dataclass(frozen=True, slots=True)
class CheckArguments:
    """What a user asks for besides the settings.

    Attributes:
        as_json: whether the findings are printed as JSON.
        instances: how many servers there are, or are to be.
        migrations: the application's directory of migrations; None: a usual one.
        path: a page of the server that is compressed where anything is.
        probe_body_bytes: the size of a body that is to be refused.
        probe_rate: how many requests may be spent on the rate limit; None: none.
    """

    as_json: bool
    instances: int
    migrations: Path | None
    path: str
    probe_body_bytes: int
    probe_rate: int | None


def show_check(settings: Settings, wanted: CheckArguments, out: TextIO) -> int:
    """Check what *settings* name as the target, print the findings to *out*, return the status.

    Args:
        settings: what the server is run with; the target may be a URL.
        wanted: what is asked for besides.
        out: where to print.

    Raises:
        UsageError: there is no target, it is no application, or the server does not answer.
    """
    target = settings.app.target
    if target is None:
        raise TargetError("nothing to check is named: write tonnage check main:app, or a URL")
    is_url = "://" in target
    checked = _site(settings, target, wanted) if is_url else _application(settings, target, wanted)
    if wanted.as_json:
        json.dump({**asdict(checked), "failed": checked.count("fail")}, out, indent=2)
        out.write("\n")
    else:
        out.write(told(checked))
    return 1 if checked.count("fail") else 0


def _application(settings: Settings, target: str, wanted: CheckArguments) -> Checked:
    from tonnage.commands.checking.target import look_at
    from tonnage.commands.checking.targetchecks import check_target

    facts = look_at(settings, wanted.instances, wanted.migrations)
    return Checked(target, "before deploying", check_target(facts))


def _site(settings: Settings, url: str, wanted: CheckArguments) -> Checked:
    if not wanted.path.startswith("/"):
        raise ConfigError(f"--path {wanted.path!r} is no path: write it as in /events")
    from tonnage.commands.checking.asking import Asker
    from tonnage.commands.checking.site import SiteQuestions, look_at
    from tonnage.commands.checking.sitechecks import check_site

    asked = SiteQuestions(
        health_path=settings.admission.health_path,
        metrics_path=settings.admission.metrics_path,
        page_path=settings.admission.page_path,
        admin_token=settings.admission.admin_token,
        path=wanted.path,
        announced_bytes=wanted.probe_body_bytes,
        most_rate_requests=wanted.probe_rate,
        instances=wanted.instances,
    )
    return Checked(url, "after deploying", check_site(look_at(Asker(url), asked)))

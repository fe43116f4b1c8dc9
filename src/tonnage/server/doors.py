"""The doors of the supervisor: the control socket, and the admin port where one is asked for.

Opens them, and says what answers where. What is answered there is the front desk's
(:mod:`tonnage.server.frontdesk`).
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tonnage.errors import ListenError
from tonnage.ops.health import Health
from tonnage.ops.trust import ALIASES
from tonnage.server.control import server_name, take_control
from tonnage.server.frontdesk import FrontDesk
from tonnage.server.listener import Listener, open_port

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    from tonnage.governor.page import SharedPage
    from tonnage.server.reactor import Reactor
    from tonnage.settings import Settings


@dataclass(frozen=True, slots=True)
class Doors:
    """What is open.

    Attributes:
        front: who answers there.
        name: the server's, among those of its user.
        urls: what answers where, as pairs of label and URL.
        reports_in: where reports are kept; None: nowhere, they go to the log.
        warnings: what could not be opened.
    """

    front: FrontDesk
    name: str
    urls: tuple[tuple[str, str], ...]
    reports_in: Path | None
    warnings: tuple[str, ...]


def open_doors(
    settings: Settings, page: SharedPage, listener: Listener, reactor: Reactor, stack: ExitStack
) -> Doors:
    """Return the doors, open; *stack* closes them.

    Raises:
        ListenError: the admin port is not to be had.
    """
    front = _front(settings, page, listener, reactor)
    stack.callback(front.close)
    path, page_path = settings.admission.health_path, settings.admission.page_path
    urls = [("app", listener.url), ("health", listener.hint(path))]
    if page_path:
        urls.append(("page", _page_hint(settings, listener)))
    if settings.listen.admin_port is not None:
        admin = open_port("127.0.0.1", settings.listen.admin_port, option="--admin-port")
        front.open(admin.socket, trusted=False)
        urls.append(("admin", admin.hint(path)))
    name = server_name(listener.socket.getsockname())
    reports = settings.reports.report_dir
    warnings: list[str] = []
    try:
        control = take_control(name, os.environ)
        front.open(control.socket, trusted=True, path=control.path)
        urls.append(("control", os.fspath(control.path)))
        warnings += control.warnings
        # Unless the user says where: beside the control socket.
        reports = reports or control.path.with_suffix(".reports")
    except ListenError as error:
        # Nobody's requests need it.
        warnings.append(str(error))
    return Doors(front, name, tuple(urls), reports, tuple(warnings))


def _page_hint(settings: Settings, listener: Listener) -> str:
    """Return how a person sees the page.

    Nobody is of this machine who comes by a Unix socket: that is where a proxy sends everybody.
    """
    page_path, token = settings.admission.page_path, settings.admission.admin_token
    if listener.socket.family != socket.AF_UNIX:
        return listener.hint(page_path)
    if token is not None:
        return f"{page_path}, through the proxy in front, after a log-in"
    return f"{page_path}, for nobody without TONNAGE_ADMIN_TOKEN; `tonnage top` shows the same"


def _front(settings: Settings, page: SharedPage, listener: Listener, reactor: Reactor) -> FrontDesk:
    admission = settings.admission
    return FrontDesk(
        reactor,
        Health(
            page,
            path=admission.health_path,
            also_below=ALIASES if admission.api_aliases else "",
            where="supervisor",
        ),
        admin_token=admission.admin_token,
        listening=listener.socket,
        clock=time.monotonic,
        page_path=admission.page_path,
    )

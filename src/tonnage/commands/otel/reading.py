"""The metrics of a server, read from a URL.

Promises that a server which does not answer in time (:mod:`tonnage.commands.checking.asking`) is an
:class:`~tonnage.errors.ActionError`, and that the token goes to another machine only where the
connection is encrypted. An answer has less than 256 KB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tonnage.commands.checking.asking import MOST_BODY_BYTES, Asker
from tonnage.errors import ActionError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

_OK = 200


def by_url(url: str, admin_token: str | None) -> Callable[[], str]:
    """Return what reads the metrics at *url*, as in ``https://shop.example/metrics``.

    Raises:
        ConfigError: it is no URL of a web server, or the token would be sent for all to read.
    """
    asker = Asker(url)
    if admin_token and not (asker.is_encrypted or asker.is_here):
        raise ConfigError(
            f"TONNAGE_ADMIN_TOKEN is not sent to {asker.host} unencrypted: write https://, or read "
            "over the control socket"
        )
    headers = {"authorization": f"Bearer {admin_token}"} if admin_token else {}

    def read() -> str:
        reply = asker.ask("", headers)
        if reply.status != _OK:
            raise ActionError(f"{url} has no metrics for us: {reply}{_advice(reply.status)}")
        if len(reply.body) >= MOST_BODY_BYTES:
            raise ActionError(f"{url} answers with more than metrics have")
        return reply.body.decode(errors="replace")

    return read


def _advice(status: int) -> str:
    return "; set TONNAGE_ADMIN_TOKEN to what the server has" if status in (401, 403) else ""

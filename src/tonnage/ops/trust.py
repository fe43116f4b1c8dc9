"""Whose request counts as an operator's, also where a browser could be made to send it.

Pure. Covers what acts, or shows who came from where; for health see
:func:`tonnage.ops.health.is_trusted`, of which this is the stricter sister.

A page of any site can have the browser of whoever looks at it ask a server on the same machine, and
that comes from a loopback address. So such a request has to come from no page, or from one of this
very server: ``Origin`` and ``Sec-Fetch-Site`` say so where browsers send them. And ``Host`` has to
be a name of this machine: an outside name that was made to lead here (DNS rebinding) makes another
site's page look like one of ours. A token no browser sends by itself, so with it nothing of this
matters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tonnage.ops.health import is_trusted

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Below this, what is for operators is answered besides where that is asked for.
ALIASES = "/api"

_HERE = frozenset((b"localhost", b"::1"))
_DIGITS = frozenset(b"0123456789.")


def is_operator(
    peer: str | None, headers: Iterable[tuple[bytes, bytes]], admin_token: str | None
) -> bool:
    """Return whether a request is an operator's: by its token, or from this machine and no page.

    Args:
        peer: the address at the other end of the connection, as the kernel has it.
        headers: lower-case names and values.
        admin_token: the token that opens, if one is set.
    """
    headers = list(headers)
    if is_trusted(None, headers, admin_token):
        return True
    return is_trusted(peer, headers, admin_token) and not _may_be_from_elsewhere(dict(headers))


def _may_be_from_elsewhere(found: dict[bytes, bytes]) -> bool:
    """Return whether a page of another site may have sent a request with these headers."""
    host = found.get(b"host")
    origin = found.get(b"origin")
    return (
        found.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin")
        or (origin is not None and origin.partition(b"://")[2] != host)
        or (host is not None and not _is_here(host))
    )


def _is_here(host: bytes) -> bool:
    name = host[1:].partition(b"]")[0] if host[:1] == b"[" else host.partition(b":")[0]
    return name.lower() in _HERE or (name.startswith(b"127.") and _DIGITS.issuperset(name))

"""Who is trusted, and whose request counts as an operator's.

Pure, but for the imports of what checks tokens. :func:`is_trusted` decides who sees the details of
health. What acts, or shows who came from where, asks its stricter sister :func:`is_operator`, which
holds also where a browser could be made to send the request.

A page of any site can have the browser of whoever looks at it ask a server on the same machine, and
that comes from a loopback address. So such a request has to come from no page, or from one of this
very server: ``Origin`` and ``Sec-Fetch-Site`` say so where browsers send them. And ``Host`` has to
be a name of this machine: an outside name that was made to lead here (DNS rebinding) makes another
site's page look like one of ours. A token no browser sends by itself, so with it nothing of this
matters.

**The page's own buttons** (:func:`may_press`) ask for more. Whoever has no token shows that the
request comes from our page, by what only a browser can say (``Sec-Fetch-Site``, else ``Origin``)
and by a header that no form and no link can send. And where a token is set, this machine alone does
not suffice: a proxy on it that forwards without saying so would make everybody local.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tonnage.ops.login import bearer, has_login, is_token

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Below this, what is for operators is answered besides where that is asked for.
ALIASES = "/api"

#: What our page sends with each action, and no form of another can.
PRESSED = (b"x-tonnage-action", b"1")

_HERE = frozenset((b"localhost", b"::1"))
_DIGITS = frozenset(b"0123456789.")
_LOOPBACK = ("127.", "::ffff:127.")
# Any of these means that a proxy stands between, and the peer's address says nothing.
_FORWARDING = frozenset(
    (
        *(b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded"),
        *(b"x-real-ip", b"x-client-ip", b"via"),
    )
)


def is_trusted(
    peer: str | None, headers: Iterable[tuple[bytes, bytes]], admin_token: str | None
) -> bool:
    """Return whether details may be shown: a bearer token, or a loopback peer without a proxy.

    Where a token is set, one that is given decides: a wrong one is refused to loopback peers too.
    Of several it is the first, as for whoever counts wrong ones (:mod:`tonnage.web.doorman`).

    Args:
        peer: the address at the other end of the connection, as the kernel has it.
        headers: lower-case names and values.
        admin_token: the token that opens, if one is set.
    """
    headers = list(headers)
    given = bearer(headers) if admin_token else None
    if given is not None:
        return is_token(given, admin_token or "")
    is_loopback = peer is not None and (peer == "::1" or peer.startswith(_LOOPBACK))
    return is_loopback and _FORWARDING.isdisjoint(name for name, _ in headers)


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


def may_see(
    peer: str | None,
    headers: Iterable[tuple[bytes, bytes]],
    admin_token: str | None,
    now_seconds: float,
    *,
    is_blocked: bool = False,
) -> bool:
    """Return whether the page and its figures may be shown: to an operator, or by the log-in.

    Args:
        peer: the address at the other end of the connection, as the kernel has it.
        headers: lower-case names and values.
        admin_token: the token that opens, if one is set.
        now_seconds: seconds since 1970, by which a log-in ends.
        is_blocked: whether only a log-in of before counts: no token, and no address.
    """
    headers = list(headers)
    if not is_blocked and is_operator(peer, headers, admin_token):
        return True
    return has_login(headers, admin_token, now_seconds)


def may_press(
    peer: str | None,
    headers: Iterable[tuple[bytes, bytes]],
    admin_token: str | None,
    now_seconds: float,
    *,
    is_blocked: bool = False,
) -> bool:
    """Return whether an action of the page may be carried out; see :func:`may_see`.

    By the token; or by the log-in (without a token set: by being local), with the proof that it
    was our own page.
    """
    headers = list(headers)
    if not is_blocked and is_trusted(None, headers, admin_token):
        return True
    if PRESSED not in headers or not is_from_here(headers):
        return False
    if admin_token:
        return has_login(headers, admin_token, now_seconds)
    return is_operator(peer, headers, None)


def is_from_here(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether a browser says that a page of this very server has sent these *headers*.

    What ``Sec-Fetch-Site`` says counts, also behind a proxy that changes ``Host``. Browsers send it
    by HTTPS and to this machine; elsewhere ``Origin`` has to name the ``Host``.
    """
    found = dict(headers)
    site, origin = found.get(b"sec-fetch-site"), found.get(b"origin")
    if site is not None:
        return site == b"same-origin"
    return origin is not None and origin.partition(b"://")[2] == found.get(b"host")


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

"""Who a request comes from: an address, as Tonnage knows it behind the proxies that it believes.

Takes an address, an ASGI scope, a WSGI environ, or a request of Starlette, FastAPI, Flask or
Django. No header is believed here: whoever is behind proxies says how many (``--proxy-hops``), and
the client's address is in the request then. What a proxy says that is no address counts for the
peer of the connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tonnage.rates.clients import network

if TYPE_CHECKING:
    from tonnage.rates.clients import Clients


class Client:
    """A client.

    Attributes:
        address: as it is shown; empty where there is none.
        network: what tells it from others.
        key: the same as 64 bits that nobody can foresee.
        may_be_proxy: whether its request says that it was forwarded, and nobody has said that
            there are proxies.
    """

    __slots__ = ("address", "key", "may_be_proxy", "network")

    def __init__(self, clients: Clients, source: Any) -> None:
        found = _found(source)
        self.address = address_of(source) if found is None else _address(found)
        self.network = network_of(self.address)
        self.key = clients.hash_of(self.network, b"client")
        self.may_be_proxy = found is not None and _may_be_proxy(found)


def address_of(source: Any) -> str:
    """Return the address of the client of *source*; empty where there is none.

    Raises:
        TypeError: it is neither a text nor a request.
    """
    if isinstance(source, str):
        return source
    found = _found(source)
    if found is None:
        raise TypeError(f"{type(source).__name__} is neither an address nor a request")
    return _address(found)


def network_of(address: str) -> bytes:
    """Return what tells clients apart: the address, the first half of an IPv6 one, or the text."""
    return network(address) or address.encode(errors="replace")


def _found(source: Any) -> Mapping[str, Any] | None:
    """Return the scope or the environ that *source* is or has."""
    if isinstance(source, Mapping):
        return source
    for attribute in ("scope", "environ"):
        found = getattr(source, attribute, None)
        if isinstance(found, Mapping):
            return found
    return None


def _address(found: Mapping[str, Any]) -> str:
    client = (found.get("REMOTE_ADDR"),) if _is_environ(found) else found.get("client")
    for each in (client, found.get("tonnage.peer")):
        if each and network(each[0]):
            return str(each[0])
    return ""


def _may_be_proxy(found: Mapping[str, Any]) -> bool:
    if "tonnage.peer" in found:
        return False
    if _is_environ(found):
        return "HTTP_X_FORWARDED_FOR" in found
    return any(name == b"x-forwarded-for" for name, _ in found.get("headers", ()))


def _is_environ(found: Mapping[str, Any]) -> bool:
    return "REQUEST_METHOD" in found

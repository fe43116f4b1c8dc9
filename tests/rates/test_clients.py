"""Who a request comes from."""

from __future__ import annotations

from typing import Any

import pytest
from tests.web.virtual import run
from tests.web.world import call

from tonnage.rates.clients import MAX_ADDRESSES, Clients, network
from tonnage.web.proxy import Proxied
from tonnage.web.respond import Receive, Scope, Send

SECRET = b"0123456789abcdef"


def key(client: Any, **scope: Any) -> int:
    """Return the key of a request from *client*."""
    return Clients(SECRET).key({"client": client, **scope})


def behind(hops: int, header: bytes, peer: str = "10.0.0.1") -> int:
    """Return the key of a request that came through proxies."""
    keys: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        keys.append(Clients(SECRET).key(scope))
        await send({"type": "http.response.start", "status": 200, "headers": []})

    headers = [(b"x-forwarded-for", header)]
    scope = {"type": "http", "scheme": "http", "client": (peer, 4711), "headers": headers}
    run(call(Proxied(app, hops) if hops else app, scope))
    return keys[0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # Everybody has a network of 64 bits, and can take any address in it.
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"),
        ("2001:db8:1:2::1", "2001:DB8:0001:0002::1"),
        ("203.0.113.7", "::ffff:203.0.113.7"),
        ("203.0.113.7", "::ffff:cb00:7107"),
        ("203.0.113.7", "64:ff9b::203.0.113.7"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_the_same_client_has_one_key(one: str, other: str) -> None:
    """However its address is written."""
    assert key((one, 1)) == key((other, 2))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("203.0.113.7", "203.0.113.8"),
        ("2001:db8:1:2::1", "2001:db8:1:3::1"),
        ("::ffff:203.0.113.7", "::ffff:203.0.113.8"),
        ("64:ff9b::203.0.113.7", "64:ff9b::203.0.113.8"),
        ("0.0.0.0", "::"),
    ],
)
def test_different_clients_have_different_keys(one: str, other: str) -> None:
    """Also those behind a translator that gives all of them one network."""
    assert key((one, 1)) != key((other, 1))


@pytest.mark.parametrize(
    "address",
    [
        *("", "unknown", "testclient", "203.0.113", "203.0.113.7:80", "203.0.113.999", "::g"),
        *("1.2.3.4\0", "☃", "\ud800", ":::", "[::1]", "2001:db8::1%" + "x" * 5000, None, 7),
    ],
)
def test_what_is_no_address_counts_for_the_peer(address: Any) -> None:
    """And raises nothing: a proxy may say anything."""
    peer = ("10.0.0.1", 4711)

    assert key((address, 0), **{"tonnage.peer": peer}) == key(peer)


@pytest.mark.parametrize("client", [None, (), ("", 0), ["unix:", None]])
def test_clients_without_an_address_are_one(client: Any) -> None:
    """As over a Unix socket: nothing tells them apart."""
    assert key(client) == key(None) == key(None, **{"tonnage.peer": None})


def test_nobody_is_believed_without_proxies() -> None:
    """Whatever a client says of itself, it is its own address."""
    assert behind(0, b"203.0.113.7") == key(("10.0.0.1", 1))


@pytest.mark.parametrize(
    ("hops", "header", "client"),
    [
        (1, b"203.0.113.7", "203.0.113.7"),
        (1, b"198.51.100.1, 203.0.113.7", "203.0.113.7"),
        (2, b"198.51.100.1, 203.0.113.7, 10.0.0.9", "203.0.113.7"),
        (1, b"[2001:db8::7]:5123", "2001:db8::1"),
        (1, b"203.0.113.7, <script>", "10.0.0.1"),
        (1, b"\xff\xfe", "10.0.0.1"),
    ],
)
def test_proxies_are_believed_as_far_as_they_are_there(
    hops: int, header: bytes, client: str
) -> None:
    """A client that invents entries is still the one that the nearest proxies saw."""
    assert behind(hops, header) == key((client, 1))


def test_a_flood_of_addresses_is_not_remembered() -> None:
    """Only the last of them are, and those that come again."""
    clients = Clients(SECRET)
    again = {"client": ("203.0.113.7", 1)}
    first = clients.key(again)

    for number in range(5 * MAX_ADDRESSES):
        clients.key({"client": (f"10.0.{number >> 8 & 255}.{number & 255}", 1)})
        assert clients.key(again) == first
        assert clients.remembered <= MAX_ADDRESSES


def test_garbage_is_not_remembered() -> None:
    """It could be of any length."""
    clients = Clients(SECRET)
    clients.key({"client": ("not an address", 1)})

    assert clients.remembered == 0


def test_keys_cannot_be_foreseen() -> None:
    """Another secret gives others, so that nobody can aim at a cell of the table."""
    scope = {"client": ("203.0.113.7", 1)}

    assert Clients(b"one").key(scope) != Clients(b"other").key(scope)


def test_a_header_cannot_be_mistaken_for_an_address() -> None:
    """Else a client could use up what belongs to an address, by sending its bytes."""
    clients = Clients(SECRET)
    packed = network("203.0.113.7")

    assert clients.hash_of(packed, b"header") != clients.key({"client": ("203.0.113.7", 1)})

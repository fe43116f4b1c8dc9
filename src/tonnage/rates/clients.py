"""Who a request comes from, as a key for rate limits: 64 bits, from a keyed hash.

A client is an IPv4 address or an IPv6 network of 64 bits, which is the least that anybody is given.
IPv4 addresses inside IPv6 ones (mapped, or translated by NAT64's well-known prefix) are the same as
without. The address is that of the scope's ``client``: no header is looked at here. Whoever is
behind proxies puts :class:`tonnage.web.proxy.Proxied` in front, which believes as many as there
are. If what a proxy says is no address, the client is the peer of the connection; if that has none
(a Unix socket), it is one with all others that have none.
"""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_pton
from typing import TYPE_CHECKING, Any, Final

try:
    # Without OpenSSL, which hashlib would load: 0.7 MB in each worker.
    from _blake2 import blake2b
except ImportError:  # an interpreter that names it otherwise
    from hashlib import blake2b

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Addresses whose hashes are remembered, in two generations of half as many; at about 200 bytes
#: each, 0.4 MB at most.
MAX_ADDRESSES: Final = 2048

_KEY_BYTES = 8
_ADDRESS = b"address"
# An address with a zone, whose name may have 15: what is longer would be remembered whole.
_LONGEST_CHARS = 64
_MAPPED = b"\0" * 10 + b"\xff\xff"
# RFC 6052: what a translator in front of an IPv6-only network makes of IPv4 clients.
_NAT64 = b"\x00\x64\xff\x9b" + b"\0" * 8
_NOWHERE = b""


class Clients:
    """Keys of clients; the addresses seen last are remembered.

    Args:
        secret: what hashes are keyed with, up to 64 bytes.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        # Each at most MAX_ADDRESSES / 2: when the young are full, the old are forgotten.
        self._young: dict[str, int] = {}
        self._old: dict[str, int] = {}

    def key(self, scope: Mapping[str, Any]) -> int:
        """Return the key of the client of *scope*. Never raises for what an address says."""
        client = scope.get("client")
        if client:
            known = self._young.get(client[0])
            if known is not None:
                return known
            packed = network(client[0])
            if packed:
                return self._remember(client[0], packed)
        return self.hash_of(network(_host(scope.get("tonnage.peer"))), _ADDRESS)

    def hash_of(self, data: bytes, kind: bytes) -> int:
        """Return 64 bits that nobody without the secret can foresee.

        Args:
            data: what tells clients apart.
            kind: up to 16 bytes; equal data of different kinds are different clients.
        """
        digest = blake2b(data, key=self._secret, person=kind, digest_size=_KEY_BYTES).digest()
        return int.from_bytes(digest, "little")

    @property
    def remembered(self) -> int:
        """How many addresses are remembered, at most :data:`MAX_ADDRESSES`."""
        return len(self._young) + len(self._old)

    def _remember(self, address: str, packed: bytes) -> int:
        known = self._old.pop(address, None)
        key = self.hash_of(packed, _ADDRESS) if known is None else known
        if len(self._young) >= MAX_ADDRESSES // 2:
            self._old = self._young
            self._young = {}
        self._young[address] = key
        return key


def network(address: object) -> bytes:
    """Return the bytes of *address* that tell clients apart: 4 of IPv4, 8 of IPv6, b"": none."""
    if not isinstance(address, str) or len(address) > _LONGEST_CHARS:
        return _NOWHERE
    try:
        if ":" not in address:
            return inet_pton(AF_INET, address)
        # The zone of a link-local address says which of our interfaces, not who.
        packed = inet_pton(AF_INET6, address.partition("%")[0])
    except (OSError, ValueError):
        return _NOWHERE
    if packed.startswith((_MAPPED, _NAT64)):
        return packed[12:]
    return packed[:8]


def _host(client: object) -> object:
    return client[0] if isinstance(client, (tuple, list)) and client else None

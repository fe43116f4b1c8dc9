"""Values as bytes and back, for others to read: JSON, or bytes as they are, or a codec of the user.

Promises: what comes back is the same, types included, or it is not written at all. JSON is for
``dict`` with keys of ``str``, ``list``, ``str``, ``int``, ``float``, ``bool`` and ``None``, and not
for their subclasses. Never pickle, unless the user passes such a codec: who can write to Redis
could run anything here with it. What is read may come from anybody, so it may take no more than
its bound when it is unpacked.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import StoreError
from tonnage.units import KIB

if TYPE_CHECKING:
    from tonnage.stores.levels import Codec

#: What is larger is compressed, where that helps.
COMPRESS_BYTES: Final = 4 * KIB
#: By a tenth at least, or it stays as it is.
_WORTH: Final = 0.9
_LEVEL: Final = 1

_JSON, _BYTES, _CODEC = b"j", b"b", b"c"
_PLAIN, _ZLIB = b"-", b"z"
_ATOMS: Final = frozenset({str, int, float, bool, type(None)})


def write(value: object, codec: Codec | None = None) -> bytes | None:
    """Return *value* as bytes that say how they are to be read; None: it cannot be done.

    Args:
        value: it.
        codec: what to use instead of JSON.
    """
    if codec is not None:
        try:
            return _CODEC + codec.dumps(value)
        except Exception:  # noqa: BLE001  (the user's code: it says that it cannot)
            return None
    if type(value) is bytes:
        return _BYTES + value
    data = _as_json(value)
    return None if data is None else _JSON + data


def pack(written: bytes) -> bytes:
    """Return what :func:`write` returned, smaller if it can be, and how that was done."""
    if len(written) > COMPRESS_BYTES:
        packed = zlib.compress(written, _LEVEL)
        if len(packed) < len(written) * _WORTH:
            return _ZLIB + packed
    return _PLAIN + written


def read(packed: bytes, codec: Codec | None, most_bytes: int) -> Any:
    """Return the value.

    Args:
        packed: what :func:`pack` returned, or somebody else.
        codec: what :func:`write` was given.
        most_bytes: what it may take, unpacked.

    Raises:
        StoreError: it is written in another way, or takes more.
        Exception: what the codec raises.
    """
    packing, written = packed[:1], packed[1:]
    if packing == _ZLIB:
        unpacking = zlib.decompressobj()
        written = unpacking.decompress(written, most_bytes + 1)
        if not unpacking.eof:
            raise StoreError(f"a value takes more than {most_bytes} bytes, or its end is missing")
    elif packing != _PLAIN:
        raise StoreError(f"a value is packed by {packing!r}, which nobody here knows")
    kind, data = written[:1], written[1:]
    if kind == _CODEC and codec is not None:
        return codec.loads(data)
    if kind == _BYTES and codec is None:
        return data
    if kind == _JSON and codec is None:
        import json

        return json.loads(data)
    raise StoreError(f"a value is written as {kind!r}, and this cache reads others")


def _as_json(value: object) -> bytes | None:
    import json

    try:
        # Before it is looked through: this notices what holds itself.
        data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError):
        return None
    return data if _is_plain(value) else None


def _is_plain(value: object) -> bool:
    """Return whether JSON gives back the same."""
    left = [value]
    while left:
        each = left.pop()
        kind = type(each)
        if kind in _ATOMS:
            continue
        if isinstance(each, list) and kind is list:
            left.extend(each)
        elif isinstance(each, dict) and kind is dict and all(type(key) is str for key in each):
            left.extend(each.values())
        else:
            return False
    return True

"""A key as a text that means the same in every process, and back.

    name_of(("app.load", (7, UUID(...))))      # "('app.load', (7, UUID('...')))"
    key_of("'event:7'")                        # "event:7"

Keys that are equal have equal names. A name is for keys made of ``str``, ``bytes``, numbers,
``None``, ``UUID``, ``date``, ``datetime``, and tuples of these; for anything else,
subclasses included, there is none: such a key means something in its own process only.

Reading a name runs nothing of what it says: whoever sends one can name a key, and no more.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import StoreError

try:
    # Without OpenSSL, which hashlib would load: 0.7 MB in each worker.
    from _blake2 import blake2b
except ImportError:  # pragma: no cover  (another Python than CPython)
    from hashlib import blake2b

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable, Hashable
    from datetime import datetime

#: Longer names are not read.
MOST_CHARACTERS: Final = 4096
#: Tuples within tuples, so many.
MOST_DEPTH: Final = 16

_WRITTEN_AS_THEY_ARE: Final = frozenset({str, bytes, int, type(None)})
# Types by their names, since most applications use none of them and need not load them.
_WRITERS: Final[dict[tuple[str, str], Callable[[Any], str]]] = {
    ("uuid", "UUID"): str,
    ("datetime", "date"): lambda day: day.isoformat(),
    ("datetime", "datetime"): lambda moment: _in_utc(moment).isoformat(),
}


def name_of(key: Hashable) -> str | None:
    """Return the name of *key*; None: it has none."""
    if type(key) is str:
        return repr(key)
    return _name_of(key, MOST_DEPTH)


def key_of(name: str) -> Hashable:
    """Return the key that is called *name*.

    Raises:
        StoreError: that is no key's name.
    """
    import ast

    try:
        if len(name) > MOST_CHARACTERS:
            raise ValueError("it is too long")
        return _key_of(ast.parse(name, mode="eval").body)
    except (ValueError, SyntaxError, TypeError, ArithmeticError, RecursionError) as error:
        raise StoreError(f"{name[:40]!r} is no key's name: {error}") from None


def digest_of(name: str) -> bytes:
    """Return 16 bytes for a name, or a tag."""
    return blake2b(name.encode(errors="surrogatepass"), digest_size=16).digest()


def _name_of(key: object, depth: int) -> str | None:
    kind = type(key)
    if isinstance(key, bool):
        # True is the same key as 1.
        return repr(int(key))
    if kind in _WRITTEN_AS_THEY_ARE:
        return repr(key)
    if kind is tuple:
        assert isinstance(key, tuple)
        parts = [_name_of(each, depth - 1) for each in key] if depth else [None]
        if None in parts:
            return None
        return f"({', '.join(map(str, parts))}{',' if len(parts) == 1 else ''})"
    if kind is float:
        assert isinstance(key, float)
        # And 1.0 is, too. What is not a number equals nothing.
        if isfinite(key):
            return repr(int(key) if key.is_integer() else key)
        return None
    write = _WRITERS.get((kind.__module__, kind.__qualname__))
    return None if write is None else f"{kind.__name__}({write(key)!r})"


def _key_of(node: ast.expr) -> Hashable:
    import ast

    if isinstance(node, ast.Tuple):
        return tuple(_key_of(each) for each in node.elts)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 1:
        return _read(node.func.id, ast.literal_eval(node.args[0]))
    found: Hashable = ast.literal_eval(node)
    hash(found)
    return found


def _in_utc(moment: datetime) -> datetime:
    # The same instant is the same key, whatever the zone.
    if moment.tzinfo is None:
        return moment
    from datetime import UTC

    return moment.astimezone(UTC)


def _read(kind: str, text: object) -> Hashable:
    if not isinstance(text, str):
        raise ValueError("it holds no text")
    # Each is loaded here, where a key of its kind has been met.
    if kind == "UUID":
        from uuid import UUID

        return UUID(text)
    if kind in ("date", "datetime"):
        import datetime

        return getattr(datetime, kind).fromisoformat(text)  # type: ignore[no-any-return]
    raise ValueError(f"{kind} is not a kind of key")

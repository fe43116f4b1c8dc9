"""How a cache lies in Redis, and what is asked there in one step: looking, keeping, forgetting.

Every cache and every tag has a *version*, a few random bytes under a key of its own; to forget what
has a tag is to write a new version. An entry carries the versions it was made under, and counts
only as long as they are the present ones. So nothing has to be searched for, and what was made
under an old version is void even where it arrives later. A version that Redis has evicted is made
anew, which voids more than it should and never less. A key that was deleted leaves a mark, so that
what is being made for it is not kept either.

An entry is written as: ``E``, the number of its tags, the length and the text of each, the versions
(of the cache, then of each tag), the value. All keys of a cache have its name in braces, and so are
on one node of a cluster.

No I/O: commands in, commands out (:mod:`tonnage.stores.redis.level` sends them).
"""

from __future__ import annotations

import os
from hashlib import sha1
from typing import TYPE_CHECKING, Final, NamedTuple

from tonnage.stores.bulletin import KEY, TAG
from tonnage.stores.names import digest_of
from tonnage.stores.redis.news import notice
from tonnage.units import KIB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tonnage.stores.redis.wire import Argument

    Command = tuple[Argument, ...]

#: Part of all keys; another format has another number.
FORMAT: Final = "tonnage:1"
#: What has no lifetime of its own has this one, and no other is longer.
MOST_SECONDS: Final = 86_400.0
#: Longer than any entry: a version that ends voids what was made under it.
VERSION_SECONDS: Final = 2 * MOST_SECONDS
#: How long a deleted key leaves a mark; whatever is being made for it should be ready by then.
DELETED_SECONDS: Final = 600.0

_VERSION_BYTES: Final = 8
# How a deleted entry begins.
_DELETED: Final = b"D"
_LONGEST_NAME: Final = 200
#: What an entry may take beside its value: versions, tags and their lengths.
MOST_HEAD_BYTES: Final = 64 * KIB
_HEAD_BYTES: Final = 16

#: KEYS: the entry, the cache's version. ARGV: a fresh version, its lifetime (ms), how large an
#: entry may be, what tags' keys begin with, the caller's tags. Returns: the entry if it is good, or
#: its mark, or nothing; its lifetime left (ms); the versions of the cache and of the caller's tags.
_LOOK: Final = b"""
local function version(key)
  local found = redis.call('GET', key)
  if not found then
    found = ARGV[1]
    redis.call('SET', key, found, 'PX', ARGV[2])
  end
  return found
end
local all = version(KEYS[2])
local versions = {all}
for i = 5, #ARGV do versions[i - 3] = version(ARGV[4] .. ARGV[i]) end
local entry = redis.call('GET', KEYS[1])
if not entry or #entry > tonumber(ARGV[3]) then return {false, 0, versions} end
if string.sub(entry, 1, 1) == 'D' then return {entry, 0, versions} end
local at, present = 4, {all}
for i = 1, struct.unpack('>H', entry, 2) do
  local length = struct.unpack('>H', entry, at)
  present[i + 1] = version(ARGV[4] .. string.sub(entry, at + 2, at + 1 + length))
  at = at + 2 + length
end
present = table.concat(present)
if string.sub(entry, at, at + #present - 1) ~= present then return {false, 0, versions} end
return {entry, redis.call('PTTL', KEYS[1]), versions}
"""

#: KEYS: the entry, the cache's version, those of its tags. ARGV: the head, the value, its lifetime
#: (ms), a fresh version, the versions' lifetime (ms), the mark that was seen; then the versions
#: that were seen, or none: it is made as of now. Returns whether it was kept.
_KEEP: Final = b"""
local was_seen = #ARGV > 6
if was_seen then
  local mark = redis.call('GETRANGE', KEYS[1], 0, 8)
  if string.sub(mark, 1, 1) == 'D' and mark ~= ARGV[6] then return 0 end
end
local versions = {}
for i = 2, #KEYS do
  local found = redis.call('GET', KEYS[i])
  if was_seen and found ~= ARGV[5 + i] then return 0 end
  versions[i - 1] = found or ARGV[4]
end
for i = 2, #KEYS do redis.call('SET', KEYS[i], versions[i - 1], 'PX', ARGV[5]) end
redis.call('SET', KEYS[1], ARGV[1] .. table.concat(versions) .. ARGV[2], 'PX', ARGV[3])
return 1
"""

#: KEYS: what gets a new version, or a mark. ARGV: it, its lifetime (ms); a channel, and the notice.
#: Where there is no room for it, nothing at all does the same: a version is made anew.
_FORGET: Final = b"""
local kept = redis.pcall('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if kept.err then redis.call('DEL', KEYS[1]) end
return redis.call('PUBLISH', ARGV[3], ARGV[4])
"""


_LOOK_SHA: Final = sha1(_LOOK, usedforsecurity=False).hexdigest()


class AsOf(NamedTuple):
    """What there was when somebody looked: a mark, and versions."""

    mark: bytes
    all: bytes
    versions: dict[bytes, bytes]


class Layout:
    """The keys of the cache called *name*, and the commands that use them."""

    def __init__(self, name: str) -> None:
        self._name = name
        prefix = f"{FORMAT}:{{{name}}}:".encode()
        self._entries, self._tags, self._all = prefix + b"entry:", prefix + b"tag:", prefix + b"all"

    def look(self, key: str, tags: Sequence[str], most_bytes: int, *, is_known: bool) -> Command:
        """Return what looks a key up.

        Args:
            key: its name.
            tags: those whose versions are needed if there is nothing.
            most_bytes: what a value may take.
            is_known: whether Redis is thought to know the script already.
        """
        script = ("EVALSHA", _LOOK_SHA) if is_known else ("EVAL", _LOOK)
        given = (2, self._entry(key), self._all, _version(), _ms(VERSION_SECONDS))
        return (*script, *given, most_bytes + MOST_HEAD_BYTES, self._tags, *_raw(tags))

    def keep(
        self,
        key: str,
        packed: bytes,
        lasts_seconds: float,
        tags: Sequence[str],
        as_of: AsOf | None,
    ) -> Command | None:
        """Return what keeps a value, made as of then or else now; None: it cannot be said."""
        raw = _raw(tags)
        head_bytes = _HEAD_BYTES + sum(len(tag) + 2 + _VERSION_BYTES for tag in raw)
        if head_bytes > MOST_HEAD_BYTES:
            return None
        seen: tuple[bytes, ...] = (b"",)
        if as_of is not None:
            if not as_of.versions.keys() >= set(raw):
                return None
            seen = (as_of.mark, as_of.all, *(as_of.versions[tag] for tag in raw))
        keys = (self._entry(key), self._all, *(self._tags + tag for tag in raw))
        lasts_ms = _ms(min(lasts_seconds, MOST_SECONDS))
        given = (_head_of(raw), packed, lasts_ms, _version(), _ms(VERSION_SECONDS))
        return ("EVAL", _KEEP, len(keys), *keys, *given, *seen)

    def forget(self, kind: int, what: str) -> Command:
        """Return what forgets a key, a tag or everything, and tells other instances."""
        key, mark, lasts_seconds = self._all, b"", VERSION_SECONDS
        if kind == TAG:
            key = self._tags + _raw([what])[0]
        elif kind == KEY:
            key, mark, lasts_seconds = self._entry(what), _DELETED, DELETED_SECONDS
        told = notice(self._name, kind, what)
        return ("EVAL", _FORGET, 1, key, mark + _version(), _ms(lasts_seconds), *told)

    def _entry(self, key: str) -> bytes:
        is_short = len(key) <= _LONGEST_NAME and key.isascii()
        return self._entries + (key if is_short else digest_of(key).hex()).encode()


class Answer(NamedTuple):
    """What a look has brought: an entry's value, or nothing, or that it was deleted."""

    packed: bytes | None
    tags: tuple[str, ...]
    left_seconds: float
    as_of: AsOf


def read(answer: list[bytes | int | list[bytes] | None], tags: Sequence[str]) -> Answer:
    """Return what the answer to :meth:`Layout.look` with these *tags* means.

    Raises:
        ValueError: it was not written by us.
    """
    entry, left_ms, found = answer
    if not isinstance(left_ms, int) or not isinstance(found, list):
        raise ValueError("it has another form")
    cache_version, *versions = found
    by_tag = dict(zip(_raw(tags), versions, strict=True))
    if not isinstance(entry, bytes):
        return Answer(None, (), 0, AsOf(b"", cache_version, by_tag))
    if entry[:1] == _DELETED:
        return Answer(None, (), 0, AsOf(entry, cache_version, by_tag))
    found_tags, at = [], 3
    for _ in range(int.from_bytes(entry[1:3], "big")):
        end = at + 2 + int.from_bytes(entry[at : at + 2], "big")
        found_tags.append(entry[at + 2 : end].decode(errors="surrogatepass"))
        at = end
    packed = entry[at + _VERSION_BYTES * (len(found_tags) + 1) :]
    as_of = AsOf(b"", cache_version, by_tag)
    return Answer(packed, tuple(found_tags), left_ms / 1000, as_of)


def _head_of(tags: tuple[bytes, ...]) -> bytes:
    """Return how an entry with these tags begins."""
    parts = [b"E", len(tags).to_bytes(2, "big")]
    for tag in tags:
        parts += (len(tag).to_bytes(2, "big"), tag)
    return b"".join(parts)


def _raw(tags: Sequence[str]) -> tuple[bytes, ...]:
    return tuple(tag.encode(errors="surrogatepass") for tag in tags)


def _version() -> bytes:
    return os.urandom(_VERSION_BYTES)


def _ms(seconds: float) -> int:
    return max(1, int(seconds * 1000))

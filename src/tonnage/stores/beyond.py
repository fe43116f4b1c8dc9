"""What a cache has beyond its own memory: the level of this machine, and the one in Redis.

    beyond = Beyond("events", SharedLevel(...), RedisLevel(...))
    errand = beyond.errand("'event:7'", ("event:7",))
    found = errand.look_near() or errand.value_of(make)

An :class:`Errand` is one looking for a value: first in the level of this machine, then in Redis,
and else it has it made; then it is kept in all levels that did not have it. It notes as of when it
looked, so that no level keeps what was forgotten meanwhile.

Keeps nothing itself, and knows nothing of the cache's memory (:mod:`tonnage.stores.cache`). What a
level cannot do is not done: a level never raises (:mod:`tonnage.stores.levels`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import ConfigError
from tonnage.stores.bulletin import CLEAR, KEY, TAG, bulletin
from tonnage.units import parse_bytes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tonnage.stores.levels import Codec, FarLevel, Found, Look
    from tonnage.stores.shared.level import SharedLevel

logger = logging.getLogger("tonnage.stores")


class Beyond:
    """The levels of one cache, from near to far.

    Attributes:
        name: the cache's.
        near: that of this machine.
        far: that across the network.
        near_hits: what was found there.
        far_hits: likewise.
    """

    def __init__(self, name: str, near: SharedLevel | None, far: FarLevel | None) -> None:
        self.name: Final = name
        self.near: Final = near
        self.far: Final = far
        self.near_hits = self.far_hits = 0

    def errand(self, name: str, tags: tuple[str, ...] = ()) -> Errand:
        """Return one looking for the value of a key, by its *name*."""
        return Errand(self, name, tags)

    def set(self, name: str, value: Any, lasts_seconds: float, tags: Sequence[str]) -> None:
        """Keep *value*, which nobody has looked for, instead of what there is."""
        if lasts_seconds <= 0:
            self.forget_key(name)
            return
        if self.far is not None:
            self.far.keep(name, value, as_of=None, lasts_seconds=lasts_seconds, tags=tags)
        if self.near is not None and not self.near.keep(
            name, value, as_of=None, lasts_seconds=lasts_seconds, tags=tags
        ):
            self.near.forget_key(name)

    # The farthest first: a nearer one must not get again what it has forgotten.

    def forget_key(self, name: str) -> None:
        """Have all levels forget a key."""
        if self.far is not None:
            bulletin().note_forgotten(self.name, KEY, name)
            self.far.forget_key(name)
        if self.near is not None:
            self.near.forget_key(name)

    def forget_tags(self, tags: Sequence[str]) -> None:
        """Have all levels forget what has any of *tags*."""
        if self.far is not None:
            for tag in tags:
                bulletin().note_forgotten(self.name, TAG, tag)
            self.far.forget_tags(tags)
        if self.near is not None:
            self.near.forget_tags(tags)

    def clear(self) -> None:
        """Have all levels forget everything."""
        if self.far is not None:
            bulletin().note_forgotten(self.name, CLEAR)
            self.far.clear()
        if self.near is not None:
            self.near.clear()


class Errand:
    """One looking for a value."""

    __slots__ = ("_beyond", "_far_look", "_name", "_near_as_of", "_tags", "found")

    def __init__(self, beyond: Beyond, name: str, tags: tuple[str, ...]) -> None:
        self._beyond = beyond
        self._name = name
        self._tags = tags
        self._near_as_of: object = None
        self._far_look: Look | None = None
        #: What Redis had.
        self.found: Found | None = None

    def look_near(self) -> Found | None:
        """Return what this machine has of it."""
        near = self._beyond.near
        if near is None:
            return None
        look = near.look(self._name, self._tags)
        self._near_as_of = look.as_of
        self._beyond.near_hits += look.found is not None
        return look.found

    def value_of(self, make: Callable[[], Any]) -> Any:
        """Return what Redis has of it, else what *make* makes; the thread waits."""
        far = self._beyond.far
        if far is not None and self._take(far.look(self._name, self._tags)):
            return self._value()
        return make()

    async def value_of_async(self, make: Callable[[], Awaitable[Any]]) -> Any:
        """Return the same; the task waits."""
        far = self._beyond.far
        if far is not None and self._take(await far.look_async(self._name, self._tags)):
            return self._value()
        return await make()

    def keep(self, value: Any, lasts_seconds: float) -> None:
        """Keep what came out, wherever it was not found."""
        near, far = self._beyond.near, self._beyond.far
        tags = self._tags if self.found is None else self.found.tags
        if lasts_seconds <= 0:
            return
        if near is not None:
            near.keep(
                self._name, value, as_of=self._near_as_of, lasts_seconds=lasts_seconds, tags=tags
            )
        look = self._far_look
        if far is not None and look is not None and look.found is None:
            far.keep(self._name, value, as_of=look.as_of, lasts_seconds=lasts_seconds, tags=tags)

    def _take(self, look: Look) -> bool:
        """Whether Redis has something good.

        What was just forgotten on this machine, Redis may not have heard yet.
        """
        self._far_look = look
        beyond = self._beyond
        if look.found is None or bulletin().is_just_forgotten(
            beyond.name, self._name, look.found.tags
        ):
            return False
        self.found = look.found
        beyond.far_hits += 1
        return True

    def _value(self) -> Any:
        assert self.found is not None
        return self.found.value


def levels_of(
    name: str | None, shared: int | str | None, redis: bool | None, codec: Codec | None
) -> Beyond | None:
    """Return the levels that a cache is to have beyond its memory; None: it has none.

    Args:
        name: the cache's own name; None: it has none, and so nothing that others could find.
        shared: what workers share may take, on disk; None: they share nothing.
        redis: whether to use Redis; None: where it is configured.
        codec: writes values.

    Raises:
        ConfigError: what is asked for cannot be, as nothing is configured or installed.
    """
    if name is None and (shared is not None or redis):
        raise ConfigError(
            "a cache that shares what it has needs a name of its own: Cache('events')"
        )
    near: SharedLevel | None = None
    if shared is not None:
        from tonnage.stores.shared.level import SharedLevel

        near = SharedLevel(str(name), parse_bytes(shared), codec)
    far = None if name is None or redis is False else _redis(name, codec, is_needed=bool(redis))
    return None if near is None and far is None else Beyond(str(name), near, far)


def _redis(name: str, codec: Codec | None, *, is_needed: bool) -> FarLevel | None:
    from tonnage.stores.settings import current

    settings = current()
    if not is_needed and not (settings.redis_url and settings.use_redis):
        return None
    from tonnage.stores.redis.level import RedisLevel

    try:
        return RedisLevel(name, codec=codec)
    except ConfigError as error:
        if is_needed:
            raise
        # Named for somebody else, it may be; the cache works without.
        logger.warning("cache %r goes on without Redis: %s", name, error)
        return None

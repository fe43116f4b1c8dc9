"""The processes of jobs, all of them: made, heard, looked at, and found by their number or id.

Promises that what a process has said is heard before its end is acted on, and that one that was
told to end is killed if it does not. What follows from what they say is the owner's
(:mod:`tonnage.server.jobs.owner`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from tonnage.server.jobs.child import Child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tonnage.jobs.call import Call
    from tonnage.jobs.messages import FromJob
    from tonnage.server.jobs.spawning import Spawner
    from tonnage.server.reactor import Reactor

#: A process that was told to end, or has said that it ends, is killed after so long.
GRACE_SECONDS: Final = 1.0
#: While jobs run, what they start is looked for so often; where memory is short, at each look.
BELOW_SECONDS: Final = 0.25
# While a process is to be killed, the clock is looked at so often.
_SOON_SECONDS: Final = 0.02


class Children:
    """As many as the line has seats."""

    def __init__(
        self,
        reactor: Reactor,
        spawner: Spawner,
        *,
        on_message: Callable[[Child, FromJob], object],
        on_never_began: Callable[[Child], object],
        clock: Callable[[], float],
    ) -> None:
        """Have none.

        Args:
            reactor: waits for what they say.
            spawner: makes them.
            on_message: is called with each message.
            on_never_began: is called with one that is gone before it said which process it was.
            clock: monotonic seconds.
        """
        self._reactor = reactor
        self._spawner = spawner
        self._on_message = on_message
        self._on_never_began = on_never_began
        self._clock = clock
        self._all: dict[int, Child] = {}
        self._looked_below_seconds = 0.0

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._all)

    def __iter__(self) -> Iterator[Child]:
        """Go over those that there are now."""
        return iter(list(self._all.values()))

    def __getitem__(self, number: int) -> Child:
        """Return the one of that number."""
        return self._all[number]

    def spawn(self, number: int, call: Call, data: int) -> Child | None:
        """Make one for *call*, with the descriptor *data*; return None if this cannot be now."""
        generation = self._spawner.generation
        try:
            spawned = self._spawner.spawn(call, data)
        except OSError:
            # There is no descriptor for a channel; another time there may be.
            return None
        if spawned is None:
            return None
        child = self._all[number] = Child(number, spawned.channel, generation)
        if spawned.pid is not None:
            child.is_process(spawned.pid)
        self._reactor.register(child.channel, partial(self._hear, child))
        return child

    def renew(self) -> None:
        """Take it that the code is new."""
        self._spawner.renew()

    def is_stale(self, child: Child) -> bool:
        """Whether *child* has code that is no longer that of the server."""
        return child.generation != self._spawner.generation

    def pids(self) -> set[int]:
        """Return their process ids."""
        self._hear_unknown()
        return {child.pid for child in self._all.values() if child.pid is not None}

    def ended(self, pid: int) -> Child | None:
        """Return the one that was process *pid*, once all that it said is heard; None: none was."""
        if all(child.pid != pid for child in self._all.values()):
            self._hear_unknown()
        child = next((each for each in self._all.values() if each.pid == pid), None)
        if child is not None:
            self._hear_out(child)
        return child

    def remove(self, child: Child) -> None:
        """Forget one that has ended, and end what it has left behind."""
        self._all.pop(child.number, None)
        self._reactor.unregister(child.channel)
        child.close()

    def retire(self, child: Child) -> None:
        """Have an idle one end."""
        child.tell_to_end(self._clock() + GRACE_SECONDS)

    def tend(self, *, is_pressed: bool) -> None:
        """Kill whom it is time to kill, and look at what the others have started."""
        now = self._clock()
        for child in self:
            if child.kill_at is not None and now >= child.kill_at:
                child.kill()
        if is_pressed or now - self._looked_below_seconds >= BELOW_SECONDS:
            self._looked_below_seconds = now
            for child in self:
                child.look_below()

    def next_seconds(self) -> float | None:
        """Return when :meth:`tend` is due; None: never, as things are."""
        if not self._all:
            return None
        if any(child.kill_at is not None for child in self._all.values()):
            return self._clock() + _SOON_SECONDS
        return self._looked_below_seconds + BELOW_SECONDS

    def _hear(self, child: Child) -> bool:
        """Pass on the next message of *child*; return whether there was one."""
        try:
            received = child.channel.receive()
        except EOFError:
            self._reactor.unregister(child.channel)
            if child.pid is None:
                self._on_never_began(child)
            return False
        if received is None:
            return False
        self._on_message(child, received[0])
        return True

    def _hear_unknown(self) -> None:
        """Read what those have said that have not yet said who they are."""
        for child in self:
            if child.pid is None:
                self._hear_out(child)

    def _hear_out(self, child: Child) -> None:
        while child.number in self._all and self._hear(child):
            pass

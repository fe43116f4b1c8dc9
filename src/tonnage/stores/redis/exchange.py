"""What takes several commands, written once and held in a thread as well as in a coroutine.

    def visits() -> Steps[int]:                 # yields commands, and is sent their answers
        return int((yield "INCR", "visits"))

    count = hold(link, visits())                # in a thread
    count = await hold_async(link, visits())    # in a coroutine

Where Redis does not answer or refuses, the error is raised where the command was yielded.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeVar

from tonnage.errors import StoreError

if TYPE_CHECKING:
    from tonnage.stores.redis.link import Link
    from tonnage.stores.redis.wire import Argument

R = TypeVar("R")

#: Yields commands, is sent answers, returns what comes out.
Steps = Generator[tuple["Argument", ...], Any, R]


def hold(link: Link, steps: Steps[R]) -> R:
    """Return what comes out of *steps*; the calling thread waits.

    Raises:
        Exception: what *steps* raises.
    """
    try:
        command = next(steps)
        while True:
            try:
                answer = link.ask(*command)
            except StoreError as error:
                command = steps.throw(error)
            else:
                command = steps.send(answer)
    except StopIteration as done:
        found: R = done.value
        return found


async def hold_async(link: Link, steps: Steps[R]) -> R:
    """Return what comes out of *steps*; the calling task waits.

    Raises:
        Exception: what *steps* raises.
    """
    try:
        command = next(steps)
        while True:
            try:
                answer = await link.execute(*command)
            except StoreError as error:
                command = steps.throw(error)
            else:
                command = steps.send(answer)
    except StopIteration as done:
        found: R = done.value
        return found


def is_unknown_script(error: StoreError) -> bool:
    """Return whether Redis does not know a script; it forgets them when it is started anew."""
    from redis.exceptions import NoScriptError

    return isinstance(error.__cause__, NoScriptError)

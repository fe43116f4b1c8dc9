"""Functions that ``isolated`` has decorated. See :mod:`tonnage.jobs.isolated`.

They keep name, module, documentation and types of the function, can be pickled by their name, and
cost nothing until they are called.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from tonnage.jobs import routes
from tonnage.jobs.names import check_place

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from tonnage.jobs.wanted import JobOptions

P = ParamSpec("P")
R = TypeVar("R")
Y = TypeVar("Y")


class _Decorated(Generic[P]):
    """What both kinds have in common."""

    # Names of the function, for whoever looks at them.
    __name__: str
    __qualname__: str

    def __init__(self, function: Callable[P, Any], wanted: JobOptions) -> None:
        check_place(function)
        functools.update_wrapper(cast("Any", self), function)
        #: The function itself, to be called here, in this process.
        self.function = function
        #: What the decorator was given.
        self.__wanted__ = wanted
        #: Where a job's process finds the function: see :func:`tonnage.jobs.names.undecorated`.
        self.__isolated__ = function

    def __reduce__(self) -> str:
        return self.__qualname__

    def __repr__(self) -> str:
        return f"<isolated {self.__module__}.{self.__qualname__}>"


class IsolatedFunction(_Decorated[P], Generic[P, R]):
    """A function: awaited it runs isolated, by :meth:`wait` too, and here by :attr:`function`."""

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what the function returns, from a process of its own.

        Raises:
            JobError: there is no result.
            Exception: what the function raised.
        """
        found: R = await routes.run(self.function, self.__wanted__, args, kwargs)
        return found

    def wait(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Do the same in a thread that has no event loop.

        Raises:
            RuntimeError: an event loop runs in this thread, which would be held up.
        """
        found: R = routes.run_in_thread(self.function, self.__wanted__, args, kwargs)
        return found

    def __await__(self) -> Generator[Any, Any, R]:
        """Call it without arguments: ``await isolated(function)``."""
        found: R = yield from routes.run(self.function, self.__wanted__, (), {}).__await__()
        return found


class IsolatedSteps(_Decorated[P], Generic[P, Y]):
    """A generator function: what it yields arrives one at a time, as it is asked for.

    Breaking off the loop ends the job. (Of ``async for``, only where the iterator is closed too, as
    by ``contextlib.aclosing``, or no longer referred to.)
    """

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Y]:
        """Return what the function yields, from a process of its own: for ``async for``."""
        return routes.iterate(self.function, self.__wanted__, args, kwargs)

    def iterate(self, *args: P.args, **kwargs: P.kwargs) -> Generator[Y]:
        """Return the same for a thread that has no event loop."""
        return routes.iterate_in_thread(self.function, self.__wanted__, args, kwargs)


def is_stepwise(function: Any) -> bool:
    """Return whether *function* yields its results."""
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)

"""A function in a process of its own: its memory and its time are bounded, and gone when it ends.

    result = await isolated(func, *args, memory="250M", timeout=30)
    result = isolated.wait(func, *args)               # from a thread: Flask, Django, scripts

    @isolated(memory="250M", timeout=30, keep_warm=60)
    def cut_out(data: bytes) -> bytes: ...

    await cut_out(data);  cut_out.wait(data);  cut_out.function(data)

    @isolated
    def steps(count):                                 # a generator: progress
        yield ...

    async for step in steps(5): ...                   # or: for step in steps.iterate(5)

Promises: whatever the function does, this process and its requests go on; who waits gets the
result, what the function raised, or a JobError that says what happened. It ends when nobody waits
for it any more. The function is found by its name in a module; what it takes and returns is
pickled. In a job's own process, what it isolates further is simply called.

Who may run, and for how long, is decided by the owner of jobs (:mod:`tonnage.jobs.line`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, ParamSpec, Protocol, TypeVar, overload

from tonnage.jobs import routes
from tonnage.jobs.decorated import IsolatedFunction, IsolatedSteps, is_stepwise
from tonnage.jobs.names import name_of, undecorated
from tonnage.jobs.wanted import JobOptions, Seconds, Size

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator

P = ParamSpec("P")
R = TypeVar("R")
Y = TypeVar("Y")


class Decorator(Protocol):
    """What ``isolated(memory=...)`` returns."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Iterator[Y] | AsyncIterator[Y]], /
    ) -> IsolatedSteps[P, Y]: ...
    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> IsolatedFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> IsolatedFunction[P, R]: ...


class Isolated:
    """The class of ``tonnage.isolated``, which is a decorator, or called for one job.

    Options, of all ways to call it; sizes and times as people write them, ``"250M"``, ``"30s"``,
    or bytes and seconds:

    * *memory*: what the process may allocate beyond what it begins with; else ``--job-memory``.
    * *timeout*: how long it may run; else ``--job-timeout``.
    * *wait*: how long it may wait for its turn; else ``--job-wait``.
    * *keep_warm*: how long its process is kept for the next call of the same function; else 0.
    * *job_id*, of one job: who asks for the same id while it is being done gets its result.
    """

    @overload
    def __call__(
        self,
        /,
        *,
        memory: Size = None,
        timeout: Seconds = None,
        wait: Seconds = None,
        keep_warm: Seconds = None,
    ) -> Decorator: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self,
        function: Callable[P, Iterator[Y] | AsyncIterator[Y]],
        /,
        *,
        memory: Size = None,
        timeout: Seconds = None,
        wait: Seconds = None,
        keep_warm: Seconds = None,
    ) -> IsolatedSteps[P, Y]: ...
    @overload
    def __call__(
        self,
        function: Callable[P, Coroutine[Any, Any, R]],
        /,
        *,
        memory: Size = None,
        timeout: Seconds = None,
        wait: Seconds = None,
        keep_warm: Seconds = None,
    ) -> IsolatedFunction[P, R]: ...
    @overload
    def __call__(
        self,
        function: Callable[P, R],
        /,
        *,
        memory: Size = None,
        timeout: Seconds = None,
        wait: Seconds = None,
        keep_warm: Seconds = None,
    ) -> IsolatedFunction[P, R]: ...
    @overload
    def __call__(
        self,
        function: Callable[..., Coroutine[Any, Any, R]],
        /,
        *args: Any,
        memory: Size = None,
        timeout: Seconds = None,
        wait: Seconds = None,
        keep_warm: Seconds = None,
        job_id: str | None = None,
        **kwargs: Any,
    ) -> Awaitable[R]: ...
    @overload
    def __call__(
        self,
        function: Callable[..., R],
        /,
        *args: Any,
        memory: Size = None,
        timeout: Seconds = None,
        wait: Seconds = None,
        keep_warm: Seconds = None,
        job_id: str | None = None,
        **kwargs: Any,
    ) -> Awaitable[R]: ...
    def __call__(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *args: Any,
        memory: Size = None,
        timeout: Seconds = None,
        wait: Seconds = None,
        keep_warm: Seconds = None,
        job_id: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return a decorator, the function decorated, or, called with arguments, the job to await.

        A function without arguments is awaited just as well: ``await isolated(func)``.

        Raises:
            TypeError: another process could not find the function by its name.
            ConfigError: an option makes no sense.
        """
        wanted = JobOptions.of(memory, timeout, wait, keep_warm, job_id)
        if function is None and job_id is not None:
            raise TypeError("job_id is that of one job: give it where the job is asked for")
        if function is None:
            return lambda each: _decorated(each, wanted)
        if not args and not kwargs:
            return _decorated(function, wanted)
        return routes.run(_plain(function), _of(function, wanted), args, kwargs)

    def wait(
        self,
        function: Callable[..., Any],
        /,
        *args: Any,
        memory: Size = None,
        timeout: Seconds = None,
        wait: Seconds = None,
        keep_warm: Seconds = None,
        job_id: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return the function's result, waiting for it in a thread that has no event loop.

        Raises:
            RuntimeError: an event loop runs in this thread, which would be held up.
            JobError: there is no result.
            Exception: what the function raised.
        """
        wanted = JobOptions.of(memory, timeout, wait, keep_warm, job_id)
        return routes.run_in_thread(_plain(function), _of(function, wanted), args, kwargs)

    def stream(
        self,
        function: Callable[..., Any],
        /,
        *args: Any,
        memory: Size = None,
        timeout: Seconds = None,
        wait: Seconds = None,
        keep_warm: Seconds = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """Return what a generator function yields, one at a time as it is asked for."""
        wanted = JobOptions.of(memory, timeout, wait, keep_warm)
        if not is_stepwise(undecorated(function)):
            raise TypeError(f"{name_of(function)} yields nothing: await isolated(...) it")
        return routes.iterate(undecorated(function), _of(function, wanted), args, kwargs)

    def __repr__(self) -> str:
        return "<tonnage.isolated>"


isolated: Final = Isolated()


def _decorated(
    function: Any, wanted: JobOptions
) -> IsolatedFunction[..., Any] | IsolatedSteps[..., Any]:
    plain, wanted = undecorated(function), _of(function, wanted)
    return IsolatedSteps(plain, wanted) if is_stepwise(plain) else IsolatedFunction(plain, wanted)


def _of(function: Any, wanted: JobOptions) -> JobOptions:
    """Return *wanted*, and for the rest what *function* was decorated with, if it was."""
    return wanted.over(getattr(function, "__wanted__", JobOptions()))


def _plain(function: Any) -> Any:
    function = undecorated(function)
    if is_stepwise(function):
        raise TypeError(f"{name_of(function)} yields its results: use isolated.stream(...)")
    return function

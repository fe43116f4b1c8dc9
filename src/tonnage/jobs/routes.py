"""Which way a job goes: to this machine's owner, to a task queue, or nowhere.

In a job's own process it is called right here: it is isolated already, within the bounds of the job
that calls it. Where the options name a task queue, :mod:`tonnage.jobs.queue` has it done, else
:mod:`tonnage.jobs.local`.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from tonnage.jobs import local
from tonnage.jobs.caller import is_job
from tonnage.jobs.names import name_of
from tonnage.jobs.settings import current
from tonnage.stores.background import check_thread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from tonnage.jobs.call import Call
    from tonnage.jobs.queue.producer import QueueTransport
    from tonnage.jobs.wanted import JobOptions

    Function = Callable[..., Any]
    Args = tuple[Any, ...]
    Kwargs = dict[str, Any]


async def run(function: Function, wanted: JobOptions, args: Args, kwargs: Kwargs) -> Any:
    """Return what *function* returns."""
    if is_job():
        value = function(*args, **kwargs)
        return await value if inspect.iscoroutine(value) else value
    call, queue = _asked(function, wanted)
    if queue is not None:
        return await queue.run(call, args, kwargs, wanted.job_id)
    return await local.run(call, args, kwargs, wanted.job_id)


def run_in_thread(function: Function, wanted: JobOptions, args: Args, kwargs: Kwargs) -> Any:
    """Return what *function* returns, in a thread that has no event loop."""
    if is_job():
        value = function(*args, **kwargs)
        return asyncio.run(value) if inspect.iscoroutine(value) else value
    call, queue = _asked(function, wanted)
    if queue is not None:
        check_thread("wait()", "await it")
        return queue.wait(call, args, kwargs, wanted.job_id)
    return local.run_in_thread(call, args, kwargs, wanted.job_id)


async def iterate(
    function: Function, wanted: JobOptions, args: Args, kwargs: Kwargs
) -> AsyncGenerator[Any]:
    """Yield what *function* yields."""
    if is_job():
        items = function(*args, **kwargs)
    else:
        call, queue = _asked(function, wanted)
        items = (
            local.iterate(call, args, kwargs)
            if queue is None
            else queue.iterate(call, args, kwargs)
        )
    if inspect.isgenerator(items):
        for item in items:
            yield item
        return
    try:
        async for item in items:
            yield item
    finally:
        await items.aclose()


def iterate_in_thread(
    function: Function, wanted: JobOptions, args: Args, kwargs: Kwargs
) -> Generator[Any]:
    """Yield what *function* yields, in a thread that has no event loop."""
    if not is_job():
        call, queue = _asked(function, wanted)
        if queue is None:
            yield from local.iterate_in_thread(call, args, kwargs)
        else:
            check_thread("iterate()", "use async for")
            yield from _by_turns(queue.iterate(call, args, kwargs))
    elif inspect.isasyncgenfunction(function):
        yield from _by_turns(function(*args, **kwargs))
    else:
        yield from function(*args, **kwargs)


def _by_turns(items: AsyncGenerator[Any]) -> Generator[Any]:
    """Yield *items* in a thread; they are made in the event loop of the stores."""
    try:
        while True:
            try:
                item = local.wait(_next(items))
            except StopAsyncIteration:
                return
            yield item
    finally:
        local.wait(items.aclose())


async def _next(items: AsyncGenerator[Any]) -> Any:
    return await anext(items)


def _asked(function: Function, wanted: JobOptions) -> tuple[Call, QueueTransport | None]:
    told = current()
    call = wanted.call(name_of(function), told)
    if told.jobs is None:
        return call, None
    from tonnage.jobs.queue import transport

    return call, transport()

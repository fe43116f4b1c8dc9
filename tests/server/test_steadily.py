"""What has to go on goes on, through moments without any memory."""

from __future__ import annotations

import asyncio

from tonnage.server.steadily import steadily


def test_a_step_that_lacks_memory_is_tried_again() -> None:
    """And the end is the step's own."""
    short, on, end = MemoryError(), False, True
    steps: list[bool | MemoryError] = [short, on, short, short, on, end, on]

    async def step() -> bool:
        next_one = steps.pop(0)
        if isinstance(next_one, MemoryError):
            raise next_one
        return next_one

    asyncio.run(steadily(step, 0.0))

    assert steps == [on]


def test_a_timer_that_lacks_memory_is_made_again() -> None:
    """The loop itself may find none."""

    class Poor(asyncio.SelectorEventLoop):
        short = 3

        def call_later(self, *args: object, **options: object) -> asyncio.TimerHandle:
            self.short -= 1
            if self.short >= 0:
                raise MemoryError
            return super().call_later(*args, **options)  # type: ignore[arg-type]

    steps = [False, False, False, False, False, True]

    async def step() -> bool:
        return steps.pop(0)

    with asyncio.Runner(loop_factory=Poor) as runner:
        runner.run(steadily(step, 0.001))

    assert steps == []

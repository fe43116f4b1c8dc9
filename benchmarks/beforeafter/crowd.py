"""The clients of a scenario, who play it against a server, and what each request came to.

    played = await play(scenario, port, uploads, seconds=60)

A client takes each of its first steps until it has succeeded, then visit after visit. After each it
thinks; the rest of a visit in which something fails is left out. Each client comes from a loopback
address of its own, so that limits by address see as many people. When the time is over nothing new
begins, and what is under way is waited for: an answer that never comes is a timeout, not a gap.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.beforeafter.scenario import Scenario, Step
from benchmarks.beforeafter.visits import Visitor, find, keys_of, request_of
from benchmarks.beforeafter.wire import Connection

OK: Final = "ok"
TIMED_OUT: Final = "timed out"
BROKEN: Final = "broken"
"""No connection, or one that ended before the answer did."""

FIRST_STEPS: Final = "first steps"
LEAST_PAUSE_SECONDS: Final = 0.05
"""How long a client waits at least after a failure, however little it thinks."""
LOOK_SECONDS: Final = 0.25
"""How often a client asks whether what it waits for is done."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One request: in which visit of whom, when it was sent and answered, and what it came to.

    *outcome* is ``OK``, ``TIMED_OUT``, ``BROKEN``, or a status that was not good, as a text. Some
    servers answer a file (*is_file*) only when they are done with it.
    """

    visit: str
    client: int
    sent_at: float
    done_at: float
    outcome: str
    is_file: bool = False

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.done_at - self.sent_at


@dataclass(slots=True)
class Played:
    """All that came of a load; times are of the monotonic clock.

    Attributes:
        began_at, ended_at: when nothing had begun yet, and after when nothing new began.
        answers: every request, in the order in which they were answered.
        files_seconds: from each file that was sent until what became of it was there.
        acknowledged: the keys of what servers have said that they took, by kind.
    """

    began_at: float
    ended_at: float
    answers: list[Answer] = field(default_factory=list)
    files_seconds: list[float] = field(default_factory=list)
    acknowledged: dict[str, set[str]] = field(default_factory=dict)


async def play(
    scenario: Scenario, port: int, uploads: Mapping[str, bytes], *, seconds: float
) -> Played:
    """Have all clients of *scenario* play for *seconds* against *port*."""
    now = time.monotonic()
    played = Played(now, now + seconds)
    numbers = range(1, scenario.load.clients + 1)
    async with asyncio.TaskGroup() as group:
        for number in numbers:
            client = _Client(scenario, number, port, uploads, played)
            group.create_task(client.play(), name=f"client {number}")
    return played


def address_of(number: int) -> str:
    """Return the loopback address of a client, by its number from 1."""
    return f"127.0.{1 + number // 250}.{1 + number % 250}"


class _FailedError(Exception):
    """A step did not go as it should; it has been noted. The message is what it came to."""


class _Client:
    def __init__(
        self,
        scenario: Scenario,
        number: int,
        port: int,
        uploads: Mapping[str, bytes],
        played: Played,
    ) -> None:
        self._scenario = scenario
        self._number = number
        self._visitor = Visitor(scenario, number)
        self._connection = Connection(port, address_of(number))
        self._uploads = uploads
        self._played = played

    async def play(self) -> None:
        """Do as the scenario says until the time is over."""
        think_seconds = self._scenario.load.think_seconds
        for step in self._scenario.once:
            await self._insist(step)
        while self._goes_on():
            visit, names = self._visitor.draw()
            try:
                await self._take(visit.name, visit.steps, names)
                await self._pause(think_seconds)
            except _FailedError:
                await self._pause(max(think_seconds, LEAST_PAUSE_SECONDS))
        self._connection.close()

    async def _insist(self, step: Step) -> None:
        """Take one of the first steps, again and again until it succeeds."""
        has_tried = False
        while self._goes_on():
            try:
                return await self._carry_out(FIRST_STEPS, step, self._visitor.names)
            except _FailedError as error:
                # The time before it was done, only the answer was lost.
                if has_tried and str(error) == "409":
                    return None
            has_tried = True
            await self._pause(LEAST_PAUSE_SECONDS)
        return None

    async def _take(self, visit: str, steps: tuple[Step, ...], names: dict[str, str]) -> None:
        """Take *steps* one after another; what they keep goes into *names*."""
        file_sent_at: float | None = None
        ready_at = 0.0
        for step in steps:
            # What becomes of a file that was sent is seen to the end.
            if file_sent_at is None and not self._goes_on():
                return
            sent_at = time.monotonic()
            await self._carry_out(visit, step, names)
            if step.file is not None:
                file_sent_at = sent_at
            if step.file is not None or step.until:
                ready_at = time.monotonic()
        if file_sent_at is not None:
            self._played.files_seconds.append(ready_at - file_sent_at)

    async def _carry_out(self, visit: str, step: Step, names: dict[str, str]) -> None:
        content = await self._ask(visit, step, names)
        waits_until = time.monotonic() + self._scenario.load.timeout_seconds
        while not _is_so(step.until, content):
            if time.monotonic() > waits_until:
                self._note(visit, step, waits_until, TIMED_OUT)
                raise _FailedError(TIMED_OUT)
            await asyncio.sleep(LOOK_SECONDS)
            content = await self._ask(visit, step, names)
        for name, path in step.keep.items():
            try:
                names[name] = str(find(content, path))
            except (LookupError, ValueError, TypeError):
                self._note(visit, step, time.monotonic(), f"no {path} in it")
                raise _FailedError(path) from None

    async def _ask(self, visit: str, step: Step, names: Mapping[str, str]) -> Any:
        """Send one request, note what it came to, and return the JSON that is wanted of it."""
        request = request_of(step, names, self._uploads)
        wants_json = bool(step.keep or step.until)
        sent_at = time.monotonic()
        try:
            async with asyncio.timeout(self._scenario.load.timeout_seconds):
                reply = await self._connection.ask(
                    request.encode(), with_body=wants_json, is_head=step.method == "HEAD"
                )
            content = json.loads(reply.body) if wants_json and reply.status in step.ok else None
        except TimeoutError:
            outcome = TIMED_OUT
        except (OSError, EOFError, ValueError):
            outcome = BROKEN
        else:
            outcome = OK if reply.status in step.ok else str(reply.status)
        self._note(visit, step, sent_at, outcome)
        if outcome != OK:
            raise _FailedError(outcome)
        # Good for the scenario may also be that there is no room left, and nothing is stored.
        if reply.status < 300 and _is_so(step.until, content):
            for kind, keys in keys_of(step, names).items():
                self._played.acknowledged.setdefault(kind, set()).update(keys)
        return content

    def _note(self, visit: str, step: Step, sent_at: float, outcome: str) -> None:
        is_file = step.file is not None
        self._played.answers.append(
            Answer(visit, self._number, sent_at, time.monotonic(), outcome, is_file)
        )

    def _goes_on(self) -> bool:
        return time.monotonic() < self._played.ended_at

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, min(seconds, self._played.ended_at - time.monotonic())))


def _is_so(until: Mapping[str, Any], content: Any) -> bool:
    try:
        return all(find(content, path) == value for path, value in until.items())
    except (LookupError, ValueError, TypeError):
        return False

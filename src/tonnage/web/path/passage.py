"""One request on its way through the limits: what comes in is counted, what goes out looked at.

Covers the limits of body and response, headers added and removed, compression, and our answer in
the place of the application's where it broke a limit. What is refused before the application sees
anything, and the time a request may take, are :mod:`tonnage.web.path.middleware`'s.

A response that says its length is refused before its first byte if that is too large; so is one
that comes in one piece. What only turns out later to be too large is cut: the response is not
completed, so the server closes the connection, and the client knows that something is missing.
Files that the server sends by itself (``http.response.pathsend``) count by their Content-Length.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tonnage.errors import RequestRefusedError
from tonnage.problem import (
    body_too_large,
    log_refusal,
    response_too_large,
    too_late,
)
from tonnage.web.awaited import is_gone
from tonnage.web.path.deadlines import Timed
from tonnage.web.path.heads import Head
from tonnage.web.path.swallowed import is_logged, refusal_behind
from tonnage.web.respond import respond

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tonnage.answer import Answer
    from tonnage.problem import Problem
    from tonnage.web.path.compress import Encoder
    from tonnage.web.path.cors import Cors
    from tonnage.web.path.decompress import Decompression, RequestDecoder
    from tonnage.web.path.lane import Lane
    from tonnage.web.respond import Message, Receive, Scope, Send

    Headers = tuple[tuple[bytes, bytes], ...]

logger = logging.getLogger("tonnage.requests")

# How far the response has come. HELD: it has begun, and waits for its first piece. REPLACED: ours
# has taken its place. CUT: it was ended. In the last two, what the application sends goes nowhere.
_NOT_BEGUN, _HELD, _BEGUN, _REPLACED, _CUT = range(5)

_START: Final = "http.response.start"
_BODY: Final = "http.response.body"
# What may be sent before a response, and is none.
_ASIDE: Final = frozenset(("http.response.early_hint", "http.response.push", "http.response.debug"))


class Passage(Timed):
    """The way of one request, and back."""

    # What most requests leave as it is costs nothing as an attribute of the class.

    #: How large the body may be; None: any size.
    body_limit_bytes: int | None = None
    #: Headers for the response.
    added: Headers = ()
    #: Whether the application's response is out, so that what happens now is no part of it.
    is_complete = False
    #: Whether anything has to be freed at its end.
    holds_memory = False

    _state = _NOT_BEGUN
    _received_bytes = 0
    _sent_bytes = 0
    # Why the request is refused, as soon as it is.
    _problem: Problem | None = None
    _held: Message | None = None
    _encoder: Encoder | None = None
    _decoder: RequestDecoder | None = None
    # The request as it came, where the application sees it unpacked.
    _packed_scope: Scope | None = None
    _answering: asyncio.Future[None] | None = None

    def __init__(self, lane: Lane, scope: Scope, receive: Receive, send: Send) -> None:
        """Begin.

        Args:
            lane: what applies to it.
            scope: the request.
            receive: the server's.
            send: the server's.
        """
        self._lane = lane
        #: The request, as the application is to see it.
        self.scope = scope
        self._receive = receive
        self._forward = send

    def unpack(self, decompression: Decompression) -> None:
        """Have the body unpacked for the application, if it is packed.

        Raises:
            RequestRefusedError: it cannot be.
        """
        decoder = decompression.begin(
            self.scope, self.body_limit_bytes, self._lane.rules.decompress_ratio
        )
        if decoder is not None:
            self._decoder, self.holds_memory = decoder, True
            self._packed_scope, self.scope = self.scope, decoder.scope(self.scope)
            self._receive = decoder.receiver(self._receive)

    # What the application is given.

    async def receive(self) -> Message:
        """Receive for the application, as much as is allowed.

        Raises:
            RequestRefusedError: the body is larger.
        """
        if self._problem is not None:
            return {"type": "http.disconnect"}
        try:
            message = await self._receive()
        except RequestRefusedError as error:
            # Of whoever unpacks it. What the application makes of it does not count.
            self._problem = error.problem
            raise
        limit = self.body_limit_bytes
        if limit is not None and message["type"] == "http.request":
            self._received_bytes += len(message.get("body", b""))
            if self._received_bytes > limit:
                self._problem = body_too_large(limit)
                raise RequestRefusedError(self._problem)
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """Send for the application.

        Raises:
            RequestRefusedError: the response is not wanted any more.
        """
        # Its time begins anew.
        self.has_moved = True
        if self._state is _BEGUN:
            return self._go_on(message)
        if self._state is _NOT_BEGUN:
            return self._begin(message) if message["type"] == _START else self._forward(message)
        if self._state is _HELD:
            return self._forward(message) if message["type"] in _ASIDE else self._release(message)
        if self._problem is not None and message.get("more_body"):
            # It would go on to make what nobody gets.
            raise RequestRefusedError(self._problem)
        return _nothing()

    @property
    def disconnected(self) -> bool:
        """Whether the client has gone, where the server lets it be known, or has our answer.

        The server's own gate asks whoever ``receive`` belongs to.
        """
        return self._problem is not None or is_gone(self._receive)

    # What its owner does.

    def answer(self, answer: Answer) -> Awaitable[None]:
        """Answer with *answer*, before anything was sent."""
        return respond(self.scope, self._receive, self._forward, answer)

    def refuse(self, problem: Problem) -> Awaitable[None]:
        """Answer with *problem*, if nothing was sent yet; else end the response where it is.

        It counts from the call on; the answer is sent when the result is awaited.
        """
        if self._can_answer:
            return self._replace(problem)
        if self._state is _BEGUN and not self.is_complete:
            self._cut(problem)
        return _nothing()

    def time_out(self) -> None:
        """Answer for a request whose time is over, whatever it is doing."""
        problem = too_late(self.seconds)
        self._answering = asyncio.ensure_future(self.refuse(problem))

    async def end(self) -> None:
        """The application has returned, or failed: send what is due yet."""
        if self._answering is not None:
            await asyncio.wait((self._answering,))
            if self._answering.exception() is not None:
                logger.debug("nobody was there for an answer", exc_info=self._answering.exception())
        elif self._problem is not None:
            await self.refuse(self._problem)

    async def flush(self) -> None:
        """The application has returned: send what is held, and was not followed by anything."""
        if self._state is _HELD and self._held is not None:
            held, self._held = self._held, None
            await self._pass_on(held, Head(held["headers"]))

    def leave(self) -> None:
        """Let go of what was taken for the request; whatever has become of it."""
        self.end_time()
        if self._encoder is not None:
            self._encoder.close()
        if self._decoder is not None:
            self._decoder.close()

    @property
    def is_cut(self) -> bool:
        """Whether its response was ended where it was."""
        return self._state is _CUT

    @property
    def is_refused(self) -> bool:
        """Whether errors of the application are made by a limit."""
        return self._problem is not None

    # The response.

    @property
    def _response_limit_bytes(self) -> int | None:
        # Of an answer to HEAD the server sends no body, whatever the application hands over.
        return None if self.scope["method"] == "HEAD" else self._lane.response_limit_bytes

    @property
    def _can_answer(self) -> bool:
        if self._state is _BEGUN:
            return self._encoder is not None and self._encoder.is_holding
        return self._state in (_NOT_BEGUN, _HELD)

    def _begin(self, message: Message) -> Awaitable[None]:
        problem = self._problem
        if problem is None and message["status"] >= 500:
            problem = refusal_behind(self.scope)
        if problem is not None:
            return self._replace(problem)
        if not isinstance(message.get("headers"), (list, tuple)):
            # Any iterable may be there, and some can be read only once.
            message = {**message, "headers": [*message.get("headers", ())]}
        head, limit = Head(message["headers"]), self._response_limit_bytes
        if limit is not None:
            length = head.length_bytes
            if length is None:
                if not head.is_stream:
                    self._state, self._held = _HELD, message
                    return _nothing()
            elif length > limit:
                return self._replace(response_too_large(limit, length))
        return self._pass_on(message, head)

    def _release(self, message: Message) -> Awaitable[None]:
        limit, held, self._held = self._response_limit_bytes, self._held, None
        assert limit is not None, "only what has a limit is held"
        assert held is not None, "it is held once"
        length = len(message.get("body", b""))
        if length > limit:
            return self._replace(response_too_large(limit, length))
        return self._both(held, message)

    async def _both(self, start: Message, message: Message) -> None:
        await self._pass_on(start, Head(start["headers"]))
        await self._go_on(message)

    def _pass_on(self, start: Message, head: Head) -> Awaitable[None]:
        """Send the *start* of a response, with what is added, removed and compressed."""
        self._state = _BEGUN
        lane, added = self._lane, self.added
        headers = start["headers"]
        if lane.removed:
            headers = [each for each in headers if each[0].lower() not in lane.removed]
        if lane.cors is not None:
            added += lane.cors.due(self.scope, head)
        if added or lane.removed:
            start = {**start, "headers": [*headers, *added]}
        if lane.compression is not None:
            ready, encoder = lane.compression.begin(self.scope, start, head)
            if encoder is not None:
                self._encoder, self.holds_memory = encoder, True
            if ready is None:
                return _nothing()
            start = ready
        return self._forward(start)

    def _go_on(self, message: Message) -> Awaitable[None]:
        if message["type"] == _BODY:
            limit = self._response_limit_bytes
            if limit is not None:
                self._sent_bytes += len(message.get("body", b""))
                if self._sent_bytes > limit:
                    problem = response_too_large(limit, self._sent_bytes)
                    self._cut(problem)
                    raise RequestRefusedError(problem)
            if not message.get("more_body"):
                self.is_complete = True
                # What the application does behind its response has all the time.
                self.end_time()
        if self._encoder is not None:
            return self._encoder.send(message, self._forward)
        return self._forward(message)

    def _cut(self, problem: Problem) -> None:
        self._state, self._problem = _CUT, problem
        log_refusal(self.scope, problem, "its response had begun, so its connection is closed")

    def _replace(self, problem: Problem) -> Awaitable[None]:
        self._state, self._problem = _REPLACED, problem
        # What the application is not told of may still be on its way.
        scope = self._packed_scope or self.scope
        if problem.status >= 500 and not is_logged(self.scope):
            log_refusal(scope, problem, f"answered {problem.status}")
        lane = self._lane
        send = self._forward if lane.cors is None else _shown_to(lane.cors, scope, self._forward)
        answer = problem.answer(lane.shape)
        if self.added:
            answer = replace(answer, headers=(*answer.headers, *self.added))
        return respond(scope, self._receive, send, answer)


def _shown_to(cors: Cors, scope: Scope, send: Send) -> Send:
    """Return *send* for an answer of ours that a page of another site may read too."""

    def send_with_permission(message: Message) -> Awaitable[None]:
        return send(cors.start(scope, message) if message["type"] == _START else message)

    return send_with_permission


async def _nothing() -> None:
    return None

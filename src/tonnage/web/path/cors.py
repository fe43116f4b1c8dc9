"""Pages of other sites may call this one (CORS), as far as the options say.

Promises: the rules are Starlette's own, asked through its middleware; what it answers to an origin
is remembered, so that a response costs a look at the request's headers and no more. Refusals that
the path gives itself get the headers too, or a browser would hide from its page why it was refused.

Does not protect anything: CORS lets pages read what browsers would hide from them, and a server
still runs every simple request it gets. WebSockets know no CORS; check ``Origin`` where they open.
Applications that bring their own keep it: a response that has ``Access-Control-Allow-Origin`` is
left as it is.

Starlette is there with FastAPI; for others it comes with ``tonnage[cors]``. It is imported when
options ask for it, which is 2.8 MB, before workers are forked.
"""

from __future__ import annotations

import importlib.util
import re
from typing import TYPE_CHECKING, Any, Final

from tonnage.answer import Answer
from tonnage.errors import ConfigError
from tonnage.problem import Problem
from tonnage.web.path.heads import Head

if TYPE_CHECKING:
    from collections.abc import Collection

    from tonnage.problem import Shape
    from tonnage.web.respond import ASGIApp, Message, Receive, Scope, Send

Headers = tuple[tuple[bytes, bytes], ...]

METHODS: Final = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
# Refusals say in these when to come again; a page reads only a few harmless headers otherwise.
EXPOSED: Final = ("Retry-After", "RateLimit", "RateLimit-Policy")
DAY_SECONDS: Final = 24 * 60 * 60

# Origins that are allowed and whose answer is remembered: with a pattern there may be any number.
MOST_REMEMBERED: Final = 256
# A host name has 253 characters at most.
_LONGEST_ORIGIN_BYTES: Final = 300

_PATTERN: Final = "re:"
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[^/:?#@\s*]+)(:\d{1,5})?")
_VARY: Final[Headers] = ((b"vary", b"Origin"),)


class Cors:
    """What other sites' pages may do.

    Args:
        origins: who may: origins as browsers write them (``https://shop.example``), ``*`` for
            everyone, or ``re:`` and a regular expression for all of an origin.
        methods: which methods they may use; ``*`` for all.
        headers: which they may send besides the few that need no permission; ``*`` for all.
        credentials: whether cookies are sent and answers to them shown.
        max_age_seconds: how long browsers remember a permission; Firefox keeps it for a day at
            most, Chromium for two hours.
        exposed: response headers that a page may read besides the harmless ones.

    Raises:
        ConfigError: if an origin cannot be what a browser sends, everyone would be trusted with
            credentials, or Starlette is not installed.
    """

    def __init__(
        self,
        origins: Collection[str],
        *,
        methods: Collection[str] = METHODS,
        headers: Collection[str] = (),
        credentials: bool = False,
        max_age_seconds: int = DAY_SECONDS,
        exposed: Collection[str] = EXPOSED,
    ) -> None:
        exact, patterns = check_origins(origins, credentials=credentials)
        self._starlette = _starlette()(
            _silent,
            allow_origins=exact,
            allow_origin_regex="|".join(f"(?:{pattern})" for pattern in patterns) or None,
            allow_methods=METHODS if "*" in methods else [name.upper() for name in methods],
            allow_headers=headers,
            allow_credentials=credentials,
            expose_headers=exposed,
            max_age=max_age_seconds,
        )
        self._known: dict[bytes, Headers] = {}
        # Where everyone gets the same, responses need not differ by who asks: caches keep one.
        self._everyone = tuple(
            header for header in self._ask(b"https://any.example") if header not in _VARY
        )
        if "*" not in exact:
            self._everyone = ()

    def start(self, scope: Scope, start: Message) -> Message:
        """Return the *start* of a response with the headers that the request's origin is due."""
        headers = start.get("headers", ())
        added = self.due(scope, Head(headers))
        return {**start, "headers": [*headers, *added]} if added else start

    def due(self, scope: Scope, head: Head) -> Headers:
        """Return what a response with *head* lacks for the request's origin."""
        if head.is_permitting:
            return ()
        if self._everyone:
            return self._everyone
        for name, value in scope["headers"]:
            if name == b"origin":
                return self._known.get(value) or self._learn(value)
        return _VARY

    def preflight(self, scope: Scope, shape: Shape | None = None) -> Answer | None:
        """Return the answer to a browser's question whether it may, or None if there is none.

        A browser asks before requests that a form could not make; the application does not see it.
        A refusal is a problem as others are, made by *shape*.
        """
        if scope["method"] != "OPTIONS":
            return None
        names = {name for name, _ in scope["headers"]}
        if not {b"origin", b"access-control-request-method"} <= names:
            return None
        start, body = _run(self._starlette, {**scope, "type": "http"})
        status, found = start["status"], dict(start["headers"])
        content_type = found.pop(b"content-type")
        del found[b"content-length"]
        headers = tuple(found.items())
        if status < 400:
            return Answer(status, body, headers, content_type)
        why = f"{body.decode()}: the CORS options of this server do not allow it"
        return Problem(status, "cors_refused", why, headers=headers).answer(shape)

    def _learn(self, origin: bytes) -> Headers:
        if len(origin) > _LONGEST_ORIGIN_BYTES:
            return _VARY
        added = self._ask(origin)
        if not Head(added).is_permitting:
            return _VARY
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known[origin] = added
        return added

    def _ask(self, origin: bytes) -> Headers:
        request = {"type": "http", "method": "GET", "path": "/", "headers": [(b"origin", origin)]}
        start, _ = _run(self._starlette, request)
        return tuple((bytes(name), bytes(value)) for name, value in start["headers"])


def check_origins(origins: Collection[str], *, credentials: bool) -> tuple[list[str], list[str]]:
    """Return the exact origins and the patterns among *origins*. Imports nothing.

    Raises:
        ConfigError: as :class:`Cors`.
    """
    if importlib.util.find_spec("starlette") is None:
        raise ConfigError("CORS is Starlette's: pip install 'tonnage[cors]'")
    exact = [_origin(text) for text in origins if not text.startswith(_PATTERN)]
    patterns = [_pattern(text) for text in origins if text.startswith(_PATTERN)]
    if credentials and {"*", "null"} & {*exact}:
        raise ConfigError("CORS with credentials needs origins by name, not '*' or 'null'")
    return exact, patterns


async def _silent(scope: Scope, receive: Receive, send: Send) -> None:
    """Stand for the application: Starlette's middleware adds its headers to an empty response."""
    await send({"type": "http.response.start", "status": 200, "headers": []})


def _run(app: ASGIApp, scope: Scope) -> tuple[Message, bytes]:
    """Return the start and body of what *app* answers at once, without an event loop.

    Starlette's middleware decides without waiting for anything, so that the same rules serve WSGI
    and need no task.
    """
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    async def answer() -> None:
        await app(scope, receive, send)

    try:
        answer().send(None)
    except StopIteration:
        return sent[0], b"".join(message.get("body", b"") for message in sent[1:])
    raise RuntimeError("Starlette's CORS middleware waits for something: it never did")


def _starlette() -> Any:
    try:
        from starlette.middleware.cors import CORSMiddleware
    except ImportError as error:
        raise ConfigError("CORS is Starlette's: pip install 'tonnage[cors]'") from error
    return CORSMiddleware


def _origin(text: str) -> str:
    origin = text.strip().lower()
    if origin in ("*", "null") or _ORIGIN.fullmatch(origin):
        return origin
    raise ConfigError(
        f"{text!r} is not an origin: write scheme and host as in https://shop.example, without"
        " a path or a slash at the end, or '*', or re: and a regular expression"
    )


def _pattern(text: str) -> str:
    pattern = text.removeprefix(_PATTERN)
    try:
        re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"{text!r} is not a regular expression: {error}") from error
    return pattern

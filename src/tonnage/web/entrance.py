"""The way in to the live page and the metrics: by a token, by a log-in, or from this machine.

    POST PAGE/login      the admin token for a cookie, or what is wrong with it
    POST PAGE/logout     the cookie's end

Promises that each wrong token is counted (:mod:`tonnage.web.doorman`) before anything else is done
with it, and that whoever is not let in hears what would help: people where to log in, programs the
header to send. Who may is decided by :mod:`tonnage.ops.trust`; what is inside is passed on by
:mod:`tonnage.web.relay`.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tonnage.answer import Answer
from tonnage.ops.answers import (
    BEARER,
    NO_OTHER_SITE,
    problem,
    see_other,
    too_many_attempts,
    who_may,
    wrong_method,
)
from tonnage.ops.login import bearer, has_login, is_forged, is_token, issue, revoke
from tonnage.ops.trust import is_from_here
from tonnage.web.form import TooLongError, given_token
from tonnage.web.proxy import peer_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from tonnage.web.doorman import Doorman
    from tonnage.web.question import SupervisorClient
    from tonnage.web.respond import Receive, Scope

_NO_TOKEN: Final = (
    "this is shown to loopback peers without a proxy, and to no page of another site; to open it "
    f"to others, set TONNAGE_ADMIN_TOKEN: they log in with it then, or send it as {BEARER}"
)


class Entrance:
    """The way in to one worker.

    Args:
        page_path: where the page is; empty: there is none to log in at.
        admin_token: opens it to remote clients; None: nothing does.
        doorman: counts wrong tokens; None where no token is set.
        supervisor: has the form for those whose token was wrong.
    """

    def __init__(
        self,
        page_path: str,
        admin_token: str | None,
        doorman: Doorman | None,
        supervisor: SupervisorClient,
    ) -> None:
        self._page_path = page_path
        self._admin_token = admin_token
        self._doorman = doorman
        self._supervisor = supervisor

    @property
    def has_log_in(self) -> bool:
        """Whether there is a token to log in with."""
        return self._doorman is not None

    def lets(self, lets: Callable[..., bool], scope: Scope) -> bool:
        """Return whether one of the rules of :mod:`tonnage.ops.trust` *lets* the request in."""
        is_blocked = self._doorman is not None and self._doorman.blocks(scope)
        who = peer_address(scope), scope["headers"], self._admin_token, time.time()
        return lets(*who, is_blocked=is_blocked)

    def is_logged_in(self, scope: Scope) -> bool:
        """Return whether the request has a cookie that holds."""
        return has_login(scope["headers"], self._admin_token, time.time())

    def refuse(self, scope: Scope, detail: str = "") -> Answer:
        """Return what is said to whoever may not: where to log in, if a person would see it."""
        if self._doorman is None or self._admin_token is None:
            return problem(403, "forbidden", detail or _NO_TOKEN)
        headers, page_path = scope["headers"], self._page_path
        if bearer(headers) is not None and (seconds := self._doorman.blocked_seconds(scope)):
            return too_many_attempts(seconds)
        if is_forged(headers, self._admin_token):
            self._doorman.forged(scope)
        if scope["path"] == page_path:
            return see_other(f"{page_path}/login")
        after = (f"after a log-in at {page_path}/login",) if page_path else ()
        who = who_may("this is shown", NO_OTHER_SITE, *after)
        return problem(403, "forbidden", detail or who)

    async def log_in(self, scope: Scope, receive: Receive) -> Answer:
        """Return the cookie for the token that is sent, or what is wrong."""
        if self._doorman is None:
            return problem(403, "forbidden", _NO_TOKEN)
        try:
            given, is_form = await given_token(scope, receive)
        except TooLongError:
            return problem(413, "payload_too_large", "a log-in has at most 4 KB")
        # Nothing is awaited from here to the count, or guesses at the same time would all pass.
        if seconds := self._doorman.blocked_seconds(scope):
            return too_many_attempts(seconds)
        if given is None:
            detail = "send the token as a form or as JSON, token=..."
            return problem(400, "bad_request", detail)
        if not is_token(given, self._admin_token or ""):
            self._doorman.failed(scope)
            if not is_form:
                return problem(403, "forbidden", "this is not the token")
            form = await self._supervisor.ask("GET", f"{self._page_path}/login?failed=1")
            return replace(form, status=403)
        cookie = issue(given, time.time(), path=self._page_path, secure=_is_secure(scope))
        kept = ((b"set-cookie", cookie),)
        return see_other(self._page_path, kept) if is_form else Answer(200, b'{"ok":true}', kept)

    def log_out(self, scope: Scope) -> Answer:
        """Return what has the browser forget its cookie."""
        if scope["method"] != "POST":
            return wrong_method("POST")
        if not is_from_here(scope["headers"]):
            return problem(403, "forbidden", "only the page itself logs out")
        gone = revoke(path=self._page_path, secure=_is_secure(scope))
        return see_other(f"{self._page_path}/login", ((b"set-cookie", gone),))


def _is_secure(scope: Scope) -> bool:
    """Return whether the request came by HTTPS, if need be by what a proxy says.

    Whoever lies here only keeps his own browser from sending the cookie.
    """
    said = dict(scope["headers"]).get(b"x-forwarded-proto", b"")
    return scope.get("scheme") == "https" or said.strip().lower().startswith(b"https")

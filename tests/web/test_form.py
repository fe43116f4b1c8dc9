"""The token that somebody gives on the page's form, or as JSON."""

from __future__ import annotations

import pytest

from tonnage.web.form import LONGEST_BYTES, TooLongError, given_token
from tonnage.web.respond import Message, Scope

JSON = b"application/json"
FORM = b"application/x-www-form-urlencoded"


async def given(kind: bytes, *messages: Message) -> tuple[str | None, bool]:
    """Return what is read of a body that comes in *messages*."""
    left = list(messages)

    async def receive() -> Message:
        return left.pop(0)

    scope: Scope = {"type": "http", "headers": [(b"content-type", kind)]}
    return await given_token(scope, receive)


def part(body: bytes, *, more: bool = False) -> Message:
    """Return a part of a body."""
    return {"type": "http.request", "body": body, "more_body": more}


@pytest.mark.parametrize(
    ("kind", "body", "found"),
    [
        (FORM, b"token=se+cret", ("se cret", True)),
        (FORM, b"token=+", (None, True)),
        (FORM, b"other=1", (None, True)),
        (FORM, b"\xff", (None, True)),
        (JSON, b'{"token": " secret "}', ("secret", False)),
        (JSON, b'{"token": 5}', (None, False)),
        (JSON, b'["token"]', (None, False)),
        (JSON, b"[" * 4000, (None, False)),
        (JSON, b"", (None, False)),
    ],
)
async def test_a_token_is_found_in_a_form_and_in_json(
    kind: bytes, body: bytes, found: tuple[str | None, bool]
) -> None:
    """What makes no sense holds none."""
    assert await given(kind, part(body)) == found
    half = len(body) // 2
    assert await given(kind, part(body[:half], more=True), part(body[half:])) == found


async def test_who_leaves_has_given_none() -> None:
    """A half of a token is no token."""
    assert await given(FORM, part(b"token=sec", more=True), {"type": "http.disconnect"}) == (
        None,
        True,
    )


async def test_no_more_is_read_than_a_token_can_be_long() -> None:
    """The rest of the body stays where it is."""
    with pytest.raises(TooLongError):
        await given(FORM, part(b"x" * LONGEST_BYTES, more=True), part(b"x", more=True))

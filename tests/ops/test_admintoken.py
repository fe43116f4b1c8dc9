"""What the banner says of the admin token."""

from __future__ import annotations

from pathlib import Path

import pytest

from tonnage.config import load_settings
from tonnage.ops.admintoken import LEAST_CHARS, notes_on, warnings_on


@pytest.mark.parametrize(
    ("flags", "is_told"),
    [
        ({"host": "0.0.0.0"}, True),
        ({"host": "::"}, True),
        ({"host": "127.0.0.1"}, False),
        ({"host": "localhost"}, False),
        ({"uds": "/run/app.sock"}, False),
    ],
)
def test_others_who_can_ask_and_see_nothing_are_told_of(
    flags: dict[str, object], is_told: bool
) -> None:
    """Where no token is set; with one they can log in."""
    listen = load_settings(flags, {}, Path()).listen
    (told,) = notes_on(None, listen) or ("",)
    assert ("set TONNAGE_ADMIN_TOKEN" in told) is is_told
    assert notes_on("a" * LEAST_CHARS, listen) == ()


@pytest.mark.parametrize(
    ("token", "is_warned"), [(None, False), ("a" * LEAST_CHARS, False), ("a", True)]
)
def test_a_token_that_can_be_guessed_is_warned_of(token: str | None, is_warned: bool) -> None:
    """With what makes a good one, and without the token."""
    (told,) = warnings_on(token) or ("",)
    assert ("openssl rand -hex 32" in told) is is_warned

"""Secrets that are hidden, and what is left alone."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tonnage.logs.masking import HIDDEN, MOST_VALUES, Mask


@pytest.mark.parametrize(
    "key",
    [
        "password", "DB_PASSWORD", "new-password", "passwd", "client_secret", "access_token",
        "Authorization", "cookie", "Set-Cookie", "api_key", "apiKey", "X-API-Key", "session_id",
        "pwd", "user_pwd", "passcode", "otp", "totp_code", "userOtp", "aws_access_key", "jwt",
    ],
)  # fmt: skip
def test_values_of_keys_that_name_a_secret_are_hidden(key: str) -> None:
    """However they are spelled, and at any depth."""
    found = Mask()({key: "hunter2", "deep": [{"down": {key: ["hunter2"]}}]})
    assert found == {key: HIDDEN, "deep": [{"down": {key: HIDDEN}}]}


def test_a_key_that_is_too_long_to_be_remembered_is_hidden_each_time() -> None:
    """Keys that somebody else makes up take no memory, and hide what they name all the same."""
    mask = Mask()
    key = f"{'x' * 100}_password"
    for _ in range(2):
        assert mask({key: "hunter2"}) == {key: HIDDEN}


@pytest.mark.parametrize(
    "fields",
    [
        {"user": "ada", "path": "/a?b=1", "passed": True, "keyboard": "us", "monkey": "see"},
        {"bot_path": "/a", "footprint": "b", "root_path": "/c", "names": ["cookie", "b", "c"]},
        {"said": ["my password is bad", "yes"], "pair": ["user", "ada"], "code": [404, "token"]},
        {"tokens": 5, "sessions": 0, "has_password": False, "secret": None, "cookie_age": 1.5},
    ],
)
def test_other_values_stay(fields: dict[str, Any]) -> None:
    """Numbers are counts, whatever they count."""
    assert Mask()(fields) == fields


@pytest.mark.parametrize("kind", [tuple, list])
def test_headers_are_pairs(kind: type) -> None:
    """Of text, and of bytes as in a scope; a single pair counts as one, too."""
    pairs = [
        kind(("authorization", "Basic aHVudGVyMg==")), kind((b"cookie", b"sid=hunter2")),
        kind(("x-api-key", "hunter2")), kind((b"host", b"a.example")),
    ]  # fmt: skip
    found = Mask()({"headers": pairs, "pair": ("password", ["hunter2"])})
    assert found == {
        "headers": [
            ["authorization", HIDDEN], ["b'cookie'", HIDDEN], ["x-api-key", HIDDEN],
            ["b'host'", "b'a.example'"],
        ],
        "pair": ["password", HIDDEN],
    }  # fmt: skip


def test_what_cannot_be_shown_is_named() -> None:
    """And the others are shown."""

    class Stubborn(dict[str, Any]):
        def items(self) -> Any:
            raise KeyError("no")

    found = Mask()({"bad": Stubborn(), "list": [Stubborn(), 1], "good": 1})
    named = "<Stubborn cannot be shown: KeyError>"
    assert found == {"bad": named, "list": [named, 1], "good": 1}


def test_further_words_can_be_named() -> None:
    """For what only this application takes for a secret."""
    mask = Mask(["iban", "Home-Address"])
    assert mask({"iban_to": "AT61", "home_address": "here", "e_mail": "a@b.c"}) == {
        "iban_to": HIDDEN,
        "home_address": HIDDEN,
        "e_mail": "a@b.c",
    }
    assert mask.text("iban=AT61") == "iban=***"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Bearer abc.def-123==", "Bearer ***"),
        ("sent bearer  abc to them", "sent bearer *** to them"),
        ("redis://:pw@cache:6379/0", "redis://:***@cache:6379/0"),
        ("postgres://app:p@ss:word@db/x and more", "postgres://app:***@db/x and more"),
        ("GET /cb?token=abc&page=2", "GET /cb?token=***&page=2"),
        ("login with password=hunter2, twice", "login with password=***, twice"),
        ("{'api_key': 'a b', 'n': 1}", "{'api_key': ***, 'n': 1}"),
        ('{"password":"hunter2"}', '{"password":***}'),
        ("Login(user='ada', password='hunter2')", "Login(user='ada', password=***)"),
        ("Authorization: Basic YWRhOmh1", "Authorization: ***"),
        ("Authorization: Bearer abc", "Authorization: ***"),
        ("Cookie: a=hunter2; b=hunter3", "Cookie: ***"),
        ("{'cookie': 'a=hunter2; b=hunter3', 'n': 1}", "{'cookie': ***, 'n': 1}"),
        ("scope {b'token': b'x'}", "scope {b'token': ***}"),
        (r'{"password":"a\"b-REST"}', '{"password":***}'),
        (r"{'password': 'a\'b-REST', 'n': 1}", "{'password': ***, 'n': 1}"),
        (r'{"password":"a\\","n":"b"}', '{"password":***,"n":"b"}'),
        (r'"{\"password\": \"hunter2\", \"n\": 1}"', r'"{\"password\": ***, \"n\": 1}"'),
        ("[('authorization', 'Basic x y'), ('n', '1')]", "[('authorization', ***), ('n', '1')]"),
        ("[(b'cookie', b'sid=a; b=c'), (b'n', b'1')]", "[(b'cookie', ***), (b'n', b'1')]"),
        ("pwd=hunter2 passcode=1234 jwt=ey.a.b", "pwd=*** passcode=*** jwt=***"),
        ("otp=123456&user_otp: 123456", "otp=***&user_otp: ***"),
        ("aws_access_key=AKIA", "aws_access_key=***"),
        ("clone https://ghp_0123456789@github.com/a", "clone https://***@github.com/a"),
    ],
)  # fmt: skip
def test_secrets_in_texts_are_hidden(text: str, expected: str) -> None:
    """Where something in the text says that they are."""
    assert Mask().text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nothing here",
        "root_path=/a bot_path=/b",
        "'a', 'b'",
        "ssh://deployment@host/a",
        "http://host:80/path",
        "at 12:00:00: a=1",
        "http://a@b/c",
        "ratio 3:4@5",
    ],
)
def test_other_texts_stay(text: str) -> None:
    """Most have a colon or an equals sign somewhere."""
    assert Mask().text(text) == text


def test_what_belongs_together_is_no_longer_than_a_bound() -> None:
    """A list of a million, or one within another a thousand times, costs what a short one does."""
    deep: list[Any] = ["hunter2"]
    for _ in range(1000):
        deep = [deep]
    circle: list[Any] = []
    circle.append(circle)

    found = Mask()({"many": range(10), "list": list(range(10**6)), "deep": deep, "last": circle})

    assert len(found["list"]) <= MOST_VALUES + 1
    assert found["list"][-1] == "[...]"
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize(
    "text",
    [
        "password" * 1024, "a=" * 4096, "://" * 2730, "://a:" * 1638, "cookie: " * 1024,
        "bearer " * 1170, "token=" * 1365, "x:" + "secret-" * 1170, "https://" * 1000,
        'token="' + "\\" * 8000, 'token="' + '\\"' * 4000, "https://" + "a" * 8000,
        "token" + "\\" * 8000, "'token'," * 1000, "otp_" * 2000, "x=" + "_otp" * 2000,
    ],
)  # fmt: skip
def test_no_text_is_slow(text: str) -> None:
    """Whatever a client has sent: each expression reads a text once."""
    began = time.thread_time()
    Mask().text(text)
    # Some milliseconds; reading it anew from each place would be seconds.
    assert time.thread_time() - began < 0.25

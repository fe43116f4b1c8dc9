"""The limits as options of the server."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.support.server import Running
from tests.web.path.talk import ask, hello, say

from tonnage.config import load_settings
from tonnage.errors import ConfigError
from tonnage.problem import Problem
from tonnage.settings import PathSettings, Settings
from tonnage.web.path.fromsettings import is_needed, load_shape, prepare, with_path
from tonnage.web.respond import ASGIApp, Receive, Scope, Send


def short(problem: Problem) -> dict[str, str]:
    """Be the user's shape."""
    return {"message": problem.error}


def everything(directory: Path, table: str = "", **flags: Any) -> Settings:
    """Return settings with these flags, and this table of the TOML file."""
    (directory / "pyproject.toml").write_text(f"[tool.tonnage]\n{table}\n")
    return load_settings(flags, {}, directory, on_terminal=lambda: False)


def settings(directory: Path, table: str = "", **flags: Any) -> PathSettings:
    """Return those of the path alone."""
    return everything(directory, table, **flags).path


def limited(directory: Path, app: ASGIApp = hello, table: str = "", **flags: Any) -> ASGIApp:
    """Return the application as a worker would have it."""
    found = everything(directory, table, **flags)
    prepare(found)
    path = found.path
    return with_path(app, path, may_compress=lambda: True, shape=load_shape(path))


def test_without_options_there_is_no_middleware(tmp_path: Path) -> None:
    """Whoever wants none of it pays nothing."""
    assert limited(tmp_path) is hello
    assert not is_needed(settings(tmp_path))


@pytest.mark.parametrize(
    ("flags", "asked", "headers", "status"),
    [
        ({"max_body": "10"}, "POST /", {"content-length": "11"}, 413),
        ({"max_upload": "9"}, "POST /", {"content-length": "11", "content-type": "a/b"}, 413),
        ({"max_response": "3"}, "GET /", {}, 500),
        ({"decompress": True}, "POST /", {"content-encoding": "what"}, 415),
        (
            {"cors_origins": "https://a.example"},
            "OPTIONS /",
            {"origin": "https://b.example", "access-control-request-method": "PUT"},
            400,
        ),
    ],
)
def test_each_option_is_in_force(
    tmp_path: Path, flags: dict[str, Any], asked: str, headers: dict[str, str], status: int
) -> None:
    """As in the library."""
    assert ask(limited(tmp_path, **flags), asked, headers).status == status


def test_rates_time_headers_and_compression_too(tmp_path: Path) -> None:
    """What does not show as a refusal, or not with the first request."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await say(send, b"x" * 5000, headers=[(b"content-type", b"text/css"), (b"x-by", b"me")])

    flags: dict[str, Any] = {
        "rate_limit": "1/1h",
        "timeout": "1s",
        "compress": True,
        "remove_headers": "X-By",
    }
    whole = limited(tmp_path, app, **flags)
    accept = {"accept-encoding": "gzip"}
    first = ask(whole, "GET /", accept, client=("192.0.2.77", 1))
    assert first.headers["content-encoding"] == "gzip"
    assert "x-by" not in first.headers
    assert ask(whole, "GET /", accept, client=("192.0.2.77", 1)).status == 429


def test_routes_of_the_file_are_in_force(tmp_path: Path) -> None:
    """Alone, or with options for all."""
    table = '[tool.tonnage.routes."POST /photos/{id}"]\nmax_body = "5"'
    app = limited(tmp_path, table=table)
    body = {"content-length": "6"}
    assert ask(app, "POST /photos/1", body, [b"x" * 6]).status == 413
    assert ask(app, "POST /other", body, [b"x" * 6]).status == 200


def test_a_shape_is_found_by_its_name(tmp_path: Path) -> None:
    """As the application is."""
    flags: dict[str, Any] = {"max_body": "5", "problem_shape": f"{__name__}:short"}
    reply = ask(limited(tmp_path, **flags), "POST /", {"content-length": "6"})
    assert reply.json() == {"message": "payload_too_large"}


@pytest.mark.parametrize("name", ["nowhere:shape", f"{__name__}:nothing", f"{__name__}:__doc__"])
def test_a_shape_that_is_not_there_is_said(tmp_path: Path, name: str) -> None:
    """With how to write it."""
    with pytest.raises(ConfigError, match="--problem-shape"):
        load_shape(settings(tmp_path, problem_shape=name))


def test_origins_are_checked_before_anything_starts(tmp_path: Path) -> None:
    """In the process that the user looks at."""
    with pytest.raises(ConfigError, match=r"^--cors-origins: 'shop\.example' is not an origin"):
        prepare(everything(tmp_path, cors_origins="shop.example"))
    table = 'cors_origins = ["shop.example"]'
    with pytest.raises(ConfigError, match=r"^cors_origins in pyproject\.toml: 'shop\.example' is"):
        prepare(everything(tmp_path, table))


@pytest.mark.parametrize(
    "flags",
    [
        {"remove_headers": "bad header:"},
        {"remove_headers": "bad\nheader"},
        {"cors_methods": "GE T"},
        {"cors_headers": "x-a,bad header"},
        {"cors_expose": "x:"},
        {"compress_types": "images"},
    ],
)
def test_names_are_checked_before_anything_starts(tmp_path: Path, flags: dict[str, Any]) -> None:
    """Also where they have no effect yet."""
    flag = next(iter(flags)).replace("_", "-")
    with pytest.raises(ConfigError, match=f"^--{flag} has .* in it"):
        prepare(everything(tmp_path, **flags))


def test_compression_can_be_tuned(tmp_path: Path) -> None:
    """For smaller responses, of further types."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"model/x-raw"), (b"content-length", b"500")]
        await say(send, b"x" * 500, headers=headers)

    tuned: dict[str, Any] = {"compress_min": "100", "compress_types": "model/x-raw"}
    accept = {"accept-encoding": "gzip"}
    several: list[dict[str, Any]] = [{}, {"compress_min": "100"}]
    several += [{"compress_types": "model/x-raw"}, tuned]
    apps = [limited(tmp_path, app, compress=True, **flags) for flags in several]
    packed = ["content-encoding" in ask(each, "GET /", accept).headers for each in apps]
    assert packed == [False, False, False, True]


def test_how_far_bodies_unpack_can_be_set(tmp_path: Path) -> None:
    """20 times what is sent by default."""
    packed = gzip.compress(bytes(200_000))
    headers = {"content-encoding": "gzip", "content-length": str(len(packed))}
    few, many = (limited(tmp_path, decompress=True, decompress_ratio=n) for n in (None, "2000"))
    assert ask(few, "POST /", headers, [packed]).status == 413
    assert ask(many, "POST /", headers, [packed]).status == 200


def test_other_sites_may_read_further_headers(tmp_path: Path) -> None:
    """Besides those that say when to come again."""
    app = limited(tmp_path, cors_origins="*", cors_expose="X-Total,X-Page")
    exposed = ask(app, "GET /", {"origin": "https://a.example"}).headers
    shown = exposed["access-control-expose-headers"].replace(" ", "").split(",")
    assert {"Retry-After", "X-Total", "X-Page"} <= {*shown}


@pytest.mark.real
def test_headers_that_the_server_writes_itself_can_be_removed() -> None:
    """By any spelling; and routes can be given as flags."""
    arguments = ("benchmarks.app:app", "--workers", "1", "--memory", "512M")
    removing = ("--remove-headers", "Date,Server", "--route", "GET /photos: timeout=3s")
    with Running(*arguments, *removing) as server:
        assert not {"date", "server"} & {name.lower() for name in server.get("/").headers}
        assert server.banner("removed") == "from responses: Date, Server"
        assert server.banner("route") == "GET /photos: timeout 3s"


@pytest.mark.real
def test_a_real_server_has_these_limits(tmp_path: Path) -> None:
    """Said by the banner, shared by its workers, and not in the way of health."""
    table = tmp_path / "limits.toml"
    table.write_text(
        '[tool.tonnage]\nmax_body = "1K"\nrate_limit = "20/1h"\n'
        '[tool.tonnage.routes."GET /photos/{id}"]\nrate_limit = "none"\n'
    )
    arguments = ("benchmarks.app:app", "--config", str(table), "--workers", "2", "--memory", "1G")
    with Running(*arguments) as server:
        assert server.banner("rates") == "20/1h for each client, then 429"
        assert server.banner("route") == "GET /photos/{id}: rate_limit none"
        large = server.request("POST", "/", b"x" * 1025, {"Content-Type": "application/json"})
        assert (large.status, large.headers["connection"]) == (413, "close")
        assert large.headers["content-type"] == "application/problem+json"
        statuses = Counter(server.get("/").status for _ in range(24))
        assert statuses == {200: 19, 429: 5}
        assert server.get("/photos/7").status != 429
        assert server.get("/health").status == 200

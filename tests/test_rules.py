"""The rules of a request: how they are written, and which route's are found."""

from __future__ import annotations

from typing import Any

import pytest
from tests.web.path.talk import request

from tonnage.errors import ConfigError
from tonnage.rules import MOST_REMEMBERED, RuleBook, Rules, read_rules
from tonnage.units import MIB


def book(*routes: str, **default: Any) -> RuleBook:
    """Return a book in which each of *routes* has a time of its own, from 1 s on."""
    limits = {name: {"timeout": 1 + index} for index, name in enumerate(routes)}
    return RuleBook(read_rules(default), limits)


def test_rules_are_read_as_people_write_them() -> None:
    """Sizes, times and switches as text or as numbers; names with hyphens too."""
    given = {
        "max-body": "1M",
        "max_upload": 2 * MIB,
        "max_response": "10 MB",
        "timeout": "30s",
        "rate_limit": "100/15m, 5/1s",
        "compress": "on",
        "decompress": True,
        "decompress-ratio": "50",
        "stream": "false",
    }
    rules = read_rules(given)
    assert (rules.max_body_bytes, rules.max_upload_bytes) == (MIB, 2 * MIB)
    assert (rules.max_response_bytes, rules.timeout_seconds) == (10 * MIB, 30.0)
    assert [str(limit.rate) for limit in rules.rate_limit] == ["100/15m", "5/1s"]
    assert (rules.compress, rules.decompress, rules.stream) == (True, True, False)
    assert rules.decompress_ratio == 50


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_bodi": "1M"}, "there is no rule 'max_bodi'"),
        ({"max_body": "many"}, "max_body='many'"),
        ({"timeout": 0}, "write none"),
        ({"compress": "perhaps"}, "true or false"),
        ({"rate_limit": "often"}, "rate_limit='often'"),
        ({"rate_limit": 3}, "rate_limit=3"),
        ({"max_body": True}, "max_body=True"),
        ({"max_body": 1.5}, "write for example 512M"),
        ({"rate_limit": 100}, "write for example 100/15m"),
        ({"rate_limit": [100]}, "write for example 100/15m"),
        ({"decompress_ratio": 0.5}, "write a number of 1 or more"),
        ({"decompress_ratio": "many"}, "write a number of 1 or more"),
        ({"decompress_ratio": True}, "write a number of 1 or more"),
        ({"decompress_ratio": "nan"}, "write a number of 1 or more"),
        ({3: "1M"}, "there is no rule 3"),
        ("1M", "write them as in {'max_body': '1M'}"),
    ],
)
def test_nonsense_names_route_and_rule(given: Any, said: str) -> None:
    """Whoever reads it finds the place."""
    with pytest.raises(ConfigError, match="POST /photos: ") as raised:
        RuleBook(Rules(), {"POST /photos": given})
    assert said in str(raised.value)


def test_a_route_has_what_it_does_not_say_from_all() -> None:
    """Only what differs is written."""
    rules = RuleBook(
        read_rules({"max_body": "1M", "timeout": 30}), {"POST /photos": {"max_body": "5M"}}
    ).find(request("POST /photos"))
    assert (rules.max_body_bytes, rules.timeout_seconds) == (5 * MIB, 30.0)
    assert rules.name == "POST /photos"


@pytest.mark.parametrize("none", [None, "none", " None "])
def test_none_takes_a_limit_away(none: Any) -> None:
    """In a TOML file there is no other way to say it."""
    given = {"max_body": "1M", "rate_limit": "1/1s", "compress": True, "decompress_ratio": 20}
    rules = read_rules(dict.fromkeys(given, none), read_rules(given))
    assert rules == Rules()


@pytest.mark.parametrize(
    ("route", "asked"),
    [
        ("POST /photos", "POST /photos"),
        ("post /photos", "POST /photos"),
        ("/photos", "DELETE /photos"),
        ("GET /photos/{id}", "GET /photos/17"),
        ("GET /photos/{id:int}/raw", "GET /photos/17/raw"),
        ("GET /photos/<int:id>", "GET /photos/17"),
        ("/static/{path:path}", "GET /static/css/a.css"),
        ("/static/<path:path>", "GET /static/css/a.css"),
        ("/static/{path:path}", "GET /static/a\nb"),
        ("GET /a.b", "GET /a.b"),
        ("GET /photos", "HEAD /photos"),
        ("PROPFIND /dav/{path:path}", "PROPFIND /dav/a"),
        ("/photos", "VERSION-CONTROL /photos"),
        ("/photos", "m-search2 /photos"),
        ("POST /photos", "post /photos"),
        ('GET /<regex("[a-z]{3}"):code>', "GET /abc"),
    ],
)
def test_a_route_is_found_by_method_and_path(route: str, asked: str) -> None:
    """As frameworks write their templates."""
    assert book(route).find(request(asked)).name == route


@pytest.mark.parametrize(
    ("route", "asked"),
    [
        ("POST /photos", "GET /photos"),
        ("POST /photos", "HEAD /photos"),
        ("GET /photos/{id}", "GET /photos/17/raw"),
        ("GET /photos/{id}", "GET /photos/"),
        ("GET /photos", "GET /photos/17"),
        ("GET /a.b", "GET /a-b"),
    ],
)
def test_other_requests_have_the_rules_of_all(route: str, asked: str) -> None:
    """A route is a whole path."""
    assert book(route).find(request(asked)).name == "default"


def test_the_first_route_that_fits_counts() -> None:
    """In the order written."""
    rules = book("GET /photos/new", "GET /photos/{id}")
    assert rules.find(request("GET /photos/new")).timeout_seconds == 1
    assert rules.find(request("GET /photos/1")).timeout_seconds == 2


def test_head_has_rules_of_its_own_where_they_are_written() -> None:
    """Those of GET are its only where there are none."""
    rules = book("GET /photos", "HEAD /photos")
    assert rules.find(request("HEAD /photos")).name == "HEAD /photos"


def test_opening_a_websocket_is_a_get() -> None:
    """It has no method in its scope."""
    scope = {"type": "websocket", "path": "/live", "headers": []}
    assert book("GET /live").find(scope).name == "GET /live"


@pytest.mark.parametrize(
    ("path", "root", "name"),
    [
        ("/api/photos", "/api", "GET /photos"),
        ("/api/photos", "/api/", "GET /photos"),
        ("/photos", "/api", "GET /photos"),
        ("/apix/photos", "/api", "default"),
    ],
)
def test_a_mounted_application_has_routes_below_its_mount(path: str, root: str, name: str) -> None:
    """As it is written in the application itself."""
    assert book("GET /photos").find(request(f"GET {path}", root_path=root)).name == name


def test_one_application_at_two_mounts_has_its_routes_in_both() -> None:
    """What is remembered of a path below one is not believed below the other."""
    rules = book("GET /photos")
    found = [rules.find(request("GET /api/photos", root_path=root)).name for root in ("", "/api")]
    assert found == ["default", "GET /photos"]


@pytest.mark.parametrize(
    "name",
    [
        *("", "photos", "POST photos", "PO ST /photos", "P0ST /photos", "PSOT /photos"),
        *(
            "POST /photos/{id",
            "POST /photos/id}",
            "/photos/<int:id",
            "/photos/{a/b}",
            "/photos?new=1",
        ),
    ],
)
def test_what_is_no_route_is_refused(name: str) -> None:
    """With an example of one."""
    with pytest.raises(ConfigError, match=r"POST /photos.*/photos/\{id\}"):
        book(name)


@pytest.mark.parametrize("routes", [["POST /photos"], "POST /photos", {3: {}}])
def test_routes_are_written_with_what_is_different_there(routes: Any) -> None:
    """The message shows how."""
    with pytest.raises(ConfigError, match=r"POST /photos"):
        RuleBook(Rules(), routes)


def test_invented_paths_take_no_memory_for_ever() -> None:
    """The table of paths is emptied where it is full, and long paths do not enter it."""
    rules = book("GET /photos/{id}")
    for number in range(MOST_REMEMBERED + 10):
        rules.find(request(f"GET /photos/{number}"))
    rules.find(request("GET /photos/" + "x" * 1000))
    assert rules.remembered == 10


@pytest.mark.parametrize(
    ("content_type", "limit_bytes"),
    [
        (b"", 1),
        (b"application/json; charset=utf-8", 1),
        (b"application/problem+JSON", 1),
        (b"application/x-www-form-urlencoded", 1),
        (b"text/csv", 1),
        (b"multipart/form-data; boundary=x", 2),
        (b"image/png", 2),
        (b"application/octet-stream", 2),
    ],
)
def test_files_have_a_limit_of_their_own(content_type: bytes, limit_bytes: int) -> None:
    """By the declared type: JSON, forms and texts are bodies, all else is an upload."""
    assert Rules(max_body_bytes=1, max_upload_bytes=2).body_limit_bytes(content_type) == limit_bytes


def test_one_limit_is_for_all_bodies() -> None:
    """Without one for uploads, theirs is that of bodies."""
    assert Rules(max_body_bytes=1).body_limit_bytes(b"image/png") == 1
    assert Rules(max_upload_bytes=2).body_limit_bytes(b"text/plain") is None

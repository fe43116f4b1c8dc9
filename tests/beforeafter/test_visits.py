"""What clients do: the same for each server, and as it goes on the wire."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from benchmarks.beforeafter.scenario import Scenario, read
from benchmarks.beforeafter.visits import Visitor, find, request_of
from tests.beforeafter.test_scenario import MINIMAL, WHOLE, write

MORE = """
[[visit]]
name = "buys"
weight = 3
[[visit.step]]
method = "POST"
path = "/buy/{what}?by={client}"
json = [{sku = "{what} {visit}", count = 2}, "{client}"]
[[visit.step]]
method = "POST"
path = "/pay"
form = {name = "A & {what}"}
[values]
what = ["a b", "c/d"]
"""


def scenario(directory: Path) -> Scenario:
    """Return one with a visit of weight 1 and one of weight 3."""
    return read(write(directory, MINIMAL + MORE))


def test_a_client_does_the_same_each_time(tmp_path: Path) -> None:
    """Drawn from the seed and the client's number, whatever the others do."""
    first, again = Visitor(scenario(tmp_path), 1), Visitor(scenario(tmp_path), 1)
    other = Visitor(scenario(tmp_path), 2)
    drawn = [first.draw() for _ in range(50)]

    assert [again.draw() for _ in range(50)] == drawn
    assert [visit for visit, _ in drawn] != [other.draw()[0] for _ in range(50)]


def test_visits_come_by_their_weight_and_have_numbers_of_their_own(tmp_path: Path) -> None:
    """Three in four buy; no two visits of any clients have one number."""
    visitors = [Visitor(scenario(tmp_path), number) for number in (1, 2)]
    drawn = [visitor.draw() for visitor in visitors for _ in range(400)]

    assert 500 < Counter(visit.name for visit, _ in drawn)["buys"] < 700
    numbers = [names["visit"] for _, names in drawn]
    numbers += [visitor.names["visit"] for visitor in visitors]
    assert len(set(numbers)) == len(numbers)


def test_names_are_filled_in_wherever_they_stand(tmp_path: Path) -> None:
    """Quoted in paths, as text in JSON and forms."""
    buys, pays = scenario(tmp_path).visits[1].steps
    names = {"what": "c/d", "client": "7", "visit": "47"}

    request = request_of(buys, names, {})
    assert request.path == "/buy/c%2Fd?by=7"
    assert json.loads(request.body) == [{"sku": "c/d 47", "count": 2}, "7"]
    head, _, body = request.encode().partition(b"\r\n\r\n")
    assert head.startswith(b"POST /buy/c%2Fd?by=7 HTTP/1.1\r\nhost: localhost\r\n")
    assert b"content-length: %d" % len(body) in head
    assert request_of(pays, names, {}).body == b"name=A+%26+c%2Fd"


def test_a_file_goes_as_a_form_sends_it(tmp_path: Path) -> None:
    """One part, with its field, its name and its type."""
    photo = read(write(tmp_path, WHOLE)).visits[0].steps[0]
    names = {"event": "3", "month": "2026-03", "token": "t"}

    request = request_of(photo, names, {"portrait.jpg": b"\xff\xd8"})
    assert request.headers["authorization"] == "Bearer t"
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    first, part, last = request.body.split(b"--" + boundary)
    assert (first, last) == (b"", b"--\r\n")
    assert b'name="photo"; filename="portrait.jpg"' in part
    assert part.endswith(b"\r\ncontent-type: image/jpeg\r\n\r\n\xff\xd8\r\n")


def test_what_is_kept_is_found_in_lists_too() -> None:
    """As in items.0.id."""
    assert find({"items": [{"id": 5}]}, "items.0.id") == 5

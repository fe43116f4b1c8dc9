"""What a client does, drawn from a scenario: the same for each server, however it answers.

    visitor = Visitor(scenario, number=7)
    visit, names = visitor.draw()
    request = request_of(visit.steps[0], names, uploads)

Each client draws from a generator of its own, seeded with the scenario's seed and its number, so
that a slow answer to one changes nothing for another. Pure: nothing is sent here.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

from benchmarks.beforeafter.scenario import NAME, Scenario, Step, Upload, Visit

_BOUNDARY: Final = "----before-after"


class Visitor:
    """One of the clients of *scenario*; *number* counts from 1.

    What a client keeps of an answer to one of its first steps goes into ``names``, and is known in
    each of its visits.
    """

    def __init__(self, scenario: Scenario, number: int) -> None:
        self.names = {"client": str(number), "visit": str(number), "record": "1"}
        self._scenario = scenario
        self._number = number
        self._visits = 0
        self._random = random.Random(f"{scenario.load.seed} {number}")
        self._weights = [visit.weight for visit in scenario.visits]
        self._draw_values(self.names)

    def draw(self) -> tuple[Visit, dict[str, str]]:
        """Return the next visit, and what its {names} stand for."""
        self._visits += 1
        (visit,) = self._random.choices(self._scenario.visits, self._weights)
        names = dict(self.names)
        # Unique over all clients: the first numbers are those of the clients themselves.
        names["visit"] = str(self._visits * self._scenario.load.clients + self._number)
        self._draw_values(names)
        return visit, names

    def _draw_values(self, names: dict[str, str]) -> None:
        for name, value in self._scenario.values.items():
            if isinstance(value, range):
                names[name] = str(self._random.randrange(value.start, value.stop))
            else:
                names[name] = self._random.choice(value)


@dataclass(frozen=True, slots=True)
class Request:
    """A request with nothing left open."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""

    def encode(self) -> bytes:
        """Return it as it goes on the wire."""
        headers = {"host": "localhost", "accept": "*/*", **self.headers}
        if self.body or self.method in ("POST", "PUT", "PATCH"):
            headers["content-length"] = str(len(self.body))
        lines = [f"{self.method} {self.path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def request_of(step: Step, names: Mapping[str, str], uploads: Mapping[str, bytes]) -> Request:
    """Return the request of *step*; *uploads* has the content of each file by its path."""
    headers = {name.lower(): fill(value, names) for name, value in step.headers.items()}
    body = b""
    if step.json is not None:
        headers.setdefault("content-type", "application/json")
        body = json.dumps(_filled(step.json, names)).encode()
    elif step.form:
        headers.setdefault("content-type", "application/x-www-form-urlencoded")
        body = urlencode(_filled(step.form, names)).encode()
    elif step.file is not None:
        headers.setdefault("content-type", f"multipart/form-data; boundary={_BOUNDARY}")
        body = _multipart(step.file, uploads[step.file.path])
    quoted = {name: quote(value, safe="") for name, value in names.items()}
    return Request(step.method, fill(step.path, quoted), headers, body)


def keys_of(step: Step, names: Mapping[str, str]) -> dict[str, list[str]]:
    """Return what *step* has stored once it has succeeded: keys, by kind."""
    count = len(step.json) if isinstance(step.json, list) else 1
    return {
        kind: [fill(key, {**names, "record": str(place)}) for place in range(1, count + 1)]
        for kind, key in step.stores.items()
    }


def fill(text: str, names: Mapping[str, str]) -> str:
    """Return *text* with each {name} replaced by what it stands for."""
    return NAME.sub(lambda found: names[found[1]], text)


def find(content: Any, path: str) -> Any:
    """Return what JSON *content* has at *path*, as in ``items.0.id``.

    Raises:
        LookupError, ValueError, TypeError: it has nothing there.
    """
    for part in path.split("."):
        content = content[int(part)] if isinstance(content, list) else content[part]
    return content


def _filled(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return fill(value, names)
    if isinstance(value, Mapping):
        return {key: _filled(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [
            _filled(each, {**names, "record": str(place)}) for place, each in enumerate(value, 1)
        ]
    return value


def _multipart(upload: Upload, content: bytes) -> bytes:
    name = upload.path.rpartition("/")[2]
    head = (
        f"--{_BOUNDARY}\r\n"
        f'content-disposition: form-data; name="{upload.field}"; filename="{name}"\r\n'
        f"content-type: {upload.type}\r\n\r\n"
    )
    return head.encode() + content + f"\r\n--{_BOUNDARY}--\r\n".encode()

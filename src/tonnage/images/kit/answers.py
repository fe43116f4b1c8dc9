"""What the routes answer: a job's status, its picture, and what is refused; pure.

A picture does not change, so its tag stands for it, and clients and proxies may keep it as long as
we do. Only they: it is somebody's photo (``private``).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tonnage.errors import RequestRefusedError
from tonnage.images.kit.status import State, Status
from tonnage.problem import Problem

if TYPE_CHECKING:
    from tonnage.images.kit.request import MountedRequest

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    status: int
    body: bytes = b""
    headers: Headers = ()

    def all_headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers to send, with the length where a body may be."""
        if self.status in (204, 304):
            return list(self.headers)
        return [*self.headers, (b"content-length", str(len(self.body)).encode())]


NOT_FOUND: Final = Problem(404, "no_such_job", "there is no such job, or not any more")
GONE: Final = Problem(410, "picture_gone", "the picture is not kept any more: send the photo again")
CANCELLED: Final = Problem(410, "job_cancelled", "the job was cancelled")
NOT_YET: Final = Problem(
    409,
    "not_done_yet",
    "the picture is not there yet: ask for the job's status, or follow its events",
    headers=((b"retry-after", b"1"),),
)
NO_CONTENT: Final = Reply(204, headers=((b"cache-control", b"no-store"),))


def not_allowed(allowed: str) -> Problem:
    """Return the refusal of a method where others are *allowed*."""
    detail = f"this can be asked for with {allowed}"
    return Problem(405, "method_not_allowed", detail, headers=((b"allow", allowed.encode()),))


def described(status: Status, prefix: str) -> dict[str, Any]:
    """Return *status* as JSON has it, with links below *prefix*."""
    own = f"{prefix}/{status.id}"
    links = {"self": own, "events": f"{own}/events"}
    if status.state is State.DONE:
        links["picture"] = f"{own}/picture"
    return status.described() | {"links": links}


def reply_with_status(code: int, status: Status, prefix: str) -> Reply:
    """Return *status* as an answer; 202 says too where to look, and how soon."""
    headers: Headers = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))
    if code == 202:
        location = f"{prefix}/{status.id}".encode()
        headers += ((b"location", location), (b"retry-after", b"1"))
    return Reply(code, json.dumps(described(status, prefix)).encode(), headers)


def reply_with_picture(
    request: MountedRequest, status: Status, content: bytes | None, now: float
) -> Reply:
    """Return the picture of *status*, or that the client has it.

    Raises:
        RequestRefusedError: it has left before its time: others needed the room.
    """
    made = status.made
    assert made is not None  # it is done
    tag = f'"{made.tag}"'
    age_seconds = max(0, int(status.until - now))
    headers: Headers = (
        (b"etag", tag.encode()),
        (b"cache-control", f"private, max-age={age_seconds}, immutable".encode()),
    )
    known = request.header(b"if-none-match")
    if known == "*" or tag in (each.strip().removeprefix("W/") for each in known.split(",")):
        return Reply(304, headers=headers)
    if content is None:
        raise RequestRefusedError(GONE)
    return Reply(
        200,
        content,
        (
            (b"content-type", made.media_type.encode()),
            (b"x-content-type-options", b"nosniff"),
            *headers,
        ),
    )


def why_no_picture(status: Status) -> Problem | None:
    """Return why there is no picture of *status*; None: there is."""
    match status.state:
        case State.DONE:
            return None
        case State.FAILED:
            return status.problem
        case State.CANCELLED:
            return CANCELLED
        case State.EXPIRED:
            return GONE
    return NOT_YET

"""What the tests of several frameworks ask."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests.support.server import Response, Running
from tests.support.waiting import await_true

# More than one buffer of any server in between.
UPLOAD_BYTES = 300_000
_BOUNDARY = "frontier"


def upload(server: Running, path: str = "/upload") -> Response:
    """Send a file of :data:`UPLOAD_BYTES` as a browser would."""
    head = (
        f"--{_BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="file"; filename="a.bin"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    body = head.encode() + b"x" * UPLOAD_BYTES + f"\r\n--{_BOUNDARY}--\r\n".encode()
    kind = f"multipart/form-data; boundary={_BOUNDARY}"
    return server.request("POST", path, body, {"Content-Type": kind})


def chunked(server: Running, path: str, *pieces: bytes, **headers: str) -> Response:
    """Send *pieces* as a body in chunks, whose length nobody is told."""
    # At once, since the connection may be closed as soon as the first ones are there.
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))
    return server.request("POST", path, body, {"Transfer-Encoding": "chunked", **headers})


def statuses(server: Running, path: str, *, clients: int, requests: int) -> Counter[int]:
    """Return how often each status was answered to *requests* requests by *clients* at a time."""
    with ThreadPoolExecutor(clients) as pool:
        return Counter(pool.map(lambda _: server.get(path).status, range(requests)))


def names_after_words(server: Running, path: str) -> set[str]:
    """Ask for three words below *path*; return the names of routes that figures have for them."""
    for word in ("apple", "pear", "plum"):
        assert server.get(f"{path}/{word}").body.decode() == word

    def counted() -> dict[str, int]:
        routes = server.get("/tonnage/state").json()["routes"]
        return {each["name"]: each["requests"] for each in routes if path in each["name"]}

    # Workers tell what they have counted once a second.
    await_true(lambda: sum(counted().values()) >= 3, f"the figures of {path}")
    return set(counted())

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
from tests.support.collector import hangs_at
from tests.web.path.uploads.forms import FORM_TYPE, field_part, file_part, form, png

from tonnage.web.path.uploads import (
    UploadBusyError,
    UploadCutError,
    UploadMalformedError,
    Uploads,
    UploadTooLargeError,
    UploadTooSlowError,
)


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    """Images of up to 1 MB, one at a time, and nobody waits long."""
    return Uploads(
        max_bytes="1M", types=["image/png"], directory=tmp_path, concurrent=1, wait="1ms"
    )


def environ(body: bytes, **changed: str | None) -> dict[str, Any]:
    """Return a WSGI request that carries *body*; None takes a variable away."""
    found: dict[str, Any] = {
        "CONTENT_TYPE": FORM_TYPE.decode(),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        **changed,
    }
    return {name: value for name, value in found.items() if value is not None}


def test_a_form(uploads: Uploads, tmp_path: Path) -> None:
    """Files and fields are there as they were sent, and gone after the block."""
    body = form(file_part("photo", "a.png", png(300_000)), field_part("title", b"Sun"))
    with uploads.receive_wsgi(environ(body)) as files:
        assert files["photo"].path.read_bytes() == png(300_000)
        assert files.field("title") == "Sun"
    with pytest.raises(ValueError, match="inside the block"):
        files["photo"].open()
    assert list(tmp_path.iterdir()) == []


def test_lengths(uploads: Uploads) -> None:
    """Never more is read than was announced; less is an error, and too much is refused unread."""
    whole = form(file_part("photo", "a.png", png()))
    more = io.BytesIO(whole + b"the next request")
    with uploads.receive_wsgi(environ(whole) | {"wsgi.input": more}):
        assert more.tell() == len(whole)
    with (
        pytest.raises(UploadCutError),
        uploads.receive_wsgi(environ(whole, CONTENT_LENGTH=str(len(whole) + 1))),
    ):
        pass
    unread = io.BytesIO(whole)
    with (
        pytest.raises(UploadTooLargeError),
        uploads.receive_wsgi(environ(whole, CONTENT_LENGTH="99999999") | {"wsgi.input": unread}),
    ):
        pass
    assert unread.tell() == 0


def test_without_a_length(uploads: Uploads) -> None:
    """Without a length there is no body, unless the server has taken chunks apart."""
    whole = form(file_part("photo", "a.png", png()))
    with (
        pytest.raises(UploadMalformedError),
        uploads.receive_wsgi(environ(whole, CONTENT_LENGTH=None)),
    ):
        pass
    with uploads.receive_wsgi(
        environ(whole, CONTENT_LENGTH="", HTTP_TRANSFER_ENCODING="chunked")
    ) as files:
        assert len(files) == 1


def test_busy(uploads: Uploads) -> None:
    """One is received at a time; the next one is refused after its wait."""
    body = form(file_part("photo", "a.png", png()))
    with (
        uploads.receive_wsgi(environ(body)),
        pytest.raises(UploadBusyError),
        uploads.receive_wsgi(environ(body)),
    ):
        pass
    with uploads.receive_wsgi(environ(body)):
        pass


def test_flask(uploads: Uploads, tmp_path: Path) -> None:
    """In Flask the request's environ is all that is needed, and a refusal is an answer."""
    app = flask.Flask(__name__)

    @app.post("/photos")
    def add() -> dict[str, str]:
        with uploads.receive_wsgi(flask.request.environ) as files:
            return {"name": files["photo"].move_to(tmp_path).name}

    client = app.test_client()
    data = {"photo": (io.BytesIO(png()), "../me.png", "image/png")}
    assert client.post("/photos", data=data).json == {"name": "me.png"}
    assert (tmp_path / "me.png").read_bytes() == png()


def test_a_full_queue(tmp_path: Path) -> None:
    """Who finds no place to wait in is refused at once, whatever its wait."""
    uploads = Uploads(directory=tmp_path, concurrent=1, waiting=0, wait="1h")
    body = form(file_part("photo", "a.png", png()))
    with (
        uploads.receive_wsgi(environ(body)),
        pytest.raises(UploadBusyError),
        uploads.receive_wsgi(environ(body)),
    ):
        pass
    assert uploads.statistics().receiving == 0


class Late(io.BytesIO):
    """A body of which each piece takes more than a millisecond."""

    def read(self, *size: int | None) -> bytes:
        """Read a piece, late."""
        begun = time.monotonic()
        while time.monotonic() - begun <= 0.001:
            pass
        return super().read(*size)


def test_a_slow_body(tmp_path: Path) -> None:
    """One that has taken longer than it may is refused, with what has come of it already."""
    uploads = Uploads(directory=tmp_path, within="1ms")
    body = form(file_part("photo", "a.png", png()))
    late = environ(body) | {"wsgi.input": Late(body)}
    with pytest.raises(UploadTooSlowError) as caught, uploads.receive_wsgi(late):
        pass
    assert caught.value.problem.status == 408
    assert uploads.statistics().receiving == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file", ["uploads/counting.py", "uploads/turns.py"])
def test_the_collector_may_find_a_response_that_no_server_has_closed_at_any_line(
    file: str, tmp_path: Path
) -> None:
    """Also while its thread takes the next turn, which then does not hang."""
    uploads = Uploads(directory=tmp_path, concurrent=2)
    body = form(file_part("photo", "a.png", png()))

    def respond() -> Iterator[bytes]:
        with uploads.receive_wsgi(environ(body)) as files:
            yield from (file.name.encode() for file in files)

    def leave() -> None:
        cycle: list[Any] = [respond()]
        next(cycle[0])
        cycle.append(cycle)

    def act() -> None:
        assert list(respond()) == [b"a.png"]
        uploads.statistics()

    assert hangs_at(file, leave, act) == []
    assert uploads.statistics().receiving == 0

"""Flask: a WSGI application, and its factory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.frameworks.asking import UPLOAD_BYTES, chunked, names_after_words, statuses, upload
from tests.support.server import Running
from tests.support.waiting import await_true

from tonnage.units import MIB

pytestmark = pytest.mark.real


@pytest.fixture(scope="module", params=["app", "create_app()"])
def server(request: pytest.FixtureRequest) -> Iterator[Running]:
    """Yield the application with one worker; the block's end asserts a clean stop."""
    target = f"tests.frameworks.flask_app:{request.param}"
    with Running(target, "--workers", "1") as running:
        yield running


def test_a_view_answers(server: Running) -> None:
    """It is found to be WSGI without being told."""
    assert server.get("/?name=you").body == b"hello you"


def test_an_upload_arrives_whole(server: Running) -> None:
    """``wsgi.input`` gives all of the body and then ends."""
    assert upload(server).json() == {"name": "a.bin", "bytes": UPLOAD_BYTES}


def test_a_body_in_chunks_arrives_whole(server: Running) -> None:
    """Although nobody has said how long it is; one that is too long is refused."""
    assert chunked(server, "/count", b"ab", b"c").json() == {"bytes": 3}
    refused = chunked(server, "/count", *[b"a" * MIB] * 17)
    assert (refused.status, refused.json()["error"]) == (411, "length_required")


def test_a_generator_is_streamed(server: Running) -> None:
    """Chunk by chunk, in order."""
    assert server.get("/rows").body.split() == [str(number).encode() for number in range(50)]


def test_the_environment_says_who_asks_for_what(server: Running) -> None:
    """As PEP 3333 has it, with a path that is not ASCII decoded once."""
    environ = server.get("/environ?a=b%20c").json()

    assert environ == {
        "wsgi.url_scheme": "http",
        "REMOTE_ADDR": "127.0.0.1",
        "PATH_INFO": "/environ",
        "SCRIPT_NAME": "",
        "QUERY_STRING": "a=b%20c",
    }


def test_more_requests_than_threads_are_answered(server: Running) -> None:
    """Those without a thread wait for one."""
    assert statuses(server, "/hold?mb=1&ms=10", clients=24, requests=48) == {200: 48}


def test_a_failure_is_one_answer_and_the_worker_goes_on(server: Running) -> None:
    """The traceback is in the log."""
    assert server.get("/fail").status == 500
    await_true(lambda: "LookupError: nothing here" in server.log, "the traceback in the log")
    assert server.get("/").status == 200


def test_a_route_has_the_name_that_its_rule_is_written_with(server: Running) -> None:
    """Whatever word stands in the path: or each would have figures of its own."""
    assert names_after_words(server, "/posts") == {"GET /posts/<slug>"}

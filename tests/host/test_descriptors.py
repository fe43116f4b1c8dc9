"""What a forked child may keep open."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator

import pytest
from tests.support.forking import fork, status_of

from tonnage.host.descriptors import close_all_but, close_served, open_descriptors

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Yield both ends of a pipe."""
    ends = os.pipe()
    yield ends
    for end in open_descriptors().intersection(ends):
        os.close(end)


def test_what_is_open_is_listed(pipe: tuple[int, int]) -> None:
    """And what is closed no more; the list's own descriptor is never in it."""
    reader, writer = pipe
    assert {reader, writer} <= open_descriptors()

    os.close(writer)

    assert writer not in open_descriptors()
    assert open_descriptors() == open_descriptors()


def test_a_descriptor_without_a_path_is_listed() -> None:
    """A deleted file's, for example: what it leads to does not exist."""
    fd = os.memfd_create("nowhere")
    assert fd in open_descriptors()
    os.close(fd)


def test_a_child_keeps_only_what_it_is_given(pipe: tuple[int, int]) -> None:
    """Its parent keeps everything, and a number that is not open is no error."""
    reader, writer = pipe
    never_open = max(open_descriptors()) + 100
    before = open_descriptors()

    def child() -> None:
        close_all_but({writer, never_open})
        os.write(writer, ",".join(map(str, sorted(open_descriptors()))).encode())

    assert status_of(fork(child)) == 0
    assert os.read(reader, 100) == str(writer).encode()
    assert open_descriptors() == before


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_child_lets_go_of_the_port_and_of_clients(pipe: tuple[int, int], host: str) -> None:
    """Connections to others, files, and what the application listens on itself stay open."""
    reader, writer = pipe
    with (
        socket.create_server((host, 0)) as listening,
        socket.create_server(("127.0.0.1", 0)) as own,
        socket.create_connection(listening.getsockname()) as client,
        listening.accept()[0] as accepted,
        open(os.devnull) as file,
        open(os.devnull) as named,
    ):
        kept = {own.fileno(), client.fileno(), file.fileno()}
        gone = {listening.fileno(), accepted.fileno(), named.fileno()}

        def child() -> None:
            close_served(listening, named.fileno())
            found = open_descriptors().intersection(kept | gone)
            os.write(writer, ",".join(map(str, sorted(found))).encode())

        assert status_of(fork(child)) == 0
        assert os.read(reader, 100) == ",".join(map(str, sorted(kept))).encode()
        assert open_descriptors() >= kept | gone

"""The supervisor's own sockets in its own loop: bounded, and giving back what is not theirs."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.server.test_actions import Hand
from tests.support.descriptors import no_descriptor_free

from tonnage.answer import Answer
from tonnage.governor.page import SharedPage
from tonnage.governor.statistics import read_statistics
from tonnage.ops.health import Health
from tonnage.server.actions import Actions
from tonnage.server.control import open_control
from tonnage.server.conversation import (
    DEADLINE_SECONDS,
    LONGEST_ANSWER_BYTES,
    MOST_CONNECTIONS,
)
from tonnage.server.frontdesk import MOST_UNSENT_BYTES, FrontDesk
from tonnage.server.messages import WORKERS, SupervisorChannel, WorkerChannel
from tonnage.server.reactor import Reactor
from tonnage.server.standin import MOST_HELD, PEEK_SECONDS

HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
MEMORY = b"GET /health/memory HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
RECLAIM = b"POST /reclaim HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
REPORT = b"GET /postmortems/long.txt HTTP/1.1\r\nHost: localhost\r\n\r\n"
LOOK = b"GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
PRESS = b"POST /ops/act/recycle?worker=1 HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
TOKEN = b"Authorization: Bearer opensesame\r\n"
WORK = b"GET /work HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Lobby:
    """A front desk, the app's port, and clients; the clock stands still unless it is set."""

    def __init__(self, stack: ExitStack) -> None:
        self.now_seconds = 100.0
        self.stack = stack
        self.reactor = Reactor()
        self.port = self.listen()
        self.hand, page = Hand(), SharedPage()
        self.actions = Actions(self.hand, lambda: read_statistics(page, 0))
        self.desk = FrontDesk(
            self.reactor,
            Health(page, where="supervisor"),
            admin_token="opensesame",
            listening=self.port,
            clock=lambda: self.now_seconds,
            page_path="/ops",
        )
        stack.callback(self.desk.close)

    def control(self) -> socket.socket:
        """Open and return a control socket."""
        directory = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="tonnage-"))
        path = Path(directory) / "1.sock"
        door = open_control(path)
        self.desk.open(door, trusted=True, path=path)
        return door

    def listen(self) -> socket.socket:
        """Return a listening port."""
        listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        listening.setblocking(False)
        return self.stack.enter_context(listening)

    def client(self, listening: socket.socket, data: bytes = b"") -> socket.socket:
        """Connect to *listening* and send *data*; what is not there at once is an error."""
        family = listening.family
        client = self.stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        client.connect(listening.getsockname())
        client.sendall(data)
        client.setblocking(False)
        return client

    def turn(self, times: int = 4) -> None:
        """Let the loop do what is due."""
        for _ in range(times):
            self.reactor.wait(0.0)

    def worker(self) -> tuple[WorkerChannel, SupervisorChannel]:
        """Return a channel to a worker, and the worker's end of it."""
        ours, theirs = WORKERS.pair()
        for end in (ours, theirs):
            end.setblocking(False)
            self.stack.callback(end.close)
        return ours, theirs


@pytest.fixture
def lobby() -> Iterator[Lobby]:
    """Yield a desk that nobody stands at."""
    with ExitStack() as stack:
        yield Lobby(stack)


def status(client: socket.socket) -> int:
    """Return the status that *client* has got."""
    return int(client.recv(65536).split()[1])


def is_idle(lobby: Lobby) -> bool:
    """Return whether nothing calls the loop: it waits for as long as it may."""
    begun = time.monotonic()
    lobby.reactor.wait(0.02)
    return time.monotonic() - begun >= 0.02


def received(worker: SupervisorChannel) -> int:
    """Return how many connections *worker* was handed and has not taken yet, and close them."""
    count = 0
    while (message := worker.receive()) is not None:
        count += 1
        for fd in message[1]:
            socket.socket(fileno=fd).close()
    return count


def test_a_door_answers(lobby: Lobby) -> None:
    """Health, to everyone; details only to those whom the door trusts or who prove it."""
    door = lobby.listen()
    lobby.desk.open(door, trusted=False)
    plain = lobby.client(door, HEALTH)
    forwarded = lobby.client(door, MEMORY % b"Forwarded: for=1.2.3.4\r\n")

    lobby.turn()

    assert (status(plain), status(forwarded)) == (200, 403)


def test_who_reaches_the_control_socket_is_trusted(lobby: Lobby) -> None:
    """Its permissions have decided; and its file goes when the desk closes."""
    door = lobby.control()
    path = Path(door.getsockname())
    client = lobby.client(door, MEMORY % b"Forwarded: for=1.2.3.4\r\n")

    lobby.turn()

    assert status(client) == 200
    lobby.desk.close()
    assert not path.exists()


def test_a_desk_that_is_closed_twice_leaves_the_next_servers_socket(lobby: Lobby) -> None:
    """The supervisor closes it when it ends, and so does whoever clears up after that."""
    path = Path(lobby.control().getsockname())
    lobby.desk.close()

    with open_control(path):
        lobby.desk.close()

        assert path.exists()


def test_actions_are_for_the_control_socket(lobby: Lobby) -> None:
    """Another door wants the token for them, and the app's port has none of them."""
    door = lobby.listen()
    lobby.desk.open(door, trusted=False)
    lobby.desk.offer(lobby.actions)
    lobby.desk.stand_in(stuck=True, awake=[])
    inside = lobby.client(lobby.control(), RECLAIM % b"")
    outside = lobby.client(door, RECLAIM % b"")
    known = lobby.client(door, RECLAIM % b"Authorization: Bearer opensesame\r\n")
    app = lobby.client(lobby.port, RECLAIM % b"Authorization: Bearer opensesame\r\n")

    lobby.turn(8)

    assert (status(inside), status(outside), status(known)) == (202, 403, 202)
    assert lobby.hand.asked == [("reclaim",)] * 2
    with pytest.raises(BlockingIOError):
        app.recv(1)


def test_before_there_are_actions_only_health_is_answered(lobby: Lobby) -> None:
    """The supervisor is still being made."""
    door = lobby.control()
    clients = [lobby.client(door, data) for data in (RECLAIM % b"", HEALTH)]

    lobby.turn()

    assert [status(client) for client in clients] == [404, 200]


def test_a_long_answer_is_sent_as_it_is_read(lobby: Lobby) -> None:
    """And the loop rests while nobody reads it."""
    text = "x" * LONGEST_ANSWER_BYTES
    lobby.hand.reports = {"long": {"text": text}}
    lobby.desk.offer(lobby.actions)
    client = lobby.client(lobby.control(), REPORT)
    lobby.turn()
    assert is_idle(lobby)

    got = b""
    while not got.endswith(text.encode()):
        try:
            got += client.recv(65536)
        except BlockingIOError:
            lobby.turn(1)

    lobby.turn(1)
    assert client.recv(1) == b""


def test_answers_that_nobody_reads_are_bounded(lobby: Lobby) -> None:
    """All together: one too many is ended, and who asks for little is answered still."""
    lobby.hand.reports = {"long": {"text": "x" * LONGEST_ANSWER_BYTES}}
    lobby.desk.offer(lobby.actions)
    door = lobby.control()
    readers = []
    for _ in range(MOST_CONNECTIONS // 2):
        readers.append(lobby.client(door, REPORT))
        lobby.turn(2)
    last = lobby.client(door, HEALTH)
    lobby.turn()

    left = [unread for unread in map(unread_bytes, readers) if unread]
    assert sum(left) <= MOST_UNSENT_BYTES
    assert 0 < len(left) < len(readers)
    assert status(last) == 200


def unread_bytes(client: socket.socket) -> int:
    """Return how much of a report is still to come to *client*; 0 if its connection was ended."""
    got = 0
    try:
        while data := client.recv(65536):
            got += len(data)
    except BlockingIOError:
        return LONGEST_ANSWER_BYTES - got
    return 0


def test_who_cannot_be_taken_for_want_of_a_descriptor_waits(lobby: Lobby) -> None:
    """On both doors; the loop rests meanwhile, and each is answered when there is one again."""
    door = lobby.listen()
    lobby.desk.open(door, trusted=False)
    lobby.desk.stand_in(stuck=True, awake=[])
    clients = [lobby.client(door, HEALTH), lobby.client(lobby.port, HEALTH)]
    with no_descriptor_free():
        lobby.turn()
        assert is_idle(lobby)

    lobby.desk.tidy()
    lobby.desk.stand_in(stuck=True, awake=[])
    lobby.turn()

    assert [status(client) for client in clients] == [200, 200]


def test_silent_clients_are_bounded(lobby: Lobby) -> None:
    """One more than fit is turned away, and all that say nothing in time."""
    door = lobby.listen()
    lobby.desk.open(door, trusted=False)
    silent = [lobby.client(door) for _ in range(MOST_CONNECTIONS)]
    lobby.turn(2 * MOST_CONNECTIONS)
    too_many = lobby.client(door, HEALTH)
    lobby.turn()
    with pytest.raises(ConnectionResetError):
        too_many.recv(1)

    lobby.now_seconds += DEADLINE_SECONDS
    lobby.desk.tidy()
    late = lobby.client(door, HEALTH)
    lobby.turn()

    assert status(late) == 200
    assert silent[0].recv(1) == b""


def test_the_port_is_left_alone_while_workers_turn(lobby: Lobby) -> None:
    """It is theirs."""
    lobby.desk.stand_in(stuck=False, awake=[])
    client = lobby.client(lobby.port, HEALTH)

    lobby.turn()

    with pytest.raises(BlockingIOError):
        client.recv(1)


def test_while_all_are_stuck_health_is_answered_on_the_port(lobby: Lobby) -> None:
    """And whatever else came is handed to a worker once one is free."""
    ours, theirs = lobby.worker()
    lobby.desk.stand_in(stuck=True, awake=[])
    health, work, silent = (lobby.client(lobby.port, data) for data in (HEALTH, WORK, b""))
    lobby.turn(8)
    assert status(health) == 200
    assert received(theirs) == 0

    lobby.desk.stand_in(stuck=False, awake=[ours])

    assert received(theirs) == 2
    for client in (work, silent):
        assert client.fileno() > 0
    new = lobby.client(lobby.port, HEALTH)
    lobby.turn()
    with pytest.raises(BlockingIOError):
        new.recv(1)


def test_who_dawdles_is_not_looked_at_for_ever(lobby: Lobby) -> None:
    """A head that does not end is a worker's to judge, and no work for the loop meanwhile."""
    ours, theirs = lobby.worker()
    lobby.desk.stand_in(stuck=True, awake=[])
    lobby.client(lobby.port, WORK[:10])
    lobby.turn()
    for _ in range(3):
        lobby.desk.stand_in(stuck=True, awake=[])
        assert is_idle(lobby)
    lobby.now_seconds += PEEK_SECONDS
    lobby.desk.stand_in(stuck=True, awake=[])
    assert is_idle(lobby)

    lobby.desk.stand_in(stuck=False, awake=[ours])

    assert received(theirs) == 1


def test_a_head_in_pieces_is_looked_at_again(lobby: Lobby) -> None:
    """Not by the loop, which its first piece would call without end, but at the next round."""
    lobby.desk.stand_in(stuck=True, awake=[])
    client = lobby.client(lobby.port, HEALTH[:9])
    lobby.turn()
    client.sendall(HEALTH[9:])
    assert is_idle(lobby)
    with pytest.raises(BlockingIOError):
        client.recv(1)

    lobby.desk.stand_in(stuck=True, awake=[])

    assert status(client) == 200


def test_more_than_can_be_held_stay_in_the_kernels_queue(lobby: Lobby) -> None:
    """And are not lost: once there is room, the port is looked at again."""
    ours, theirs = lobby.worker()
    lobby.desk.stand_in(stuck=True, awake=[])
    for _ in range(MOST_HELD):
        lobby.client(lobby.port, WORK)
        # Taken, then looked at; the kernel's own queue would not hold all of them.
        lobby.turn(2)
    waiting = lobby.client(lobby.port, HEALTH)
    lobby.turn()
    with pytest.raises(BlockingIOError):
        waiting.recv(1)

    # What does not fit into the channel at once follows when the worker has read.
    handed = 0
    while handed < MOST_HELD:
        lobby.desk.stand_in(stuck=False, awake=[ours])
        taken = received(theirs)
        assert taken
        handed += taken
    assert handed == MOST_HELD
    lobby.desk.stand_in(stuck=True, awake=[])
    lobby.turn()

    assert status(waiting) == 200


def test_before_workers_end_all_is_given_back_to_them(lobby: Lobby) -> None:
    """Also to who is stuck: it reads of the end after them. What is in the queue stays there."""
    ours, theirs = lobby.worker()
    lobby.desk.stand_in(stuck=True, awake=[])
    for data in (WORK, b""):
        lobby.client(lobby.port, data)
    lobby.turn(8)

    lobby.desk.hand_back([ours])
    late = lobby.client(lobby.port, WORK)
    lobby.turn()

    assert received(theirs) == 2
    assert is_idle(lobby)
    lobby.port.accept()[0].close()
    assert late.fileno() > 0


def test_closing_while_standing_in_is_harmless(lobby: Lobby) -> None:
    """Twice as well."""
    lobby.desk.stand_in(stuck=True, awake=[])
    lobby.client(lobby.port, WORK)
    lobby.turn()

    lobby.desk.close()
    lobby.desk.close()


# Views, and questions of workers.


def shown(lobby: Lobby) -> None:
    """Have the desk show something."""
    lobby.desk.offer(lobby.actions)
    lobby.desk.views.add({"/ops/state": lambda query: Answer(200, query.encode())})
    lobby.desk.views.add({"/metrics": lambda query: Answer(200, b"")})


def test_views_are_for_operators(lobby: Lobby) -> None:
    """On the control socket, by the token, and from this machine without a proxy."""
    shown(lobby)
    door = lobby.listen()
    lobby.desk.open(door, trusted=False)
    path = b"/ops/state?a=1"
    clients = [
        lobby.client(lobby.control(), LOOK % (path, b"Via: a\r\n")),
        lobby.client(door, LOOK % (path, b"")),
        lobby.client(door, LOOK % (path, b"Via: a\r\n" + TOKEN)),
        lobby.client(door, LOOK % (path, b"Via: a\r\n")),
        lobby.client(door, LOOK % (path, b"Origin: https://evil.example\r\n")),
        lobby.client(door, LOOK % (b"/ops/other", b"")),
        lobby.client(door, (LOOK % (path, b"")).replace(b"GET", b"POST")),
    ]

    lobby.turn(10)

    assert [status(client) for client in clients] == [200, 200, 200, 403, 403, 404, 405]


def test_a_view_that_fails_ends_nothing(lobby: Lobby) -> None:
    """It is logged, and the next is answered."""

    def fail(query: str) -> Answer:
        raise RuntimeError("s3cret")

    lobby.desk.views.add({"/fails": fail, "/works": lambda query: Answer(200, b"")})
    door = lobby.control()
    clients = [lobby.client(door, LOOK % (path, b"")) for path in (b"/fails", b"/works")]

    lobby.turn(8)

    answer = clients[0].recv(65536)
    assert (int(answer.split()[1]), status(clients[1])) == (500, 200)
    assert b"s3cret" not in answer


def test_a_worker_asks_by_a_descriptor(lobby: Lobby) -> None:
    """For whom it has let in: as on the control socket."""
    shown(lobby)
    ours, theirs = socket.socketpair()
    lobby.stack.enter_context(theirs)
    theirs.sendall(LOOK % (b"/ops/state", b""))
    lobby.desk.converse([ours.detach()])

    lobby.turn()

    assert status(theirs) == 200


def test_workers_questions_are_bounded_as_others_are(lobby: Lobby) -> None:
    """Beyond that they find their end closed."""
    pairs = [socket.socketpair() for _ in range(MOST_CONNECTIONS + 1)]
    for _, theirs in pairs:
        lobby.stack.enter_context(theirs)
    lobby.desk.converse(ours.detach() for ours, _ in pairs)

    assert pairs[-1][1].recv(1) == b""
    pairs[0][1].setblocking(False)
    with pytest.raises(BlockingIOError):
        pairs[0][1].recv(1)


def test_buttons_of_the_page_act(lobby: Lobby) -> None:
    """On the admin port for whom the page may let; the action itself is below the page."""
    shown(lobby)
    door = lobby.listen()
    lobby.desk.open(door, trusted=False)
    presses = [TOKEN, b"", b"X-Tonnage-Action: 1\r\nSec-Fetch-Site: same-origin\r\n"]
    clients = [lobby.client(door, PRESS % headers) for headers in presses]
    elsewhere = lobby.client(door, (PRESS % TOKEN).replace(b"/ops/act", b"/opsact"))
    unknown = lobby.client(door, (PRESS % TOKEN).replace(b"recycle", b"nosuch"))

    lobby.turn(8)

    assert [status(client) for client in clients] == [202, 403, 403]
    assert (status(elsewhere), status(unknown)) == (404, 404)
    assert lobby.hand.asked == [("recycle", 1)]


def test_while_all_are_stuck_operators_see_the_page(lobby: Lobby) -> None:
    """And can have the stuck worker replaced; all others wait for it."""
    shown(lobby)
    lobby.desk.stand_in(stuck=True, awake=[])
    look = lobby.client(lobby.port, LOOK % (b"/ops/state", b""))
    press = lobby.client(lobby.port, PRESS % TOKEN)
    others = [
        lobby.client(lobby.port, data)
        for data in (
            LOOK % (b"/ops/state", b"Via: a\r\n"),
            LOOK % (b"/ops/other", b""),
            LOOK % (b"/metrics", b""),
            PRESS % b"",
            RECLAIM % TOKEN,
        )
    ]

    lobby.turn(12)

    assert (status(look), status(press)) == (200, 202)
    assert lobby.hand.asked == [("recycle", 1)]
    for other in others:
        with pytest.raises(BlockingIOError):
            other.recv(1)

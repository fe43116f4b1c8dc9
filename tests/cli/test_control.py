"""The commands for a running server, against the supervisor's own front desk in a thread."""

from __future__ import annotations

import argparse
import io
import json
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.server.test_actions import NAME, Hand

from tonnage import Cache
from tonnage.cli.client import Client, ServerChoice, find_server, running_servers
from tonnage.cli.control import COMMANDS, REPORT_SECONDS, Desk, Page
from tonnage.cli.main import main
from tonnage.errors import ActionError, UsageError
from tonnage.governor.page import SharedPage
from tonnage.governor.statistics import read_statistics
from tonnage.ops.health import Health
from tonnage.server.actions import Actions
from tonnage.server.control import server_name, take_control
from tonnage.server.frontdesk import FrontDesk
from tonnage.server.postmortem.shelf import Shelf
from tonnage.server.reactor import Reactor
from tonnage.units import MIB

RECLAIMED = {
    "state": "done",
    "freed_bytes": 48 * MIB,
    "by": {"allocator": 30 * MIB, "collection": 18 * MIB},
    "workers": [{"worker": 0, "freed_bytes": 40 * MIB}, {"worker": 1, "freed_bytes": 8 * MIB}],
}
TRACED = {"state": "done", "leaks": [], "report": {"lines": []}, "text": "app.py:14 leaks\n"}


class Place:
    """A user's runtime directory, and servers that run there."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.environ = {"XDG_RUNTIME_DIR": str(directory), "TMPDIR": str(directory / "none")}
        self._stack = stack

    def serve(self, hand: Hand, name: str) -> Path:
        """Start a front desk called *name* in a thread, and return its control socket's path."""
        reactor, page = Reactor(), SharedPage()
        ends, wake = socket.socketpair()
        over = threading.Event()
        control = take_control(name, self.environ)
        desk = FrontDesk(
            reactor,
            Health(page),
            admin_token=None,
            listening=self._stack.enter_context(socket.create_server(("127.0.0.1", 0))),
            clock=lambda: 0.0,
        )
        desk.offer(Actions(hand, lambda: read_statistics(page, 0)))
        desk.open(control.socket, trusted=True, path=control.path)
        reactor.register(ends, over.set)

        def turn() -> None:
            while not over.is_set():
                reactor.wait(5.0)
            desk.close()

        thread = threading.Thread(target=turn)
        thread.start()

        def stop() -> None:
            wake.send(b"x")
            thread.join()
            ends.close()
            wake.close()

        self._stack.callback(stop)
        return control.path


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Yield a place where no server runs yet, which is the user's own for the commands."""
    # Short: a Unix socket's path may have 107 bytes.
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="tonnage-"))
        place = Place(Path(directory), stack)
        for name, value in place.environ.items():
            monkeypatch.setenv(name, value)
        yield place


@pytest.fixture
def hand(place: Place) -> Hand:
    """Return the operator of the one server that runs."""
    hand = Hand()
    place.serve(hand, "127.0.0.1-8000")
    return hand


Printed = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("arguments", "name", "shown"),
    [
        ([], None, "2 worker(s) clear all caches\n"),
        (["events"], "events", "2 worker(s) clear events\n"),
    ],
)
def test_cache_clear_empties_one_or_all(
    hand: Hand, capsys: Printed, arguments: list[str], name: str | None, shown: str
) -> None:
    """And says so."""
    # Whatever other tests have made in this process, there is one of this name.
    assert Cache[int]("events").name == "events"
    assert main(["cache", "clear", *arguments]) == 0

    assert hand.asked == [("clear", name)]
    assert capsys.readouterr().out == shown


def test_a_cache_can_only_be_cleared(hand: Hand, capsys: Printed) -> None:
    """Whoever forgets to say so does not see everything go."""
    for arguments in ([], ["events"]):
        assert main(["cache", *arguments]) == 2
        assert "tonnage cache --help" in capsys.readouterr().err
    assert hand.asked == []


def test_reclaim_shows_what_came_free(hand: Hand, capsys: Printed) -> None:
    """Once the workers have answered; by what freed it, and by worker."""
    hand.reclaims = [{"state": "running"}, RECLAIMED]

    assert main(["reclaim"]) == 0

    assert hand.asked == [("reclaim",)]
    assert capsys.readouterr().out.splitlines() == [
        "48 MB came back from 2 worker(s)",
        "  allocator   30 MB",
        "  collection  18 MB",
        "  worker 0    40 MB",
        "  worker 1    8 MB",
    ]


def test_reclaim_names_who_does_not_answer(hand: Hand, capsys: Printed) -> None:
    """With where to look."""
    hand.reclaims = [{"state": "done", "freed_bytes": 0, "by": {}, "unanswered": [0, 2]}]

    assert main(["reclaim"]) == 0

    assert capsys.readouterr().out.splitlines()[1:] == [
        "no answer from worker 0, 2: perhaps stuck in a blocking call; `tonnage status` shows it"
    ]


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["recycle"], ("recycle", None)),
        (["recycle", "--worker", "1"], ("recycle", 1)),
        (["recycle", "--port", "8000"], ("recycle", None)),
        (["recycle", "--host", "localhost", "--port=8000"], ("recycle", None)),
        (["leaks"], ("trace", None, 10.0)),
        (["leaks", "--seconds", "1m", "--worker", "0"], ("trace", 0, 60.0)),
        (["postmortem", NAME], ("postmortem", NAME)),
        (["postmortem", f"{NAME}.txt"], ("postmortem", NAME)),
    ],
)
def test_arguments_reach_the_server(
    hand: Hand, arguments: list[str], asked: tuple[object, ...]
) -> None:
    """As they were meant."""
    hand.traces = [TRACED]
    hand.reports = {NAME: {"text": "dead"}}

    assert main(arguments) == 0
    assert hand.asked == [asked]


def test_what_was_begun_is_told(hand: Hand, capsys: Printed) -> None:
    """The server's sentence."""
    main(["recycle"])

    assert capsys.readouterr().out == "all workers are replaced in turn\n"


def test_leaks_waits_for_the_report(hand: Hand, capsys: Printed) -> None:
    """Without a word meanwhile, unless a person watches."""
    hand.traces = [{"state": "running"}, TRACED]

    assert main(["leaks"]) == 0
    assert capsys.readouterr() == ("app.py:14 leaks\n", "")


def test_the_newest_report_is_shown(hand: Hand, capsys: Printed) -> None:
    """Unless another is named."""
    hand.reports = {NAME: {"text": "the kernel killed worker 1\n"}, "older": {"text": "crashed"}}

    assert main(["postmortem"]) == 0
    assert capsys.readouterr().out == "the kernel killed worker 1\n"
    assert main(["postmortem", "older"]) == 0
    assert capsys.readouterr().out == "crashed\n"


def test_reports_are_listed(hand: Hand, capsys: Printed) -> None:
    """A line each; the name is what `postmortem` takes."""
    hand.reports = {NAME: {}, "older": {}}

    assert main(["postmortem", "--list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{NAME}  about {NAME}",
        "older                         about older",
    ]


OTHERS = {"application": "other:app in /srv/other", "is_own": False}


def test_what_happened_to_whoever_had_the_port_before_is_not_shown_unasked(
    hand: Hand, capsys: Printed
) -> None:
    """The list has it, and says whose it is."""
    hand.reports = {"newest": OTHERS | {"text": "not mine"}, NAME: {"text": "mine\n"}}

    assert main(["postmortem"]) == 0
    assert capsys.readouterr().out == "mine\n"
    assert main(["postmortem", "--list"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("about newest (of other:app in /srv/other)")
    assert second == f"{NAME}  about {NAME}"

    del hand.reports[NAME]
    assert main(["postmortem"]) == 0
    assert capsys.readouterr().out == (
        "no reports: no worker has died, and no request has run out of memory; "
        "on other applications there are 1: --list shows them\n"
    )


def test_left_behind_the_newest_of_the_application_here_is_shown(
    tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is none of it, the newest of any, which says whose it is."""
    reports, here = tmp_path / "reports", tmp_path / "shop"
    here.mkdir()
    shelve(reports, "worker 1 was killed", application=f"main:app in {here}")
    shelve(reports, "worker 1 crashed", at_seconds=60.0, application="main:app in /srv/other")
    shown = ["postmortem", "--report-dir", str(reports)]

    monkeypatch.chdir(here)
    assert main(shown) == 0
    assert "worker 1 was killed\n" in capsys.readouterr().out
    assert main([*shown, "--list"]) == 0
    assert "worker 1 crashed (of main:app in /srv/other)\n" in capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    assert main(shown) == 0
    out = capsys.readouterr().out
    assert "worker 1 crashed\n" in out
    assert "  application: main:app in /srv/other\n" in out


def shelve(directory: Path, summary: str, *, at_seconds: float = 0.0, application: str = "") -> str:
    """Put a report into *directory* as a server does; return its name."""
    text = f"1970-01-01 00:00:00 UTC: {summary}\n\nWhat happened\n"
    if application:
        text += f"  application: {application}\n"
    report = {"summary": summary, "cause": {"kind": "oom"}}
    path = Shelf(directory, 9, minor=frozenset()).put(
        report, text, at_seconds=at_seconds, worker=1, cause="oom"
    )
    return path.stem


def test_reports_outlive_their_server(place: Place, capsys: Printed) -> None:
    """They are read where it kept them, the newest first, when it is gone."""
    control = take_control("127.0.0.1-8000", place.environ)
    control.socket.close()
    beside = control.path.with_suffix(".reports")
    name = shelve(beside, "worker 1 was braked")
    last = shelve(beside, "worker 1 was killed", at_seconds=60.0)

    assert main(["postmortem"]) == 0
    assert "UTC: worker 1 was killed\n" in capsys.readouterr().out
    assert main(["postmortem", "--list", "--port", "8000"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{last}  worker 1 was killed",
        f"{name}  worker 1 was braked",
    ]
    assert main(["postmortem", f"{name}.txt", "--json", "--control", str(control.path)]) == 0
    assert json.loads(capsys.readouterr().out)["summary"] == "worker 1 was braked"
    assert main(["postmortem", "--port", "7000"]) == 1
    assert "no running server of this user is found" in capsys.readouterr().err


def test_a_running_server_is_asked_for_its_reports(hand: Hand, place: Place) -> None:
    """Not the directory of another one that is gone."""
    hand.reports = {NAME: {"text": "killed"}}
    gone = take_control("127.0.0.1-9000", place.environ)
    gone.socket.close()
    shelve(gone.path.with_suffix(".reports"), "worker 1 was braked")

    assert main(["postmortem"]) == 0
    assert hand.asked == [("postmortem", NAME)]
    assert main(["postmortem", "--port", "9000"]) == 0
    assert hand.asked == [("postmortem", NAME)]


@pytest.mark.usefixtures("hand")
def test_a_directory_of_reports_can_be_named(
    tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch, place: Place
) -> None:
    """As an argument, server or none; in the environment, where none runs."""
    shelve(tmp_path, "worker 1 was killed")

    assert main(["postmortem", "--report-dir", str(tmp_path)]) == 0
    assert "worker 1 was killed" in capsys.readouterr().out
    assert main(["postmortem", "never", "--report-dir", str(tmp_path)]) == 1
    assert f"there is no report of this name in {tmp_path}" in capsys.readouterr().err
    assert main(["postmortem", "--report-dir", str(tmp_path / "none")]) == 1
    assert "cannot read" in capsys.readouterr().err

    monkeypatch.setenv("TONNAGE_REPORT_DIR", str(tmp_path))
    assert main(["postmortem", "--port", "9000"]) == 0
    assert "worker 1 was killed" in capsys.readouterr().out


@pytest.mark.usefixtures("hand")
def test_status_is_a_few_lines(capsys: Printed) -> None:
    """Of the server that runs; or all of it as JSON."""
    assert main(["status"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("memory OK for ")
    assert "0 of 0 workers ready" in printed

    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["workers"] == []


@pytest.mark.parametrize("arguments", [["postmortem"], ["postmortem", "--list"]])
def test_no_report_is_good_news(hand: Hand, arguments: list[str], capsys: Printed) -> None:
    """And no failure."""
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("no reports: no worker has died")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["reclaim"], RECLAIMED),
        (["recycle"], {"worker": None, "detail": "all workers are replaced in turn"}),
        (["leaks"], TRACED),
        (["postmortem"], {"cause": "oom"}),
        (["postmortem", "--list"], [{"name": NAME, "summary": f"about {NAME}"}]),
    ],
)
def test_json_is_the_servers_own(
    hand: Hand, arguments: list[str], expected: object, capsys: Printed
) -> None:
    """Whole, and nothing else is printed."""
    hand.reclaims, hand.traces = [RECLAIMED], [TRACED]
    hand.reports = {NAME: {"cause": "oom", "text": "killed"}}

    assert main([*arguments, "--json"]) == 0

    printed = capsys.readouterr()
    assert json.loads(printed.out) == expected
    assert printed.err == ""


def test_a_refusal_is_status_1_with_its_reason(hand: Hand, capsys: Printed) -> None:
    """On one line, and nothing is printed."""
    hand.refusal = "worker 1 is being\nreplaced already"

    assert main(["recycle", "--worker", "1"]) == 1
    assert capsys.readouterr() == ("", "tonnage: error: worker 1 is being replaced already\n")


def test_a_trace_that_ends_without_a_report_is_status_1(hand: Hand, capsys: Printed) -> None:
    """With the reason, if the server knows one."""
    hand.traces = [{"state": "idle", "detail": "worker 0 has died"}]

    assert main(["leaks"]) == 1
    assert "the trace has no report: worker 0 has died" in capsys.readouterr().err


def test_a_report_that_is_not_there_is_status_1(hand: Hand, capsys: Printed) -> None:
    """Nor one somewhere else on the disk."""
    for name in ("never", "../../etc/passwd", "a b?c"):
        assert main(["postmortem", name]) == 1
        assert "there is no report of this name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recycle", "--worker", "99"], "worker='99' is no worker"),
        (["leaks", "--seconds", "tomorrow"], "seconds='tomorrow' is not a duration from 0.5"),
        (["recycle", "--worker", "all"], "argument --worker: invalid int value: 'all'"),
        (["reclaim", "--port", "1", "--uds", "x"], "argument --uds: not allowed with"),
        (["reclaim", "--host", "x", "--uds", "x"], "--host goes with --port"),
        (["postmortem", NAME, "--list"], "leave the name away"),
        (["reclaim", "now"], "unrecognized arguments: now"),
    ],
)
def test_mistakes_are_status_2(
    hand: Hand, arguments: list[str], message: str, capsys: Printed
) -> None:
    """One line, and nothing is done."""
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert message in printed.err
    assert hand.asked == []


def test_without_a_server_it_is_told(place: Place, capsys: Printed) -> None:
    """With what to do; a file that a killed server left behind is none."""
    take_control("127.0.0.1-8000", place.environ).socket.close()

    assert main(["reclaim"]) == 1
    assert "no running server of this user is found: start one" in capsys.readouterr().err


def test_of_several_servers_one_must_be_chosen(place: Place, capsys: Printed) -> None:
    """All are named, with what to write; each can be chosen by its address or by its socket."""
    hands = Hand(), Hand(), Hand()
    web = place.environ["XDG_RUNTIME_DIR"] + "/web.sock"
    names = "0.0.0.0-8000", "127.0.0.1-9000", server_name(web)
    paths = [place.serve(hand, name) for hand, name in zip(hands, names, strict=True)]

    assert main(["recycle"]) == 2
    told = capsys.readouterr().err
    assert "3 servers are running: choose one with --port 8000 (" in told
    assert f"--control {paths[2]}" in told
    assert all(str(path) in told for path in paths)
    assert main(["recycle", "--host", "127.0.0.1", "--port", "8000"]) == 0
    assert main(["recycle", "--port", "9000"]) == 0
    assert main(["recycle", "--uds", web]) == 0
    assert main(["recycle", "--control", str(paths[1])]) == 0
    assert [len(hand.asked) for hand in hands] == [1, 2, 1]
    assert main(["recycle", "--port", "7000"]) == 1
    assert "no running server listens on --port 7000" in capsys.readouterr().err


def test_a_server_beside_another_with_its_address_is_found(place: Place) -> None:
    """Both are; the socket tells them apart."""
    first, second = (place.serve(Hand(), "127.0.0.1-8000") for _ in range(2))

    assert running_servers(place.environ) == sorted([first, second])
    with pytest.raises(UsageError, match="2 servers are running"):
        find_server(ServerChoice(port=8000), place.environ)


def test_the_callers_own_runtime_directory_decides(place: Place, tmp_path: Path) -> None:
    """Of two with one address: whoever sets XDG_RUNTIME_DIR means the server that has it too."""
    own = place.serve(Hand(), "127.0.0.1-8000")
    runtime = place.environ["XDG_RUNTIME_DIR"]
    # Below what others call TMPDIR; a Unix socket's path must be short.
    place.environ = {"TMPDIR": runtime}
    other = place.serve(Hand(), "127.0.0.1-8000")
    both = {"XDG_RUNTIME_DIR": runtime, "TMPDIR": runtime}

    assert running_servers(both) == [own, other]
    assert find_server(ServerChoice(), both) == own
    elsewhere = {"XDG_RUNTIME_DIR": str(tmp_path), "TMPDIR": runtime}
    assert find_server(ServerChoice(), elsewhere) == other


def test_a_directory_that_others_may_enter_is_not_searched(place: Place) -> None:
    """Whoever made it could have put a socket of their own there."""
    path = place.serve(Hand(), "127.0.0.1-8000")
    path.parent.chmod(0o755)

    with pytest.raises(ActionError, match="no running server"):
        find_server(ServerChoice(), place.environ)


@pytest.mark.parametrize("answer", [b"", b"hello\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nhello"])
def test_somebody_else_behind_the_socket_is_told(place: Place, answer: bytes) -> None:
    """It closes, or speaks something else."""
    path = Path(place.environ["XDG_RUNTIME_DIR"]) / "other.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def reply() -> None:
            with listening.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        with pytest.raises(ActionError, match=r"does not answer|is no JSON"):
            Client(path).get("/status")
        thread.join()


class Terminal(io.StringIO):
    """A terminal that remembers."""

    def isatty(self) -> bool:
        """Be one."""
        return True


class Waiting:
    """A desk whose clock goes on only while a command pauses."""

    def __init__(self, path: Path, progress: io.StringIO) -> None:
        self.now_seconds = 0.0
        self.out = io.StringIO()
        self.desk = Desk(
            Client(path),
            self.out,
            progress,
            as_json=False,
            clock=lambda: self.now_seconds,
            pause=self.pause,
        )

    def pause(self, seconds: float) -> None:
        """Let *seconds* go by."""
        self.now_seconds += seconds


def test_a_person_sees_that_it_goes_on(place: Place) -> None:
    """The line is cleared before the report comes."""
    hand, progress = Hand(), Terminal()
    hand.traces = [{"state": "running"}] * 12 + [TRACED]
    waiting = Waiting(place.serve(hand, "a-1"), progress)
    arguments = argparse.Namespace(seconds=None, worker=None)

    assert COMMANDS["leaks"].run(arguments, waiting.desk) == 0

    assert "\rtracing allocations: 2 s" in progress.getvalue()
    assert progress.getvalue().endswith("\r\x1b[K")
    assert waiting.out.getvalue() == "app.py:14 leaks\n"


def test_waiting_has_an_end(place: Place) -> None:
    """A server that never gets done is told, after the time that it may take."""
    hand = Hand()
    hand.traces = [{"state": "running"}]
    waiting = Waiting(place.serve(hand, "a-1"), io.StringIO())

    with pytest.raises(ActionError, match="tracing allocations has not ended within 35 s"):
        COMMANDS["leaks"].run(argparse.Namespace(seconds="5", worker=None), waiting.desk)

    assert 5 + REPORT_SECONDS <= waiting.now_seconds < 6 + REPORT_SECONDS


def test_a_report_cannot_steer_the_terminal() -> None:
    """It quotes what clients have sent."""
    out = io.StringIO()
    Page(out, as_json=False).show(None, "GET /\x1b[2J\r\n\tä")
    assert out.getvalue() == "GET /\\x1b[2J\\r\n\tä\n"

"""`tonnage top`: what a frame shows of a server's state, and what keys do.

The terminal is real in `test_top_real.py`. Frames that were looked at, and found good, are in
`frames/`; to take them anew: `python -m tests.commands.test_top`, and look again.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tonnage.commands.terminal.command import HISTORY, STATE, Watch, show
from tonnage.commands.terminal.draw import Canvas, Shown, everything, frame, shares
from tonnage.commands.terminal.frame import STYLES, Line, cells, cut, fit, plain
from tonnage.commands.terminal.view import View, Wanted, pressed
from tonnage.errors import ActionError
from tonnage.units import MIB

NOON = 1_800_000_000.0
TANKS = {
    "supervisor": 14 * MIB,
    "zygote": 15 * MIB,
    "workers_shared": 30 * MIB,
    "workers_own": 0,
    "jobs": 0,
    "unexplained": 1 * MIB,
    "cache": 8 * MIB,
}
COLUMNS = ("time", *list(TANKS)[:6], "cache", "level")


FRAMES = Path(__file__).parent / "frames"


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have a clock that does not depend on the machine's place."""
    with monkeypatch.context() as place:
        place.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def worker(index: int, **told: Any) -> dict[str, Any]:
    """Return a worker as the state has it."""
    usual: dict[str, Any] = {
        "pid": 4711 + index,
        "age_seconds": 720.0,
        "uss_bytes": 8 * MIB,
        "pss_bytes": 15 * MIB,
    }
    usual |= {"in_flight": 0, "waiting": 0, "requests": 1000, "state": "READY"}
    return {"index": index, **usual, **told}


def state(level: str, used_mb: int, own_mb: int, **parts: Any) -> dict[str, Any]:
    """Return the state of a server with a limit of 256 MB."""
    tank = TANKS | {"workers_own": own_mb * MIB}
    workers = parts.pop("workers", [worker(0), worker(1)])
    return {
        "time": NOON,
        "server": {"name": "127.0.0.1:8000", "version": "1.2", "pid": 4700},
        "status": {
            "level": level,
            "level_seconds": 720.0,
            "used_bytes": used_mb * MIB,
            "limit_bytes": 256 * MIB,
            "usage_percent": round(100 * used_mb / 256, 1),
            "uptime_seconds": 11520.0,
            "ready_workers": sum(each["state"] == "READY" for each in workers),
            "desired_workers": 2,
            "jobs": {"running": 0},
            "workers": workers,
        },
        "marks": {
            "warning_bytes": 205 * MIB,
            "critical_bytes": 230 * MIB,
            "exhausted_bytes": 240 * MIB,
            "ceiling_bytes": 236 * MIB,
            "limit_bytes": 256 * MIB,
        },
        "tank": tank | {"free": 256 * MIB - sum(tank.values())},
        "routes": [],
        "stores": [],
        "events": [],
        **parts,
    }


def history(*used_mb: int, level: int = 0) -> dict[str, Any]:
    """Return a history in which workers have held so much of their own, one row after the other."""
    rows = [[NOON + 5 * n, 0, 0, 0, mb * MIB, 0, 0, 8 * MIB, level] for n, mb in enumerate(used_mb)]
    return {"every_seconds": 5, "columns": COLUMNS, "rows": rows}


def route(name: str, **told: Any) -> dict[str, Any]:
    """Return a route as the state has it."""
    usual = {"requests": 900, "per_second": 12.34, "statuses": [0, 890, 0, 6, 4], "shed": 0}
    usual |= {"p50_seconds": 0.0042, "p99_seconds": 1.25}
    usual |= {"learned_mean_bytes": 8 * MIB, "learned_worst_bytes": 9 * MIB, "is_known": True}
    return {"name": name, **usual, **told}


EVENT = {"time": NOON - 3, "level": "WARNING", "text": "memory WARNING:\n210 MB of 256 MB"}
STORE = {"kind": "cache", "name": "events", "counts": {"hits": 12}, "now": {"held_bytes": MIB}}

STARTING = Shown(
    state("OK", 42, 0, workers=[worker(0, state="STARTING", age_seconds=0.2, uss_bytes=0)])
)
QUIET = Shown(state("OK", 60, 0, stores=[STORE]), history(*[60] * 30))
LOADED = Shown(
    state(
        "WARNING",
        210,
        150,
        workers=[worker(0, in_flight=9, waiting=4), worker(1, in_flight=8, state="STUCK")],
        routes=[route("GET /work"), route("GET /", shed=17, per_second=None)],
        stores=[STORE],
        events=[EVENT] * 3,
    ),
    history(*range(60, 210, 5), level=1),
)
CRITICAL = Shown(
    state(
        "CRITICAL", 236, 176, routes=[route(f"GET /{n}") for n in range(40)], events=[EVENT] * 50
    ),
    history(*[236] * 180, level=2),
)
STATES = {"starting": STARTING, "quiet": QUIET, "loaded": LOADED, "critical": CRITICAL}


def shown(what: Shown, width: int = 80, height: int = 24, view: View | None = None) -> list[str]:
    """Return a frame's lines, as they look on a terminal without colours."""
    return plain(frame(what, view or View(), Canvas(width, height))).splitlines()


@pytest.mark.parametrize("name", list(STATES))
def test_a_frame_of_80_by_24_has_it_all(name: str) -> None:
    """The tank with its marks, who holds what, the last minutes, and each list."""
    assert shown(STATES[name]) == (FRAMES / f"{name}.txt").read_text().splitlines()


@pytest.mark.parametrize("width", [1, 7, 40, 80, 133])
@pytest.mark.parametrize("height", [0, 1, 5, 19, 24, 60])
@pytest.mark.parametrize("is_colored", [True, False])
def test_a_frame_has_exactly_its_size(width: int, height: int, is_colored: bool) -> None:
    """However small; with styles that there are."""
    for what in (*STATES.values(), Shown(), Shown({}, problem="the server does not answer")):
        for focus in ("workers", "events"):
            lines = frame(what, View(focus=focus), Canvas(width, height, is_colored=is_colored))
            assert len(lines) == height
            for spans in lines:
                assert sum(cells(span.text) for span in spans) == width
                assert {span.style for span in spans} <= set(STYLES)


def test_text_is_measured_in_cells() -> None:
    """Wide characters take two, and what would steer a terminal is not sent."""
    assert cells("abc") == 3
    assert cells("日本") == 4
    assert cells("e\u0301") == 1
    assert cut("日本語", 5) == "日本~"
    assert cut("abc\x1b[31m", 9) == "abc?[31m"
    assert cut("abc", 0) == ""
    assert fit("ab", 4, to_right=True) == "  ab"
    events = [EVENT | {"text": "日" * 100 + "\x1b[2J"}]
    for spans in frame(Shown(state("OK", 60, 0, events=events)), View(), Canvas(80, 24)):
        assert sum(cells(span.text) for span in spans) == 80
        assert all(span.text.isprintable() for span in spans)


def test_the_list_that_is_chosen_has_most_room() -> None:
    """Each has its heading and a row; the last ones go where there is no room for that."""
    wanted = {"workers": 9, "routes": 41, "stores": 3, "events": 41}
    assert shares(wanted, 20, "workers") == {"workers": 9, "routes": 4, "stores": 3, "events": 4}
    assert shares(wanted, 20, "events") == {"workers": 2, "routes": 2, "stores": 2, "events": 14}
    assert shares(wanted, 5, "stores") == {"workers": 2, "routes": 0, "stores": 3, "events": 0}
    assert shares(wanted, 1, "stores") == dict.fromkeys(wanted, 0)


def test_a_frame_too_low_for_any_list_says_so() -> None:
    """In one line, above the keys; where there is room for a list, that is shown."""
    for height in (6, 8, 10):
        assert shown(LOADED, 40, height)[-2] == " too low for the lists", height
    tall = shown(LOADED, 40, 16)
    assert not any("too low" in line for line in tall)
    assert any(line.startswith(">worker") for line in tall)


def test_marks_are_rounded_as_everywhere() -> None:
    """The banner says 205 MB of the same."""
    marks = {"warning_bytes": 0.8 * 256 * MIB, "critical_bytes": 0.9 * 256 * MIB}
    what = Shown(state("OK", 60, 0, marks=marks))
    assert shown(what)[3].startswith(" W warning 205  C critical 230 MB")
    large = {"warning_bytes": 1.6 * 1024 * MIB, "critical_bytes": 900 * MIB}
    assert shown(Shown(state("OK", 60, 0, marks=large)))[3].startswith(" W 1.6 GB  C 900 MB")


def test_the_graph_has_its_scales() -> None:
    """The limit at its top, the time at its foot."""
    assert shown(CRITICAL)[6].startswith(" 256 MB ")
    assert shown(CRITICAL)[7].startswith(" 15 min ")
    tall = [line[:8] for line in shown(CRITICAL, 80, 40)[6:10]]
    assert tall == [" 256 MB ", " " * 8, " " * 8, " 15 min "]


def test_what_is_not_known_yet_is_a_dash() -> None:
    """As the times of a route that has had no answer; and shares of stores have two digits."""
    route = {"name": "GET /new", "p50_seconds": None, "p99_seconds": None}
    store = {"kind": "pool", "name": "db", "now": {"load": 0.756, "held_bytes": 3 * MIB}}
    shown = Shown(state("OK", 60, 0, routes=[route], stores=[store]))
    told = plain(everything(shown, 100))
    (line,) = [each for each in told.splitlines() if "GET /new" in each]
    assert line.split()[2:] == ["-"] * (len(line.split()) - 2)
    assert "load 0.76  held 3 MB" in told


def test_a_list_is_scrolled_to_what_is_chosen() -> None:
    """And says how many rows are not seen."""
    found = shown(CRITICAL, view=View(focus="routes", chosen=25))
    assert [line.split()[1] for line in found if line.startswith(" GET")][-1] == "/25"
    assert any(line.startswith(">route (+32 more) ") for line in found)
    chosen = [
        span.text
        for spans in frame(CRITICAL, View(focus="routes", chosen=25), Canvas(80, 24))
        for span in spans
        if span.style == "chosen"
    ]
    assert [text.split()[:2] for text in chosen] == [["GET", "/25"]]


def test_a_server_that_does_not_answer_is_told_of() -> None:
    """Below what it said last."""
    found = shown(replace(LOADED, problem="the server behind x does not answer"))
    assert found[:20] == shown(LOADED)[:20]
    foot = " no answer since 08:00:00, asking again: the server behind x does not a~ q quit"
    assert found[-1] == foot


# Keys.


def after(*keys: str, shown: Shown = LOADED) -> tuple[View, list[Wanted]]:
    """Return the view after *keys*, and what the server was asked for."""
    view, asked = View(), []
    for key in keys:
        view, wanted = pressed(view, key, shown.state)
        asked += [wanted] if wanted is not None else []
    return view, asked


@pytest.mark.parametrize(
    ("keys", "target"),
    [
        ("cy", "/reclaim"),
        ("ry", "/recycle?worker=0"),
        (["down", "r", "Y"], "/recycle?worker=1"),
        (["down", "down", "down", "r", "y"], "/recycle?worker=1"),
        (["tab", "down", "r", "y"], "/recycle"),
    ],
)
def test_what_changes_the_server_is_asked_about_first(keys: list[str], target: str) -> None:
    """And done once it is confirmed."""
    *before, _ = keys
    view, asked = after(*before)
    assert asked == []
    assert shown(LOADED, view=view)[-1].endswith("? y / n")
    view, asked = after(*keys)
    assert [wanted.target for wanted in asked] == [target]
    assert view.asked is None


@pytest.mark.parametrize("no", ["n", "q", "escape", "tab", "r", ""])
def test_any_other_key_means_no(no: str) -> None:
    """It does nothing else."""
    view, asked = after("r", no)
    assert (view, asked) == (View(), [])


def test_lists_and_rows_are_chosen_by_keys() -> None:
    """Round the lists, and never beyond the rows of one."""
    for keys, focus, chosen in (
        (["tab"], "routes", 0),
        (["backtab"], "events", 0),
        (["tab"] * 4, "workers", 0),
        (["tab", "down", "down", "down"], "routes", 1),
        (["tab", "end"], "routes", 1),
        (["down", "up", "up"], "workers", 0),
        (["down", "tab"], "routes", 0),
        (["x"], "workers", 0),
    ):
        view, _ = after(*keys)
        assert (view.focus, view.chosen) == (focus, chosen), keys
    assert after("down", shown=Shown())[0].chosen == 0
    assert after("r", shown=Shown())[0].asked == Wanted(
        "/recycle", "Replace all workers, one after the other?"
    )


@pytest.mark.parametrize("key", ["q", "Q"])
def test_somebody_quits(key: str) -> None:
    """At once."""
    assert after(key)[0].is_over
    assert not after("escape")[0].is_over


# The live view.


class Person:
    """Somebody at a terminal, who presses keys and sees frames."""

    is_colored = False
    size = (80, 24)

    def __init__(self, *keys: str | None) -> None:
        self._keys = list(keys)
        self.saw: list[list[str]] = []
        self.seconds = 0.0

    def show(self, lines: list[Line]) -> None:
        """See a frame."""
        self.saw.append(plain(lines).splitlines())

    def key(self, within_seconds: float) -> str | None:
        """Press the next key; None: let a second pass."""
        assert within_seconds <= 1.0
        if not self._keys:
            return "q"
        key = self._keys.pop(0)
        self.seconds += within_seconds if key is None else 0.0
        return key


def test_an_action_is_done_and_its_answer_shown() -> None:
    """Or why it was refused; another size changes nothing."""
    person = Person("r", "resize", "y", "down")
    Watch(Told(), person, LOADED, is_ascii=False).run()
    feet = [frame[-1].strip() for frame in person.saw]
    assert feet[1:4] == [
        "Replace worker 0? y / n",
        "Replace worker 0? y / n",
        "nothing is to be done",
    ]
    assert feet[0] == feet[4]


def test_the_server_is_asked_once_a_second() -> None:
    """Also after it has not answered, which is told; for the history, every five seconds."""
    server = Told()
    person = Person("down", None, "up", None, None, None, None, None, None)
    server.silent = 2
    Watch(server, person, LOADED, is_ascii=False, clock=lambda: person.seconds).run()
    assert server.asked == [*[STATE] * 5, HISTORY, *[STATE] * 2]
    told = ["no answer since" in frame[-1] for frame in person.saw]
    assert told == [False, False, True, True, True, False, False, False, False, False]


# Where nobody watches.


class Told:
    """A server that says what it is told to, and nothing the first times if it is silent."""

    def __init__(self, what: Shown = LOADED) -> None:
        self._what = what
        self.asked: list[str] = []
        self.silent = 0

    def get(self, target: str) -> Any:
        """Return the answers."""
        self.asked.append(target)
        assert target in (STATE, HISTORY)
        if len(self.asked) <= self.silent:
            raise ActionError("it does not answer")
        return self._what.state if target == STATE else self._what.history

    def post(self, target: str) -> Any:
        """Refuse."""
        raise ActionError("nothing is to be done")


def test_a_pipe_gets_one_frame_of_everything() -> None:
    """In ASCII, of the width that COLUMNS says, without keys."""
    out = io.StringIO()
    assert show(Told(), out, {"COLUMNS": "100"}, sleep=lambda seconds: None) == 0
    text = out.getvalue()
    assert text == plain(everything(LOADED, 100)) + "\n"
    assert text.isascii()
    assert "GET /work" in text
    assert text.count("memory WARNING: 210 MB") == 3
    assert "quit" not in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("told", [{}, {"COLUMNS": ""}, {"COLUMNS": "0"}, {"COLUMNS": "wide"}])
def test_a_pipe_has_no_width_of_its_own(told: dict[str, str]) -> None:
    """Whatever is to be found in it is there whole, and no line is padded for its sake."""
    text = "an event of many words, " * 20 + "and its end"
    server = Told(Shown(state("OK", 60, 0, events=[EVENT | {"text": text}]), history(60)))
    out = io.StringIO()
    assert show(server, out, told, sleep=lambda seconds: None) == 0
    assert text in out.getvalue()
    assert "~" not in out.getvalue()
    assert sum(len(line) > 100 for line in out.getvalue().splitlines()) == 1


@pytest.mark.parametrize("as_json", [True, False])
def test_what_is_shown_once_is_of_two_looks(as_json: bool) -> None:
    """A second apart: the server counts a rate from one look to the next."""
    slept: list[float] = []
    server, out = Told(), io.StringIO()
    assert show(server, out, {}, as_json=as_json, sleep=slept.append) == 0
    assert slept == [1.0]
    assert server.asked == [STATE, STATE] + [HISTORY] * (not as_json)


def test_rates_that_there_are_are_not_waited_for() -> None:
    """Somebody else looks too, or there is nothing to count."""
    for what in (QUIET, CRITICAL):
        server = Told(what)
        assert show(server, io.StringIO(), {}, sleep=lambda seconds: pytest.fail("waits")) == 0
        assert server.asked == [STATE, HISTORY]


def test_json_is_the_servers_own() -> None:
    """Whole."""
    out = io.StringIO()
    assert show(Told(), out, {}, as_json=True, sleep=lambda seconds: None) == 0
    assert json.loads(out.getvalue()) == LOADED.state


if __name__ == "__main__":
    os.environ["TZ"] = "UTC"
    time.tzset()
    for each, what in STATES.items():
        (FRAMES / f"{each}.txt").write_text("\n".join(shown(what)) + "\n")


def test_what_is_not_as_it_should_be_is_at_the_head() -> None:
    """Jobs that run, memory that cannot be read, a server that ends."""

    def head(**told: Any) -> str:
        found = state("OK", 100, 10)
        found["status"] |= told
        return "\n".join(shown(Shown(found), width=120)[:3])

    assert "2 jobs" in head(jobs={"running": 2})
    assert "memory unreadable  stopping" in head(is_blind=True, is_stopping=True)
    assert not {"job", "unreadable", "stopping"}.intersection(head().split())

"""`tonnage logs`: the lines of all processes, in order, as the supervisor answers and one reads."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tonnage.cli.main import main
from tonnage.commands.lines.command import FOLLOW_SECONDS, Paper, Wish, pattern_of, show_lines
from tonnage.commands.lines.showing import as_json, told
from tonnage.errors import ActionError, UsageError
from tonnage.logs.ring import Ring, region_of
from tonnage.ops.lines import MOST_BYTES, MOST_LINES, PATH, log_views
from tonnage.ops.query import QueryError

SLOTS = 4
NOON = 1_800_000_000.0


@pytest.fixture(autouse=True)
def fresh(own_commons: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have shared memory of our own, and a clock that does not depend on the machine's place."""
    monkeypatch.setenv("TZ", "UTC")


def write(name: str, *lines: str, at: float = 0.0) -> None:
    """Have the process *name* write *lines*, a second after each other."""
    ring = Ring(region_of(name))
    for number, line in enumerate(lines):
        ring.write(line.encode() + b"\n", NOON + at + number)


def ask(target: str) -> dict[str, Any]:
    """Return what the supervisor answers."""
    path, _, query = target.partition("?")
    found: dict[str, Any] = json.loads(log_views(lambda: SLOTS)[path](query).body)
    return found


def texts(query: str = "") -> list[str]:
    """Return the lines that are answered to *query*."""
    return [line["text"] for line in ask(f"{PATH}?{query}")["lines"]]


def text(level: str, message: str) -> str:
    """Return a line as Tonnage writes it for people."""
    return f"14:02:11 {level:<8} {message}"


def test_lines_of_all_processes_come_in_the_order_of_their_time() -> None:
    """Each with its process and level; colours are left away."""
    write("worker 0", text("INFO", "second"), at=1.0)
    write("supervisor", text("WARNING", "first"), text("\x1b[31mERROR   \x1b[0m", "third"), at=0.5)
    write("second zygote", '{"time":"x","level":"ERROR","message":"fourth"}', at=3)

    found = ask(PATH)
    assert [(line["process"], line["level"]) for line in found["lines"]] == [
        ("supervisor", "WARNING"),
        ("worker 0", "INFO"),
        ("supervisor", "ERROR"),
        ("zygote", "ERROR"),
    ]
    assert found["lines"][0]["time"] == NOON + 0.5
    assert found["lines"][2]["text"] == text("ERROR   ", "third")
    assert found["missed"] == 0


def test_the_last_ones_are_answered_that_are_wanted() -> None:
    """By number, level and worker."""
    write("worker 1", *(text("INFO", f"one {number}") for number in range(200)))
    write("worker 3", *(text("ERROR", f"three {number}") for number in range(5)), at=50.0)

    assert len(texts()) == 100
    assert texts("limit=2") == [text("INFO", "one 198"), text("INFO", "one 199")]
    assert texts("level=error&limit=1") == [text("ERROR", "three 4")]
    assert len(texts("level=warning")) == 5
    assert texts("worker=3&limit=1") == [text("ERROR", "three 4")]
    assert texts("worker=2") == []


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=1001", "limit=x", "level=loud", "worker=4", "worker=-1", "what=1"),
        *("after=", "after=nonsense", "after=1~2", "after=1~a.b.c", "limit=1&limit=2"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(query: str) -> None:
    """With what to write."""
    with pytest.raises(QueryError):
        ask(f"{PATH}?{query}")


def test_an_answer_is_bounded() -> None:
    """However long the lines are; the newest are in it, and what follows comes one by one."""
    for worker in range(SLOTS):
        write(f"worker {worker}", *(f"{number} " + "\x01" * 2000 for number in range(60)))

    found = ask(f"{PATH}?limit=1000")
    assert sum(len(json.dumps(line)) for line in found["lines"]) < MOST_BYTES * 1.1
    assert found["lines"][-1]["text"].startswith("59 ")


def test_what_comes_later_is_answered_once() -> None:
    """In order, and with the number of lines that were overwritten before they were asked for."""
    write("worker 0", "a", "b")
    after = ask(f"{PATH}?limit=1")["next"]
    write("worker 1", "c")
    write("worker 0", "d", at=5.0)

    found = ask(f"{PATH}?after={after}&limit=1")
    assert [line["text"] for line in found["lines"]] == ["c"]
    found = ask(f"{PATH}?after={found['next']}")
    assert [line["text"] for line in found["lines"]] == ["d"]
    assert ask(f"{PATH}?after={found['next']}")["lines"] == []

    write("worker 0", *(f"{number} " + "x" * 900 for number in range(1000)))
    later = ask(f"{PATH}?after={found['next']}")
    first = int(later["lines"][0]["text"].split()[0])
    assert later["missed"] == first > 0


def test_what_nobody_wants_is_not_read_again() -> None:
    """Lines below the level are passed over."""
    after = ask(f"{PATH}?level=error")["next"]
    write("worker 0", text("INFO", "a"), text("ERROR", "b"), text("INFO", "c"))
    found = ask(f"{PATH}?after={after}&level=error")
    assert [line["text"] for line in found["lines"]] == [text("ERROR", "b")]
    assert ask(f"{PATH}?after={found['next']}")["lines"] == []


def test_another_servers_token_begins_anew() -> None:
    """Whoever follows over a restart misses nothing."""
    write("worker 0", "a", "b")
    assert texts("after=1~4.100000.5000") == ["a", "b"]


# As people read them.


def line(text: str, level: str = "WARNING") -> dict[str, Any]:
    """Return a line as it is answered."""
    return {"time": NOON, "process": "worker 2", "level": level, "text": text}


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (text("WARNING", "memory 431 MB used=431"), "memory 431 MB used=431"),
        ("2026-11-22T14:02:11.123+00:00 WARNING  shop: low left=3", "shop: low left=3"),
        ('{"time":"x","logger":"shop","message":"low","left":3}', "shop: low left=3"),
        ('{"level":"WARNING","logger":"tonnage.worker","message":"low","pid":7}', "low"),
        ('{"message":"a\\u001b[31m","logger":"shop"}', "shop: a\\x1b[31m"),
        ('{"message":"it was cut', '{"message":"it was cut'),
        ("[1, 2]", "[1, 2]"),
    ],
)
def test_all_formats_look_alike(written: str, shown: str) -> None:
    """Time, level, process, and what was said."""
    found = told(line(written))
    assert re.fullmatch(r"\d\d:\d\d:\d\d WARNING  worker 2    (.*)", found)
    assert found.endswith(f"worker 2    {shown}")


def test_an_exception_is_indented() -> None:
    """So that nothing in it can be taken for a line of the log."""
    fields = {"message": "failed\n", "exception": "Traceback:\n  KeyError"}
    assert told(line(json.dumps(fields))).splitlines()[1:] == ["  Traceback:", "    KeyError"]
    assert told(line(text("ERROR", "failed\n  Traceback:"))).splitlines()[1:] == ["  Traceback:"]


def test_levels_have_colours_where_these_are_wanted() -> None:
    """And only there."""
    assert "\x1b[33mWARNING" in told(line("x"), is_colored=True)
    assert "\x1b" not in told(line("x"))


def test_json_is_as_it_was_written_or_says_as_much() -> None:
    """One object a line, always."""
    written = '{"level":"WARNING","message":"low"}'
    assert as_json(line(written)) == written
    for other in (text("WARNING", "low"), '{"message":"cut', "{}"):
        found = json.loads(as_json(line(other)))
        assert (found["process"], found["level"]) == ("worker 2", "WARNING")


# The command.


class Terminal:
    """Where the command prints, in a test."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.out, self.problems = io.StringIO(), io.StringIO()
        self.paper = Paper(self.out, self.problems, as_json=as_json, is_colored=False)

    @property
    def messages(self) -> list[str]:
        """What was printed, without time, level and process."""
        return [shown.split()[-1] for shown in self.out.getvalue().splitlines()]


def never(seconds: float) -> None:
    """Do not wait."""
    raise AssertionError(f"it waits for {seconds} s")


def test_the_last_lines_are_shown() -> None:
    """As many as are wanted; none for 0."""
    write("worker 0", "a", "b", "c")
    for lines, shown in ((2, ["b", "c"]), (0, []), (9, ["a", "b", "c"])):
        terminal = Terminal()
        assert show_lines(Wish(lines=lines), ask, terminal.paper, never) == 0
        assert terminal.messages == shown


def test_what_matches_is_looked_for_far_back() -> None:
    """As lines are shown: the last that match, not those of the last lines that do."""
    write("worker 0", "order 1", *["noise"] * 300, "order 2", *["noise"] * 300)
    terminal = Terminal()
    show_lines(Wish(lines=5, pattern=pattern_of("worker 0    order")), ask, terminal.paper, never)
    assert terminal.messages == ["1", "2"]


def test_what_matches_is_found_however_much_others_say() -> None:
    """A line of the supervisor on a death, and thousands of a chatty application since."""
    write("supervisor", "worker 1 was killed")
    for worker in range(SLOTS):
        write(f"worker {worker}", *["noise"] * 1500)
    terminal = Terminal()
    show_lines(Wish(lines=5, pattern=pattern_of("was killed")), ask, terminal.paper, never)
    assert terminal.messages == ["killed"]
    assert terminal.problems.getvalue() == ""


def test_a_search_goes_on_behind_its_last_line() -> None:
    """When it follows, nothing is shown twice, and nothing is left out."""
    write("worker 0", "order 1", *["noise"] * 1200, "order 2")

    def pause(seconds: float) -> None:
        if len(terminal.messages) == 3:
            raise KeyboardInterrupt
        write("worker 1", "order 3", "noise", at=2000.0)

    terminal = Terminal()
    wish = Wish(lines=5, follow=True, pattern=pattern_of("order"))
    with pytest.raises(KeyboardInterrupt):
        show_lines(wish, ask, terminal.paper, pause)
    assert terminal.messages == ["1", "2", "3"]


def test_a_search_that_is_cut_short_says_so() -> None:
    """Where lines are overwritten while it is at it, and where it would not end."""
    for worker in range(SLOTS):
        # Many are overwritten before anybody searches, which is nobody's loss.
        write(f"worker {worker}", *["noise " + "x" * 60] * 3000)
    terminal = Terminal()
    show_lines(Wish(lines=5, pattern=pattern_of("order")), ask, terminal.paper, never)
    assert terminal.problems.getvalue() == ""
    asked = []

    def busy(target: str) -> dict[str, Any]:
        asked.append(target)
        if len(asked) == 3:
            write("worker 0", *["more " + "x" * 900] * 200, at=3000.0)
        return ask(target)

    terminal = Terminal()
    show_lines(Wish(lines=5, pattern=pattern_of("order")), busy, terminal.paper, never)
    assert re.fullmatch(
        r"tonnage: \d+ lines were overwritten before they could be searched\n",
        terminal.problems.getvalue(),
    )

    def endless(target: str) -> dict[str, Any]:
        time = NOON + ("after" not in target)
        return {"lines": [line("noise") | {"time": time}], "missed": 0, "next": "1~0.1.1"}

    terminal = Terminal()
    show_lines(Wish(lines=5, pattern=pattern_of("order")), endless, terminal.paper, never)
    assert "the search was cut short after" in terminal.problems.getvalue()


def test_processes_that_are_no_workers_can_be_named() -> None:
    """The zygote's successor is the zygote too."""
    write("supervisor", "a")
    write("zygote", "b")
    write("second zygote", "c", at=1.0)
    write("worker 0", "d")
    assert texts("worker=supervisor") == ["a"]
    assert texts("worker=zygote") == ["b", "c"]


def test_a_worker_that_is_not_there_is_refused_with_those_that_are() -> None:
    """In words that fit the command as well."""
    with pytest.raises(QueryError, match=r"no worker 9: they have the numbers 0 to 3, .* superv"):
        ask(f"{PATH}?worker=9")


@pytest.mark.parametrize(
    ("command", "said"), [("logs", "each line as one JSON object"), ("top", "what a frame is made")]
)
def test_help_says_what_json_is(
    command: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not the server's answer."""
    with pytest.raises(SystemExit):
        main([command, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert said in shown
    assert "the server's answer as JSON" not in shown


def test_an_expression_that_makes_no_sense_is_a_mistake() -> None:
    """With what is wrong about it."""
    assert pattern_of(None) is None
    with pytest.raises(UsageError, match=r"--grep '\(' is no regular expression"):
        pattern_of("(")


def test_following_shows_each_line_once_until_the_server_ends() -> None:
    """A new question every half second; what came too fast is told."""
    write("worker 0", "a", "b")
    rounds: list[Callable[[], None]] = [
        lambda: write("worker 1", "c", "d"),
        lambda: None,
        lambda: write("worker 0", *(f"{number}" + "x" * 900 for number in range(300))),
    ]
    terminal = Terminal()

    def pause(seconds: float) -> None:
        assert seconds == FOLLOW_SECONDS
        if rounds:
            rounds.pop(0)()
        else:
            ended.append(True)

    ended: list[bool] = []

    def answered(target: str) -> dict[str, Any]:
        if ended:
            raise ActionError("the server does not answer")
        return ask(target)

    assert show_lines(Wish(lines=1, follow=True), answered, terminal.paper, pause) == 0
    assert terminal.messages[:3] == ["b", "c", "d"]
    assert terminal.messages[-1].startswith("299x")
    missed = int(terminal.problems.getvalue().split()[1])
    assert missed + len(terminal.messages) == 3 + 300


def test_more_than_an_answer_holds_is_asked_for_at_once() -> None:
    """Without a pause in between."""
    terminal = Terminal()
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 1:
            for worker in range(SLOTS):
                write(f"worker {worker}", *["x"] * (MOST_LINES // 2))
        else:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        show_lines(Wish(lines=1, follow=True), ask, terminal.paper, pause)
    assert len(terminal.messages) == SLOTS * MOST_LINES // 2


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["-n", "x"], "write a whole number from 0 to 1000"),
        (["-n", "1001"], "write a whole number from 0 to 1000"),
        (["--level", "loud"], "invalid choice: 'loud'"),
        (["--worker", "x"], "write a worker's number, or supervisor or zygote"),
        (["--worker", "-1"], "--worker"),
    ],
)
def test_arguments_that_make_no_sense_are_mistakes(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, and one line."""
    assert main(["logs", *arguments]) == 2
    assert problem in capsys.readouterr().err

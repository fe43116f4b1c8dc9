"""The command line: what it prints, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tonnage import __version__
from tonnage.cli.main import main
from tonnage.options import OPTIONS


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a directory without a pyproject.toml, with no option in the environment."""
    monkeypatch.chdir(tmp_path)
    for option in OPTIONS:
        for name in option.env:
            monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """--version prints name and version and ends with 0."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"tonnage {__version__}\n"


@pytest.mark.parametrize("command", ["run", "plan"])
def test_help_shows_every_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Help is made from the option table; the secret, which is no flag, is left out."""
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for option in OPTIONS:
        shown = option.kind.metavar if option.is_target else option.flag
        assert (shown in text) is not option.is_secret


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["run"], "no application is named: write for example tonnage run main:app"),
        (["run", "main:app", "--memory", "12 apples"], "--memory='12 apples' makes no sense"),
        (
            ["run", "main:app", "--memroy=1G"],
            "unrecognized arguments: --memroy=1G: did you mean --memory?",
        ),
        (["run", "main:app", "--mem", "1G"], "unrecognized arguments: --mem"),
        (["run", "main:app", "--zzz"], "unrecognized arguments: --zzz: see tonnage run --help"),
        (["run", "main:app", "again"], "unrecognized arguments: again: see tonnage run --help"),
        (["top", "--jsn"], "unrecognized arguments: --jsn: did you mean --json?"),
        (["run", "main:app", "--port"], "argument --port: expected one argument"),
        (
            ["run", "main:app", "--max-lifetime", "-3s"],
            "--max-lifetime='-3s' makes no sense: write",
        ),
        (
            ["plan", "--no-fuse", "--worker-memory", "100M"],
            "is kept by the fuse, which --no-fuse turns",
        ),
        (
            ["plan", "--route", "/a: max_body=1K", "--route", "/b"],
            "('/b' is not a route with limits)",
        ),
        (["walk"], "invalid choice: 'walk' (choose from 'run',"),
        (["rnu", "main:app"], "COMMAND: invalid choice: 'rnu': did you mean run?"),
        (["init", "herok", "main:app"], "invalid choice: 'herok': did you mean heroku?"),
    ],
)
def test_mistakes_are_one_line_and_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistake is told in one line on standard error, and nothing else is printed."""
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("tonnage: error: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err


def test_mistakes_in_the_environment_are_told_alike(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable is named as it was set."""
    monkeypatch.setenv("MAX_MEMORY_MB", "plenty")
    assert main(["plan"]) == 2
    assert "MAX_MEMORY_MB='plenty' makes no sense" in capsys.readouterr().err


def test_who_asks_for_no_command_there_is_is_told_all(capsys: pytest.CaptureFixture[str]) -> None:
    """Those that are made only for their own line too."""
    assert main(["walk"]) == 2
    told = capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--help"])
    commands = re.findall(r"^ {4}(\w+)", capsys.readouterr().out, re.MULTILINE)
    assert len(commands) > 10
    assert [name for name in commands if f"'{name}'" not in told] == []


def test_a_misspelt_variable_is_warned_of(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the plan, which is made all the same."""
    monkeypatch.setenv("TONNAGE_WROKERS", "3")
    assert main(["plan", "--memory", "1G", "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == (
        "tonnage: warning: TONNAGE_WROKERS is set and has no effect, since there is no such "
        "option: did you mean TONNAGE_WORKERS?\n"
    )
    assert printed.out.startswith("{")


def test_help_of_run_begins_with_the_options_to_know_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of them are some 300 lines."""
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    said = capsys.readouterr().out.partition("\noptions:")[0]
    named = set(re.findall(r"--[\w-]+", said))
    assert {"--memory", "--workers", "--port"} <= named <= {option.flag for option in OPTIONS}


@pytest.mark.parametrize("name", ["TONNAGE_ALERT_URL", "TONNAGE_ADMIN_TOKEN"])
def test_help_names_the_variables_of_secrets(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They are no flags, and would be found nowhere else."""
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    assert name in capsys.readouterr().out

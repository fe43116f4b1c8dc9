"""The command line of `tonnage check`: what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tonnage.cli.main import main
from tonnage.options import OPTIONS

NOBODY = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in a directory without a pyproject.toml, with no option in the environment."""
    monkeypatch.chdir(tmp_path)
    for option in OPTIONS:
        for name in option.env:
            monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to check is named: write tonnage check main:app, or a URL"),
        ([NOBODY], "127.0.0.1 cannot be asked: the connection is refused"),
        (["ftp://shop.example"], "'ftp://shop.example' is not the URL of a server"),
        ([NOBODY, "--path", "events"], "--path 'events' is no path"),
        ([NOBODY, "--probe-rate", "many"], "--probe-rate 'many' makes no sense"),
        ([NOBODY, "--probe-rate", "10001"], "write a whole number from 1 to 10000"),
        ([NOBODY, "--probe-body", "large"], "'large'"),
        ([NOBODY, "--instances", "0"], "--instances '0' makes no sense"),
        (["main:app", "--memory", "much"], "--memory='much' makes no sense"),
    ],
)
def test_what_cannot_be_carried_out_is_status_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, and no findings."""
    assert main(["check", *words]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert message in captured.err


def test_what_is_called_like_a_flag_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Its own options, and those of the server."""
    with pytest.raises(SystemExit) as ended:
        main(["check", "--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert text.startswith("usage: tonnage check TARGET|URL [OPTIONS]")
    assert all(flag in text for flag in ("--probe-rate", "--instances", "--memory"))

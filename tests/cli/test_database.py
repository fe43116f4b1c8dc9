"""`tonnage db`: its arguments, and what a mistake in them is answered with."""

from __future__ import annotations

import pytest

from tonnage.cli.main import main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["db"], "the following arguments are required: WHAT: see tonnage db --help"),
        (["db", "drop"], "invalid choice: 'drop'"),
        (["db", "report", "--timeout", "soon"], "'soon' is not a duration"),
        (["db", "migrate", "--wait", "-3s"], "'-3s' is not a duration"),
        (["db", "migrate", "--lock-timeout", "never"], "'never' is not a duration"),
        (["db", "migrate", "--url", "oracle://h/d"], "there are no migrations here"),
        (["db", "report", "oracle://me:s3cret@h/d"], "the URL of a database cannot be read"),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Exit status 2; no password."""
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
    assert main(words) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert "s3cret" not in printed.err


@pytest.mark.parametrize("what", ["report", "migrate"])
def test_help_says_that_a_url_in_the_arguments_can_be_read(
    what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By `ps`; and where it is to be said instead."""
    with pytest.raises(SystemExit):
        main(["db", what, "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "DATABASE_URL" in told
    assert "can be read by other users of the machine" in told

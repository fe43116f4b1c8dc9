"""The menu of the package: what a name costs is its own modules, and never the server's."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tests.support.server import clean_environment

import tonnage

# Each in a process of its own: what others have imported cannot be told apart.
_IMPORT = """
import json, sys
name = sys.argv[1]
before = set(sys.modules)
import tonnage
if name:
    getattr(tonnage, name)
print(json.dumps(sorted(set(sys.modules) - before)))
"""

_BASE = {"tonnage", "tonnage.errors", "tonnage.units"}
_PATH = _BASE | {
    f"tonnage.{name}"
    for name in ("answer", "problem", "rates", "rates.gcra", "rates.limits", "rules", "web",
                 "web.path", "web.proxy")
}  # fmt: skip
_PARTS = _PATH | {
    "tonnage.checks",
    *(
        f"tonnage.web.path.{name}"
        for name in ("parts", "swallowed", "heads", "lane", "limited", "options")
    ),
}
_HEAVY = {"asyncio", "email", "http.client", "ssl", "starlette", "uvicorn"}


def imported(name: str) -> set[str]:
    """Return the modules that are there for *name* of the menu, and were not before."""
    command = [sys.executable, "-c", _IMPORT, name]
    run = subprocess.run(
        command, capture_output=True, text=True, check=True, env=clean_environment()
    )
    return set(json.loads(run.stdout))


def ours(modules: set[str]) -> set[str]:
    """Return those that are Tonnage's."""
    return {name for name in modules if name.partition(".")[0] == "tonnage"}


def test_the_package_itself_imports_nothing() -> None:
    """Not even typing."""
    assert imported("") <= {"__future__", "tonnage"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "Tonnage",
            _PARTS
            | {
                f"tonnage.web.{module}"
                for module in (
                    *("awaited", "respond"),
                    *("path.deadlines", "path.middleware", "path.passage"),
                )
            },
        ),
        (
            "TonnageWSGI",
            _PARTS
            | {f"tonnage.web.path.{module}" for module in ("wsgi", "wsgirequest", "wsgiresponse")},
        ),
        ("RateLimit", _PATH),
        ("Problem", _PATH),
        ("RequestRefusedError", _BASE),
    ],
)
def test_a_name_imports_what_it_needs(name: str, expected: set[str]) -> None:
    """No server, no governor, and no part of the path that is off."""
    assert ours(imported(name)) <= expected


@pytest.mark.parametrize("name", ["Uploads", "UploadError"])
def test_uploads_import_their_own_room(name: str) -> None:
    """And of the others only what refuses, checks options, and knows disks from memory."""
    room = "tonnage.web.path.uploads"
    others = _PATH | {"tonnage.checks", "tonnage.host", "tonnage.host.filesystems"}
    assert {module for module in ours(imported(name)) if not module.startswith(room)} <= others


@pytest.mark.parametrize("name", ["TonnageWSGI", "RateLimit", "Problem", "register"])
def test_what_needs_no_event_loop_imports_none(name: str) -> None:
    """Nor ssl, which asyncio brings along: 5 MB together."""
    assert imported(name) & _HEAVY == set()


@pytest.mark.parametrize("name", sorted(set(tonnage.__all__) - {"__version__"}))
def test_each_name_of_the_menu_is_there(name: str) -> None:
    """Under that name, and in the docstring that is the menu's text."""
    assert getattr(tonnage, name) is not None
    assert name in dir(tonnage)
    assert f"``tonnage.{name}" in str(tonnage.__doc__)


def test_other_names_are_not() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="'tonnage' has no attribute 'Tonne'"):
        getattr(tonnage, "Tonne")  # noqa: B009 - type checkers know that it is not there

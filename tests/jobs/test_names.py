"""Functions are found by their names, or refused with a line that says what to do."""

from __future__ import annotations

import functools
import os
import pickle
import sys

import pytest
from tests.jobs import functions

from tonnage import isolated
from tonnage.errors import JobError
from tonnage.jobs.importpath import restore_python_path, with_import_path
from tonnage.jobs.names import check_place, find, name_of


def test_a_function_of_a_module_is_found_again() -> None:
    """By its name alone."""
    name = name_of(functions.add)
    assert name == "tests.jobs.functions:add"
    assert find(name) is functions.add


def test_a_decorated_function_leads_to_the_function_itself() -> None:
    """The job is not to ask for another."""
    assert name_of(functions.doubled) == "tests.jobs.functions:doubled"
    assert find("tests.jobs.functions:doubled") is functions.doubled.function


def test_functions_of_the_standard_library_are_found() -> None:
    """Also those that are not written in Python."""
    assert find(name_of(pickle.dumps)) is pickle.dumps


class Owner:
    """With functions of its own."""

    @staticmethod
    def plain() -> int:
        """Return something."""
        return 5

    def method(self) -> int:
        """Return something of this object."""
        return id(self)


def test_a_static_method_is_found() -> None:
    """Its name says it all."""
    assert find(name_of(Owner.plain)) is Owner.plain


def inner() -> object:
    """Return a function within this one."""

    def within() -> None:
        """Do nothing."""

    return within


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda: 3, "lambda"),
        (inner(), "a function within another"),
        (functools.partial(functions.add, 1), "has no name"),
        (5, "has no name"),
        (Owner().method, "not what is found"),
    ],
)
def test_what_no_other_process_finds_is_refused(function: object, why: str) -> None:
    """With a line that says why."""
    with pytest.raises(TypeError, match=why):
        name_of(function)


def of_the_script() -> None:
    """Do nothing, as a part of what is run."""


def renamed() -> None:
    """Do nothing, under the name of another."""


of_the_script.__module__ = "__main__"
renamed.__qualname__ = inner.__qualname__


def test_a_function_of_the_script_is_refused_when_it_is_called() -> None:
    """The script is not run again for a job."""
    check_place(of_the_script)  # decorating it is no harm: a script may be imported, too
    with pytest.raises(TypeError, match="move it to a module"):
        name_of(of_the_script)


def test_a_function_whose_name_means_another_is_refused() -> None:
    """Else another function would be called."""
    with pytest.raises(TypeError, match="not what is found under its name"):
        name_of(renamed)


def test_a_name_that_leads_nowhere_says_so() -> None:
    """As after a change of the code."""
    with pytest.raises(JobError, match="no gone in"):
        find("tests.jobs.functions:gone")


def test_decorated_functions_can_be_pickled() -> None:
    """By their name."""
    assert pickle.loads(pickle.dumps(functions.doubled)) is functions.doubled


def test_a_decorated_function_keeps_what_it_is_called() -> None:
    """And the function itself can be had."""
    assert functions.doubled.__name__ == "doubled"
    assert functions.doubled.__doc__ == "Twice the value."
    assert repr(functions.doubled) == "<isolated tests.jobs.functions.doubled>"
    assert functions.doubled.function(4) == 8
    assert repr(isolated) == "<tonnage.isolated>"


def test_a_job_id_is_that_of_one_job() -> None:
    """A decorator would give it to all of them."""
    with pytest.raises(TypeError, match="give it where the job is asked for"):
        isolated(job_id="one")  # type: ignore[call-overload]


@pytest.mark.parametrize("before", [None, "", os.pathsep.join(("here", "there"))])
def test_what_a_job_starts_imports_from_where_its_caller_did(
    before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own path, by which it finds the functions, is not handed on."""
    environ = {} if before is None else {"PYTHONPATH": before}
    for name, value in with_import_path(environ, sys.path).items():
        monkeypatch.setenv(name, value)
    assert sys.path[-1] in os.environ["PYTHONPATH"].split(os.pathsep)
    restore_python_path()
    assert os.environ.get("PYTHONPATH") == (before or None)
    assert not any(name.startswith("TONNAGE_PYTHONPATH") for name in os.environ)


def test_a_path_that_nobody_has_changed_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process of jobs that was forked."""
    monkeypatch.setenv("PYTHONPATH", "here")
    restore_python_path()
    assert os.environ["PYTHONPATH"] == "here"

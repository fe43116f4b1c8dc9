"""What each test leaves behind for the others: nothing."""

from __future__ import annotations

import gc
import logging
import re
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from tests.support.marked import is_marked

from tonnage.host import commons


@pytest.fixture
def own_commons() -> Iterator[None]:
    """Have shared memory of the test's own, which is made when it is first asked for."""
    before = commons.use(None)
    yield
    commons.use(before)


@pytest.fixture(autouse=True)
def everything_is_said() -> Iterator[None]:
    """Have no test's log cut short by the filters of a server that another has made."""
    yield
    for name in ("uvicorn.error", "tonnage.requests"):
        logger = logging.getLogger(name)
        logger.filters = [
            each for each in logger.filters if type(each).__module__ != "tonnage.server.noise"
        ]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Pass over files that have none of the tests asked for: to import all takes each process 12 s.

    A phase of scripts/test asks for a marker first and leaves others out: "real and not soak".
    """
    asked = re.match(r"\w+", config.option.markexpr)
    if asked is None or asked[0] == "not" or not collection_path.name.startswith("test_"):
        return None
    return (collection_path.is_file() and not is_marked(collection_path, asked[0])) or None


def pytest_collection_finish() -> None:
    """Have what was collected not be looked through by each collection that a test makes."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Have half a character in what was logged be no obstacle between processes of tests."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report

"""What several tests of the server room share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

Said = Callable[[], str]


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[Said]:
    """Yield what returns all that the supervisor has logged so far."""
    logger = logging.getLogger("tonnage.supervisor")
    # Where logging was configured, records do not reach the root logger, where caplog listens.
    logger.addHandler(caplog.handler)
    caplog.handler.setLevel(logging.DEBUG)
    yield lambda: "\n".join(dict.fromkeys(record.getMessage() for record in caplog.records))
    logger.removeHandler(caplog.handler)


@pytest.fixture
def chatty(caplog: pytest.LogCaptureFixture) -> None:
    """Have all that is logged in a usual run."""
    caplog.set_level(logging.INFO, "tonnage.supervisor")

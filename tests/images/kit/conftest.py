"""Makers of pictures for one test each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from tests.images.kit.photos import Maker, photo

from tonnage.images.kit import PictureJobs

_numbers = count()


@pytest.fixture
def maker() -> Iterator[Maker]:
    """Yield a maker that waits; in the end it does not."""
    made = Maker()
    yield made
    made.may_go_on.set()


@pytest.fixture
def make_jobs(maker: Maker) -> Callable[..., PictureJobs]:
    """Return what makes jobs of a name that nobody else has."""
    return lambda **options: PictureJobs(
        maker, **{"name": f"test {next(_numbers)}", "keep_bytes": "1M"} | options
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a photo is."""
    found = tmp_path / "photo.jpg"
    found.write_bytes(photo())
    return found

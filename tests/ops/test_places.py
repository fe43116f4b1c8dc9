"""Where page and metrics are, and where they make room for the application."""

from __future__ import annotations

from pathlib import Path

import pytest

from tonnage.config import load_settings
from tonnage.errors import ConfigError
from tonnage.ops.places import Places, places_for
from tonnage.settings import AdmissionSettings


def admission(**environ: str) -> AdmissionSettings:
    """Return the settings that *environ* leads to."""
    return load_settings({}, environ, Path("/")).admission


def test_page_and_metrics_are_where_they_usually_are() -> None:
    """The metrics below the page besides."""
    found = places_for(admission(), lambda path: False)

    assert found.metrics == {
        "/metrics": "/metrics",
        "/tonnage/metrics": "/metrics",
        "/tonnage/metrics.json": "/api/metrics",
    }
    assert found.paths == {"/tonnage", *found.metrics}
    assert found.below == ("/tonnage/",)


def test_the_applications_own_metrics_stay() -> None:
    """Ours are below the page then."""
    found = places_for(admission(TONNAGE_API_ALIASES="1"), {"/metrics"}.__contains__)

    assert "/metrics" not in found.paths
    assert {"/tonnage/metrics", "/api/metrics"} <= found.paths


def test_the_page_can_be_moved_and_turned_off() -> None:
    """Then no path at all is ours, whatever it begins with."""
    moved = places_for(admission(TONNAGE_PAGE_PATH="/ops/live/"), lambda path: False)
    assert (moved.page_path, moved.below) == ("/ops/live", ("/ops/live/",))
    assert "/ops/live/metrics" in moved.metrics

    off = admission(TONNAGE_PAGE_PATH="off", TONNAGE_METRICS_PATH="OFF")
    nowhere = places_for(off, lambda path: False)
    assert nowhere == Places()
    assert nowhere.paths == frozenset()
    assert not any(path.startswith(nowhere.below) for path in ("", "/", "/tonnage/"))


@pytest.mark.parametrize("path", ["tonnage", "/", "//evil.example", "/a b", "/a;b", "/a?b", "/é"])
def test_a_path_is_plain(path: str) -> None:
    """It becomes part of a cookie and of a redirect."""
    with pytest.raises(ConfigError, match="a path such as /status, or off"):
        admission(TONNAGE_PAGE_PATH=path)

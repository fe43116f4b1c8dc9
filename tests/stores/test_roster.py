"""The names of caches, as all processes of a server see them."""

from __future__ import annotations

import pytest
from tests.support.forking import fork, status_of

from tonnage.stores.cache import Cache
from tonnage.stores.roster import LONGEST_BYTES, MOST_NAMES, enter, others_than

pytestmark = pytest.mark.usefixtures("own_commons")


def test_a_name_that_nobody_has_is_told_from_those_there_are() -> None:
    """In order, each once."""
    assert others_than("events") == []
    for name in ("venues", "events", "events", "größe"):
        enter(name)
    assert others_than("evnets") == ["events", "größe", "venues"]
    assert others_than("events") == others_than("größe") == []


def test_a_cache_enters_its_name_for_all_processes() -> None:
    """Also one that another worker makes while it serves."""
    assert others_than("anything") == []
    assert status_of(fork(lambda: Cache[int]("made by a worker"))) == 0
    assert others_than("anything") == ["made by a worker"]


@pytest.mark.parametrize("names", [["x" * (LONGEST_BYTES + 1)], map(str, range(MOST_NAMES + 1))])
def test_where_a_name_is_missing_none_counts_as_unknown(names: list[str]) -> None:
    """One that is too long, or one too many."""
    enter("known")
    assert others_than("other") == ["known"]
    for name in names:
        enter(name)
    assert others_than("other") == []

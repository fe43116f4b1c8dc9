"""What `ps -o comm` and `top` call the processes of a server."""

from __future__ import annotations

import pytest
from tests.support.server import Running

from tonnage.host.processes import command_name, descendants

pytestmark = pytest.mark.real


def test_each_process_has_a_name_of_its_own() -> None:
    """By what it does; all of them have the same arguments."""
    options = ("--memory", "512M", "--workers", "2")
    told = {"TONNAGE_ALERT_URL": "http://127.0.0.1:9/"}
    with Running("tests.promises.apps:app", *options, env=told) as server:
        names = sorted(command_name(pid) for pid in [server.pid, *descendants(server.pid)])

    assert names == ["tonnage", "tonnage-alerts", "tonnage-w0", "tonnage-w1", "tonnage-zygote"]

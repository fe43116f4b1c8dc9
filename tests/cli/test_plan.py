"""`tonnage plan`: from settings and a machine to what is printed."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from tonnage.budget.plan import AppSize
from tonnage.cli.plan import show_plan
from tonnage.config import load_settings
from tonnage.errors import PlanError
from tonnage.settings import Settings
from tonnage.units import MIB

APP = AppSize(
    zygote_bytes=52 * MIB,
    private_anon_bytes=30 * MIB,
    worker_own_bytes=None,
    how="measured",
    seconds=0.4,
)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """The root of a machine with 24 GB and no cgroups."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal:       25165824 kB\n")
    return tmp_path


def settings_for(
    directory: Path, environ: dict[str, str] | None = None, **flags: object
) -> Settings:
    """Settings as the command line makes them, with *directory* as the current one."""
    return load_settings(flags, environ or {}, directory)


def refuse_to_measure(_settings: Settings) -> AppSize:
    """Stand where nothing may be measured."""
    raise AssertionError("an app was measured although none was named")


def test_without_a_target_nothing_is_imported(machine: Path) -> None:
    """`tonnage plan` alone assumes usual sizes, and the receipt says so."""
    out = io.StringIO()
    status = show_plan(
        settings_for(machine, memory="512M"), False, out, root=machine, measure=refuse_to_measure
    )

    assert status == 0
    assert out.getvalue().startswith("Memory limit 512 MB: set by --memory; host has 24 GB\n")
    assert "assumed, as the app is not measured" in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_a_target_is_measured_and_the_plan_uses_its_size(machine: Path) -> None:
    """The zygote's line is the figure that the measurement returned."""
    measured: list[Settings] = []

    def measure(settings: Settings) -> AppSize:
        measured.append(settings)
        return APP

    settings = settings_for(machine, memory="512M", target="main:app")
    out = io.StringIO()
    show_plan(settings, False, out, root=machine, measure=measure)

    assert measured == [settings]
    assert "52 MB  measured    after importing the app, which took 0.4 s" in out.getvalue()


def test_json_has_the_plan_and_the_description_of_the_limit(machine: Path) -> None:
    """`--json` prints one object and a newline, and its lines sum to the limit."""
    out = io.StringIO()
    show_plan(settings_for(machine, {"MAX_MEMORY_MB": "400"}), True, out, root=machine)
    data = json.loads(out.getvalue())

    assert data["limit"] == "400 MB: set by MAX_MEMORY_MB; host has 24 GB"
    assert sum(line["bytes"] for line in data["lines"]) == data["limit_bytes"] == 400 * MIB
    assert out.getvalue().endswith("}\n")


def test_warnings_about_the_limit_stand_beside_those_of_the_plan(machine: Path) -> None:
    """A setting above what the host has is overruled, and both warnings are printed."""
    settings = settings_for(machine, {"WEB_CONCURRENCY": "9999"}, memory="64G")
    out = io.StringIO()
    show_plan(settings, False, out, root=machine)

    assert "warning: --memory asks for 64 GB" in out.getvalue()
    assert "warning: WEB_CONCURRENCY asks for 9999 workers;" in out.getvalue()


def test_bounds_of_a_worker_are_held_against_the_plan(machine: Path) -> None:
    """`tonnage plan` tells what `tonnage run` would."""
    out = io.StringIO()
    settings = settings_for(machine, memory="512M", worker_memory="10M", recycle_above="5M")
    show_plan(settings, False, out, root=machine)

    assert "warning: --worker-memory 10 MB leaves 0 MB" in out.getvalue()
    assert "warning: --recycle-above 5 MB is not more than" in out.getvalue()


def test_what_cannot_fit_is_an_error_and_prints_nothing(machine: Path) -> None:
    """The command line turns the error into one line and exit status 2."""
    out = io.StringIO()
    with pytest.raises(PlanError, match="1 worker cannot fit"):
        show_plan(settings_for(machine, memory="64M"), False, out, root=machine)

    assert out.getvalue() == ""

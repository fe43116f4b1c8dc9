"""What facts about an application mean: from one without a fault, each fault makes one finding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tonnage.budget.plan import AppSize, make_plan
from tonnage.budget.wishes import wishes_from
from tonnage.commands.checking.facts import AppFacts, Connections, Migrations, TargetFacts
from tonnage.commands.checking.findings import Finding
from tonnage.commands.checking.targetchecks import check_target
from tonnage.config import load_settings
from tonnage.host.limits import Limit
from tonnage.settings import Settings
from tonnage.units import MIB

GOOD = {"max_body": "1M", "timeout": "30s", "rate_limit": "100/15m", "workers": "1"}
SIZE = AppSize(
    zygote_bytes=40 * MIB,
    private_anon_bytes=30 * MIB,
    worker_own_bytes=None,
    how="measured",
    seconds=1.0,
)


def told(**options: Any) -> Settings:
    """Return the settings of somebody who has thought of everything, but for *options*."""
    return load_settings(GOOD | options, {}, Path("/nowhere"), on_terminal=lambda: False)


def facts(settings: Settings | None = None, app: AppFacts | None = None) -> TargetFacts:
    """Return what is known where nothing is wrong."""
    settings = settings or told()
    limit = Limit(512 * MIB, "--memory", "setting", None, None, 2**33, (), ())
    plan = make_plan(limit.bytes, limit.source, 8.0, SIZE, wishes_from(settings, limit.bytes))
    return TargetFacts(
        settings=settings,
        instances=1,
        limit=limit,
        cpus=2.0,
        app=app or AppFacts(SIZE),
        no_app="",
        options_error=None,
        plan=plan,
        plan_error="",
        places_in_memory=(),
        local_state=(),
        connections=Connections(planned=10, allowed=97),
        migrations=Migrations(()),
    )


def test_the_target_is_no_setting() -> None:
    """What is counted is what somebody has set besides."""
    found = check_target(facts(told(target="main:app")))[0]

    assert found.told == f"{len(GOOD)} set, each has a meaning"


def faults(found: TargetFacts) -> list[Finding]:
    """Return the checks that failed."""
    return [each for each in check_target(found) if each.outcome == "fail"]


def names(found: TargetFacts) -> list[str]:
    """Return the names of the checks that failed."""
    return [each.name for each in faults(found)]


def test_nothing_is_wrong_where_nothing_is() -> None:
    """And each check has a name of its own."""
    found = check_target(facts())

    assert [each for each in found if each.outcome == "fail"] == []
    assert len({each.name for each in found}) == len(found)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"max_body": None}, "bodies"),
        ({"timeout": None}, "timeouts"),
        ({"rate_limit": None}, "rates"),
        ({"log_level": "debug"}, "logs"),
        ({"env": "development"}, "logs"),
        ({"reload": True}, "debug"),
        ({"admission": False}, "protections"),
        ({"recycle": False}, "protections"),
        ({"host": "0.0.0.0"}, "token"),
        ({"workers": "3"}, "workers"),
        ({"cors_origins": "re:.*", "cors_credentials": True}, "cors"),
    ],
)
def test_each_setting_without_sense_is_found(options: dict[str, Any], name: str) -> None:
    """By one check, and that says what to do."""
    found = faults(facts(told(**options)))

    assert [each.name for each in found] == [name]
    assert found[0].advice


@pytest.mark.parametrize(
    ("revealed", "name"),
    [
        ({"why_not_fork": "importing it started 1 thread"}, "fork"),
        ({"sockets": ("a socket (descriptor 3)",)}, "sockets"),
        ({"debugging": ("Flask",)}, "debug"),
        ({"open_cors": "CORSMiddleware"}, "cors"),
        ({"size": replace(SIZE, seconds=31.0)}, "import"),
    ],
)
def test_each_fault_of_the_import_is_found(revealed: dict[str, Any], name: str) -> None:
    """By one check."""
    assert names(facts(app=replace(AppFacts(SIZE), **revealed))) == [name]


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"instances": 2, "local_state": ("caches",)}, "instances"),
        ({"places_in_memory": (("--spool-dir", "/tmp/spool", "tmpfs"),)}, "disks"),
        ({"connections": Connections(planned=98, allowed=97)}, "database"),
        ({"migrations": Migrations(("0002",))}, "migrations"),
        ({"options_error": "no sense"}, "settings"),
        ({"plan": None, "plan_error": "too much"}, "plan"),
    ],
)
def test_each_fault_around_it_is_found(changed: dict[str, Any], name: str) -> None:
    """By one check."""
    assert names(replace(facts(), **changed)) == [name]


def test_the_whole_machine_is_no_limit() -> None:
    """Somebody has to decide on one."""
    found = facts()
    limit = replace(found.limit, kind="host")

    assert names(replace(found, limit=limit)) == ["limit"]


def test_a_limit_that_cannot_be_had_is_told() -> None:
    """With what the search for it has warned of."""
    found = facts()
    limit = replace(found.limit, warnings=("--memory is above the container's limit",))
    (fault,) = faults(replace(found, limit=limit))

    assert (fault.name, fault.told) == ("limit", "--memory is above the container's limit")


def test_a_database_that_does_not_answer_is_no_fault() -> None:
    """It may be out of reach from here only; what it said is told."""
    silent = Connections(planned=10, allowed=None, unknown="the connection is refused")
    found = {each.name: each for each in check_target(replace(facts(), connections=silent))}

    assert found["database"].outcome == "skip"
    assert "the connection is refused" in found["database"].told


def test_a_token_is_enough_for_others_to_ask_with() -> None:
    """Where the server listens for others, too."""
    environ = {"TONNAGE_ADMIN_TOKEN": "x" * 43}
    settings = load_settings(
        GOOD | {"host": "0.0.0.0"}, environ, Path("/nowhere"), on_terminal=lambda: False
    )
    assert names(facts(settings)) == []


def test_a_short_token_is_none() -> None:
    """It can be guessed."""
    settings = load_settings(
        GOOD, {"TONNAGE_ADMIN_TOKEN": "secret"}, Path("/nowhere"), on_terminal=lambda: False
    )
    assert names(facts(settings)) == ["token"]


def test_a_route_whose_limit_is_taken_away_is_named() -> None:
    """Where all others have one."""
    settings = told(routes=["POST /films: max_body=none", "GET /live: stream=true, timeout=none"])
    found = faults(facts(settings))

    assert [each.told for each in found] == ["no limit for POST /films"]


def test_files_are_limited_by_their_route() -> None:
    """A route that takes files of any size is found where the others are limited."""
    app = AppFacts(SIZE, file_routes=("POST /films", "POST /photos/{id}"))
    routes = ["POST /films: max_body=none", "POST /photos/{id}: max_upload=5M"]
    found = {each.name: each for each in faults(facts(told(routes=routes), app))}

    assert found["uploads"].told == "files of any size: POST /films"
    own = {each.name: each for each in check_target(facts(app=replace(app, has_own_limits=True)))}
    assert own["uploads"].outcome == "pass"
    unknown = facts(told(max_body=None), replace(app, has_own_limits=True))
    assert {each.name: each.outcome for each in check_target(unknown)}["uploads"] == "skip"


def test_limits_of_its_own_are_not_looked_for() -> None:
    """An application with the middleware in its code has them there."""
    app = AppFacts(SIZE, has_own_limits=True)
    settings = told(max_body=None, timeout=None, rate_limit=None)

    assert names(facts(settings, app)) == []


def test_what_is_not_known_is_skipped() -> None:
    """Without the import, nothing is said of what only that shows."""
    found = replace(facts(), app=None, no_app="it failed")
    outcomes = {each.name: each.outcome for each in check_target(found)}

    assert outcomes["import"] == "fail"
    assert {outcomes[name] for name in ("fork", "sockets", "debug", "cors")} == {"skip"}

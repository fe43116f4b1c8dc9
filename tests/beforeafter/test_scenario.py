"""Scenario files: what they may say, and how they are told that they cannot be played."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.beforeafter.scenario import ScenarioError, Upload, read
from tests.support.server import ROOT

MINIMAL = """
[load]
clients = 2
seconds = 3
[probe]
path = "/events"
[naive]
command = "uvicorn naive:app --port {port}"
[tonnage]
command = "tonnage run --port {port}"
[[visit]]
name = "looks"
[[visit.step]]
path = "/events"
"""

WHOLE = """
notes = ["the load is small"]
[load]
clients = 40
think_seconds = 0.1
seconds = 60
timeout_seconds = 30
seed = 9
[probe]
method = "PUT"
path = "/beat"
ok = [202]
[needs]
database = "postgresql"
redis = true
[naive]
command = "uvicorn naive:app --port {port}"
env = {SECRET = "x"}
[tonnage]
command = "tonnage run --port {port}"
[values]
event = [1, 24]
month = ["2026-03", "2026-04"]
[[once]]
method = "POST"
path = "/register"
json = {email = "c{client}@example.org"}
ok = [201]
keep = {token = "access.token"}
[[visit]]
name = "sends a photo"
weight = 5
[[visit.step]]
method = "POST"
path = "/events/{event}/photo?month={month}"
headers = {authorization = "Bearer {token}"}
file = {field = "photo", path = "portrait.jpg", type = "image/jpeg"}
ok = [202]
keep = {job = "id"}
[[visit.step]]
path = "/jobs/{job}"
until = {state = "done"}
stores = {portraits = "Visitor {client}"}
"""


def write(directory: Path, text: str) -> Path:
    """Write a scenario file and return where it is."""
    path = directory / "load.toml"
    path.write_text(text)
    return path


def test_little_needs_to_be_said(tmp_path: Path) -> None:
    """What is left out has its usual value."""
    scenario = read(write(tmp_path, MINIMAL))

    assert scenario.app == tmp_path.name
    assert (scenario.load.think_seconds, scenario.load.timeout_seconds) == (0.1, 30)
    assert (scenario.needs.database, scenario.needs.redis, scenario.needs.mongo) == ("", 0, 0)
    (step,) = scenario.visits[0].steps
    assert (step.method, set(step.ok)) == ("GET", {200})
    assert step.json is step.file is None
    assert (scenario.notes, step.stores) == ((), {})


def test_all_that_can_be_said(tmp_path: Path) -> None:
    """Each key arrives."""
    scenario = read(write(tmp_path, WHOLE))

    assert scenario.load.clients == 40
    assert scenario.needs.database == "postgresql"
    assert scenario.needs.redis
    assert scenario.sides["naive"].env == {"SECRET": "x"}
    assert scenario.values == {"event": range(1, 25), "month": ("2026-03", "2026-04")}
    assert scenario.once[0].keep == {"token": "access.token"}
    photo, job = scenario.visits[0].steps
    assert photo.file == Upload("photo", "portrait.jpg", "image/jpeg")
    assert photo.names() == {"event", "month", "token"}
    assert job.until == {"state": "done"}
    assert job.stores == {"portraits": "Visitor {client}"}
    assert (scenario.probe.method, scenario.probe.path, set(scenario.probe.ok)) == (
        "PUT",
        "/beat",
        {202},
    )
    assert scenario.notes == ("the load is small",)


@pytest.mark.parametrize(
    ("before", "after", "key", "what_to_do"),
    [
        ("clients = 40", "", "[load] clients", "add it"),
        ("clients = 40", "clients = 0", "[load] clients", "at least 1"),
        ("clients = 40", "clients = 1.5", "[load] clients", "whole number"),
        ("seconds = 60", "secs = 60", "[load] secs", "take it out"),
        ('"postgresql"', '"mysql"', "[needs] database", "sqlite, postgresql"),
        ("redis = true", 'redis = "yes"', "[needs] redis", "true or false"),
        ("--port {port}", "", "[naive] command", "add --port {port}"),
        ('{SECRET = "x"}', "{SECRET = 1}", "[naive] [env] SECRET", "a text is needed"),
        ("[1, 24]", "[24, 1]", "[values] event", "[first, last]"),
        ("[1, 24]", "[]", "[values] event", "a list of texts"),
        ('method = "POST"', 'method = "FETCH"', "[[once]] 1 method", "name one"),
        ('"/register"', '"register"', "[[once]] 1 path", "add it"),
        ("ok = [202]\nkeep", "ok = 202\nkeep", "[[visit]] 1 [[step]] 1 ok", "a list of statuses"),
        ("keep = {job", 'form = {a = "b"}\nkeep = {job', "1 json, form, file", "leave one"),
        ("[probe]", "[probes]", "probes", "take it out"),
        ('"/beat"', '"/beat/{visit}"', "[probe] path", "write it out"),
        ("{portraits =", "{pictures =", "[[step]] 2 stores", "name one of"),
        ("Visitor {client}", "Visitor {number}", "/jobs/{job}", "{number}"),
        ('["the load is small"]', '"small"', "notes", "a list of texts"),
        ('"portrait.jpg"', '"me.jpg"', "[[visit]] 1 [[step]] 1 [file] path", "put it there"),
        ("/jobs/{job}", "/jobs/{jbo}", "'sends a photo' /jobs/{jbo}", "add it to [values]"),
        ("c{client}", "c{token}", "[[once]] /register", "{token}"),
        ("[[visit.step]]", "[visit.step]", "not TOML", "correct it"),
    ],
)
def test_what_cannot_be_played_is_told(
    tmp_path: Path, before: str, after: str, key: str, what_to_do: str
) -> None:
    """The file, the key, and what to do."""
    path = write(tmp_path, WHOLE.replace(before, after))
    with pytest.raises(ScenarioError) as raised:
        read(path)
    told = str(raised.value)
    assert told.startswith(f"{path}: ")
    assert key in told
    assert what_to_do in told


def test_a_scenario_that_is_not_there(tmp_path: Path) -> None:
    """Is told as such."""
    with pytest.raises(ScenarioError, match=r"load\.toml: there is no such scenario: write one"):
        read(tmp_path / "load.toml")


@pytest.mark.parametrize("app", ["fitflix", "lvlup", "fibuca", "eventide"])
def test_those_of_the_reference_backends_can_be_played(app: str) -> None:
    """Each file, as far as it can be told without playing it."""
    scenario = read(ROOT / "examples" / app / "load.toml")

    assert scenario.app == app
    assert scenario.visits
    assert scenario.notes
    # Whatever it takes from users is looked for in the end.
    assert any(step.stores for visit in scenario.visits for step in visit.steps)

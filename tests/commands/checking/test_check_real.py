"""`tonnage check` finds each fault of a bad application, and none in a good one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.commands.checking.proxy import silent_proxy
from tests.commands.checking.running import HERE, check, check_app
from tests.examples.databases import sqlite_url
from tests.support.postgres import postgres_urls
from tests.support.server import ROOT, Running

pytestmark = pytest.mark.real

# The fault, and the check that finds it.
BEFORE = {
    "an option that is misspelled": "settings",
    "more workers than processors": "workers",
    "the fuse turned off": "protections",
    "a thread that the import starts": "fork",
    "a socket that the import opens": "sockets",
    "debug mode": "debug",
    "a log that shows everything": "logs",
    "open to the network without a token": "token",
    "bodies of any size": "bodies",
    "files of any size": "uploads",
    "requests that take for ever": "timeouts",
    "clients that ask without end": "rates",
    "pages of every site, with cookies": "cors",
    "two instances with a database each": "instances",
    "a database in memory": "disks",
    "migrations that are pending": "migrations",
}
AFTER = {
    "operators' paths open to everyone": "closed",
    "nothing is compressed": "compression",
    "a large body is taken": "bodies",
    "clients that ask without end": "rates",
    "headers that say what it is made of": "headers",
    "pages of every site, with cookies": "cors",
    "error pages that show the code": "errors",
}
MISSPELLED = {"TONNAGE_MAX_BDOY": "1M"}
# What a check asks besides looking for the rate limit, where the URL is not https.
REQUESTS = 19
DJANGO = """
from django.conf import settings

settings.configure(DEBUG=True, CORS_ALLOW_ALL_ORIGINS=True, CORS_ALLOW_CREDENTIALS=True)

from django.core.wsgi import get_wsgi_application

app = get_wsgi_application()
"""
MANY = """
import tonnage

class Store:
    used_bytes = 0
    max_bytes = 10 * 2**20

    def __init__(self, number):
        self.name = f"store {number}" + "-" * 200

    def shrink(self, target_bytes):
        return 0

stores = [Store(number) for number in range(100)]
for store in stores:
    tonnage.register(store)

async def app(scope, receive, send): ...
"""


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """Yield the URL of a PostgreSQL that allows some dozens of connections."""
    with postgres_urls() as make:
        yield make()


@pytest.fixture(scope="module")
def migrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a migration that nobody has applied."""
    directory = tmp_path_factory.mktemp("migrations")
    (directory / "versions").mkdir()
    (directory / "versions" / "0001_first.py").write_text(
        '"""First."""\n\nrevision = "0001"\ndown_revision = None\n\n\ndef upgrade():\n    pass\n'
    )
    return directory


def test_each_fault_of_a_bad_application_is_found(migrations: Path) -> None:
    """Before it is deployed: all of them, and nothing else."""
    words = ("--instances", "2", "--migrations", str(migrations))
    with TemporaryDirectory(dir="/dev/shm") as memory:
        database = {"DATABASE_URL": f"sqlite:///{memory}/bad.sqlite3"}
        found = check_app("badapp", *words, env=MISSPELLED | database)

    assert found.status == 1, found.error
    assert found.faults() == set(BEFORE.values())
    assert all(found.finding(name)["advice"] for name in found.faults())


def test_nothing_is_found_in_a_good_application() -> None:
    """Before it is deployed."""
    found = check_app("goodapp")

    assert (found.status, found.faults()) == (0, set()), found.out
    assert found.outcomes()["uploads"] == "pass"


def test_nothing_is_found_in_fitflix(tmp_path: Path) -> None:
    """A backend of our own, with a database and migrations."""
    directory = ROOT / "examples" / "fitflix"
    found = check(cwd=directory, env={"DATABASE_URL": sqlite_url(tmp_path)})

    assert (found.status, found.faults()) == (0, set()), found.out


def test_each_fault_of_a_bad_server_is_found() -> None:
    """After it was deployed, by its URL alone."""
    target = ("tests.commands.checking.badapp:app", "--memory", "512M")
    with Running(*target) as server:
        found = check(server.url, "--probe-rate", "3")

    assert found.status == 1, found.error
    assert found.faults() == set(AFTER.values())


def test_nothing_is_found_in_a_good_server() -> None:
    """After it was deployed; the rate limit is looked for only where that is asked for."""
    config = ("--config", str(HERE / "goodapp.toml"))
    with Running("tests.commands.checking.goodapp:app", *config) as server:
        quiet, probing = check(server.url), check(server.url, "--probe-rate", "60")

    assert (quiet.status, quiet.faults()) == (0, set()), quiet.out
    assert (probing.status, probing.faults()) == (0, set()), probing.out
    assert {"closed", "rates", "encryption"} == {
        name for name, outcome in quiet.outcomes().items() if outcome == "skip"
    }
    assert probing.outcomes()["rates"] == "pass"


def test_a_proxy_that_makes_everybody_local_is_found() -> None:
    """What it is sent it passes on, a stranger's X-Forwarded-For too: that closes nothing."""
    target = ("tests.commands.checking.goodapp:app", "--config", str(HERE / "goodapp.toml"))
    with Running(*target) as server, silent_proxy(server.port) as url:
        found = check(url)

    closed = found.finding("closed")
    assert closed["outcome"] == "fail", found.out
    assert "GET /tonnage/state" in closed["told"]


def test_a_server_does_not_say_what_it_is_made_of() -> None:
    """Without an option: a check finds no fault with our own default."""
    with Running("tests.commands.checking.goodapp:app", "--memory", "512M") as server:
        found = check(server.url)
        headers = {name.lower() for name in server.get("/").headers}

    assert found.outcomes()["headers"] == "pass", found.out
    assert "server" not in headers


def test_it_asks_no_more_than_it_says() -> None:
    """Each request of a check is in the server's own log."""
    with Running(
        "tests.commands.checking.goodapp:app", "--access-log", "--log-format", "text"
    ) as server:
        check(server.url, "--probe-rate", "4")
        asked = server.log.count("HTTP/1.1")

    assert asked == REQUESTS + 4


def test_connections_are_held_against_what_the_server_allows(postgres: str) -> None:
    """More than the database has for all, while a worker is replaced."""
    config = ("--config", str(HERE / "goodapp.toml"))
    words = ("tests.commands.checking.goodapp:app", *config, "--database-connections")
    few, many = (check(*words, n, env={"DATABASE_URL": postgres}) for n in ("4", "1000"))

    assert few.finding("database")["outcome"] == "pass"
    assert (many.status, many.faults()) == (1, {"database"}), many.out


def test_an_application_that_fails_is_a_finding(tmp_path: Path) -> None:
    """The other checks are told still; and what the application prints is not among them."""
    (tmp_path / "broken.py").write_text("print('hello')\nraise RuntimeError('no such luck')\n")
    found = check("broken:app", cwd=tmp_path)

    assert found.status == 1
    assert "no such luck" in found.finding("import")["told"]
    assert found.outcomes()["plan"] == "pass"


def test_an_application_that_is_not_there_is_status_2(tmp_path: Path) -> None:
    """One line, and no findings."""
    found = check("nosuch:app", cwd=tmp_path)
    assert (found.status, found.out, found.error.count("\n")) == (2, "", 1)


def test_django_says_that_it_debugs(tmp_path: Path) -> None:
    """Its settings are looked at, and those of the package for CORS."""
    (tmp_path / "site_of_ours.py").write_text(DJANGO)
    found = check("site_of_ours:app", cwd=tmp_path)

    assert {"debug", "cors"} <= found.faults()


def test_it_is_told_for_people(tmp_path: Path) -> None:
    """A line for each check, what to do below each fault, and the sum."""
    (tmp_path / "hello.py").write_text("async def app(scope, receive, send): ...\n")
    found = check("hello:app", "--memory", "512M", cwd=tmp_path, json=False)

    assert found.out.startswith("hello:app, before deploying\n")
    assert "  FAIL  timeouts     no limit\n                     -> set --timeout" in found.out
    assert found.out.endswith(" passed, 3 failed, 3 skipped\n")


def test_many_stores_are_counted_all(tmp_path: Path) -> None:
    """More than can be named one by one; the plan has their sum."""
    (tmp_path / "many.py").write_text(MANY)
    found = check("many:app", "--memory", "512M", cwd=tmp_path)

    assert "caches and writers may hold 1,000 MB" in found.finding("plan")["told"]

"""What the URL of a database says: forms of many hosts, parameters, and no password anywhere."""

from __future__ import annotations

import contextlib
import logging
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tonnage import db
from tonnage.db.parameters import OURS, PASSED_ON
from tonnage.db.urls import DatabaseUrl, read_url, wanted_url
from tonnage.errors import ConfigError

#: It stands for a password, or a part of one.
SECRET = "s3cret"


# Forms.


@pytest.mark.parametrize(
    ("text", "dialect", "driver", "address", "shown"),
    [
        # Heroku and Render, Railway.
        (
            "postgres://u:s3cret@ec2-1-2-3-4.compute-1.amazonaws.com:5432/d1",
            *("postgresql", None),
            "postgresql://u:s3cret@ec2-1-2-3-4.compute-1.amazonaws.com:5432/d1",
            "postgresql://u:***@ec2-1-2-3-4.compute-1.amazonaws.com:5432/d1",
        ),
        (
            "postgresql://postgres:s3cret@containers-1.railway.app:6543/railway",
            *("postgresql", None),
            "postgresql://postgres:s3cret@containers-1.railway.app:6543/railway",
            "postgresql://postgres:***@containers-1.railway.app:6543/railway",
        ),
        # A driver, as SQLAlchemy has it; and its own name for one of them.
        (
            *("postgresql+asyncpg://u@db/shop", "postgresql", "asyncpg"),
            *("postgresql://u@db/shop", "postgresql://u@db/shop"),
        ),
        (
            *("postgresql+psycopg_async://db", "postgresql", "psycopg"),
            *("postgresql://db", "postgresql://db"),
        ),
        # IPv6, several hosts, a Unix socket, nothing but a database.
        (
            *("postgres://u@[::1]:5432/shop", "postgresql", None),
            *("postgresql://u@[::1]:5432/shop", "postgresql://u@[::1]:5432/shop"),
        ),
        (
            *("postgres://u:s3cret@a:1,[::1],b/shop", "postgresql", None),
            *("postgresql://u:s3cret@a:1,[::1],b/shop", "postgresql://u:***@a:1,[::1],b/shop"),
        ),
        (
            *("postgres://u:s3cret@/shop?host=/run/pg", "postgresql", None),
            *("postgresql://u:s3cret@/shop?host=/run/pg", "postgresql://u:***@[/run/pg]/shop"),
        ),
        (
            *("postgresql:///shop", "postgresql", None),
            *("postgresql:///shop", "postgresql:///shop"),
        ),
        ("sqlite:///app.db", "sqlite", None, "sqlite:///app.db", "sqlite:///app.db"),
        ("sqlite:////data/app.db", "sqlite", None, "sqlite:////data/app.db", "sqlite:////data/app.db"),
        ("sqlite:///:memory:", "sqlite", None, "sqlite:///:memory:", "sqlite:///:memory:"),
        ("sqlite+aiosqlite://", "sqlite", "aiosqlite", "sqlite://", "sqlite://"),
        # Prisma's.
        ("file:./dev.db", "sqlite", None, "sqlite:///./dev.db", "sqlite:///./dev.db"),
        (
            *("mysql://u:s3cret@db:3306/shop", "mysql", None),
            *("mysql://u:s3cret@db:3306/shop", "mysql://u:***@db:3306/shop"),
        ),
        (
            *("mariadb+pymysql://u@db/shop", "mysql", "pymysql"),
            *("mysql://u@db/shop", "mysql://u@db/shop"),
        ),
        (
            *("mongodb://u:s3cret@a:1,b:2/shop?replicaSet=r", "mongodb", None),
            *("mongodb://u:s3cret@a:1,b:2/shop?replicaSet=r", "mongodb://u:***@a:1,b:2/shop"),
        ),
        # Not resolved: there is no such name.
        (
            *("mongodb+srv://u:s3cret@cluster.invalid/shop", "mongodb", "srv"),
            *("mongodb+srv://u:s3cret@cluster.invalid/shop", "mongodb+srv://u:***@cluster.invalid/shop"),
        ),
        ("  postgres://db/shop\n", "postgresql", None, "postgresql://db/shop", "postgresql://db/shop"),
    ],
)  # fmt: skip
def test_a_url_of_each_form_is_read(
    text: str, dialect: str, driver: str | None, address: str, shown: str
) -> None:
    """What the driver gets, and what people see."""
    url = read_url(text)
    assert (url.dialect, url.driver) == (dialect, driver)
    assert (url.address, url.shown, str(url)) == (address, shown, shown)
    # Read again it says the same.
    assert read_url(url.address).address == address


@pytest.mark.parametrize(
    ("text", "is_in_memory"),
    [
        ("sqlite://", True),
        ("sqlite:///:memory:", True),
        ("sqlite:///file:shared?mode=memory&cache=shared&uri=true", True),
        ("sqlite:///memory.db", False),
        ("postgresql:///:memory:", False),
    ],
)
def test_a_database_in_memory_is_known(text: str, is_in_memory: bool) -> None:
    """It ends with its connection, so that it must stay."""
    assert read_url(text).is_in_memory is is_in_memory


# Parameters.


def test_without_parameters_the_usual_applies() -> None:
    """20 s and 10 s, small caches; limits and lifetimes are for the options to say."""
    pool = read_url("postgres://db/shop").pool
    assert (pool.connection_limit, pool.pool_timeout_seconds) == (None, 20)
    assert (pool.connect_timeout_seconds, pool.socket_timeout_seconds) == (10, None)
    assert (pool.statement_cache_size, pool.schema, pool.is_pgbouncer) == (16, None, False)
    assert (pool.idle_seconds, pool.lifetime_seconds) == (None, None)


def test_prismas_parameters_are_taken_out_and_the_drivers_left() -> None:
    """In any order; the driver's keep theirs."""
    url = read_url(
        "postgresql://u:p@db/shop?sslmode=require&connection_limit=7&pool_timeout=3&connect_timeout=2.5"
        "&application_name=my%20shop&socket_timeout=9&schema=tenant&statement_cache_size=40"
        "&max_connection_lifetime=60&max_idle_connection_lifetime=30&options=-c%20geqo%3Doff"
    )
    pool = url.pool
    assert (pool.connection_limit, pool.pool_timeout_seconds) == (7, 3)
    assert (pool.connect_timeout_seconds, pool.socket_timeout_seconds) == (2.5, 9)
    assert (pool.statement_cache_size, pool.schema) == (40, "tenant")
    assert (pool.lifetime_seconds, pool.idle_seconds) == (60, 30)
    assert url.options == {
        "sslmode": "require",
        "application_name": "my shop",
        "options": "-c geqo=off",
    }
    assert url.address == (
        "postgresql://u:p@db/shop?sslmode=require&application_name=my%20shop&options=-c%20geqo%3Doff"
    )


def test_zero_is_for_ever_as_prisma_has_it() -> None:
    """Also where MongoDB's name is another."""
    pool = read_url(
        "postgres://db/shop?pool_timeout=0&socket_timeout=0&max_connection_lifetime=0"
        "&max_idle_connection_lifetime=0"
    ).pool
    assert (pool.pool_timeout_seconds, pool.socket_timeout_seconds) == (None, math.inf)
    assert (pool.lifetime_seconds, pool.idle_seconds) == (math.inf, math.inf)
    pool = read_url("mongodb://db/shop?socketTimeoutMS=0").pool
    assert pool.socket_timeout_seconds == math.inf


def test_pgbouncer_lets_nothing_be_prepared() -> None:
    """Whatever else is said."""
    assert read_url("postgres://db/d?pgbouncer=true&statement_cache_size=9").pool == (
        read_url("postgres://db/d?pgbouncer=true").pool
    )
    assert read_url("postgres://db/d?pgbouncer=true").pool.statement_cache_size == 0
    assert read_url("postgres://db/d?pgbouncer=false").pool.statement_cache_size == 16


def test_mongodbs_names_of_the_same_are_understood() -> None:
    """In its own units, and written in whichever case."""
    url = read_url(
        "mongodb://db/shop?maxPoolSize=7&waitqueuetimeoutms=1500&connectTimeoutMS=2000"
        "&socketTimeoutMS=250&MAXIDLETIMEMS=0&retryWrites=true&readPreferenceTags=dc:a"
        "&readPreferenceTags=dc:b"
    )
    pool = url.pool
    assert (pool.connection_limit, pool.pool_timeout_seconds) == (7, 1.5)
    assert (pool.connect_timeout_seconds, pool.socket_timeout_seconds) == (2, 0.25)
    assert pool.idle_seconds == math.inf
    # Repeated ones are all kept.
    assert url.address == (
        "mongodb://db/shop?retryWrites=true&readPreferenceTags=dc:a&readPreferenceTags=dc:b"
    )


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ("connection_limit=0", "connection_limit is a whole number from 1 to 10000"),
        ("connection_limit=10001", "connection_limit is a whole number from 1 to 10000"),
        ("connection_limit=five", "connection_limit is a whole number"),
        ("connection_limit=", "connection_limit is a whole number"),
        ("connection_limit=5&connection_limit=-1", "connection_limit is a whole number"),
        ("pool_timeout=-1", "pool_timeout is a number of seconds"),
        ("pool_timeout=nan", "pool_timeout is a number of seconds"),
        ("pool_timeout=1e999", "pool_timeout is a number of seconds"),
        ("pool_timeout=99999999999", "pool_timeout is a number of seconds"),
        ("connect_timeout=0", "connect_timeout is a number of seconds, more than 0"),
        (f"connection_limit={'9' * 5000}", "connection_limit is a whole number"),
        (f"pool_timeout={'9' * 5000}", "pool_timeout is a number of seconds"),
        ("pgbouncer=1", "pgbouncer is true or false"),
        ("schema=", "schema is a name"),
        ("conection_limit=5", "not known, conection_limit: did you mean connection_limit?"),
        ("pool_size=5", "not known, pool_size: did you mean connection_limit?"),
        ("sslmod=require", "not known, sslmod: did you mean sslmode?"),
        ("ssl=true", "not known, ssl: did you mean sslmode=require?"),
        ("sslidentity=a.p12", "not known, sslidentity: did you mean sslcert and sslkey?"),
        ("qqqqqq=1", "not known, qqqqqq: leave it out"),
        ("sslmode", "each parameter has a value"),
        ("&", "each parameter has a value"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(parameters: str, said: str) -> None:
    """With what was meant, where that can be told."""
    with pytest.raises(ConfigError) as caught:
        read_url(f"postgres://u:{SECRET}@db/shop?{parameters}")
    assert said in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mongodb://db/?maxPoolSize=0", "maxPoolSize is a whole number from 1 to 10000"),
        ("mongodb://db/?waitQueueTimeoutMS=x", "waitQueueTimeoutMS is a number of milliseconds"),
        ("mongodb://db/?maxPoolSiz=5", "did you mean maxpoolsize?"),
        ("mysql://db/shop?socket=/run/my.sock", "did you mean unix_socket?"),
        ("mysql://db/shop?schema=x", "not known, schema"),
        ("mysql://u:s3cret@one:1,two:2/shop", "names one host"),
        ("mongodb://u:s3cret@/shop", "names at least one host"),
        ("mongodb://", "names at least one host"),
        ("sqlite:///app.db?journal=wal", "not known, journal"),
        (
            "sqlite:///app.db?mode=ro",
            "says mode, which counts only where the file is named by a URI",
        ),
        ("sqlite:///app.db?mode=ro&uri=true", "sqlite:///file:app.db?mode=ro&uri=true"),
        ("sqlite:///file:app.db?cache=shared&mode=memory", "says cache, mode, which counts only"),
        ("file:./app.db?immutable=1", "says immutable, which counts only"),
    ],
)
def test_each_dialect_has_parameters_of_its_own(text: str, said: str) -> None:
    """Those of another are not known."""
    with pytest.raises(ConfigError) as caught:
        read_url(text)
    assert said in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_parameter_is_ours_or_the_drivers() -> None:
    """Never both: it would be said twice."""
    for dialect, ours in OURS.items():
        assert not ours.keys() & PASSED_ON[dialect]


def test_what_libpq_knows_is_known() -> None:
    """Or left out on purpose, with a reason each."""
    pq = pytest.importorskip("psycopg.pq")
    libpqs = {each.keyword.decode() for each in pq.Conninfo.get_defaults()}
    of_ours = {"connect_timeout"}
    left_out = {"replication"}  # a protocol of its own
    assert libpqs - PASSED_ON["postgresql"] == of_ours | left_out
    # An older libpq knows less than this one.
    assert PASSED_ON["postgresql"] <= libpqs


def test_what_pymongo_knows_is_known() -> None:
    """But what is no option of MongoDB's URLs, or has been taken back."""
    common = pytest.importorskip("pymongo.common")
    pymongos = set(common.URI_OPTIONS_VALIDATOR_MAP)
    left_out = {
        *(
            "authoidcallowedhosts",
            "connect",
            "datetime_conversion",
            "driver",
            "fsync",
            "server_api",
        ),
        *("enableoverloadretargeting", "maxadaptiveretries", "srvallowedhostssuffix", "tz_aware"),
        *("unicode_decode_error_handler", "waitqueuemultiple"),
    }
    assert pymongos - PASSED_ON["mongodb"] - OURS["mongodb"].keys() <= left_out
    assert PASSED_ON["mongodb"] <= pymongos


# Passwords.

_AWKWARD = [
    # As it should be, and encoded.
    f"postgres://u:{SECRET}@db/shop",
    f"postgres://u:%40%2F{SECRET}@db/shop",
    # Not encoded as it should be, with everything that ends a part of a URL.
    *(
        f"postgres://u:{mark}{SECRET}@db/shop{tail}"
        for mark in ("/", "?", "#", "@", ":", "%", "&", "[", "]", "1/", "a?b=", "?x=1&", " ")
        for tail in ("", "?connection_limit=5", "?wrong=1", "?connection_limit=x")
    ),
    *(f"postgres://u:x{mark}{SECRET}={SECRET}@db/shop" for mark in "/?#@:%&[] "),
    f"postgres://u:x@?host={SECRET}@db/shop",
    f"postgres://u:x@?schema={SECRET}@db/shop",
    # Among the parameters, known there or not.
    f"postgres://u@db/shop?password={SECRET}",
    f"postgres://u@db/shop?password=p@{SECRET}&wrong=1",
    f"postgres://u@db/shop?sslpassword={SECRET}",
    f"postgres://u@db/shop?pasword={SECRET}",
    f"postgres://u@db/shop?oauth_client_secret={SECRET}&scram_client_key={SECRET}",
    f"mysql://u:{SECRET}@db/shop?passwd={SECRET}",
    f"mongodb://u:{SECRET}@a,b/?tlsCertificateKeyFilePassword={SECRET}",
    f"mongodb://u:{SECRET}@a/?authMechanismProperties=AWS_SESSION_TOKEN:{SECRET}",
    # Of no database, or of none that is known.
    f"mssql://u:{SECRET}@db/shop",
    f"u:{SECRET}@db/shop",
    f"jdbc:postgresql://u:{SECRET}@db/shop",
    f"postgresql+{SECRET}://db",
    f"sqlite://u:{SECRET}@app.db",
    f"postgres://u:{SECRET}@db:port/shop",
    f"postgres://u:{SECRET}@db:99999/shop",
    f"postgres://u:{SECRET}@db:{'9' * 5000}/shop",
    f"postgres://u:{SECRET}@[::1/shop",
]


def seen_of(text: str) -> str:
    """Return all that people see of a URL: it was read, or there is an error with its cause."""
    try:
        url = read_url(text)
    except ConfigError as error:
        return f"{error!r} {error.__cause__!r}"
    return f"{url} {url!r} {url.shown} {url.pool!r}"


@pytest.mark.parametrize("text", _AWKWARD)
def test_no_password_is_ever_shown(text: str) -> None:
    """Neither of a URL that was read, nor in the error of one that was not."""
    assert SECRET not in seen_of(text)


_PARTS = st.sampled_from(
    [
        *("postgres", "sqlite", "mysql", "mongodb", "+srv", "+asyncpg", "://", "/", "?", "&", "="),
        *(
            "@",
            ":",
            "#",
            "%",
            "%40",
            "[",
            "]",
            ",",
            "u",
            "db",
            "5432",
            "connection_limit",
            "schema",
        ),
        *("connection_limit", "host", "password", "pgbouncer", "true", "0", " ", "\x00", "é"),
    ]
)


@given(
    st.lists(_PARTS, max_size=12),
    st.lists(_PARTS, max_size=6),
    st.sampled_from(["postgres://u:", "mongodb://u:", "mysql://u@db/shop?password="]),
)
def test_whatever_is_written_no_password_is_shown(
    before: list[str], after: list[str], start: str
) -> None:
    """Marks anywhere in it and around it: it is read or refused, and nothing else happens."""
    with contextlib.suppress(ConfigError):
        read_url("".join(before))
    text = f"{start}{''.join(before)}{SECRET}{''.join(after)}@db/shop"
    assert SECRET not in seen_of(text)


@pytest.mark.parametrize(
    "password", ["p%40ss", "100%", "a#b", "a:b", "a+b", "a@b", "%", "%25", "ä€", "a b"]
)
def test_a_password_arrives_as_it_is_meant(password: str) -> None:
    """Also where it is not encoded as it should be, as far as it cannot mean anything else."""
    psycopg = pytest.importorskip("psycopg.conninfo")
    from urllib.parse import unquote

    url = read_url(f"postgres://u:{password}@db/shop")
    assert psycopg.conninfo_to_dict(url.address)["password"] == unquote(password)


# What is wanted.


@pytest.fixture
def no_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody says where a database is; settings come from the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "MONGO_URL", "MONGODB_URI", "MONGO_POOL_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_url")
def test_without_a_url_the_environment_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """DATABASE_URL and MONGO_URL; MongoDB's may be in the former, as Prisma has it."""
    monkeypatch.setenv("DATABASE_URL", "mongodb://prisma/shop")
    assert wanted_url(None, for_mongo=True).shown == "mongodb://prisma/shop"
    monkeypatch.setenv("DATABASE_URL", "postgres://db/shop?connection_limit=3")
    monkeypatch.setenv("MONGO_URL", "mongodb://db/shop")
    monkeypatch.setenv("MONGO_POOL_SIZE", "7")
    assert wanted_url(None).pool.connection_limit == 3
    assert wanted_url(None, for_mongo=True).pool.connection_limit == 7
    # What is given goes before, and its own limit too.
    assert wanted_url("sqlite:///app.db").dialect == "sqlite"
    given = wanted_url("mongodb://db/?maxPoolSize=2", for_mongo=True)
    assert given.pool.connection_limit == 2


@pytest.mark.usefixtures("no_url")
def test_drivers_get_the_url_without_what_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would take pools' parameters for their own; the password stays, as they need it."""
    monkeypatch.setenv("DATABASE_URL", f"postgres://u:{SECRET}@db/shop?connection_limit=3")
    assert db.driver_url() == f"postgresql://u:{SECRET}@db/shop"
    assert db.driver_url("sqlite:///app.db") == "sqlite:///app.db"


@pytest.mark.usefixtures("no_url")
def test_it_is_said_what_to_set() -> None:
    """Where nobody has named a database, or one of the other sort."""
    with pytest.raises(ConfigError, match="set DATABASE_URL"):
        wanted_url(None)
    with pytest.raises(ConfigError, match="set MONGO_URL"):
        wanted_url(None, for_mongo=True)
    with pytest.raises(ConfigError, match=r"mongodb://u:\*\*\*@db is for db.mongo"):
        wanted_url(f"mongodb://u:{SECRET}@db")
    with pytest.raises(ConfigError, match=r"is for db.engine\(\) or db.pool\(\)"):
        wanted_url("postgres://db/shop", for_mongo=True)


def test_logs_show_where_it_is_and_no_password(caplog: pytest.LogCaptureFixture) -> None:
    """However it gets into a line."""
    url: DatabaseUrl = read_url(f"postgres://u:{SECRET}@db/shop?password={SECRET}")
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("connected to %s %r %s", url, url, [url])
    assert SECRET not in caplog.text
    assert "postgresql://u:***@db/shop" in caplog.text

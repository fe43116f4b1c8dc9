"""What MySQL's drivers are told. They take it; there is no server here that would obey."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.db.drivers_settings import options

from tonnage.db.drivers.sqlalchemy import arguments
from tonnage.db.sessions import open_session
from tonnage.db.urls import read_url
from tonnage.errors import DatabaseError

sqlalchemy = pytest.importorskip("sqlalchemy")


def told(text: str, **how: Any) -> dict[str, Any]:
    """Return the arguments of an engine with three connections."""
    return arguments(read_url(text), options(lock_timeout_seconds=2.5), 3, **how)


def of_connection(made: Any, connect_args: dict[str, Any]) -> dict[str, Any]:
    """Return what SQLAlchemy gives to the driver for each connection."""
    positional, found = made.dialect.create_connect_args(made.url)
    assert not positional
    return {**found, **connect_args}


def test_pymysql_takes_what_it_is_told() -> None:
    """Pool, time-outs, and what each session begins with."""
    pymysql = pytest.importorskip("pymysql")
    text = (
        "mysql://u:p%40ss@db:3307/shop?charset=utf8mb4&pool_timeout=0&connect_timeout=1.5"
        "&socket_timeout=9&max_connection_lifetime=60"
    )
    found = told(text, is_async=False)
    made = sqlalchemy.create_engine(**found)
    assert made.dialect.driver == "pymysql"
    assert (made.pool.size(), made.pool._max_overflow, made.pool.timeout()) == (3, 0, None)
    assert made.pool._recycle == 60
    given = of_connection(made, found["connect_args"])
    connection = pymysql.connect(**given, defer_connect=True)
    assert (connection.host, connection.port, connection.user) == ("db", 3307, "u")
    assert (connection.password, connection.db) == (b"p@ss", "shop")
    assert (connection.charset, connection.connect_timeout) == ("utf8mb4", 2)
    assert (connection._read_timeout, connection._write_timeout) == (9, 9)
    assert connection.init_command == (
        "SET SESSION innodb_lock_wait_timeout=3 /*!50708 , SESSION max_execution_time=7200 */"
        " /*M!100101 , SESSION max_statement_time=7.2 */"
    )


def test_no_end_of_waiting_is_what_pymysql_takes_for_it() -> None:
    """A server that says nothing; its own limit for statements holds all the same."""
    pymysql = pytest.importorskip("pymysql")
    found = told("mysql://db/shop?socket_timeout=0", is_async=False)
    made = sqlalchemy.create_engine(**found)
    given = of_connection(made, found["connect_args"])
    connection = pymysql.connect(**given, defer_connect=True)
    assert connection._read_timeout > 20 * 24 * 3600
    assert "max_statement_time=30 " in connection.init_command


async def test_aiomysql_takes_what_it_is_told() -> None:
    """It has no time-outs for answers; the server has."""
    aiomysql = pytest.importorskip("aiomysql")
    from sqlalchemy.ext.asyncio import create_async_engine

    found = told("mariadb://u:p@db/shop?init_command=SET%20NAMES%20utf8mb4", is_async=True)
    made = create_async_engine(**found)
    assert made.dialect.driver == "aiomysql"
    given = of_connection(made, found["connect_args"])
    connection = aiomysql.Connection(**given)
    assert (connection.host, connection.port, connection.user) == ("db", 3306, "u")
    # The URL's own has the last word.
    assert connection.init_command == "SET NAMES utf8mb4"
    assert connection.connect_timeout == 10


def test_a_unix_socket_is_one() -> None:
    """By the name that PyMySQL has for it."""
    pymysql = pytest.importorskip("pymysql")
    found = told("mysql://u@/shop?unix_socket=/run/mysqld.sock", is_async=False)
    given = of_connection(sqlalchemy.create_engine(**found), found["connect_args"])
    assert pymysql.connect(**given, defer_connect=True).unix_socket == "/run/mysqld.sock"


def test_a_command_goes_where_the_url_says(tmp_path: Path) -> None:
    """As an engine does: to a socket, and with certificates where it names some."""
    pytest.importorskip("pymysql")
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server, ThreadPoolExecutor(1) as threads:
        server.bind(str(path))
        server.listen()
        server.settimeout(5)
        ended = threads.submit(lambda: server.accept()[0].close())
        url = read_url(f"mysql://app:s3cret@nowhere.invalid/shop?unix_socket={path}")
        with pytest.raises(DatabaseError, match="Lost connection") as told, open_session(url):
            pass
        ended.result()
    assert "s3cret" not in str(told.value)

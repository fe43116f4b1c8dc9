"""The commands for a database: ``tonnage db report`` and ``tonnage db migrate``.

They need no server. Nothing is decided here: what is found is told by :mod:`tonnage.db.report`, and
what is done by :mod:`tonnage.db.upgrade`; each is imported for its own command.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from tonnage.units import parse_seconds

if TYPE_CHECKING:
    import argparse

_URL_NOTE: Final = (
    "The database is the one that DATABASE_URL names, in the environment or an env file, or else "
    "database_url in [tool.tonnage] of pyproject.toml. A URL on the command line can be read by "
    "other users of the machine while the command runs."
)


def carry_out(arguments: argparse.Namespace) -> int:
    """Carry out the command in *arguments* and return its exit status.

    Raises:
        ConfigError: no database is named, or something is missing.
        DatabaseError: it cannot be reached, or a migration has failed.
    """
    return _report(arguments) if arguments.what == "report" else _migrate(arguments)


def _report(arguments: argparse.Namespace) -> int:
    from tonnage.db.report.command import show_report

    return show_report(
        arguments.url,
        sys.stdout,
        as_json=arguments.json,
        is_checked=arguments.quick_check,
        timeout_seconds=parse_seconds(arguments.timeout),
    )


def _migrate(arguments: argparse.Namespace) -> int:
    from tonnage.db.migrations import needed
    from tonnage.db.settings import current

    needed()
    from tonnage.db.upgrade.command import MigrateArguments, migrate
    from tonnage.db.upgrade.engines import Timeouts

    given = arguments.lock_timeout
    lock_seconds = current().lock_timeout_seconds if given is None else parse_seconds(given)
    wanted = MigrateArguments(
        directory=arguments.directory,
        is_check=arguments.check,
        as_json=arguments.json,
        wait_seconds=parse_seconds(arguments.wait),
        timeouts=Timeouts(lock_seconds, parse_seconds(arguments.statement_timeout)),
    )
    return migrate(wanted, arguments.url, sys.stdout, sys.stderr)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command can be told: one of two commands of its own."""
    parser.epilog = _URL_NOTE
    both = parser.add_subparsers(
        title="what", dest="what", metavar="WHAT", required=True, prog="tonnage db"
    )
    _add_report(both)
    _add_migrate(both)


def _add_report(both: argparse._SubParsersAction[Any]) -> None:
    report = both.add_parser(
        "report",
        help="show large, unused, duplicate and missing indexes, bloat, and limits",
        description="Show large, unused, duplicate and missing indexes, bloat, and limits; nothing "
        "is changed, and no statement that is shown is run.",
        epilog=f"{_URL_NOTE} Exit status: 0 whatever is found, 1 not reachable, 2 a mistake.",
    )
    report.add_argument("url", nargs="?", metavar="URL", help="the database (default: as below)")
    report.add_argument("--json", action="store_true", help="print the report as JSON")
    report.add_argument(
        "--quick-check", action="store_true", help="SQLite: also read it all, for damage"
    )
    report.add_argument(
        "--timeout", metavar="TIME", default="10s", help="of each question (default: 10s)"
    )


def _add_migrate(both: argparse._SubParsersAction[Any]) -> None:
    from tonnage.db.migrations import STATEMENT_SECONDS, WAIT_SECONDS

    migrate = both.add_parser(
        "migrate",
        help="apply Alembic's migrations that are pending, one process at a time",
        description="Apply Alembic's migrations that are pending; one process does, others wait.",
        epilog=f"{_URL_NOTE} Exit status: 0 the database has the newest version, 1 it has not, "
        "2 a mistake.",
    )
    migrate.add_argument(
        "directory",
        nargs="?",
        metavar="DIRECTORY",
        help="with versions/ in it, or an alembic.ini (default: alembic.ini, migrations, alembic)",
    )
    migrate.add_argument("--url", help="the database (default: as below)")
    migrate.add_argument("--check", action="store_true", help="only look; 1 if any are pending")
    migrate.add_argument("--json", action="store_true", help="print what was done as JSON")
    migrate.add_argument(
        "--wait",
        metavar="TIME",
        default=f"{WAIT_SECONDS:g}s",
        help=f"for another process that migrates (default: {WAIT_SECONDS:g}s)",
    )
    migrate.add_argument(
        "--lock-timeout",
        metavar="TIME",
        help="how long a statement may wait for a lock (default: 10s, or TONNAGE_LOCK_TIMEOUT)",
    )
    migrate.add_argument(
        "--statement-timeout",
        metavar="TIME",
        default=f"{STATEMENT_SECONDS:g}s",
        help=f"how long a statement may run (default: {STATEMENT_SECONDS:g}s)",
    )

"""Directories of Alembic's migrations for tests, and the command that applies them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent, indent

SYNC_ENV = """
    from alembic import context
    from sqlalchemy import engine_from_config, pool

    settings = context.config.get_section(context.config.config_ini_section, {})
    settings.setdefault("sqlalchemy.url", context.config.get_main_option("sqlalchemy.url"))
    engine = engine_from_config(settings, prefix="sqlalchemy.", poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
"""
ASYNC_ENV = """
    import asyncio

    from alembic import context
    from sqlalchemy import pool
    from sqlalchemy.ext.asyncio import create_async_engine


    def run(connection):
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()


    async def main():
        url = context.config.get_main_option("sqlalchemy.url")
        engine = create_async_engine(url, poolclass=pool.NullPool)
        async with engine.connect() as connection:
            await connection.run_sync(run)


    asyncio.run(main())
"""


def write_migrations(directory: Path, *bodies: str, env: str | None = None) -> Path:
    """Write a migration for each of *bodies*, the code of its ``upgrade()``; return *directory*."""
    versions = directory / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    for number, body in enumerate(bodies, 1):
        before = f'"{number - 1:04}"' if number > 1 else "None"
        text = dedent(
            f"""
            \"\"\"Step {number}.\"\"\"
            import time
            import sqlalchemy as sa
            from alembic import op
            revision = "{number:04}"
            down_revision = {before}
            def upgrade():
            """
        ).lstrip()
        (versions / f"{number:04}_step.py").write_text(text + indent(dedent(body).strip(), "    "))
    if env is not None:
        (directory / "env.py").write_text(dedent(env))
    return directory


def start_migrate(*words: str, url: str, directory: Path | None = None) -> subprocess.Popen[str]:
    """Start ``tonnage db migrate`` as a process of its own, for the database at *url*."""
    return subprocess.Popen(
        [sys.executable, "-m", "tonnage", "db", "migrate", *words],
        env={**os.environ, "DATABASE_URL": url, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=directory,
    )

"""What drivers and their pools are told: one table each, from what a URL and the options say.

=====================================  =========================================================
:mod:`tonnage.db.drivers.sqlalchemy`   ``create_engine`` and ``create_async_engine``
:mod:`tonnage.db.drivers.asyncpg`      ``asyncpg.connect``
:mod:`tonnage.db.drivers.asyncpgpool`  ``asyncpg.create_pool``
:mod:`tonnage.db.drivers.psycopg`      ``psycopg.connect``
:mod:`tonnage.db.drivers.psycopgpool`  ``psycopg_pool.ConnectionPool``
:mod:`tonnage.db.drivers.pymongo`      ``pymongo.AsyncMongoClient``
=====================================  =========================================================

Almost no driver takes Prisma's parameters as they are, and what one takes for "for ever" means "at
once" in another. The tables are pure: nothing connects, and no driver is imported but where a table
needs its types.
"""

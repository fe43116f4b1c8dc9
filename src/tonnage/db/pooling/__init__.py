"""What all pools have in common: places, waiting, the server's limits, outages, their count.

Those of SQLAlchemy's engines are :mod:`tonnage.db.engines`; those of asyncpg's and psycopg's
connections :mod:`tonnage.db.pools`; MongoDB's client (:mod:`tonnage.db.mongodb`) has its own, and
uses the rest.
"""

"""What a command of ``tonnage`` does on its own, outside the processes of a server.

Each is parsed in :mod:`tonnage.cli`. Importing this package imports none of it.
"""

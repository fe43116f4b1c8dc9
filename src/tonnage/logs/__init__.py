"""The log of an application, and what it shares with our own (:mod:`tonnage.ops.logging`).

``tonnage.setup_logging()`` sets it up, ``tonnage.get_logger(__name__)`` writes to it; both are in
:mod:`tonnage.logs.application`. Importing this package imports none of it.
"""

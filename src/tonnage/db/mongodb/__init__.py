"""MongoDB with bounds, by way of PyMongo's asynchronous client.

* :mod:`.client`      ``db.mongo()``: one pool for each worker, opened when it is first used
* :mod:`.named`       databases and collections, as PyMongo has them, whose results are bounded
* :mod:`.cursors`     ``to_list()`` with a limit, ``async for`` in batches of about 1 MB
* :mod:`.batches`     how many documents to ask for at once
* :mod:`.pages`       pages by keyset, and ``only()``
* :mod:`.plain`       documents as JSON can have them
* :mod:`.gate`        what callers get when MongoDB is away, or all connections are busy
* :mod:`.connection`  PyMongo's client of one event loop
* :mod:`.events`      what the log and the statistics learn from PyMongo

Nothing of this is imported before ``db.mongo`` is used; PyMongo comes with ``tonnage[mongo]``.
"""

"""The governor: what is decided about memory, without touching any.

Levels, learned costs, the ledger and the queue's rules are plain arithmetic over records, so that
each can be tested as a table. Who reads the kernel is :mod:`tonnage.host`; who carries decisions
out is :mod:`tonnage.server` (processes) and :mod:`tonnage.web` (requests).
"""

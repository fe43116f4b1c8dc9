"""Records of a writer on disk, in the order they came, until a sink has them.

    spool = Spool("events", max_bytes=256 * MIB)   # opens nothing yet
    await spool.add(records)                # in any event loop; returns when they are on disk
    spool.put(records)                      # the same in a thread

    await spool.adopt()                     # in the background's loop: what dead processes left
    chunk = await spool.read(1000, 4 * MIB) # the oldest; None: there is nothing to deliver
    await delivery.deliver(chunk.batch)     # records with ids
    await spool.delivered(chunk)            # forgotten, and its room on disk is free again

The parts, from below: ``files`` (what is asked of a file system), ``frames`` (how a record lies in
a file), ``payload`` (a record as bytes), ``places`` (directories, locks, room), ``position`` (how
far it is delivered), ``journal`` (adding), ``replay`` (reading back), ``groups`` (who waits for the
same fsync), ``marks`` (since when), ``disk`` (the thread that does it), ``spool`` (all together).
"""

from __future__ import annotations

from tonnage.stores.writer.spool.replay import Chunk
from tonnage.stores.writer.spool.spool import Spool

__all__ = ["Chunk", "Spool"]

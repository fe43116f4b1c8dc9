"""What became of a spool's records: counted where it happens, and added up here.

Changed by the disk's thread alone; whoever else reads it may see one figure before another.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Books:
    """The counts of one process, since its spool was made.

    Attributes:
        stored: records of this process that came to the disk.
        own_delivered: those of them that were delivered from there.
        refused: records that did not come to the disk.
        stored_bytes: of what came to the disk.
        delivered_bytes: of what was delivered of that.
        adopted_bytes: of what other processes have left, and is not delivered.
    """

    stored: int = 0
    own_delivered: int = 0
    refused: int = 0
    stored_bytes: int = 0
    delivered_bytes: int = 0
    adopted_bytes: int = 0

    @property
    def waiting(self) -> int:
        """Records of this process that are not delivered; of adopted journals nobody counts."""
        return self.stored - self.own_delivered

    @property
    def used_bytes(self) -> int:
        """What records that are not delivered take on the disk, those of the dead included."""
        return self.stored_bytes - self.delivered_bytes + self.adopted_bytes

"""What an upload may be: the figures that every part of this package keeps to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tonnage.units import KIB, MIB

if TYPE_CHECKING:
    from tonnage.web.path.uploads.filetypes import AllowedTypes

# A form's boundaries and the headers of its parts, which are in nobody's limit: browsers write
# some 150 bytes a part.
_PART_BYTES: Final = 512
_FRAME_BYTES: Final = 64 * KIB

# What all uploads together let wait in the page cache, as far as each has 256 KB: the container is
# charged for it, and a flush of less costs more than it gives back.
CACHED_BYTES: Final = 4 * MIB
LEAST_FLUSH_BYTES: Final = 256 * KIB


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """The limits of one request, and where its files go meanwhile."""

    max_bytes: int
    """The size of all files of a request together."""
    max_files: int
    max_fields: int
    max_fields_bytes: int
    """The size of all fields of a form together, which are kept in memory."""
    types: AllowedTypes | None
    directory: Path
    flush_bytes: int

    @property
    def max_body_bytes(self) -> int:
        """The most that a whole body can have: a form has fields and headers besides its files."""
        parts = self.max_files + self.max_fields
        return self.max_bytes + self.max_fields_bytes + parts * _PART_BYTES + _FRAME_BYTES


def flush_bytes(concurrent: int) -> int:
    """Return after how much each of *concurrent* uploads is written out of the page cache."""
    return max(LEAST_FLUSH_BYTES, CACHED_BYTES // concurrent)

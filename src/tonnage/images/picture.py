"""A picture that is ready to be sent or kept."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture, without any metadata.

    Attributes:
        content: the file.
        media_type: as ``image/jpeg``.
        width: in pixels.
        height: in pixels.
    """

    content: bytes = field(repr=False)
    media_type: str
    width: int
    height: int

    @property
    def size_bytes(self) -> int:
        """How long the file is."""
        return len(self.content)

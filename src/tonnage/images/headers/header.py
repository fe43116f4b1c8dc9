"""What is known of a picture before anything of it is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: What is taken, and the type that it is sent with.
MEDIA_TYPES: Final = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
}


@dataclass(frozen=True, slots=True)
class Plane:
    """One component of a JPEG: how much of the largest component's resolution it has."""

    horizontal: int
    vertical: int


@dataclass(frozen=True, slots=True)
class Header:
    """A picture's header.

    Attributes:
        format: JPEG, PNG, WEBP or GIF.
        width: in pixels, as stored; a camera may have meant it to be turned.
        height: the same.
        channels: values of a pixel: 1 grey or palette, 2 grey with alpha, 3 colour, 4 with alpha,
            or the four inks.
        bits: of one value: 1 to 8, or 16.
        frames: 1 where nothing moves. Counted up to one more than the walk's bound.
        has_alpha: whether pixels may be transparent.
        has_palette: whether the values stand for colours of a table.
        is_progressive: whether the whole picture gets sharper while it comes: a progressive JPEG,
            an interlaced PNG or GIF.
        is_held_whole: whether a decoder has to hold all coefficients of a JPEG: a progressive one,
            or one whose components come one after the other.
        planes: the components of a JPEG.
        orientation: 1 to 8, as of EXIF.
        metadata_bytes: what metadata and profile come to, unpacked, at most.
    """

    format: str
    width: int
    height: int
    channels: int
    bits: int = 8
    frames: int = 1
    has_alpha: bool = False
    has_palette: bool = False
    is_progressive: bool = False
    is_held_whole: bool = False
    planes: tuple[Plane, ...] = ()
    orientation: int = 1
    metadata_bytes: int = 0

    @property
    def name(self) -> str:
        """What people call the format."""
        return "WebP" if self.format == "WEBP" else self.format

    @property
    def kind(self) -> str:
        """What decides how many pixels are taken: the name, and of a JPEG whether it is held."""
        return "progressive JPEG" if self.is_held_whole else self.name

    @property
    def pixels(self) -> int:
        """How many there are."""
        return self.width * self.height

    @property
    def is_turned(self) -> bool:
        """Whether width and height change places when the picture is shown."""
        return self.orientation >= 5

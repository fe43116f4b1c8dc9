"""A picture that somebody sent: judged by its header, and decoded as small as it is wanted.

    photo = images.open(source)              # reads some kilobytes; refuses what is too large
    with reserved(photo.memory_bytes):
        picture = photo.resized(max_width=800, max_height=800)

Promises: opening decodes nothing, needs no imaging library, and takes some kilobytes of memory,
whatever the file says; what decoding takes is known before (``memory_bytes``). What comes out is
upright, in sRGB, and carries no metadata. Keeps the source, not what was decoded. Thread-safe,
unless the source is an open file: that has one position.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tonnage.images.arguments import Rendition, asked, format_of
from tonnage.images.fitting import fit
from tonnage.images.headers.finding import read_header
from tonnage.images.headers.header import MEDIA_TYPES, Header
from tonnage.images.limits import USUAL, Limits
from tonnage.images.predict import peak_bytes
from tonnage.images.source import Source, opened

if TYPE_CHECKING:
    from PIL import Image

    from tonnage.images.picture import Picture


def open_photo(source: Source, *, limits: Limits | None = None) -> Photo:
    """Read the header of *source*, as ``images.open``; it may block for some milliseconds.

    Args:
        source: bytes, a path, a binary file that seeks, or a file of ``Uploads``.
        limits: what is taken; None: ``Limits()``.

    Raises:
        ImageRefusedError: it is no picture that is taken, is damaged, or would become too large.
        TypeError: it is no source.
        OSError: the file cannot be read.
    """
    limits = limits or USUAL
    with opened(source) as file:
        file_bytes = file.seek(0, os.SEEK_END)
        limits.check_file(file_bytes)
        header = read_header(file, most_frames=limits.frames)
    limits.check(header)
    photo = Photo(source, header, file_bytes)
    limits.check_memory(photo.memory_bytes)
    return photo


class Photo:
    """A picture's file and what its header says."""

    __slots__ = ("file_bytes", "header", "source")

    def __init__(self, source: Source, header: Header, file_bytes: int) -> None:
        #: Where it is read from.
        self.source = source
        #: What the file says of itself.
        self.header = header
        #: How long the file is.
        self.file_bytes = file_bytes

    @property
    def format(self) -> str:
        """JPEG, PNG, WEBP or GIF, by the content."""
        return self.header.format

    @property
    def media_type(self) -> str:
        """The type of the file, as ``image/jpeg``."""
        return MEDIA_TYPES[self.header.format]

    @property
    def width(self) -> int:
        """How many pixels it is wide when it is shown upright."""
        return self.header.height if self.header.is_turned else self.header.width

    @property
    def height(self) -> int:
        """How many pixels it is high when it is shown upright."""
        return self.header.width if self.header.is_turned else self.header.height

    @property
    def frames(self) -> int:
        """How many pictures an animation has; else 1."""
        return self.header.frames

    @property
    def is_progressive(self) -> bool:
        """Whether it is made to get sharper while it comes."""
        return self.header.is_progressive

    @property
    def memory_bytes(self) -> int:
        """What ``resized()`` takes at its peak, to 800 x 800 pixels."""
        return self.memory_for()

    def memory_for(
        self,
        max_width: int | None = 800,
        max_height: int | None = 800,
        *,
        format: str | None = None,
    ) -> int:
        """Return what ``resized`` with the same arguments takes at its peak; ``decode``, too.

        Raises:
            ConfigError: an argument makes no sense.
        """
        target = fit(self.header, max_width, max_height)
        is_to_webp = format_of(format) == "WEBP"
        return peak_bytes(self.header, self.file_bytes, target, is_to_webp=is_to_webp)

    def decode(self, max_width: int | None = 800, max_height: int | None = 800) -> Image.Image:
        """Return its first frame as RGB, or RGBA where it has alpha; upright and in sRGB.

        Blocks, and takes up to ``memory_for(max_width, max_height)``: reserve that before.

        Args:
            max_width: pixels at most; None: as many as it has. It is never made larger.
            max_height: the same.

        Raises:
            ImageRefusedError: it is damaged or cut off.
            ConfigError: Pillow is not installed, or a bound is no number of pixels.
        """
        from tonnage.images.decode import decode

        return decode(self.source, self.header, fit(self.header, max_width, max_height))

    def resized(
        self,
        max_width: int | None = 800,
        max_height: int | None = 800,
        *,
        quality: int = 85,
        format: str | None = None,
        background: str = "white",
    ) -> Picture:
        """Return it decoded and encoded anew. Blocks, as ``decode`` does.

        Args:
            max_width: pixels at most; None: as many as it has. It is never made larger.
            max_height: the same.
            quality: 1 to 95, of JPEG and WebP.
            format: JPEG, PNG or WEBP; None: PNG where something is transparent, else JPEG.
            background: the colour behind what is transparent, where the format has no alpha.

        Raises:
            ImageRefusedError: it is damaged or cut off.
            ConfigError: Pillow is not installed, or an argument makes no sense.
        """
        return self.made_into(
            asked(max_width, max_height, quality=quality, format=format, background=background)
        )

    def made_into(self, wanted: Rendition) -> Picture:
        """Return it as :meth:`resized` does, by arguments that have been checked."""
        from tonnage.images.encode import encode

        image = self.decode(wanted.max_width, wanted.max_height)
        return encode(image, quality=wanted.quality, format=wanted.format, colour=wanted.colour)

    def __repr__(self) -> str:
        return f"<Photo {self.format}, {self.width} x {self.height}, {self.file_bytes} bytes>"

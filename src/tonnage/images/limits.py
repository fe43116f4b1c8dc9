"""How large a picture may be, judged by its header.

    images.open(source, limits=images.Limits(png_pixels=50_000_000))

The defaults keep what :meth:`Photo.resized <tonnage.images.photo.Photo.resized>` takes at its peak
within ``memory_bytes``, whatever is sent; the numbers of pixels follow from what each format's
decoder holds for one (:mod:`tonnage.images.predict`). Pure: nothing is read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tonnage.images import refusals
from tonnage.images.headers.header import Header
from tonnage.units import MIB, format_bytes

#: Pixels of a megapixel.
_MEGA: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a picture may be, so that it is taken.

    Attributes:
        file_bytes: how long a file may be.
        jpeg_pixels: width times height of a JPEG that comes in one scan, as cameras make them: it
            is decoded small at once.
        progressive_pixels: the same of a JPEG in several scans, whose coefficients are held: 3
            bytes of memory a pixel and more.
        png_pixels: the same of a PNG, which takes 4 bytes a pixel.
        webp_pixels: the same of a WebP, which takes 16 bytes a pixel and more.
        gif_pixels: the same of a GIF, which takes 1 byte a pixel.
        frames: how many an animation may have; the first is all that is ever decoded.
        ratio: how many times longer than the shorter side the longer one may be.
        least_side: pixels that each side has at least.
        metadata_bytes: what metadata and profiles may come to when they are unpacked.
        memory_bytes: what :attr:`Photo.memory_bytes` may be.
    """

    file_bytes: int = 64 * MIB
    jpeg_pixels: int = 50 * _MEGA
    progressive_pixels: int = 24 * _MEGA
    png_pixels: int = 24 * _MEGA
    webp_pixels: int = 8 * _MEGA
    gif_pixels: int = 24 * _MEGA
    frames: int = 300
    ratio: int = 30
    least_side: int = 1
    metadata_bytes: int = 8 * MIB
    memory_bytes: int = 160 * MIB

    def pixels_of(self, header: Header) -> int:
        """Return how many pixels a picture like *header* may have."""
        return {
            "JPEG": self.jpeg_pixels,
            "progressive JPEG": self.progressive_pixels,
            "PNG": self.png_pixels,
            "WebP": self.webp_pixels,
            "GIF": self.gif_pixels,
        }[header.kind]

    def check_file(self, size_bytes: int) -> None:
        """Refuse a file of *size_bytes* that is too long.

        Raises:
            ImageRefusedError: it is.
        """
        if size_bytes > self.file_bytes:
            raise refusals.too_large(
                f"the picture has {format_bytes(size_bytes)}, and {format_bytes(self.file_bytes)}"
                " are taken at most: save it smaller",
                bytes=size_bytes,
                maxBytes=self.file_bytes,
            )

    def check(self, header: Header) -> None:
        """Refuse a picture whose *header* is beyond a limit.

        Raises:
            ImageRefusedError: it is, and which.
        """
        self._check_pixels(header)
        self._check_shape(header)
        if header.frames > self.frames:
            raise refusals.too_large(
                f"the animation has more than {self.frames} frames: send a still picture",
                maxFrames=self.frames,
            )
        if header.metadata_bytes > self.metadata_bytes:
            raise refusals.too_large(
                f"the picture carries up to {format_bytes(header.metadata_bytes)} of metadata:"
                " save it without",
                bytes=header.metadata_bytes,
                maxBytes=self.metadata_bytes,
            )

    def check_memory(self, memory_bytes: int) -> None:
        """Refuse a picture that would take *memory_bytes* at its peak, if that is too much.

        Raises:
            ImageRefusedError: it is.
        """
        if memory_bytes > self.memory_bytes:
            raise refusals.too_large(
                f"making the picture smaller would take {format_bytes(memory_bytes)}, and"
                f" {format_bytes(self.memory_bytes)} are there: send it with fewer pixels",
                memoryBytes=memory_bytes,
                maxMemoryBytes=self.memory_bytes,
            )

    def _check_pixels(self, header: Header) -> None:
        most = self.pixels_of(header)
        if header.pixels > most:
            raise refusals.too_large(
                f"the picture has {header.width} x {header.height} pixels, and a {header.kind} may"
                f" have {most / _MEGA:g} million at most: send it smaller",
                width=header.width,
                height=header.height,
                maxPixels=most,
            )

    def _check_shape(self, header: Header) -> None:
        shorter, longer = sorted((header.width, header.height))
        said = f"the picture has {header.width} x {header.height} pixels"
        if shorter < self.least_side:
            raise refusals.too_small(
                f"{said}, and each side needs {self.least_side} at least",
                width=header.width,
                height=header.height,
                minSide=self.least_side,
            )
        if longer > shorter * self.ratio:
            raise refusals.too_thin(
                f"{said}, and one side may be {self.ratio} times the other at most: crop it",
                width=header.width,
                height=header.height,
                maxRatio=self.ratio,
            )


#: What applies where nobody says.
USUAL: Final = Limits()

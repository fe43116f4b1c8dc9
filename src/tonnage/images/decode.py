"""A picture out of its file: as small as wanted, upright, in sRGB, and nothing else of the file.

Promises: what decoding takes is what :mod:`tonnage.images.predict` says; a file that the decoder
reads as anything else than its header said is refused, before any pixel; so is one that ends too
early. Of an animation, the first frame. Needs Pillow.

Not found out: a JPEG whose data were damaged inside, or cut and ended properly. Decoders fill in
what is missing, and do not say so.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from tonnage.images import refusals
from tonnage.images.headers.header import Header
from tonnage.images.predict import peak_bytes
from tonnage.images.source import Source, opened
from tonnage.stores.sinks.onlyone import needed

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageFile import ImageFile

# Pillow's decoders are called by name: what else it knows is not to see the file.
_DECODERS: Final = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
}
# What Pillow raises about files that are not as they should be; warnings where they are errors.
_DAMAGED: Final = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, Warning,
    struct.error, zlib.error,
)  # fmt: skip


def decode(source: Source, header: Header, target: tuple[int, int]) -> Image.Image:
    """Return the picture in *source*, as RGB or RGBA.

    Args:
        source: its file.
        header: what was read of it before.
        target: the size to make it, before it is turned.

    Raises:
        ImageRefusedError: it is damaged, cut off, or not what its header says.
        ConfigError: Pillow is not installed.
        MemoryError: this process may not have so much.
    """
    needed("PIL", "images")
    from tonnage.images.colour import to_srgb
    from tonnage.images.shrink import shrink

    with opened(source) as file:
        image = _loaded(file, header, target)
        profile = image.info.get("icc_profile")
        small = shrink(image, target)
        # What the decoder returns knows all of the file's metadata.
        small = small.copy() if small is image else small
        del image
    small = _upright(to_srgb(small, profile), header.orientation)
    small.info = {}
    return small


def _loaded(file: BinaryIO, header: Header, target: tuple[int, int]) -> ImageFile:
    file.seek(0)
    try:
        image = _decoder(header.format)(file)
        if image.size != (header.width, header.height):
            raise refusals.damaged(
                f"the {header.name} file is not as it was when its header was read, or has two"
            )
        image.draft("RGB", target)
        image.load()
    except _DAMAGED as error:
        if not _has_room(peak_bytes(header, 0, target)):
            raise MemoryError(f"there is no room to decode the {header.name} file") from error
        raise refusals.damaged(f"the {header.name} file is damaged or cut off") from error
    if "transparency" in image.info:
        image.info["transparency"] = _as_decoded(image.info["transparency"], header)
    return image


@cache
def _decoder(format: str) -> Callable[[BinaryIO], ImageFile]:
    """Return Pillow's decoder, which reads no EXIF: the header walk has read what counts of it.

    Pillow looks for a resolution there, which nobody wants, and warns of what makes no sense: two
    lines in the log for each hostile file, and Python keeps every text that it has warned with.
    """
    from PIL.Image import Exif

    module, name = _DECODERS[format]
    kind: type[ImageFile] = getattr(import_module(module), name)
    return type(name, (kind,), {"getexif": lambda self: Exif()})


def _as_decoded(transparent: Any, header: Header) -> Any:
    """Return the colour that a PNG calls *transparent* as Pillow has made it of the file's bits."""
    if isinstance(transparent, tuple) and header.bits == 16:
        # Colours are decoded to 8 bits; only grey keeps all of them.
        return tuple(value >> 8 for value in transparent)
    if isinstance(transparent, int) and header.bits in (2, 4) and not header.has_palette:
        return transparent * 255 // (2**header.bits - 1)
    return transparent


def _has_room(size_bytes: int) -> bool:
    """Return whether so much may be had: decoders call it damage, too, when they do not get it."""
    try:
        mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError:
        return False
    return True


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    from PIL.Image import Transpose

    turn = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(orientation)
    return image if turn is None else image.transpose(turn)

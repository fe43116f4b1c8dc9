"""What decoding, shrinking and encoding a picture takes at its peak, from its header alone. Pure.

Three things come one after the other, and the largest counts: decoding; making it smaller, while
what was decoded is still there; encoding what has come of it.

What is held for one pixel follows from how the decoders work (``tests/images/test_predict.py``
measures it, and fails where a version of them does otherwise):

* Pillow keeps pixels of one value in 1 byte, of 16 bits in 2, of more values in 4, alpha or not.
* libjpeg decodes at 1/2, 1/4 or 1/8 of the size (``draft``), a row of blocks at a time. Where the
  picture comes in several scans, it holds all coefficients, 2 bytes each, at full size.
* libwebp holds the canvas twice, 4 bytes a pixel, and hands over a copy, of which Pillow makes its
  own. The file is in memory too.
* libjpeg's encoder holds 3 bytes of coefficients a pixel for the sake of optimal tables; libwebp's
  holds several times as much, and twice that for a picture that hardly packs.
"""

from __future__ import annotations

from typing import Final

from tonnage.images.fitting import jpeg_scale, reduction
from tonnage.images.headers.header import Header
from tonnage.units import MIB

#: Decoder states, buffers of files, tables of colour profiles, strips that are converted.
BASE_BYTES: Final = 3 * MIB
#: Besides Pillow's own 4 bytes: two canvases and the copy.
_WEBP_BYTES_A_PIXEL: Final = 12
#: Of the result: 4 of its own, the encoder's, and what it writes, which is much for noise.
_ENCODED_BYTES_A_PIXEL: Final = 13
_ENCODED_WEBP_BYTES_A_PIXEL: Final = 32


def peak_bytes(
    header: Header, file_bytes: int, target: tuple[int, int], *, is_to_webp: bool = False
) -> int:
    """Return what a picture takes at most until it is encoded anew.

    Args:
        header: what its file says.
        file_bytes: how long the file is.
        target: the size that it becomes, as stored.
        is_to_webp: whether it is encoded as WebP; else as JPEG or PNG.
    """
    size = _decoded_size(header, target)
    held = _webp_bytes(header, file_bytes)
    decoded = size[0] * size[1] * _bytes_a_pixel(header)
    decoding = held + coefficient_bytes(header) + decoded
    shrinking = held + decoded + _shrinking_bytes(header, size, target)
    result = target[0] * target[1]
    encoding = result * (_ENCODED_WEBP_BYTES_A_PIXEL if is_to_webp else _ENCODED_BYTES_A_PIXEL)
    return BASE_BYTES + 2 * header.metadata_bytes + max(decoding, shrinking, encoding)


def coefficient_bytes(header: Header) -> int:
    """Return what a decoder holds of a JPEG besides its pixels: 0 where it comes in one scan."""
    if not header.is_held_whole:
        return 0
    widest = max(plane.horizontal for plane in header.planes)
    highest = max(plane.vertical for plane in header.planes)
    held = 0
    for plane in header.planes:
        # Blocks of 8 x 8, in whole units of all components.
        across = -(-header.width // (8 * widest)) * plane.horizontal
        down = -(-header.height // (8 * highest)) * plane.vertical
        held += across * down * 64 * 2
    return held


def _shrinking_bytes(header: Header, size: tuple[int, int], target: tuple[int, int]) -> int:
    """Return what :mod:`tonnage.images.shrink` takes besides what was decoded in *size*."""
    is_grey = header.channels == 1 and not header.has_palette and not header.has_alpha
    is_kept = header.channels > 1 and not header.has_alpha
    factor = reduction(size, target)
    width, height = -(-size[0] // factor), -(-size[1] // factor)
    reduced = 0 if is_kept and factor == 1 else width * height
    result = target[0] * target[1]
    # Pillow scales in one direction first, then in the other.
    scaled = 0 if (width, height) == target else target[0] * height + result
    # Where pixels are transparent, their colours are divided by alpha afterwards: a copy more.
    pixels = reduced + scaled + (result if header.has_alpha else 0)
    return pixels if is_grey else 4 * pixels


def _decoded_size(header: Header, target: tuple[int, int]) -> tuple[int, int]:
    size = header.width, header.height
    if header.format != "JPEG":
        return size
    scale = jpeg_scale(size, target)
    return -(-size[0] // scale), -(-size[1] // scale)


def _webp_bytes(header: Header, file_bytes: int) -> int:
    return file_bytes + header.pixels * _WEBP_BYTES_A_PIXEL if header.format == "WEBP" else 0


def _bytes_a_pixel(header: Header) -> int:
    if header.channels > 1:
        return 4
    return 2 if header.bits == 16 else 1

"""Pictures for the tests, good ones and hostile ones; all are made here, none is kept as a file.

Those that are made once for a run are cached as bytes; what is larger than some megabytes is
written by :mod:`tests.images.peak` in a process of its own.
"""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache
from typing import Any

from PIL import Image, ImageCms

GREY = Image.linear_gradient("L")


def picture(mode: str, width: int, height: int) -> Image.Image:
    """Return a picture of *mode*, dark above and bright below."""
    grey = GREY.resize((width, height))
    if mode == "I;16":
        return grey.convert("I").point(lambda value: value * 257 + 0.0).convert("I;16")
    if mode == "P":
        return Image.merge("RGB", [grey] * 3).quantize(64)
    if mode in ("1", "L"):
        return grey.convert(mode)
    bands = len(Image.new(mode, (1, 1)).getbands())
    return Image.merge(mode, [grey] * bands)


def noise(width: int, height: int) -> Image.Image:
    """Return a picture that hardly packs."""
    grey = Image.effect_noise((width, height), 60)
    return Image.merge("RGB", (grey, grey.transpose(Image.Transpose.ROTATE_180), grey))


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    """Return *image* as a file."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def plain(format: str, width: int = 64, height: int = 48, mode: str = "RGB", **more: Any) -> bytes:
    """Return a good picture."""
    return encoded(picture(mode, width, height), format, **more)


def cornered(orientation: int, format: str = "JPEG") -> bytes:
    """Return a picture that, when shown as EXIF says, is 96 x 64 with red in its top left corner.

    The other corners are blue, green and white, clockwise.
    """
    upright = Image.new("RGB", (96, 64), "black")
    corners = ((0, 0, "red"), (80, 0, "blue"), (80, 48, "green"), (0, 48, "white"))
    for left, top, colour in corners:
        upright.paste(colour, (left, top, left + 16, top + 16))
    # What a camera stored, so that turning it as it says gives the above.
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(back[orientation]) if orientation in back else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(stored, format, exif=exif.tobytes(), quality=95)


def grey_png(bits: int, values: list[int], transparent: int, height: int = 1) -> bytes:
    """Return a PNG of *height* rows of grey *values*, of which one is *transparent*."""
    if bits == 16:
        row = struct.pack(f">{len(values)}H", *values)
    else:
        said = "".join(f"{value:0{bits}b}" for value in values)
        row = int(said.ljust(-(-len(said) // 8) * 8, "0"), 2).to_bytes(-(-len(said) // 8), "big")
    return _png(len(values), bits, 0, struct.pack(">H", transparent), [row] * height)


def colour_png(pixels: list[tuple[int, int, int]], transparent: tuple[int, ...]) -> bytes:
    """Return a PNG of one row of *pixels* of 16 bits, of which one colour is *transparent*."""
    row = b"".join(struct.pack(">3H", *pixel) for pixel in pixels)
    return _png(len(pixels), 16, 2, struct.pack(">3H", *transparent), [row])


def _png(width: int, bits: int, colour: int, transparent: bytes, rows: list[bytes]) -> bytes:
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, len(rows), bits, colour, 0, 0, 0)),
        (b"tRNS", transparent),
        (b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def senseless_exif(number: int) -> bytes:
    """Return a JPEG whose EXIF has entries that lie beyond its end, other ones for each *number*.

    And no JFIF, so that Pillow looks for the resolution there.
    """
    entry = struct.pack("<HHII", 0x010F + number, 2, 5000 + number, 10_000 + number)
    tiff = b"II*\0" + struct.pack("<IH", 8, 2) + entry * 2 + b"\0" * 4
    said = b"Exif\0\0" + tiff
    good = plain("JPEG")
    return b"\xff\xd8\xff\xe1" + struct.pack(">H", len(said) + 2) + said + good[20:]


def located() -> bytes:
    """Return a JPEG that says where and with what it was taken, with a comment and a profile."""
    exif = Image.Exif()
    exif[0x010F] = "Secret Cameras Ltd"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return plain("JPEG", exif=exif.tobytes(), comment=b"taken in secret", icc_profile=profile)


def wide_gamut() -> bytes:
    """Return the profile of an RGB whose red and green change places, as no screen has it."""
    srgb = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    entries = {
        bytes(srgb[at : at + 4]): at
        for at in range(132, 132 + 12 * int.from_bytes(srgb[128:132], "big"), 12)
    }
    red, green = entries[b"rXYZ"], entries[b"gXYZ"]
    srgb[red : red + 4], srgb[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(srgb)


# --- Hostile ones ---------------------------------------------------------------------------------


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return one chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_checksums(data: bytes) -> bytes:
    """Return the PNG *data* with checksums that are right, so that a decoder goes on."""
    at, parts = 8, [data[:8]]
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        parts.append(data[at:end] + struct.pack(">I", zlib.crc32(data[at + 4 : end])))
        at = end + 4
    return b"".join(parts) + data[at:]


def png_with(*chunks: bytes, at_end: bool = False) -> bytes:
    """Return a good PNG with *chunks* behind its header, or behind its data."""
    good = plain("PNG")
    at = len(good) - 12 if at_end else 33
    return good[:at] + b"".join(chunks) + good[at:]


@cache
def png_bomb(side: int = 30_000) -> bytes:
    """Return a whole PNG of *side* x *side* black pixels, 1 bit each."""
    packer = zlib.compressobj(1)
    row = b"\0" * (1 + -(-side // 8))
    data = b"".join(packer.compress(row * 100) for _ in range(side // 100)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", data)
        + png_chunk(b"IEND", b"")
    )


def text_bomb(chunks: int = 60, *, at_end: bool = False) -> bytes:
    """Return a PNG with texts that become 1 MB each."""
    packed = zlib.compress(b" " * (1_000_000), 9)
    text = png_chunk(b"zTXt", b"Comment\0\0" + packed)
    return png_with(*[text] * chunks, at_end=at_end)


def gif_of(frames: int) -> bytes:
    """Return a GIF of one pixel and so many frames."""
    frame = b"\x2c\0\0\0\0\1\0\1\0\0\2\2\x44\1\0"
    return b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + frame * frames + b"\x3b"


def scan_bomb(scans: int = 20_000) -> bytes:
    """Return a progressive JPEG whose last scan is there so many times."""
    good = plain("JPEG", progressive=True)
    last = good[good.rindex(b"\xff\xda") : -2]
    return good[:-2] + last * scans + good[-2:]


def with_size(data: bytes, width: int, height: int) -> bytes:
    """Return the JPEG *data*, which says that it has another size."""
    at = next(data.index(mark) for mark in (b"\xff\xc0", b"\xff\xc2") if mark in data)
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def animated(format: str, frames: int = 3) -> bytes:
    """Return an animation whose first frame is red."""
    colours = ("red", "blue", "green")
    stills = [Image.new("RGB", (40, 30), colours[index % 3]) for index in range(frames)]
    return encoded(stills[0], format, save_all=True, append_images=stills[1:], duration=50)


def in_separate_scans() -> bytes:
    """Return a baseline JPEG that begins with a scan of one of its three components."""
    good = plain("JPEG", 640, 480)
    at = good.index(b"\xff\xda")
    return good[:at] + b"\xff\xda\0\x08\1\1\0\0\x3f\0" + good[at + 14 :]

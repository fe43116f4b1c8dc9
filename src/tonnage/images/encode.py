"""A picture into a file: JPEG, PNG or WebP, without any metadata.

Promises: JPEG with optimal tables and colours at half the resolution, as cameras have it; where a
format has no alpha, the picture is laid on a colour. The file is in memory, whole.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from tonnage.images.arguments import WHITE, Colour
from tonnage.images.headers.header import MEDIA_TYPES
from tonnage.images.picture import Picture

if TYPE_CHECKING:
    from PIL import Image


def encode(
    image: Image.Image,
    *,
    quality: int = 85,
    format: str | None = None,
    colour: Colour = WHITE,
) -> Picture:
    """Return *image* as a file; :mod:`tonnage.images.arguments` has checked what is asked.

    Args:
        image: RGB or RGBA.
        quality: 1 to 95, of JPEG and WebP.
        format: JPEG, PNG or WEBP; None: PNG where something is transparent, else JPEG.
        colour: what is behind transparent pixels, for JPEG.
    """
    is_transparent = image.mode == "RGBA" and image.getchannel("A").getextrema()[0] != 255
    wanted = format or ("PNG" if is_transparent else "JPEG")
    if not is_transparent or wanted == "JPEG":
        image = _flattened(image, colour)
    options: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": quality, "optimize": True, "subsampling": "4:2:0"},
        "PNG": {},
        "WEBP": {"quality": quality, "method": 4},
    }
    file = io.BytesIO()
    image.save(file, wanted, **options[wanted])
    return Picture(file.getvalue(), MEDIA_TYPES[wanted], image.width, image.height)


def _flattened(image: Image.Image, colour: Colour) -> Image.Image:
    """Return *image* as RGB, laid on *colour* where it is transparent."""
    from PIL import Image

    if image.mode != "RGBA":
        return image.convert("RGB")
    below = Image.new("RGB", image.size, colour)
    below.paste(image, mask=image.getchannel("A"))
    return below

"""Colours as everybody shows them: in sRGB.

A picture with a profile (Display P3, Adobe RGB, inks) is converted by it; one without has sRGB, or
inks without any standard. A profile that cannot be read, or that is of other colours than the
picture, is left out, as browsers do. littlecms is loaded for the first picture with a profile.
"""

from __future__ import annotations

import io
from typing import Final

from PIL import Image

# The colours that a profile may speak of, by the mode of the picture.
_SPACES: Final = {"RGB": "RGB", "RGBA": "RGB", "L": "GRAY", "CMYK": "CMYK"}


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return *image* as RGB, or RGBA where it was, in sRGB.

    Args:
        image: RGB, RGBA, L or CMYK.
        profile: what came with it; None: nothing.
    """
    wanted = "RGBA" if image.mode == "RGBA" else "RGB"
    converted = _by_profile(image, profile, wanted) if profile else None
    if converted is not None:
        return converted
    return image if image.mode == wanted else image.convert(wanted)


def _by_profile(image: Image.Image, profile: bytes, wanted: str) -> Image.Image | None:
    from PIL import ImageCms

    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if given.profile.xcolor_space.strip() != _SPACES[image.mode]:
            return None
        return ImageCms.profileToProfile(
            image, given, ImageCms.createProfile("sRGB"), outputMode=wanted
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None

"""A portrait of 12 megapixels: the photo of Grace Hopper among matplotlib's samples, made larger.

No camera's original: the memory it takes depends on its pixels, not on what it shows.
"""

from __future__ import annotations

import io

SIZE = (3200, 3750)
QUALITY = 90


def portrait() -> bytes:
    """Return the JPEG."""
    from matplotlib import cbook
    from PIL import Image

    with Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as photo:
        large = photo.convert("RGB").resize(SIZE, Image.Resampling.LANCZOS)
    made = io.BytesIO()
    large.save(made, "JPEG", quality=QUALITY)
    return made.getvalue()

"""What a model is given, and the mask it makes of a picture: as rembg has it.

The picture is squeezed into the model's square (Lanczos), divided by its brightest value and
normalised; the first channel of the first output is stretched to the whole range. The mask here
differs by 1 of 255 at most from that of rembg 2.0.86 before that is made as large as the picture.

Bounded: the model's input and output, 1.2 MB each for a side of 320.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL.Image import Image

    from tonnage.images.background.models import Model
    from tonnage.images.background.session import Floats, Session

# A mask of one value, from a model that found nothing, must not be divided by nothing.
_LEAST_SPAN: Final = 1e-6


def mask_of(picture: Image, session: Session) -> Image:
    """Return how much each part of *picture* is in front: mode L, as large as the model's input.

    Raises:
        MemoryError: there is not enough memory.
        ModelError: the model cannot be run, or gives no mask.
    """
    from PIL import Image as Images

    found = session.run(_given(picture, session))
    pixels = _stretched(found, is_logit=session.model.is_logit)
    return Images.fromarray((pixels * 255).astype("uint8"), mode="L")


def _given(picture: Image, session: Session) -> Floats:
    import numpy
    from PIL.Image import Resampling

    small = picture.resize((session.side, session.side), Resampling.LANCZOS).convert("RGB")
    values = numpy.asarray(small, dtype=numpy.float32)
    values = values / max(float(values.max()), _LEAST_SPAN)
    model: Model = session.model
    values -= numpy.array(model.mean, dtype=numpy.float32)
    values /= numpy.array(model.deviation, dtype=numpy.float32)
    return numpy.ascontiguousarray(values.transpose(2, 0, 1)[None], dtype=numpy.float32)


def _stretched(found: Floats, *, is_logit: bool) -> Floats:
    import numpy

    mask = found[0, 0].astype(numpy.float32)
    if is_logit:
        mask = 1 / (1 + numpy.exp(-mask))
    least, most = float(mask.min()), float(mask.max())
    if most - least < _LEAST_SPAN:
        return numpy.zeros_like(mask)
    stretched: Floats = (mask - least) / (most - least)
    return stretched

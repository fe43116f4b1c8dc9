"""A mask fitted to the picture, and colours without what was behind: so that no halo is left.

A model's mask is small (320 pixels a side): enlarged, its edge is a soft band that runs beside the
picture's own edges. :func:`fitted` moves it onto them with a guided filter: in a small window, the
mask is taken for a linear function of the brightness. :func:`without_behind` then takes out of the
pixels at the edge what they have of the old background: else hair would bring it along.

Both look at the picture as small as the model has seen it, or smaller, and do at full size only
what has to be: some 35 ms for 800 x 800.

Sources: He, Sun, "Fast Guided Filter", 2015; Forte, "Approximate Fast Foreground Colour
Estimation", 2021. Bounded: six arrays of 4 bytes a pixel at most, 16 MB for 800 x 800, when the
model has given back what it took.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL.Image import Image

    from tonnage.images.background.session import Floats

# Of the guided filter: how far its window reaches, in pixels of the model; and by how much
# brightness varies at least where it is not flat, so that a picture's grain makes no ragged edge.
_WINDOW: Final = 2
_FLAT: Final = 2e-3
# What is less in front than this is behind, and what is more is not seen through.
_BEHIND, _IN_FRONT = 0.12, 0.82
# Colours in front and behind are looked for at this part of the size, this far around.
_PART: Final = 4
_AROUND: Final = 4
_LEAST: Final = 1e-4


def fitted(mask: Image, picture: Image, grain: float) -> Image:
    """Return *mask* as large as *picture*, with its edges on the picture's.

    Args:
        mask: L, of any size.
        picture: RGB.
        grain: how many of the picture's pixels one of the model's is wide.
    """
    import numpy
    from PIL import Image as Images

    scale = 1 / max(1.0, grain)
    size = _scaled(picture.size, scale)
    guide = picture.convert("L")
    slope, offset = _guided(
        _floats(guide.resize(size, Images.Resampling.BOX)),
        _floats(mask.resize(size, Images.Resampling.BICUBIC)),
        _WINDOW,
    )
    # So that the multiplication gives what 0 to 255 stands for, in one step.
    found = _enlarged(slope, picture.size)
    found *= numpy.asarray(guide, dtype=numpy.float32)
    found += _enlarged(offset * 255, picture.size)
    found -= 255 * _BEHIND
    found *= 1 / (_IN_FRONT - _BEHIND)
    return _as_image(found)


def without_behind(picture: Image, mask: Image) -> Image:
    """Return *picture* (RGB) with the colours of what is in front alone, where *mask* is soft."""
    import numpy
    from PIL import Image as Images

    size = _scaled(picture.size, 1 / _PART)
    share = _floats(mask.resize(size, Images.Resampling.BOX))[..., None]
    colours = _floats(picture.resize(size, Images.Resampling.BOX))
    opacity = numpy.asarray(mask)
    rows, columns = numpy.nonzero((opacity > 0) & (opacity < 255))
    # The colours around hardly differ from one pixel to the next: the nearest ones will do.
    nearest = rows * size[1] // picture.height, columns * size[0] // picture.width
    front, behind = _around(colours, share)[nearest], _around(colours, 1 - share)[nearest]
    alpha = opacity[rows, columns].astype(numpy.float32)[:, None] / 255
    pixels = numpy.array(picture)
    mixed = alpha * front + (1 - alpha) * behind
    better = front * 255 + alpha * (pixels[rows, columns] - mixed * 255)
    pixels[rows, columns] = better.clip(0, 255)
    return Images.fromarray(pixels)


def _guided(guide: Floats, mask: Floats, radius: int) -> tuple[Floats, Floats]:
    """Return by what to multiply the guide, and what to add then, to get the mask."""
    mean_guide, mean_mask = _mean(guide, radius), _mean(mask, radius)
    slope = _mean(guide * mask, radius) - mean_guide * mean_mask
    slope /= _mean(guide * guide, radius) - mean_guide * mean_guide + _FLAT
    # What is left of it is the offset.
    mean_mask -= slope * mean_guide
    return _mean(slope, radius), _mean(mean_mask, radius)


def _around(colours: Floats, share: Floats) -> Floats:
    """Return the mean colour of what is around each pixel, counted by its *share*."""
    return _mean(colours * share, _AROUND) / (_mean(share, _AROUND) + _LEAST)


def _mean(values: Floats, radius: int) -> Floats:
    """Return the mean of each pixel's window, *radius* pixels to every side; less at the border."""
    return _mean_along(_mean_along(values, radius, 0), radius, 1)


def _mean_along(values: Floats, radius: int, axis: int) -> Floats:
    import numpy

    values = values.swapaxes(0, axis)
    length = len(values)
    sums = numpy.zeros((length + 1, *values.shape[1:]), dtype=numpy.float32)
    numpy.cumsum(values, axis=0, out=sums[1:])
    places = numpy.arange(length)
    first, last = (places - radius).clip(0), (places + radius + 1).clip(max=length)
    counts = (last - first).astype(numpy.float32)
    means: Floats = (sums[last] - sums[first]) / counts.reshape(-1, *[1] * (values.ndim - 1))
    return means.swapaxes(0, axis)


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _floats(picture: Image) -> Floats:
    import numpy

    values: Floats = numpy.array(picture, dtype=numpy.float32)
    values *= 1 / 255
    return values


def _enlarged(values: Floats, size: tuple[int, int]) -> Floats:
    import numpy
    from PIL import Image as Images

    small = Images.fromarray(numpy.ascontiguousarray(values))
    # A copy, which can be written to.
    return numpy.array(small.resize(size, Images.Resampling.BILINEAR))


def _as_image(values: Floats) -> Image:
    from PIL import Image as Images

    return Images.fromarray(values.clip(0, 255).astype("uint8"), mode="L")

"""How large a picture becomes that may be so wide and so high. Pure."""

from __future__ import annotations

from tonnage.images.arguments import check_bounds
from tonnage.images.headers.header import Header


def fit(header: Header, max_width: int | None, max_height: int | None) -> tuple[int, int]:
    """Return the size, as stored, of a picture that is shown within those; never larger than it is.

    Args:
        header: the picture; where it is to be turned, the bounds change places.
        max_width: pixels at most when it is shown; None: any.
        max_height: the same.

    Raises:
        ConfigError: a bound is no number of pixels.
    """
    check_bounds(max_width, max_height)
    if header.is_turned:
        max_width, max_height = max_height, max_width
    width, height = header.width, header.height
    scale = min(1.0, (max_width or width) / width, (max_height or height) / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def reduction(size: tuple[int, int], target: tuple[int, int]) -> int:
    """Return by which whole number *size* can be divided without becoming less than *target*."""
    return max(1, min(size[0] // target[0], size[1] // target[1]))


def jpeg_scale(size: tuple[int, int], target: tuple[int, int]) -> int:
    """Return which of the scales that a JPEG can be decoded at leads closest to *target*."""
    most = reduction(size, target)
    return next(scale for scale in (8, 4, 2, 1) if scale <= most)

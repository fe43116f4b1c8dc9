"""A person's outline: the largest thing in a mask, row by row. Computes only.

A mask is looked at small, at most 128 cells a side: that is enough to tell a head from shoulders,
and bounds the time (20 ms).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_CELLS: Final = 128
_HALF: Final = 128
# What is said to be in front, and is smaller than this share of the picture, is nothing.
_LEAST_SHARE: Final = 0.01
# By how many cells what goes with the outline may lie beside it, such as hair.
_BESIDE: Final = 3


@dataclass(frozen=True, slots=True)
class Silhouette:
    """What belongs to it, in cells.

    Attributes:
        width: of the picture.
        height: of the picture.
        cells: the places that are filled, each as ``y * width + x``.
    """

    width: int
    height: int
    cells: frozenset[int]

    def row(self, y: int) -> tuple[int, int] | None:
        """Return where row *y* begins and ends (exclusive); None: it is empty."""
        filled = [x for x in range(self.width) if y * self.width + x in self.cells]
        return (filled[0], filled[-1] + 1) if filled else None

    def beside(self) -> Image:
        """Return what is near it as a mask (L), so that whatever else is in front can go."""
        from PIL import Image as Images
        from PIL import ImageFilter

        filled = bytes(
            255 if place in self.cells else 0 for place in range(self.width * self.height)
        )
        mask = Images.frombytes("L", (self.width, self.height), filled)
        return mask.filter(ImageFilter.MaxFilter(2 * _BESIDE + 1))


def silhouette_of(mask: Image, picture_size: tuple[int, int]) -> Silhouette | None:
    """Return the largest thing in *mask* (L), of a picture of that size; None: there is nothing."""
    from PIL import Image as Images

    longest = max(picture_size)
    width, height = (max(1, round(side * MOST_CELLS / longest)) for side in picture_size)
    small = mask.resize((width, height), Images.Resampling.BOX)
    left = {place for place, value in enumerate(small.tobytes()) if value >= _HALF}
    largest: set[int] = set()
    while len(left) > len(largest):
        found = _take(left, width)
        largest = max(largest, found, key=len)
    if len(largest) < _LEAST_SHARE * width * height:
        return None
    return Silhouette(width, height, frozenset(largest))


def _take(left: set[int], width: int) -> set[int]:
    """Take one cell and all that hang together with it out of *left*, and return them."""
    border = [left.pop()]
    found = set(border)
    while border:
        place = border.pop()
        beside = [place - width, place + width]
        if place % width:
            beside.append(place - 1)
        if (place + 1) % width:
            beside.append(place + 1)
        for each in beside:
            if each in left:
                left.remove(each)
                found.add(each)
                border.append(each)
    return found

"""Where to cut a picture for a membership card: as a passport photo, by the person's outline.

The frame is 35 to 45, as 35 x 45 mm are; of its height the head, from crown to chin, takes 32 of
45, and 4 are above it; the head's middle is the frame's. Where there is not so much of the person
in the picture, the frame is narrower, the head up to 38 of 45.

The outline says where the head is: it begins where the person does; its width grows, and narrows at
the neck before the shoulders. Hair that hides the neck is allowed for: a head is between 1.15 and
1.45 times as high as it is wide.

No face is looked for. What cannot be one head above its shoulders is none: where the shoulders are
not seen or far too wide, where there are gaps beside the head (a second person, a raised arm), or
where it is small in the picture. An animal that sits like a person passes, and so do two people
cheek by cheek.

Computes only; nothing is decided about pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tonnage.images.background.silhouette import Silhouette

#: Of the frame, width to height.
RATIO: Final = 35 / 45
_HEAD_SHARE: Final = 32 / 45
_LARGEST_HEAD_SHARE: Final = 38 / 45
_ABOVE_SHARE: Final = 4 / 45
# Of a head, height to width, with hair.
_FLATTEST, _LONGEST = 1.15, 1.45
# How much narrower than the head a neck is at most, and how much wider what is below it, at least.
_NECK, _BELOW_NECK = 0.9, 1.25
# Where there is no neck: how much wider the shoulders get over some rows, at least; and from which
# part of its width on a head grows no more. No head is smaller than so many cells.
_SHOULDERS, _GROWN, _LEAST_LAG, _LEAST_HEAD = 1.35, 0.75, 3, 8
# A few cells at the top are a wisp of hair, or the mask's noise.
_LEAST_CROWN: Final = 3
# What is believed to be a head: its share of the picture's height; how many times as wide the body
# below it is; and how much of each of its rows is filled, so that there are no gaps in it.
_LEAST_OF_PICTURE: Final = 1 / 8
_LEAST_BODY, _MOST_BODY = 1.2, 4.5
_LEAST_FILLED: Final = 0.95


@dataclass(frozen=True, slots=True)
class Head:
    """Where a head is, in cells: its middle, its crown, and how far down its chin is."""

    middle: float
    crown: float
    height: float


@dataclass(frozen=True, slots=True)
class Frame:
    """What to cut, in pixels of the picture; it may stick out of it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """How wide the frame is, in pixels."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """How high the frame is, in pixels."""
        return self.bottom - self.top


def frame_of(outline: Silhouette, picture_size: tuple[int, int]) -> Frame | None:
    """Return what to cut out of a picture of that size, for the person of *outline*.

    None: it is not to be seen where the head is.
    """
    head = head_of(outline)
    if head is None:
        return None
    height = _frame_height(outline, head)
    # A head that the picture's upper edge cuts off is not to float below one of the frame.
    above = height * _ABOVE_SHARE if head.crown > 0 else 0.0
    top = head.crown - above
    width = height * RATIO
    left = head.middle - width / 2
    scale = max(picture_size) / max(outline.width, outline.height)
    rows = round(height * scale)
    columns = round(rows * RATIO)
    x, y = round(left * scale), round(top * scale)
    return Frame(x, y, x + columns, y + rows)


def head_of(outline: Silhouette) -> Head | None:
    """Return where the head of *outline* is; None: nothing in it can be one."""
    rows = [outline.row(y) for y in range(outline.height)]
    filled = [y for y, row in enumerate(rows) if row is not None and row[1] - row[0] > 0]
    crown = next((y for y in filled if _width(rows[y]) >= _LEAST_CROWN), filled[0])
    last = filled[-1] + 1
    shoulders = _shoulders(rows, crown, last)
    widest = max(range(crown, shoulders), key=lambda y: _width(rows[y]))
    neck = min(range(widest, shoulders), key=lambda y: (_width(rows[y]), y))
    width = float(_width(rows[widest]))
    height = min(max(float(neck - crown), _FLATTEST * width), _LONGEST * width)
    # The middle of the upper two thirds: hair and collar are seldom even further down.
    upper = [row for row in rows[crown : crown + max(1, round(height * 2 / 3))] if row is not None]
    middle = sum((row[0] + row[1]) / 2 for row in upper) / len(upper)
    head = Head(middle, float(crown), height)
    below = max((_width(row) for row in rows[shoulders:last]), default=0)
    is_head = (
        height >= _LEAST_OF_PICTURE * outline.height
        and _LEAST_BODY * width <= below <= _MOST_BODY * width
        and _filled(outline, head) >= _LEAST_FILLED
    )
    return head if is_head else None


def _filled(outline: Silhouette, head: Head) -> float:
    """Return how much of *head* is filled, of all that lies between its left and right."""
    crown, chin = int(head.crown), int(head.crown + head.height)
    filled = sum(crown <= place // outline.width < chin for place in outline.cells)
    return filled / sum(_width(outline.row(y)) for y in range(crown, min(chin, outline.height)))


def _shoulders(rows: list[tuple[int, int] | None], crown: int, last: int) -> int:
    """Return the first row below a neck, or far wider than the head above; *last* if none is."""
    widest = narrowest = 0
    for y in range(crown, last):
        width = _width(rows[y])
        if narrowest < widest * _NECK and width > narrowest * _BELOW_NECK:
            return y
        # Without a neck, since hair hides it; before that, a head still grows.
        down = y - crown
        before = _width(rows[y - max(_LEAST_LAG, down // 4)]) if down > _LEAST_HEAD else 0
        if down > before * _GROWN and 0 < before * _SHOULDERS < width:
            return y
        if width >= widest:
            widest = narrowest = width
        narrowest = min(narrowest, width)
    return last


def _frame_height(outline: Silhouette, head: Head) -> float:
    """Return how high the frame is: lower where the body ends at an edge of the picture."""
    wanted = head.height / _HEAD_SHARE
    least = head.height / _LARGEST_HEAD_SHARE
    above = _ABOVE_SHARE if head.crown > 0 else 0.0
    limits = [wanted]
    bottom = min(outline.height, int(head.crown + (1 - above) * wanted))
    within = [row for y in range(bottom) if (row := outline.row(y)) is not None]
    if any(row[0] == 0 for row in within):
        limits.append(2 * head.middle / RATIO)
    if any(row[1] == outline.width for row in within):
        limits.append(2 * (outline.width - head.middle) / RATIO)
    # Rather a part of a head than one that floats above the frame's lower edge.
    return min(max(least, min(limits)), (outline.height - head.crown) / (1 - above))


def _width(row: tuple[int, int] | None) -> int:
    return row[1] - row[0] if row is not None else 0
